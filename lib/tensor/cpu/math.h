// exp, log, tanh and the like in f32, the project's own: the same bits on every processor, and the same as a lane of
// simd.h, which evaluates the same polynomials in the same order (a test compares them). Polynomials: Remez fits on the
// reduced range, error below 2^-27; results are within 2 ulp (log: 2 ulp or 1e-7 absolute near 1; see math_test).
#pragma once
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace ds::math {

// Shared with simd.h.
constexpr float kLog2E = 0x1.715476p+0f;
constexpr float kLn2High = 0x1.62e4p-1f, kLn2Low = 0x1.7f7d1cp-20f;  // ln 2 in two parts; n * high is exact
constexpr float kRound = 0x1.8p+23f;              // x + kRound - kRound is x to the nearest integer, even on ties
constexpr float kExpMin = -87.33654f;             // below, exp is less than the least normal number: 0
constexpr float kExpMax = 88.72283f;              // above, infinity
// (e^r - 1 - r) / r^2 on |r| <= ln(2) / 2.
constexpr float kExp[] = {0x1.fffffcp-2f, 0x1.55549p-3f, 0x1.5558fcp-5f, 0x1.123b9ap-7f, 0x1.6a215ap-10f};
// (log(1 + f) - f + f^2 / 2) / f^3 on sqrt(1/2) <= 1 + f <= sqrt(2).
constexpr float kLog[] = {0x1.555546p-2f,  -0x1.ffffeep-3f, 0x1.99a546p-3f,  -0x1.5562e4p-3f, 0x1.2332cp-3f,
                          -0x1.fb432ap-4f, 0x1.e650a2p-4f,  -0x1.e2e9b4p-4f, 0x1.1b42c2p-4f};
// (tanh(x) / x - 1) / x^2 as a polynomial in x^2 on |x| <= 0.625.
constexpr float kTanh[] = {-0x1.555534p-2f, 0x1.110768p-3f, -0x1.b84448p-5f, 0x1.5256d8p-6f, -0x1.76ac1cp-8f};
constexpr float kTanhSmall = 0.625f;
constexpr float kSqrtHalf = 0x1.6a09e6p-1f;

// c[0] + x c[1] + x^2 c[2] + ..., by Horner's rule with fused steps.
template <size_t N>
inline float polynomial(float x, const float (&c)[N]) {
  float y = c[N - 1];
  for (size_t i = N - 1; i-- > 0;) y = std::fma(y, x, c[i]);
  return y;
}

// e^x; 0 below kExpMin (no subnormal results), infinity above kExpMax.
inline float exp(float x) {
  if (x < kExpMin) return 0;
  if (!(x <= kExpMax)) return x + std::numeric_limits<float>::infinity();
  const float t = std::fma(x, kLog2E, kRound), n = t - kRound;
  const float r = std::fma(-n, kLn2Low, std::fma(-n, kLn2High, x));
  const float y = std::fma(r * r, polynomial(r, kExp), r) + 1.0f;
  return std::bit_cast<float>(std::bit_cast<uint32_t>(y) + (std::bit_cast<uint32_t>(t) << 23));
}

// The natural logarithm; -infinity at 0 (subnormals count as 0), NaN below.
inline float log(float x) {
  if (x < std::numeric_limits<float>::min()) {
    return x < 0 ? std::numeric_limits<float>::quiet_NaN() : -std::numeric_limits<float>::infinity();
  }
  if (!(x < std::numeric_limits<float>::infinity())) return x;
  // x = 2^n m with m in [sqrt(1/2), sqrt(2)).
  const uint32_t shifted = std::bit_cast<uint32_t>(x) - std::bit_cast<uint32_t>(kSqrtHalf);
  const float n = static_cast<float>(static_cast<int32_t>(shifted) >> 23);
  const float f = std::bit_cast<float>((shifted & 0x7fffff) + std::bit_cast<uint32_t>(kSqrtHalf)) - 1.0f;
  const float f2 = f * f;
  float y = (f2 * f) * polynomial(f, kLog);
  y = std::fma(n, kLn2Low, y);
  y = std::fma(-0.5f, f2, y);
  return std::fma(n, kLn2High, f + y);
}

inline float sigmoid(float x) { return 1.0f / (1.0f + exp(-x)); }

inline float tanh(float x) {
  const float a = std::fabs(x), x2 = x * x;
  if (a < kTanhSmall) return std::fma(x2 * x, polynomial(x2, kTanh), x);
  return std::copysign(1.0f - 2.0f / (exp(a + a) + 1.0f), x);
}

}  // namespace ds::math
