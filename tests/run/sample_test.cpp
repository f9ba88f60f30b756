#include "run/sample.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <vector>

#include "base/error.h"

namespace ds {
namespace {

const std::vector<float> kLogits = {1.0f, 3.0f, 2.0f, 3.0f, -1.0f};

TEST(Sample, GreedyTakesTheLowestOfTheBest) { EXPECT_EQ(sample(kLogits, {.temperature = 0}, 0.99), 1); }

TEST(Sample, FollowsTheSoftmax) {
  const Sampling sampling{.temperature = 0.7};
  std::vector<double> p, count(kLogits.size());
  double sum = 0;
  for (const float l : kLogits) p.push_back(std::exp(l / 0.7)), sum += p.back();
  constexpr int n = 20000;
  for (int i = 0; i < n; ++i) count[static_cast<size_t>(sample(kLogits, sampling, (i + 0.5) / n))] += 1.0 / n;
  for (size_t i = 0; i < p.size(); ++i) EXPECT_NEAR(count[i], p[i] / sum, 2.0 / n);
}

TEST(Sample, TopKKeepsTies) {
  std::vector<int> seen(kLogits.size());
  for (int i = 0; i < 100; ++i) ++seen[static_cast<size_t>(sample(kLogits, {.temperature = 1, .top_k = 1}, i / 100.0))];
  EXPECT_GT(seen[1], 0);
  EXPECT_GT(seen[3], 0);
  EXPECT_EQ(seen[0] + seen[2] + seen[4], 0);
}

TEST(Sample, TopPKeepsTheTokenThatCrosses) {
  const std::vector<float> logits = {std::log(0.5f), std::log(0.3f), std::log(0.2f)};
  std::vector<int> seen(3);
  for (int i = 0; i < 1000; ++i) ++seen[static_cast<size_t>(sample(logits, {.temperature = 1, .top_p = 0.6}, i / 1000.0))];
  EXPECT_EQ(seen[2], 0);
  EXPECT_NEAR(seen[0], 625, 3);
  EXPECT_EQ(sample(logits, {.temperature = 1, .top_p = 0.01}, 0.999), 0);
}

// Every id that comes out for some u.
std::set<int32_t> support(const std::vector<float>& logits, const Sampling& sampling) {
  std::set<int32_t> ids;
  for (int i = 0; i < 2000; ++i) ids.insert(sample(logits, sampling, i / 2000.0));
  return ids;
}

TEST(Sample, MinPIsAShareOfTheLikeliest) {
  const std::vector<float> logits = {std::log(0.5f), std::log(0.3f), std::log(0.15f), std::log(0.05f)};
  EXPECT_EQ(support(logits, {.temperature = 1, .min_p = 0.5}), (std::set<int32_t>{0, 1}));
  EXPECT_EQ(support(logits, {.temperature = 1, .min_p = 0.2}), (std::set<int32_t>{0, 1, 2}));
  EXPECT_EQ(support(logits, {.temperature = 1, .min_p = 1}), (std::set<int32_t>{0}));
  // At temperature 2 the shares are roots: 1, 0.77, 0.55, 0.32.
  EXPECT_EQ(support(logits, {.temperature = 2, .min_p = 0.5}), (std::set<int32_t>{0, 1, 2}));
}

// top_p counts among what top_k left: 0.5 / 0.8 reaches 0.6, while 0.5 of all does not.
TEST(Sample, TopPComesAfterTopK) {
  const std::vector<float> logits = {std::log(0.5f), std::log(0.3f), std::log(0.15f), std::log(0.05f)};
  EXPECT_EQ(support(logits, {.temperature = 1, .top_k = 2, .top_p = 0.6}), (std::set<int32_t>{0}));
  EXPECT_EQ(support(logits, {.temperature = 1, .top_p = 0.6}), (std::set<int32_t>{0, 1}));
}

// The nucleus is found by sorting a part; sorting all gives the same.
TEST(Sample, NucleusOfManyTokensIsThatOfAFullSort) {
  std::vector<float> logits;
  for (int i = 0; i < 5000; ++i) logits.push_back(static_cast<float>((i * 7919 % 5000) / 900.0));
  std::vector<size_t> order(logits.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return logits[a] > logits[b]; });
  double sum = 0, cumulative = 0;
  for (const float l : logits) sum += std::exp(static_cast<double>(l));
  size_t nucleus = 0;
  while (cumulative < 0.5 * sum) cumulative += std::exp(static_cast<double>(logits[order[nucleus++]]));
  ASSERT_GT(nucleus, 300u);
  const std::set<size_t> inside(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(nucleus));
  for (int i = 0; i < 500; ++i) EXPECT_TRUE(inside.contains(static_cast<size_t>(sample(logits, {.temperature = 1, .top_p = 0.5}, i / 500.0))));
}

TEST(Sample, RepetitionPenaltyDividesAboveZeroAndMultipliesBelow) {
  std::vector<float> logits = {2, -2, 0, 3};
  penalize_repetition(logits, std::vector<int32_t>{0, 1, 2}, 1.25);
  EXPECT_EQ(logits, (std::vector<float>{1.6f, -2.5f, 0, 3}));
}

}  // namespace
TEST(Sample, LogitsThatAreNotFiniteAreAnError) {
  const std::vector<float> logits = {std::numeric_limits<float>::quiet_NaN(), 1, 2};
  EXPECT_THROW(sample(logits, Sampling{}, 0.5), Error);
}

}  // namespace ds
