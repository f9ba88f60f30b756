#include "tensor/check.h"

namespace ds {
namespace {

// 40 tokens, each with 3 of 9 experts; experts 0 and 5 get none.
struct Sorted {
  static constexpr int64_t kTokens = 40, kTopK = 3, kExperts = 9, kSlots = kTokens * kTopK;
  Arena arena;
  Tensor indices, offsets, slot_of_row, row_of_slot;
  Sorted() {
    indices = arena.make(DType::i32, {kTokens, kTopK});
    const int32_t used[] = {7, 1, 8, 2, 6, 3, 4};
    for (int64_t t = 0; t < kTokens; ++t)
      for (int64_t k = 0; k < kTopK; ++k) indices.i32()[t * kTopK + k] = used[(t * t + 2 * k) % 7];
    offsets = arena.make(DType::i32, {kExperts + 1});
    slot_of_row = arena.make(DType::i32, {kSlots});
    row_of_slot = arena.make(DType::i32, {kSlots});
    sort_by_expert(indices, offsets, slot_of_row, row_of_slot);
  }
};

TEST(Moe, sort_by_expert_is_a_stable_sort) {
  Sorted s;
  EXPECT_EQ(s.offsets.i32()[0], 0);
  EXPECT_EQ(s.offsets.i32()[Sorted::kExperts], Sorted::kSlots);
  for (int64_t e = 0; e < Sorted::kExperts; ++e)
    for (int32_t r = s.offsets.i32()[e]; r < s.offsets.i32()[e + 1]; ++r) {
      const int32_t slot = s.slot_of_row.i32()[r];
      EXPECT_EQ(s.indices.i32()[slot], e);
      EXPECT_EQ(s.row_of_slot.i32()[slot], r);
      if (r > s.offsets.i32()[e]) {
        EXPECT_GT(slot, s.slot_of_row.i32()[r - 1]);
      }
    }
  EXPECT_EQ(s.offsets.i32()[1], 0);
  s.indices.i32()[5] = Sorted::kExperts;
  EXPECT_THROW(sort_by_expert(s.indices, s.offsets, s.slot_of_row, s.row_of_slot), Error);
}

TEST(Moe, gather_rows_and_back) {
  Sorted s;
  const int64_t n = 21;
  const Tensor x = strided(s.arena, random_tensor(s.arena, {Sorted::kTokens, n}, 1)), y = random_tensor(s.arena, {Sorted::kSlots, n}, 2);
  gather_rows(x, s.slot_of_row, Sorted::kTopK, y);
  for (int64_t r = 0; r < Sorted::kSlots; ++r)
    for (int64_t i = 0; i < n; ++i) ASSERT_EQ(y.f32()[r * n + i], x.f32()[s.slot_of_row.i32()[r] / Sorted::kTopK * x.row_stride + i]);
  const Tensor dy = random_tensor(s.arena, {Sorted::kSlots, n}, 3), dx = random_tensor(s.arena, {Sorted::kTokens, n}, 4);
  auto want = doubles(dx);
  for (int64_t r = 0; r < Sorted::kSlots; ++r)
    for (int64_t i = 0; i < n; ++i) want[s.slot_of_row.i32()[r] / Sorted::kTopK * n + i] += dy.f32()[r * n + i];
  gather_rows_backward(dy, s.row_of_slot, Sorted::kTopK, dx);
  expect_close(dx, want, 1e-6);
  s.slot_of_row.i32()[3] = Sorted::kSlots;
  EXPECT_THROW(gather_rows(x, s.slot_of_row, Sorted::kTopK, y), Error);
}

TEST(Moe, combine_agrees_with_the_reference_and_its_finite_differences) {
  Sorted s;
  const int64_t n = 21, k = Sorted::kTopK;
  const Tensor x = random_tensor(s.arena, {Sorted::kSlots, n}, 1), w = random_tensor(s.arena, {Sorted::kTokens, k}, 2);
  const Tensor y = strided(s.arena, random_tensor(s.arena, {Sorted::kTokens, n}, 3)), dy = random_tensor(s.arena, {Sorted::kTokens, n}, 4);
  const auto reference = [&](const std::vector<double>& xs, const std::vector<double>& ws, std::vector<double> out) {
    for (int64_t slot = 0; slot < Sorted::kSlots; ++slot)
      for (int64_t i = 0; i < n; ++i) out[slot / k * n + i] += ws[slot] * xs[s.row_of_slot.i32()[slot] * n + i];
    return out;
  };
  const auto want = reference(doubles(x), doubles(w), doubles(y));
  combine(x, s.row_of_slot, w, y);
  expect_close(y, want, 1e-6);
  const Tensor dx = random_tensor(s.arena, {Sorted::kSlots, n}, 5), dw = random_tensor(s.arena, {Sorted::kTokens, k}, 6);
  const std::vector<double> zero(Sorted::kTokens * n);
  combine_backward(dy, x, s.row_of_slot, w, dx, dw);
  expect_close(dx, numeric_gradient([&](const auto& v) { return dot(doubles(dy), reference(v, doubles(w), zero)); }, doubles(x)), 2e-6, "dx");
  expect_close(dw, numeric_gradient([&](const auto& v) { return dot(doubles(dy), reference(doubles(x), v, zero)); }, doubles(w)), 2e-6, "dw");
}

TEST(Moe, same_bytes) {
  expect_same_bytes([](Arena& arena) {
    Sorted s;
    const Tensor x = random_tensor(arena, {Sorted::kTokens, 700}, 1), w = random_tensor(arena, {Sorted::kTokens, 3}, 2);
    const Tensor y = arena.make(DType::f32, {Sorted::kSlots, 700}), out = arena.make(DType::f32, {Sorted::kTokens, 700});
    const Tensor dy = arena.make(DType::f32, {Sorted::kSlots, 700}), dw = arena.make(DType::f32, {Sorted::kTokens, 3});
    gather_rows(x, s.slot_of_row, 3, y);
    combine(y, s.row_of_slot, w, out);
    combine_backward(x, y, s.row_of_slot, w, dy, dw);
    gather_rows_backward(dy, s.row_of_slot, 3, out);
    return std::vector<Tensor>{y, out, dy, dw};
  });
}

}  // namespace
}  // namespace ds
