// sum_of_squares and adamw.
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

void adamw(const Tensor& p, const Tensor& g, const Tensor& m, const Tensor& v, const AdamWSpec& spec) {
  for (const Tensor& t : {p, g, m, v}) require_f32("adamw", t);
  require(spec.step >= 1, "adamw: steps count from 1, not ", spec.step);
  const double lr = spec.learning_rate, beta1 = spec.beta1, beta2 = spec.beta2, step = static_cast<double>(spec.step);
  const AdamWFactors f = {
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
  for_spans("adamw", {p, g, m, v}, [&](const auto& at, size_t count) {
    DS_SIMD_DISPATCH(adamw_span)(p.f32() + at[0], g.f32() + at[1], m.f32() + at[2], v.f32() + at[3], f, count);
  });
}

}  // namespace ds::cpu
#endif
