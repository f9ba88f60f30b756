#include "tensor/check.h"

namespace ds {

TEST(Bias, is_added_to_each_row_and_its_gradient_is_their_sum) {
  Arena arena;
  const int64_t t = 203, n = 37;
  const Tensor plain = random_tensor(arena, {t, n}, 1), x = strided(arena, plain), bias = random_tensor(arena, {n}, 2);
  add_bias(x, bias);
  std::vector<double> want = doubles(plain), sums = doubles(bias);
  for (int64_t r = 0; r < t; ++r)
    for (int64_t c = 0; c < n; ++c) want[r * n + c] += bias.f32()[c], sums[c] += plain.f32()[r * n + c];
  expect_close(x, want, 1e-6);
  add_bias_backward(plain, bias);  // adds to what is there
  expect_close(bias, sums, 1e-6);
  EXPECT_THROW(add_bias(x, random_tensor(arena, {n + 1}, 2)), Error);
}

TEST(Bias, same_bytes) {
  expect_same_bytes([](Arena& arena) {
    const Tensor x = random_tensor(arena, {1000, 45}, 1), bias = random_tensor(arena, {45}, 2);
    add_bias_backward(x, bias);
    add_bias(x, bias);
    return std::vector<Tensor>{x, bias};
  });
}

}  // namespace ds
