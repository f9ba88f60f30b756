#include "eval/results.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>

#include "base/error.h"
#include "io/output.h"

namespace ds {

static Results sample(double shift) {
  Results r;
  r.model = "m";
  r.model_bytes = 10;
  TaskResult t{.task = "bits_per_byte", .metric = "bits_per_byte", .higher_is_better = false};
  for (int i = 0; i < 20; ++i) {
    t.ids.push_back(cat("d", i));
    t.values.push_back(100 + i + shift + 0.01 * (i % 3));
    t.weights.push_back(50);
  }
  t.estimate = ratio_estimate(t.values, t.weights);
  r.tasks.push_back(t);
  r.expert_load.push_back({1, {4, 0, 2, 2}});
  return r;
}

TEST(Results, RoundTrip) {
  const std::string path = (std::filesystem::temp_directory_path() / "ds_results_test.json").string();
  write_file(path, results_json(sample(0)));
  const Results r = load_results(path);
  std::filesystem::remove(path);
  EXPECT_EQ(results_json(r), results_json(sample(0)));
  EXPECT_EQ(r.tasks[0].estimate.value, sample(0).tasks[0].estimate.value);
}

TEST(Compare, FindsALossBeyondItsError) {
  const auto lines = compare_results(sample(0), sample(1));
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_NEAR(lines[0].difference.value, 1.0 / 50, 1e-9);
  EXPECT_TRUE(lines[0].worse(2));
  EXPECT_FALSE(compare_results(sample(1), sample(0))[0].worse(2));
  EXPECT_FALSE(compare_results(sample(0), sample(0))[0].worse(2));
}

TEST(Compare, RefusesOtherItems) {
  Results other = sample(0);
  other.tasks[0].ids[3] = "elsewhere";
  EXPECT_THROW(compare_results(sample(0), other), Error);
}

TEST(ExpertLoad, Summaries) {
  const ExpertLoad load{0, {4, 0, 2, 2}};
  EXPECT_DOUBLE_EQ(load.max_over_mean(), 2);
  EXPECT_DOUBLE_EQ(load.utilisation(), 0.75);
  EXPECT_EQ(load.dead(), 1);
}

}  // namespace ds
