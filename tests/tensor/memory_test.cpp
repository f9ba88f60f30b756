#include "tensor/check.h"

namespace ds {

TEST(Memory, convert_rounds_as_the_scalar_conversions_between_all_formats) {
  Arena arena;
  const int64_t n = 1000;
  const Tensor x = random_tensor(arena, {n}, 1, 3);
  x.f32()[0] = INFINITY, x.f32()[1] = -0.0f, x.f32()[2] = 1e-6f, x.f32()[3] = 65519.9f, x.f32()[4] = 1e-39f, x.f32()[5] = 3.4e38f;
  const auto to = [](DType type, float value) {
    return type == DType::f16 ? f16_to_f32(f32_to_f16(value)) : type == DType::bf16 ? bf16_to_f32(f32_to_bf16(value)) : value;
  };
  for (const DType a : {DType::f32, DType::f16, DType::bf16})
    for (const DType b : {DType::f32, DType::f16, DType::bf16}) {
      const Tensor first = arena.make(a, {n}), second = arena.make(b, {n}), back = arena.make(DType::f32, {n});
      convert(x, first);
      convert(first, second);
      convert(second, back);
      for (int64_t i = 0; i < n; ++i) ASSERT_EQ(back.f32()[i], to(b, to(a, x.f32()[i]))) << i;
    }
  EXPECT_THROW(convert(x, arena.make(DType::f32, {n + 1})), Error);
  EXPECT_THROW(convert(x, arena.make(DType::i32, {n})), Error);
}

TEST(Memory, fill_add_and_scale_keep_to_their_columns) {
  Arena arena;
  const Tensor plain = random_tensor(arena, {7, 37}, 1), y = strided(arena, plain), x = random_tensor(arena, {7, 37}, 2);
  float* const around = y.f32() - 3;
  add(x, y);
  scale(y, -2.5f);
  for (int64_t r = 0; r < 7; ++r)
    for (int64_t c = 0; c < 37; ++c)
      ASSERT_EQ(y.f32()[r * y.row_stride + c], (plain.f32()[r * 37 + c] + x.f32()[r * 37 + c]) * -2.5f);
  fill(y, 9);
  for (int64_t r = 0; r < 7; ++r)
    for (int64_t c = 0; c < 42; ++c) ASSERT_EQ(around[r * 42 + c], c >= 3 && c < 40 ? 9 : 0) << r << " " << c;
  EXPECT_THROW(add(x, random_tensor(arena, {37, 7}, 1)), Error);
}

TEST(Memory, same_bytes) {
  expect_same_bytes([](Arena& arena) {
    const Tensor x = random_tensor(arena, {300, 233}, 1), y = random_tensor(arena, {300, 233}, 2), h = arena.make(DType::bf16, {300, 233});
    add(x, y);
    scale(y, 1.7f);
    convert(y, h);
    return std::vector<Tensor>{y, h};
  });
}

}  // namespace ds
