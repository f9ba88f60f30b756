#include "base/math.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/rng.h"

namespace ds {

// The reference is libm's long double, which carries 11 bits more.
static_assert(std::numeric_limits<long double>::digits > 60);

TEST(Math, exp_is_within_2e16) {
  const Rng rng{1, 1};
  for (uint64_t i = 0; i < 200000; ++i) {
    const double x = (rng.uniform(i) * 2 - 1) * (i % 2 ? 708 : 2);
    const long double want = std::exp(static_cast<long double>(x));
    ASSERT_LE(std::fabs((math::exp(x) - want) / want), 2e-16L) << x;
  }
  EXPECT_EQ(math::exp(0), 1);
  EXPECT_EQ(math::exp(-1e9), 0);
  EXPECT_EQ(math::exp(-INFINITY), 0);
  EXPECT_EQ(math::exp(709.79), INFINITY);
  EXPECT_NEAR(math::exp(709.78) / std::exp(709.78), 1, 1e-15);
  EXPECT_TRUE(std::isnan(math::exp(NAN)));
}

TEST(Math, log_is_within_3e16) {
  const Rng rng{1, 2};
  for (uint64_t i = 0; i < 200000; ++i) {
    const double u = rng.uniform(2 * i);
    const double x = i % 3 == 0 ? 0.5 + u : i % 3 == 1 ? u * 10000 : std::ldexp(u, static_cast<int>(rng.below(2 * i + 1, 2040)) - 1060);
    if (x == 0 || x == 1) continue;
    const long double want = std::log(static_cast<long double>(x));
    ASSERT_LE(std::fabs((math::log(x) - want) / want), 3e-16L) << x;
  }
  EXPECT_EQ(math::log(1), 0);
  EXPECT_EQ(math::log(0), -INFINITY);
  EXPECT_EQ(math::log(INFINITY), INFINITY);
  EXPECT_TRUE(std::isnan(math::log(-1)));
  EXPECT_TRUE(std::isnan(math::log(NAN)));
}

TEST(Math, sin_and_cos_are_within_2e16) {
  const Rng rng{1, 3};
  for (uint64_t i = 0; i < 200000; ++i) {
    const double x = (rng.uniform(i) * 2 - 1) * (i % 3 == 0 ? 4.0 : i % 3 == 1 ? 2e5 : 1e9);
    ASSERT_LE(std::fabs(math::sin(x) - std::sin(static_cast<long double>(x))), 2e-16L) << x;
    ASSERT_LE(std::fabs(math::cos(x) - std::cos(static_cast<long double>(x))), 2e-16L) << x;
  }
  for (int i = -20; i < 20; ++i) {  // near multiples of pi / 2, where the reduction cancels
    const double x = i * 1.5707963267948966;
    ASSERT_LE(std::fabs(math::sin(x) - std::sin(static_cast<long double>(x))), 2e-16L) << i;
    ASSERT_LE(std::fabs(math::cos(x) - std::cos(static_cast<long double>(x))), 2e-16L) << i;
  }
  EXPECT_EQ(math::sin(0), 0);
  EXPECT_EQ(math::cos(0), 1);
  EXPECT_TRUE(std::isnan(math::sin(INFINITY)));
  EXPECT_TRUE(std::isnan(math::cos(1e12)));
}

TEST(Math, pow_is_as_close_as_it_says) {
  for (double base : {10000.0, 500000.0, 1e6, 2.0, 0.3}) {
    for (int i = -64; i <= 64; ++i) {
      const double y = i / 32.0;
      const long double want = std::pow(static_cast<long double>(base), static_cast<long double>(y));
      const double bound = 3e-16 * (1 + std::fabs(y * std::log(base)));
      ASSERT_LE(std::fabs((math::pow(base, y) - want) / want), bound) << base << " " << y;
    }
  }
  EXPECT_EQ(math::pow(0, 2), 0);
  EXPECT_EQ(math::pow(0, 0), 1);
  EXPECT_TRUE(std::isnan(math::pow(-2, 0.5)));
}

}  // namespace ds
