#include "tensor/check.h"

namespace ds {
namespace {

TEST(SumOfSquares, adds_to_the_double_in_a_fixed_order) {
  Arena arena;
  for (const int64_t n : {0, 1, 1000, 5000, 40003}) {
    const Tensor x = random_tensor(arena, {n}, 1);
    double want = 10, got = 10;
    for (const double v : doubles(x)) want += v * v;
    sum_of_squares(x, &got);
    EXPECT_NEAR(got / want, 1, 1e-6) << n;
  }
}

// torch.optim.AdamW as its documentation states it, in double.
struct Reference {
  std::vector<double> p, m, v;
  void step(const std::vector<double>& gradient, const AdamWSpec& s) {
    const double t = static_cast<double>(s.step);
    for (size_t i = 0; i < p.size(); ++i) {
      const double g = gradient[i] * s.grad_scale;
      p[i] *= 1 - static_cast<double>(s.learning_rate) * s.weight_decay;
      m[i] = s.beta1 * m[i] + (1 - static_cast<double>(s.beta1)) * g;
      v[i] = s.beta2 * v[i] + (1 - static_cast<double>(s.beta2)) * g * g;
      const double m_hat = m[i] / (1 - std::pow(s.beta1, t)), v_hat = v[i] / (1 - std::pow(s.beta2, t));
      p[i] -= s.learning_rate * m_hat / (std::sqrt(v_hat) + s.epsilon);
    }
  }
};

TEST(AdamW, follows_the_reference_for_ten_steps) {
  Arena arena;
  const int64_t n = 1003;
  const Tensor p = random_tensor(arena, {n}, 1), m = arena.make(DType::f32, {n}), v = arena.make(DType::f32, {n});
  Reference want{doubles(p), doubles(m), doubles(v)};
  AdamWSpec spec{.learning_rate = 0.05f, .weight_decay = 0.3f, .grad_scale = 0.25f};
  for (spec.step = 1; spec.step <= 10; ++spec.step) {
    const Tensor g = random_tensor(arena, {n}, 10 + static_cast<uint64_t>(spec.step), 1e-3);
    if (spec.step > 5) fill(rows(g, 0, 100), 0);  // an expert without tokens: its moments and its decay still apply
    want.step(doubles(g), spec);
    adamw(p, g, m, v, spec);
  }
  expect_close(m, want.m, 3e-6, "m");
  expect_close(v, want.v, 3e-6, "v");
  expect_close(p, want.p, 3e-6, "p");
  spec.step = 0;
  EXPECT_THROW(adamw(p, p, m, v, spec), Error);
}

TEST(Optimizer, same_bytes) {
  std::vector<double> sums;
  expect_same_bytes([&](Arena& arena) {
    const int64_t n = 100003;
    const Tensor p = random_tensor(arena, {n}, 1), g = random_tensor(arena, {n}, 2), m = arena.make(DType::f32, {n}), v = arena.make(DType::f32, {n});
    double sum = 0;
    sum_of_squares(g, &sum);
    sums.push_back(sum);
    adamw(p, g, m, v, {.step = 3});
    return std::vector<Tensor>{p, m, v};
  });
  for (const double sum : sums) EXPECT_EQ(sum, sums[0]);
}

}  // namespace
}  // namespace ds
