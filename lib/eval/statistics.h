// Estimates with their error bars.
#pragma once
#include <cstdint>
#include <span>

namespace ds {

// A value, its standard error, and the number of items behind it. stderr is negative where it is not defined (n < 2).
struct Estimate {
  double value = 0, stderr_ = -1;
  uint64_t n = 0;
};

// The mean, with the sample standard deviation (n - 1) / sqrt(n).
Estimate mean_estimate(std::span<const double> values);

// sum(numerators) / sum(denominators), such as bits over bytes, with the linearised (delta method) standard error of a
// ratio of sums over items: sqrt(n / (n - 1) * sum((a_i - R b_i)^2)) / sum(b_i). (Cochran, Sampling Techniques, 6.4)
Estimate ratio_estimate(std::span<const double> numerators, std::span<const double> denominators);

// The difference of two such ratios, or means, measured on the same items: the pairing takes out what items share.
Estimate paired_ratio_difference(std::span<const double> a, std::span<const double> b, std::span<const double> denominators);
Estimate paired_mean_difference(std::span<const double> a, std::span<const double> b);

}  // namespace ds
