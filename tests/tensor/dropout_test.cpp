#include "tensor/check.h"

namespace ds {

TEST(Dropout, DropsItsShareAndKeepsTheMean) {
  Arena arena;
  const Tensor x = arena.make(DType::f32, {500, 203});
  fill(x, 1);
  dropout(x, {.rate = 0.1f, .seed = 7, .stream = 3});
  double zeros = 0, sum = 0;
  for (const double v : doubles(x)) {
    zeros += v == 0;
    sum += v;
    EXPECT_TRUE(v == 0 || v == static_cast<double>(1 / 0.9f));
  }
  const double n = 500 * 203, sigma = std::sqrt(n * 0.09);
  EXPECT_NEAR(zeros, 0.1 * n, 4 * sigma);
  EXPECT_NEAR(sum, n, 5 * sigma);
  const Tensor none = random_tensor(arena, {3, 5}, 1), same = arena.make(DType::f32, {3, 5});
  convert(none, same);
  dropout(none, {});
  EXPECT_EQ(bytes(none), bytes(same));
  EXPECT_THROW(dropout(x, {.rate = 1}), Error);
}

// What falls depends on the row's number in the whole batch, so micro-batches drop what the whole drops; other seeds,
// streams and rows drop something else.
TEST(Dropout, RowsAreDecidedByTheirNumber) {
  Arena arena;
  const auto mask = [&](DropoutSpec spec, int64_t rows_of) {
    const Tensor x = arena.make(DType::f32, {rows_of, 37});
    fill(x, 1);
    spec.rate = 0.5f;
    dropout(x, spec);
    return doubles(x);
  };
  const auto whole = mask({.seed = 1, .stream = 2}, 10), part = mask({.seed = 1, .stream = 2, .first_row = 4}, 3);
  EXPECT_TRUE(std::equal(part.begin(), part.end(), whole.begin() + 4 * 37));
  EXPECT_NE(whole, mask({.seed = 2, .stream = 2}, 10));
  EXPECT_NE(whole, mask({.seed = 1, .stream = 3}, 10));
  EXPECT_NE(std::vector<double>(whole.begin(), whole.begin() + 37), std::vector<double>(whole.begin() + 37, whole.begin() + 74));
}

TEST(Dropout, SameBytes) {
  expect_same_bytes([](Arena& arena) {
    const Tensor x = random_tensor(arena, {301, 130}, 5);
    dropout(x, {.rate = 0.3f, .seed = 9, .stream = 1, .first_row = 12});
    return std::vector<Tensor>{x};
  });
}

// What comes back is within half a step of the part's scale, the largest of a part to rounding itself, and parts are as
// kv_write's: 32 columns, anew from the split.
TEST(KvRound, IsTheRoundingOfThePages) {
  Arena arena;
  const int64_t columns = 72;
  const int split = 40;
  const Tensor x = random_tensor(arena, {5, 2 * columns}, 3), y = arena.make(DType::f32, {5, 2 * columns});
  convert(x, y);
  kv_round(y, columns, split);
  const std::vector<double> before = doubles(x), after = doubles(y);
  const std::vector<std::pair<int64_t, int64_t>> parts = {{0, 32}, {32, 40}, {40, 72}};
  for (int64_t head = 0; head < 10; ++head)
    for (const auto& [begin, end] : parts) {
      double most = 0;
      for (int64_t i = begin; i < end; ++i) most = std::max(most, std::fabs(before[static_cast<size_t>(head * columns + i)]));
      for (int64_t i = begin; i < end; ++i) {
        const auto at = static_cast<size_t>(head * columns + i);
        EXPECT_NEAR(after[at], before[at], most / 254 * 1.0001);
        EXPECT_NEAR(after[at] / (most / 127), std::round(after[at] / (most / 127)), 1e-4);
      }
    }
  EXPECT_THROW(kv_round(x, 71, 0), Error);
}

}  // namespace ds
