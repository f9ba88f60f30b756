#include "base/rng.h"

#include <gtest/gtest.h>

#include <cmath>

namespace ds {

// Known answers of the Random123 distribution (kat_vectors, philox4x32 10 rounds).
TEST(Philox, KnownAnswers) {
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}), (std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (std::array<uint32_t, 4>{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Rng, MomentsOfNormalAndUniform) {
  const Rng rng{7, 3};
  double sum = 0, squares = 0, uniform = 0;
  constexpr int n = 20000;
  for (int i = 0; i < n; ++i) {
    const double x = rng.normal(i);
    sum += x, squares += x * x, uniform += rng.uniform(i);
  }
  EXPECT_NEAR(sum / n, 0, 4 / std::sqrt(n));
  EXPECT_NEAR(squares / n, 1, 0.05);
  EXPECT_NEAR(uniform / n, 0.5, 0.01);
}

TEST(Rng, StreamsDiffer) {
  EXPECT_NE((Rng{1, 0}.bits(0)), (Rng{1, 1}.bits(0)));
  EXPECT_NE((Rng{1, 0}.bits(0)), (Rng{2, 0}.bits(0)));
  EXPECT_EQ((Rng{1, 5}.bits(9)), (Rng{1, 5}.bits(9)));
}

}  // namespace ds
