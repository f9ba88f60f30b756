#include "tensor/check.h"

namespace ds {

TEST(Linear, BackwardWidensWeightsOfSixteenBits) {
  Arena arena;
  const Tensor dy = random_tensor(arena, {6, 10}, 1), w = random_tensor(arena, {10, 40}, 2), experts = random_tensor(arena, {2, 10, 40}, 3);
  const Tensor offsets = arena.make(DType::i32, {3});
  offsets.i32()[1] = 4, offsets.i32()[2] = 6;
  for (const DType dtype : {DType::f16, DType::bf16}) {
    const Tensor narrow = arena.make(dtype, {10, 40}), narrow_experts = arena.make(dtype, {2, 10, 40});
    const Tensor wide = arena.make(DType::f32, {10, 40}), wide_experts = arena.make(DType::f32, {2, 10, 40});
    convert(w, narrow), convert(narrow, wide), convert(experts, narrow_experts), convert(narrow_experts, wide_experts);
    const Tensor from_narrow = arena.make(DType::f32, {6, 40}), from_wide = arena.make(DType::f32, {6, 40});
    linear_backward_input(dy, narrow, from_narrow), linear_backward_input(dy, wide, from_wide);
    EXPECT_EQ(bytes(from_narrow), bytes(from_wide));
    grouped_linear_backward_input(dy, offsets, narrow_experts, from_narrow);
    grouped_linear_backward_input(dy, offsets, wide_experts, from_wide);
    EXPECT_EQ(bytes(from_narrow), bytes(from_wide));
  }
}

}  // namespace ds
