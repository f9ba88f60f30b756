#include "quantize/quantizer.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/dtype.h"
#include "base/rng.h"

namespace ds {

static std::vector<float> random_weights(size_t n, float scale, float shift = 0) {
  std::vector<float> w(n);
  for (size_t i = 0; i < n; ++i) w[i] = static_cast<float>(Rng{3, 1}.normal(i)) * scale + shift;
  return w;
}

TEST(Quantize4Bit, ErrsAtMostHalfAStep) {
  auto w = random_weights(32 * 128, 0.05f, 0.02f);
  const Tensor t = make_tensor(w.data(), DType::f32, {32, 128});
  const Quantized q = quantize_4bit(t, 64);
  std::vector<float> back(w.size());
  dequantize(q, make_tensor(back.data(), DType::f32, {32, 128}));
  for (size_t i = 0; i < w.size(); ++i) {
    const size_t group = i / 64;
    const float scale = f16_to_f32(q.scales[group]);
    const float low = (0 - int{q.zeros[group]}) * scale, high = (15 - int{q.zeros[group]}) * scale;
    // The zero point is rounded, so the range may end up to half a step inside the group's.
    EXPECT_LE(std::fabs(back[i] - std::clamp(w[i], low, high)), scale * 0.5001f);
    EXPECT_LE(std::fabs(back[i] - w[i]), scale * 1.01f);
  }
}

TEST(Quantize4Bit, FakeQuantizeGivesTheSameValues) {
  auto w = random_weights(16 * 64, 1);
  const Tensor t = make_tensor(w.data(), DType::f32, {16, 64});
  std::vector<float> a(w.size()), b(w.size());
  dequantize(quantize_4bit(t, 32), make_tensor(a.data(), DType::f32, {16, 64}));
  fake_quantize(t, 32, make_tensor(b.data(), DType::f32, {16, 64}));
  EXPECT_EQ(a, b);
}

// What has been rounded once stays: writing a file again changes nothing.
TEST(Quantize4Bit, IsIdempotentOnItsOwnGrid) {
  std::vector<float> w(64);
  for (size_t i = 0; i < w.size(); ++i) w[i] = 0.5f * (static_cast<float>(i % 16) - 4);
  const Tensor t = make_tensor(w.data(), DType::f32, {1, 64});
  std::vector<float> back(w.size());
  fake_quantize(t, 64, make_tensor(back.data(), DType::f32, {1, 64}));
  EXPECT_EQ(w, back);
}

TEST(Quantize4Bit, RefusesGroupsThatDoNotFit) {
  std::vector<float> w(8 * 100);
  EXPECT_THROW(quantize_4bit(make_tensor(w.data(), DType::f32, {8, 100}), 64), Error);
}

// AutoAWQ: word (k, c) holds outputs 8c + (0, 2, 4, 6, 1, 3, 5, 7), the lowest nibble first.
TEST(AwqLayout, OrdersNibblesAsAutoAwqDoes) {
  Quantized q{8, 2, 2, std::vector<uint8_t>(16), std::vector<uint8_t>(8), std::vector<uint16_t>(8)};
  for (uint8_t n = 0; n < 8; ++n) {
    q.q[n * 2] = n;
    q.q[n * 2 + 1] = static_cast<uint8_t>(15 - n);
    q.zeros[n] = n;
    q.scales[n] = f32_to_f16(n);
  }
  const AwqTensors a = awq_layout(q);
  EXPECT_EQ(a.qweight, (std::vector<uint32_t>{0x75316420, 0x8ace9bdf}));
  EXPECT_EQ(a.qzeros, (std::vector<uint32_t>{0x75316420}));
  EXPECT_EQ(a.scales[5], f32_to_f16(5));
}

}  // namespace ds
