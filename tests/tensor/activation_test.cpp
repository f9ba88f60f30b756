#include "tensor/check.h"

namespace ds {

static std::vector<double> reference(const std::vector<double>& gate, const std::vector<double>& up, Activation act) {
  std::vector<double> y(gate.size());
  for (size_t i = 0; i < y.size(); ++i) {
    const double x = gate[i];
    const double value = act == Activation::silu ? x / (1 + std::exp(-x))
                                                 : 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    y[i] = value * up[i];
  }
  return y;
}

class GatedActivation : public testing::TestWithParam<Activation> {};

TEST_P(GatedActivation, agrees_with_the_reference_and_its_finite_differences) {
  const Activation act = GetParam();
  Arena arena;
  const Tensor gate = strided(arena, random_tensor(arena, {6, 45}, 1, 3)), up = random_tensor(arena, {6, 45}, 2);
  const Tensor y = random_tensor(arena, {6, 45}, 3), dy = random_tensor(arena, {6, 45}, 4);
  gated_activation(gate, up, act, y);
  expect_close(y, reference(doubles(gate), doubles(up), act), 1e-6);
  const Tensor dgate = strided(arena, random_tensor(arena, {6, 45}, 5)), dup = random_tensor(arena, {6, 45}, 6);
  gated_activation_backward(dy, gate, up, act, dgate, dup);
  expect_close(dgate, numeric_gradient([&](const auto& v) { return dot(doubles(dy), reference(v, doubles(up), act)); }, doubles(gate)), 2e-6);
  expect_close(dup, numeric_gradient([&](const auto& v) { return dot(doubles(dy), reference(doubles(gate), v, act)); }, doubles(up)), 2e-6);
}

TEST_P(GatedActivation, saturates_quietly) {
  Arena arena;
  const Tensor gate = arena.make(DType::f32, {4}), up = arena.make(DType::f32, {4}), y = arena.make(DType::f32, {4});
  const float far[] = {-200, -90, 90, 200};
  std::copy(far, far + 4, gate.f32());
  fill(up, 1);
  gated_activation(gate, up, GetParam(), y);
  EXPECT_NEAR(y.f32()[0], 0, 1e-30);
  EXPECT_NEAR(y.f32()[1], 0, 1e-30);
  EXPECT_EQ(y.f32()[2], 90);
  EXPECT_EQ(y.f32()[3], 200);
}

TEST_P(GatedActivation, same_bytes) {
  expect_same_bytes([](Arena& arena) {
    const Tensor gate = random_tensor(arena, {200, 333}, 1), up = random_tensor(arena, {200, 333}, 2), dy = random_tensor(arena, {200, 333}, 3);
    const Tensor y = arena.make(DType::f32, {200, 333}), dgate = arena.make(DType::f32, {200, 333}), dup = arena.make(DType::f32, {200, 333});
    gated_activation(gate, up, GetParam(), y);
    gated_activation_backward(dy, gate, up, GetParam(), dgate, dup);
    return std::vector<Tensor>{y, dgate, dup};
  });
}

INSTANTIATE_TEST_SUITE_P(Kinds, GatedActivation, testing::Values(Activation::silu, Activation::gelu_tanh));

TEST(Caps, agree_with_the_reference) {
  Arena arena;
  const Tensor x = strided(arena, random_tensor(arena, {6, 45}, 1, 3)), y = strided(arena, random_tensor(arena, {6, 45}, 1, 3));
  std::vector<double> clamped = doubles(x), capped = clamped;
  for (double& v : clamped) v = std::clamp(v, -1.5, 1.5);
  for (double& v : capped) v = 2.5 * std::tanh(v / 2.5);
  clamp(x, 1.5f);
  softcap(y, 2.5f);
  expect_close(x, clamped, 0);
  expect_close(y, capped, 1e-6);
  EXPECT_THROW(clamp(x, 0), Error);
  EXPECT_THROW(softcap(x, -1), Error);
}

TEST(Caps, same_bytes) {
  expect_same_bytes([](Arena& arena) {
    const Tensor x = random_tensor(arena, {200, 333}, 1, 3), y = random_tensor(arena, {200, 333}, 2, 3);
    clamp(x, 1.5f);
    softcap(y, 2.5f);
    return std::vector<Tensor>{x, y};
  });
}

}  // namespace ds
