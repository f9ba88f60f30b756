#include "run/sample.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include "base/error.h"
#include "base/math.h"

namespace ds {

void penalize_repetition(std::span<float> logits, std::span<const int32_t> seen, double penalty) {
  const auto p = static_cast<float>(penalty);
  for (const int32_t id : seen) {
    float& logit = logits[static_cast<size_t>(id)];
    logit = logit < 0 ? logit * p : logit / p;
  }
}

namespace {

struct Candidate {
  int32_t id;
  float logit;
  double weight;  // its probability times a constant
};

}  // namespace

// Keeps the likeliest candidates until their weights reach `share` of all; only as many as that takes are sorted.
static void keep_nucleus(std::vector<Candidate>& candidates, double share) {
  const auto before = [](const Candidate& a, const Candidate& b) { return a.logit != b.logit ? a.logit > b.logit : a.id < b.id; };
  double sum = 0, cumulative = 0;
  for (const Candidate& c : candidates) sum += c.weight;
  size_t nucleus = 0;
  for (size_t sorted = 0; nucleus < candidates.size(); ++nucleus) {
    if (nucleus > 0 && cumulative >= share * sum) break;
    if (nucleus == sorted) {
      sorted = std::min(candidates.size(), std::max<size_t>(64, sorted * 4));
      std::partial_sort(candidates.begin() + static_cast<std::ptrdiff_t>(nucleus), candidates.begin() + static_cast<std::ptrdiff_t>(sorted),
                        candidates.end(), before);
    }
    cumulative += candidates[nucleus].weight;
  }
  candidates.resize(nucleus);
}

int32_t sample(std::span<const float> logits, const Sampling& sampling, double u) {
  const auto best = std::max_element(logits.begin(), logits.end());
  require(std::isfinite(*best), "the model's logits are not finite: are its weights, or an adapter's, damaged?");
  if (sampling.temperature <= 0) return static_cast<int32_t>(best - logits.begin());

  float least = -std::numeric_limits<float>::infinity();
  if (sampling.top_k > 0 && static_cast<size_t>(sampling.top_k) < logits.size()) {
    std::vector<float> copy(logits.begin(), logits.end());
    const auto kth = copy.begin() + (sampling.top_k - 1);
    std::nth_element(copy.begin(), kth, copy.end(), std::greater<>());
    least = *kth;
  }
  std::vector<Candidate> candidates;
  for (size_t i = 0; i < logits.size(); ++i)
    if (logits[i] >= least)
      candidates.push_back({static_cast<int32_t>(i), logits[i],
                            math::exp((static_cast<double>(logits[i]) - static_cast<double>(*best)) / sampling.temperature)});
  if (sampling.top_p < 1) keep_nucleus(candidates, sampling.top_p);
  if (sampling.min_p > 0)  // the likeliest one's weight is 1
    std::erase_if(candidates, [&](const Candidate& c) { return c.weight < sampling.min_p; });
  double sum = 0;
  for (const Candidate& c : candidates) sum += c.weight;
  double rest = u * sum;
  for (size_t i = 0; i + 1 < candidates.size(); ++i) {
    if (rest < candidates[i].weight) return candidates[i].id;
    rest -= candidates[i].weight;
  }
  return candidates.back().id;
}

}  // namespace ds
