// sum_of_squares, adamw and adamw8.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/optimizer.cpp"
#include <hwy/foreach_target.h>
#include "tensor/cpu/simd.h"

#ifndef DS_TENSOR_CPU_ADAMW_FACTORS
#define DS_TENSOR_CPU_ADAMW_FACTORS
namespace ds::cpu {
// What a step of AdamW multiplies with, computed once in double.
struct AdamWFactors {
  float grad, decay, beta1, one_minus_beta1, beta2, one_minus_beta2, step_size, root_correction, epsilon;
};
}  // namespace ds::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace ds::cpu::HWY_NAMESPACE {

static float squares_span(const float* x, size_t n) {
  F32x16 sum = 0.0f;
  for (size_t i = 0; i < n; i += kLanes) {
    const F32x16 v = load(x + i, n - i);
    sum = mul_add(v, v, sum);
  }
  return reduce_add(sum);
}

static void adamw_span(float* p, const float* g, float* m, float* v, const AdamWFactors& f, size_t n) {
  for (size_t i = 0; i < n; i += kLanes) {
    const size_t k = n - i;
    const F32x16 gi = load(g + i, k) * f.grad;
    const F32x16 mi = mul_add(load(m + i, k), f.beta1, gi * f.one_minus_beta1);
    const F32x16 vi = mul_add(load(v + i, k), f.beta2, gi * gi * f.one_minus_beta2);
    const F32x16 update = mi / mul_add(sqrt(vi), f.root_correction, f.epsilon);
    store(mi, m + i, k);
    store(vi, v + i, k);
    store(neg_mul_add(update, f.step_size, load(p + i, k) * f.decay), p + i, k);
  }
}

}  // namespace ds::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <array>
#include <bit>
#include <cmath>
#include <vector>

#include "base/math.h"
#include "tensor/cpu/arguments.h"
#include "tensor/cpu/dispatch.h"
#include "tensor/ops.h"

