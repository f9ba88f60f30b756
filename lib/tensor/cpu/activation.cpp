// Activations and caps. Gated: SwiGLU and GeGLU (Shazeer, arXiv 2002.05202; tanh form of GELU: arXiv 1606.08415).
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/activation.cpp"
#include <hwy/foreach_target.h>
#include "tensor/cpu/simd.h"

HWY_BEFORE_NAMESPACE();
namespace ds::cpu::HWY_NAMESPACE {

// An activation: its value, and its derivative.
struct Silu {
  static HWY_INLINE F32x16 value(F32x16 x) { return x * sigmoid(x); }
  static HWY_INLINE F32x16 value(F32x16 x, F32x16& derivative) {
    const F32x16 s = sigmoid(x), y = x * s;
    derivative = neg_mul_add(s, y, y) + s;  // s + x s (1 - s)
    return y;
  }
};
// 0.5 x (1 + tanh z) for z = sqrt(2 / pi) (x + 0.044715 x^3), written as x sigmoid(2 z), which keeps its digits where
// tanh is near -1.
struct GeluTanh {
  static constexpr float kSlope = 0x1.988454p+0f, kCube = 0.044715f;  // 2 sqrt(2 / pi)
  static HWY_INLINE F32x16 value(F32x16 x) { return x * sigmoid(mul_add(x * x * kCube, x, x) * kSlope); }
  static HWY_INLINE F32x16 value(F32x16 x, F32x16& derivative) {
    const F32x16 x2 = x * x, s = sigmoid(mul_add(x2 * kCube, x, x) * kSlope);
    const F32x16 inner = mul_add(x2, 3 * kCube, 1.0f) * kSlope;  // d (2 z) / d x
    derivative = mul_add(x * neg_mul_add(s, s, s), inner, s);
    return x * s;
  }
};

template <class Act>
static void gated_span(const float* gate, const float* up, float* y, size_t n) {
  for (size_t i = 0; i < n; i += kLanes) store(Act::value(load(gate + i, n - i)) * load(up + i, n - i), y + i, n - i);
}

template <class Act>
static void gated_backward_span(const float* dy, const float* gate, const float* up, float* dgate, float* dup, size_t n) {
  for (size_t i = 0; i < n; i += kLanes) {
    F32x16 derivative;
    const F32x16 d = load(dy + i, n - i), y = Act::value(load(gate + i, n - i), derivative), u = load(up + i, n - i);
    store(d * u * derivative, dgate + i, n - i);
    store(d * y, dup + i, n - i);
  }
}

static void silu_span(const float* gate, const float* up, float* y, size_t n) { gated_span<Silu>(gate, up, y, n); }
static void gelu_span(const float* gate, const float* up, float* y, size_t n) { gated_span<GeluTanh>(gate, up, y, n); }
static void silu_backward_span(const float* dy, const float* gate, const float* up, float* dgate, float* dup, size_t n) {
  gated_backward_span<Silu>(dy, gate, up, dgate, dup, n);
}
static void gelu_backward_span(const float* dy, const float* gate, const float* up, float* dgate, float* dup, size_t n) {
  gated_backward_span<GeluTanh>(dy, gate, up, dgate, dup, n);
}

static void clamp_span(float* x, float limit, size_t n) {
  for (size_t i = 0; i < n; i += kLanes) store(max(min(load(x + i, n - i), limit), -limit), x + i, n - i);
}
static void softcap_span(float* x, float cap, size_t n) {
  for (size_t i = 0; i < n; i += kLanes) store(tanh(load(x + i, n - i) / cap) * cap, x + i, n - i);
}

}  // namespace ds::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "tensor/cpu/arguments.h"
#include "tensor/cpu/dispatch.h"
#include "tensor/ops.h"

namespace ds::cpu {
HWY_EXPORT(silu_span);
HWY_EXPORT(gelu_span);
HWY_EXPORT(silu_backward_span);
HWY_EXPORT(gelu_backward_span);
HWY_EXPORT(clamp_span);
HWY_EXPORT(softcap_span);

void gated_activation(const Tensor& gate, const Tensor& up, Activation act, const Tensor& y) {
  for (const Tensor& t : {gate, up, y}) require_f32("gated_activation", t);
  for_spans("gated_activation", {gate, up, y}, [&](const auto& at, size_t count) {
    const auto kernel = act == Activation::silu ? DS_SIMD_DISPATCH(silu_span) : DS_SIMD_DISPATCH(gelu_span);
    kernel(gate.f32() + at[0], up.f32() + at[1], y.f32() + at[2], count);
  });
}

void gated_activation_backward(const Tensor& dy, const Tensor& gate, const Tensor& up, Activation act, const Tensor& dgate,
                               const Tensor& dup) {
  for (const Tensor& t : {dy, gate, up, dgate, dup}) require_f32("gated_activation_backward", t);
  for_spans("gated_activation_backward", {dy, gate, up, dgate, dup}, [&](const auto& at, size_t count) {
    const auto kernel =
        act == Activation::silu ? DS_SIMD_DISPATCH(silu_backward_span) : DS_SIMD_DISPATCH(gelu_backward_span);
    kernel(dy.f32() + at[0], gate.f32() + at[1], up.f32() + at[2], dgate.f32() + at[3], dup.f32() + at[4], count);
  });
}

void clamp(const Tensor& x, float limit) {
  require_f32("clamp", x);
  require(limit > 0, "clamp: a limit of ", limit);
  const auto kernel = DS_SIMD_DISPATCH(clamp_span);
  for_spans("clamp", {x}, [&](const auto& at, size_t count) { kernel(x.f32() + at[0], limit, count); });
}

void softcap(const Tensor& x, float cap) {
  require_f32("softcap", x);
  require(cap > 0, "softcap: a cap of ", cap);
  const auto kernel = DS_SIMD_DISPATCH(softcap_span);
  for_spans("softcap", {x}, [&](const auto& at, size_t count) { kernel(x.f32() + at[0], cap, count); });
}

}  // namespace ds::cpu
#endif
