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

Moments8 make_moments(Arena& arena, int64_t n) {
  const int64_t blocks = (n + kMomentBlock - 1) / kMomentBlock;
  return {arena.make(DType::u8, {n}), arena.make(DType::f32, {blocks}), arena.make(DType::u8, {n}), arena.make(DType::f32, {blocks})};
}

// What the codes say, by the definition in ops.h.
double decoded(uint8_t code, bool has_sign) {
  const int magnitude = has_sign ? code & 0x7f : code, top = has_sign ? 127 : 255;
  if (magnitude == 0) return 0;
  const int eighths = magnitude - top;                       // steps of an eighth of an octave, up to 0
  const int octave = (eighths - 7) / 8, within = eighths - 8 * octave;
  const double value = std::ldexp(8.0 + within, octave - 3);
  return has_sign && code & 0x80 ? -value : value;
}

TEST(AdamW8, moments_are_those_of_adamw_within_a_sixteenth) {
  Arena arena;
  const int64_t n = 1003;
  const Tensor p = random_tensor(arena, {n}, 1), q = arena.make(DType::f32, {n});
  convert(p, q);
  const Tensor m = arena.make(DType::f32, {n}), v = arena.make(DType::f32, {n}), g = random_tensor(arena, {n}, 3);
  const Moments8 small = make_moments(arena, n);
  adamw(p, g, m, v, {});
  adamw8(q, g, small, {});
  EXPECT_EQ(doubles(p), doubles(q));  // a first step has no rounded moment in it yet
  for (int64_t i = 0; i < n; ++i) {
    const double m8 = decoded(small.m_codes.as<uint8_t>()[i], true) * small.m_scales.f32()[i / kMomentBlock];
    const double v8 = decoded(small.v_codes.as<uint8_t>()[i], false) * small.v_scales.f32()[i / kMomentBlock];
    EXPECT_NEAR(m8, m.f32()[i], std::fabs(m.f32()[i]) / 16 + small.m_scales.f32()[i / kMomentBlock] * std::ldexp(1, -15)) << i;
    EXPECT_NEAR(v8, v.f32()[i], std::fabs(v.f32()[i]) / 16 + small.v_scales.f32()[i / kMomentBlock] * std::ldexp(1, -30)) << i;
    if (v.f32()[i] > 0) { EXPECT_GT(v8, 0); }
  }
}

// It finds the minimum of a badly scaled bowl as adamw does.
TEST(AdamW8, descends_like_adamw) {
  Arena arena;
  const int64_t n = 700;
  const Tensor p = random_tensor(arena, {n}, 1), q = arena.make(DType::f32, {n}), g = arena.make(DType::f32, {n});
  convert(p, q);
  const Tensor m = arena.make(DType::f32, {n}), v = arena.make(DType::f32, {n});
  const Moments8 small = make_moments(arena, n);
  const auto height = [&](const Tensor& x) {
    double sum = 0;
    for (int64_t i = 0; i < n; ++i) sum += std::pow(10.0, i % 7 - 3) * x.f32()[i] * x.f32()[i];
    return sum;
  };
  const auto gradient = [&](const Tensor& x) {
    for (int64_t i = 0; i < n; ++i) g.f32()[i] = static_cast<float>(2 * std::pow(10.0, i % 7 - 3) * x.f32()[i]);
  };
  const double start = height(p);
  AdamWSpec spec{.learning_rate = 0.02f, .weight_decay = 0};
  for (spec.step = 1; spec.step <= 200; ++spec.step) {
    gradient(p), adamw(p, g, m, v, spec);
    gradient(q), adamw8(q, g, small, spec);
  }
  EXPECT_LT(height(p), 1e-2 * start);
  EXPECT_LT(height(q), 1e-2 * start);
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
    const Moments8 small = make_moments(arena, n);
    for (const int64_t step : {1, 2}) adamw8(p, g, small, {.step = step});
    return std::vector<Tensor>{p, m, v, small.m_scales, small.v_scales, small.m_codes, small.v_codes};
  });
  for (const double sum : sums) EXPECT_EQ(sum, sums[0]);
}

}  // namespace
}  // namespace ds
