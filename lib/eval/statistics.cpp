#include "eval/statistics.h"

#include <cmath>
#include <vector>

#include "base/error.h"

namespace ds {

Estimate mean_estimate(std::span<const double> values) {
  const std::vector<double> ones(values.size(), 1.0);
  return ratio_estimate(values, ones);
}

Estimate ratio_estimate(std::span<const double> numerators, std::span<const double> denominators) {
  require(numerators.size() == denominators.size(), "a ratio of sums needs as many numerators as denominators");
  Estimate e;
  e.n = numerators.size();
  double a = 0, b = 0;
  for (size_t i = 0; i < numerators.size(); ++i) a += numerators[i], b += denominators[i];
  if (!(b > 0)) return e;
  e.value = a / b;
  if (e.n < 2) return e;
  double squares = 0;
  for (size_t i = 0; i < numerators.size(); ++i) {
    const double residual = numerators[i] - e.value * denominators[i];
    squares += residual * residual;
  }
  const auto n = static_cast<double>(e.n);
  e.stderr_ = std::sqrt(n / (n - 1) * squares) / b;
  return e;
}

static std::vector<double> differences(std::span<const double> a, std::span<const double> b) {
  require(a.size() == b.size(), "a paired comparison needs the same items: ", a.size(), " and ", b.size(), " were given");
  std::vector<double> d(a.size());
  for (size_t i = 0; i < a.size(); ++i) d[i] = a[i] - b[i];
  return d;
}

Estimate paired_ratio_difference(std::span<const double> a, std::span<const double> b, std::span<const double> denominators) {
  return ratio_estimate(differences(a, b), denominators);
}

Estimate paired_mean_difference(std::span<const double> a, std::span<const double> b) {
  return mean_estimate(differences(a, b));
}

}  // namespace ds
