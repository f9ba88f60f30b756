#include "tensor/check.h"

namespace ds {

static double value_of(Activation act, double x) {
  if (act == Activation::silu) return x / (1 + std::exp(-x));
  if (act == Activation::gelu) return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}

static std::vector<double> reference(const std::vector<double>& gate, const std::vector<double>& up, Activation act) {
  std::vector<double> y(gate.size());
  for (size_t i = 0; i < y.size(); ++i) {
    y[i] = value_of(act, gate[i]) * up[i];
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

INSTANTIATE_TEST_SUITE_P(Kinds, GatedActivation, testing::Values(Activation::silu, Activation::gelu_tanh, Activation::gelu));

TEST_P(GatedActivation, without_a_gate_it_is_the_activation) {
  const Activation act = GetParam();
  Arena arena;
  const Tensor x = strided(arena, random_tensor(arena, {6, 45}, 1, 3)), y = random_tensor(arena, {6, 45}, 3), dy = random_tensor(arena, {6, 45}, 4);
  const auto plain = [act](std::vector<double> v) {
    for (double& one : v) one = value_of(act, one);
    return v;
  };
  activation(x, act, y);
  expect_close(y, plain(doubles(x)), 1e-6);
  const Tensor dx = strided(arena, random_tensor(arena, {6, 45}, 5));
  activation_backward(dy, x, act, dx);
  expect_close(dx, numeric_gradient([&](const auto& v) { return dot(doubles(dy), plain(v)); }, doubles(x)), 2e-6);
  EXPECT_THROW(activation(x, act, random_tensor(arena, {6, 44}, 1)), Error);
}

TEST_P(GatedActivation, same_bytes_without_a_gate) {
  expect_same_bytes([](Arena& arena) {
    const Tensor x = random_tensor(arena, {200, 333}, 1), dy = random_tensor(arena, {200, 333}, 3);
    const Tensor y = arena.make(DType::f32, {200, 333}), dx = arena.make(DType::f32, {200, 333});
    activation(x, GetParam(), y);
    activation_backward(dy, x, GetParam(), dx);
    return std::vector<Tensor>{y, dx};
  });
}

// Its own relative error, far into the tail, where the value is tiny.
TEST(Gelu, keeps_its_digits) {
  Arena arena;
  const Tensor x = arena.make(DType::f32, {2600}), y = arena.make(DType::f32, {2600});
  for (int64_t i = 0; i < 2600; ++i) x.f32()[i] = -13.0f + 0.01f * static_cast<float>(i);
  activation(x, Activation::gelu, y);
  for (int64_t i = 0; i < 2600; ++i) {
    const double want = value_of(Activation::gelu, static_cast<double>(x.f32()[i]));
    ASSERT_NEAR(y.f32()[i], want, 5e-6 * std::abs(want) + 1e-37) << x.f32()[i];
  }
}

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

TEST(Caps, gradients_are_those_of_finite_differences) {
  Arena arena;
  const Tensor x = strided(arena, random_tensor(arena, {6, 45}, 1, 3)), y = strided(arena, random_tensor(arena, {6, 45}, 1, 3));
  const Tensor clamped = random_tensor(arena, {6, 45}, 2), capped = random_tensor(arena, {6, 45}, 2);
  const auto capping = [](std::vector<double> v) {
    for (double& one : v) one = 2.5 * std::tanh(one / 2.5);
    return v;
  };
  const std::vector<double> dy = doubles(clamped), before = doubles(y);
  std::vector<double> want = dy;
  for (size_t i = 0; i < want.size(); ++i)
    if (std::abs(before[i]) > 1.5) want[i] = 0;
  clamp_backward(clamped, x, 1.5f);
  expect_close(clamped, want, 0);
  softcap(y, 2.5f);
  softcap_backward(capped, y, 2.5f);
  expect_close(capped, numeric_gradient([&](const auto& v) { return dot(dy, capping(v)); }, before), 2e-6);
}

TEST(Caps, same_bytes) {
  expect_same_bytes([](Arena& arena) {
    const Tensor x = random_tensor(arena, {200, 333}, 1, 3), y = random_tensor(arena, {200, 333}, 2, 3);
    const Tensor dx = random_tensor(arena, {200, 333}, 3), dy = random_tensor(arena, {200, 333}, 4);
    clamp_backward(dx, x, 1.5f);
    clamp(x, 1.5f);
    softcap(y, 2.5f);
    softcap_backward(dy, y, 2.5f);
    return std::vector<Tensor>{x, y, dx, dy};
  });
}

}  // namespace ds
