#include "eval/statistics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/rng.h"

namespace ds {

TEST(MeanEstimate, MatchesTheTextbook) {
  // 2, 4, 4, 4, 5, 5, 7, 9: mean 5, sample variance 32/7.
  const std::vector<double> x = {2, 4, 4, 4, 5, 5, 7, 9};
  const Estimate e = mean_estimate(x);
  EXPECT_DOUBLE_EQ(e.value, 5);
  EXPECT_NEAR(e.stderr_, std::sqrt(32.0 / 7 / 8), 1e-12);
  EXPECT_EQ(e.n, 8u);
}

TEST(MeanEstimate, OfOneItemHasNoError) {
  const std::vector<double> x = {3};
  EXPECT_DOUBLE_EQ(mean_estimate(x).value, 3);
  EXPECT_LT(mean_estimate(x).stderr_, 0);
}

// The linearised error agrees with the spread of the ratio over fresh samples.
TEST(RatioEstimate, ErrorMatchesTheSpreadOverSamples) {
  constexpr int kSamples = 400, kItems = 200;
  double sum = 0, squares = 0, mean_stderr = 0;
  for (int s = 0; s < kSamples; ++s) {
    const Rng rng{1, static_cast<uint64_t>(s)};
    std::vector<double> a, b;
    for (int i = 0; i < kItems; ++i) {
      b.push_back(1 + 9 * rng.uniform(2 * i));
      a.push_back(2 * b.back() + rng.normal(2 * i + 1));
    }
    const Estimate e = ratio_estimate(a, b);
    sum += e.value, squares += e.value * e.value, mean_stderr += e.stderr_ / kSamples;
  }
  const double spread = std::sqrt(squares / kSamples - sum / kSamples * (sum / kSamples));
  EXPECT_NEAR(sum / kSamples, 2, 0.01);
  EXPECT_NEAR(mean_stderr / spread, 1, 0.15);
}

TEST(PairedDifference, TakesOutWhatItemsShare) {
  std::vector<double> a, b;
  for (int i = 0; i < 100; ++i) {
    a.push_back(i);            // items differ a lot
    b.push_back(i + 1 + (i % 2 ? 0.1 : -0.1));
  }
  const Estimate d = paired_mean_difference(b, a);
  EXPECT_NEAR(d.value, 1, 1e-12);
  EXPECT_LT(d.stderr_, 0.02);
  EXPECT_GT(mean_estimate(a).stderr_, 1);
}

}  // namespace ds
