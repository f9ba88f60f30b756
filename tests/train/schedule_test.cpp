#include "train/schedule.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"

namespace ds {

static Schedule schedule(Schedule::Kind kind, double min_ratio = 0) {
  return {.kind = kind, .peak = 3e-3, .steps = 1000, .warmup_steps = 100, .decay_steps = 250, .min_ratio = min_ratio};
}

TEST(Schedule, WarmsUpLinearlyFromZero) {
  for (const auto kind : {Schedule::Kind::constant, Schedule::Kind::cosine, Schedule::Kind::wsd, Schedule::Kind::linear}) {
    const Schedule s = schedule(kind);
    EXPECT_EQ(learning_rate(s, 0), 0);
    EXPECT_DOUBLE_EQ(learning_rate(s, 25), 3e-3 / 4);
    EXPECT_DOUBLE_EQ(learning_rate(s, 100), 3e-3);
  }
}

TEST(Schedule, CosineAgreesWithTheClosedForm) {
  for (const double ratio : {0.0, 0.1}) {
    const Schedule s = schedule(Schedule::Kind::cosine, ratio);
    for (int64_t step = 100; step < 1000; ++step) {
      const double factor = 0.5 * (1 + std::cos(M_PI * static_cast<double>(step - 100) / 900));
      EXPECT_NEAR(learning_rate(s, step), 3e-3 * (factor * (1 - ratio) + ratio), 1e-17) << step;
    }
  }
}

TEST(Schedule, LinearConstantAndWsd) {
  EXPECT_DOUBLE_EQ(learning_rate(schedule(Schedule::Kind::linear), 550), 1.5e-3);
  EXPECT_NEAR(learning_rate(schedule(Schedule::Kind::linear, 0.2), 999), 3e-3 * (0.8 / 900 + 0.2), 1e-17);
  EXPECT_EQ(learning_rate(schedule(Schedule::Kind::constant), 999), 3e-3);
  const Schedule wsd = schedule(Schedule::Kind::wsd, 0.1);
  EXPECT_EQ(learning_rate(wsd, 500), 3e-3);
  EXPECT_EQ(learning_rate(wsd, 750), 3e-3);
  EXPECT_NEAR(learning_rate(wsd, 875), 3e-3 * 0.55, 1e-17);
  EXPECT_NEAR(learning_rate(wsd, 1000), 3e-4, 1e-17);
}

TEST(Schedule, WithoutWarmupTheFirstStepHasTheFullRate) {
  Schedule s = schedule(Schedule::Kind::cosine);
  s.warmup_steps = 0;
  EXPECT_EQ(learning_rate(s, 0), 3e-3);
}

TEST(Schedule, ARunWithinItsWarmupNeverReachesThePeak) {
  Schedule s = schedule(Schedule::Kind::cosine);
  s.steps = 50;
  EXPECT_DOUBLE_EQ(learning_rate(s, 49), 3e-3 * 0.49);
}

TEST(Schedule, NamesAreChecked) {
  EXPECT_EQ(parse_schedule("wsd"), Schedule::Kind::wsd);
  EXPECT_THROW(parse_schedule("cos"), UsageError);
}

}  // namespace ds