namespace ds::cpu {
HWY_EXPORT(squares_span);
HWY_EXPORT(adamw_span);

// Chunks of 1024 numbers are summed in f32, their sums in double, in order.
void sum_of_squares(const Tensor& x, double* sum) {
  constexpr size_t kChunk = 1024;
  require_f32("sum_of_squares", x);
  require(x.contiguous(), "sum_of_squares: ", describe(x), " has a row stride of ", x.row_stride);
  const size_t n = static_cast<size_t>(x.elements());
  std::vector<float> sums((n + kChunk - 1) / kChunk);
  parallel_for(sums.size(), 32, [&](size_t begin, size_t end) {
    for (size_t c = begin; c < end; ++c)
      sums[c] = DS_SIMD_DISPATCH(squares_span)(x.f32() + c * kChunk, std::min(kChunk, n - c * kChunk));
  });
  for (const float s : sums) *sum += s;
}

static AdamWFactors factors_of(const AdamWSpec& spec) {
  require(spec.step >= 1, "adamw: steps count from 1, not ", spec.step);
  const double lr = spec.learning_rate, beta1 = spec.beta1, beta2 = spec.beta2, step = static_cast<double>(spec.step);
  return {
      .grad = spec.grad_scale,
      .decay = static_cast<float>(1.0 - lr * spec.weight_decay),
      .beta1 = spec.beta1,
      .one_minus_beta1 = static_cast<float>(1.0 - beta1),
      .beta2 = spec.beta2,
      .one_minus_beta2 = static_cast<float>(1.0 - beta2),
      .step_size = static_cast<float>(lr / (1.0 - math::pow(beta1, step))),
      .root_correction = static_cast<float>(1.0 / std::sqrt(1.0 - math::pow(beta2, step))),
      .epsilon = spec.epsilon,
  };
}

void adamw(const Tensor& p, const Tensor& g, const Tensor& m, const Tensor& v, const AdamWSpec& spec) {
  for (const Tensor& t : {p, g, m, v}) require_f32("adamw", t);
  const AdamWFactors f = factors_of(spec);
  for_spans("adamw", {p, g, m, v}, [&](const auto& at, size_t count) {
    DS_SIMD_DISPATCH(adamw_span)(p.f32() + at[0], g.f32() + at[1], m.f32() + at[2], v.f32() + at[3], f, count);
  });
}

// Codes of 8 bits for numbers in [0, 1], of kBits bits: the top bits of the float, so that 1 has the greatest code. Code 0 is
// zero, the others are (8 + their low 3 bits) * 2^exponent.
template <uint32_t kBits>
struct Codes {
  static constexpr uint32_t kTop = (1u << kBits) - 1, kOffset = (0x3f800000u >> 20) - kTop;
  static uint32_t encode(float x) {
    const uint32_t u = std::bit_cast<uint32_t>(x), rounded = (u + 0x7ffff + (u >> 20 & 1)) >> 20;
    return rounded <= kOffset ? 0 : std::min(rounded - kOffset, kTop);
  }
  static float decode(uint32_t code) { return code == 0 ? 0.0f : std::bit_cast<float>((code + kOffset) << 20); }
};

static float largest(const float* x, size_t n) {
  float most = 0;
  for (size_t i = 0; i < n; ++i) most = std::max(most, std::fabs(x[i]));
  return most;
}

// One block: its moments widened, a step as by adamw, and the moments back to codes.
static void adamw8_block(float* p, const float* g, uint8_t* m_codes, float* m_scale, uint8_t* v_codes, float* v_scale,
                         const AdamWFactors& f, size_t n) {
  std::array<float, kMomentBlock> m, v;
  for (size_t i = 0; i < n; ++i) {
    const float magnitude = Codes<7>::decode(m_codes[i] & 0x7f) * *m_scale;
    m[i] = m_codes[i] & 0x80 ? -magnitude : magnitude;
    v[i] = Codes<8>::decode(v_codes[i]) * *v_scale;
  }
  DS_SIMD_DISPATCH(adamw_span)(p, g, m.data(), v.data(), f, n);
  *m_scale = largest(m.data(), n), *v_scale = largest(v.data(), n);
  for (size_t i = 0; i < n; ++i) {
    const uint32_t mi = *m_scale > 0 ? Codes<7>::encode(std::fabs(m[i]) / *m_scale) : 0;
    m_codes[i] = static_cast<uint8_t>(m[i] < 0 ? mi | 0x80 : mi);
    const uint32_t vi = *v_scale > 0 ? Codes<8>::encode(v[i] / *v_scale) : 0;
    v_codes[i] = static_cast<uint8_t>(v[i] > 0 && vi == 0 ? 1 : vi);
  }
}

void adamw8(const Tensor& p, const Tensor& g, const Moments8& s, const AdamWSpec& spec) {
  const auto n = static_cast<size_t>(p.elements()), blocks = (n + kMomentBlock - 1) / kMomentBlock;
  float *weights = f32_array("adamw8", p, n), *m_scales = f32_array("adamw8", s.m_scales, blocks),
        *v_scales = f32_array("adamw8", s.v_scales, blocks);
  const float* gradients = f32_array("adamw8", g, n);
  for (const Tensor& codes : {s.m_codes, s.v_codes})
    require(codes.dtype == DType::u8 && codes.contiguous() && static_cast<size_t>(codes.elements()) == n, "adamw8: ", n,
            " u8 codes are expected, not ", describe(codes));
  const AdamWFactors f = factors_of(spec);
  parallel_for(blocks, 64, [&](size_t begin, size_t end) {
    for (size_t b = begin; b < end; ++b) {
      const size_t from = b * kMomentBlock;
      adamw8_block(weights + from, gradients + from, s.m_codes.as<uint8_t>() + from, m_scales + b, s.v_codes.as<uint8_t>() + from,
                   v_scales + b, f, std::min<size_t>(kMomentBlock, n - from));
    }
  });
}

}  // namespace ds::cpu
#endif
