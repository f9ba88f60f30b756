// Activations and caps. Gated: SwiGLU and GeGLU (Shazeer, arXiv 2002.05202; tanh form of GELU: arXiv 1606.08415).
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/activation.cpp"
#include <hwy/foreach_target.h>
#include "tensor/cpu/simd.h"
#include "tensor/ops.h"

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

// x P for the normal distribution's P(x), by the error function: 1 - P(|x|) = exp(-x^2 / 2) t Q(t), t = 1 / (1 + c |x|), Q
// fitted to a relative error of 2e-8.
struct Gelu {
  static constexpr float kSlope = 0x1.b27248p-3f, kDensity = 0x1.988454p-2f;  // 1 / sqrt(2 pi)
  static constexpr float kTail[] = {0x1.5a8016p-4f, 0x1.5d93bcp-4f, 0x1.30178cp-4f,  0x1.b72a66p-4f, -0x1.7f839ep-5f,
                                    0x1.17c11ep-2f, -0x1.05bf7ep-2f, 0x1.f0bd26p-3f, -0x1.0914bep-4f};
  static HWY_INLINE F32x16 below(F32x16 x, F32x16 e) {
    const F32x16 t = F32x16(1.0f) / mul_add(abs(x), kSlope, 1.0f), tail = e * (t * polynomial(t, kTail));
    return select(x < 0.0f, tail, F32x16(1.0f) - tail);
  }
  static HWY_INLINE F32x16 value(F32x16 x) { return x * below(x, exp(x * x * -0.5f)); }
  static HWY_INLINE F32x16 value(F32x16 x, F32x16& derivative) {
    const F32x16 e = exp(x * x * -0.5f), p = below(x, e);
    derivative = mul_add(x * kDensity, e, p);
    return x * p;
  }
};

template <class Act>
static void plain_span(const float* x, float* y, size_t n) {
  for (size_t i = 0; i < n; i += kLanes) store(Act::value(load(x + i, n - i)), y + i, n - i);
}
template <class Act>
static void plain_backward_span(const float* dy, const float* x, float* dx, size_t n) {
  for (size_t i = 0; i < n; i += kLanes) {
    F32x16 derivative;
    Act::value(load(x + i, n - i), derivative);
    store(load(dy + i, n - i) * derivative, dx + i, n - i);
  }
}

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

// One activation for a call: the choice is made once a span.
template <class Use>
static void with_activation(Activation act, const Use& use) {
  if (act == Activation::silu) use(Silu());
  else if (act == Activation::gelu_tanh) use(GeluTanh());
  else use(Gelu());
}
static void activation_span(Activation act, const float* x, float* y, size_t n) {
  with_activation(act, [&](auto kind) { plain_span<decltype(kind)>(x, y, n); });
}
static void activation_backward_span(Activation act, const float* dy, const float* x, float* dx, size_t n) {
  with_activation(act, [&](auto kind) { plain_backward_span<decltype(kind)>(dy, x, dx, n); });
}
static void gated_activation_span(Activation act, const float* gate, const float* up, float* y, size_t n) {
  with_activation(act, [&](auto kind) { gated_span<decltype(kind)>(gate, up, y, n); });
}
static void gated_activation_backward_span(Activation act, const float* dy, const float* gate, const float* up, float* dgate, float* dup,
                                           size_t n) {
  with_activation(act, [&](auto kind) { gated_backward_span<decltype(kind)>(dy, gate, up, dgate, dup, n); });
}

static void clamp_span(float* x, float limit, size_t n) {
  for (size_t i = 0; i < n; i += kLanes) store(max(min(load(x + i, n - i), limit), -limit), x + i, n - i);
}
static void softcap_span(float* x, float cap, size_t n) {
  for (size_t i = 0; i < n; i += kLanes) store(tanh(load(x + i, n - i) / cap) * cap, x + i, n - i);
}
static void clamp_backward_span(float* dy, const float* x, float limit, size_t n) {
  for (size_t i = 0; i < n; i += kLanes)
    store(select(abs(load(x + i, n - i)) <= limit, load(dy + i, n - i), 0.0f), dy + i, n - i);
}
// d cap tanh(x / cap) / d x = 1 - (y / cap)^2.
static void softcap_backward_span(float* dy, const float* y, float cap, size_t n) {
  for (size_t i = 0; i < n; i += kLanes) {
    const F32x16 ratio = load(y + i, n - i) / cap;
    store(load(dy + i, n - i) * neg_mul_add(ratio, ratio, 1.0f), dy + i, n - i);
  }
}

}  // namespace ds::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "tensor/cpu/arguments.h"
#include "tensor/cpu/dispatch.h"

namespace ds::cpu {
HWY_EXPORT(activation_span);
HWY_EXPORT(activation_backward_span);
HWY_EXPORT(gated_activation_span);
HWY_EXPORT(gated_activation_backward_span);
HWY_EXPORT(clamp_span);
HWY_EXPORT(clamp_backward_span);
HWY_EXPORT(softcap_span);
HWY_EXPORT(softcap_backward_span);

void activation(const Tensor& x, Activation act, const Tensor& y) {
  for (const Tensor& t : {x, y}) require_f32("activation", t);
  const auto kernel = DS_SIMD_DISPATCH(activation_span);
  for_spans("activation", {x, y}, [&](const auto& at, size_t count) { kernel(act, x.f32() + at[0], y.f32() + at[1], count); });
}

void activation_backward(const Tensor& dy, const Tensor& x, Activation act, const Tensor& dx) {
  for (const Tensor& t : {dy, x, dx}) require_f32("activation_backward", t);
  const auto kernel = DS_SIMD_DISPATCH(activation_backward_span);
  for_spans("activation_backward", {dy, x, dx}, [&](const auto& at, size_t count) {
    kernel(act, dy.f32() + at[0], x.f32() + at[1], dx.f32() + at[2], count);
  });
}

void gated_activation(const Tensor& gate, const Tensor& up, Activation act, const Tensor& y) {
  for (const Tensor& t : {gate, up, y}) require_f32("gated_activation", t);
  const auto kernel = DS_SIMD_DISPATCH(gated_activation_span);
  for_spans("gated_activation", {gate, up, y}, [&](const auto& at, size_t count) {
    kernel(act, gate.f32() + at[0], up.f32() + at[1], y.f32() + at[2], count);
  });
}

void gated_activation_backward(const Tensor& dy, const Tensor& gate, const Tensor& up, Activation act, const Tensor& dgate,
                               const Tensor& dup) {
  for (const Tensor& t : {dy, gate, up, dgate, dup}) require_f32("gated_activation_backward", t);
  const auto kernel = DS_SIMD_DISPATCH(gated_activation_backward_span);
  for_spans("gated_activation_backward", {dy, gate, up, dgate, dup}, [&](const auto& at, size_t count) {
    kernel(act, dy.f32() + at[0], gate.f32() + at[1], up.f32() + at[2], dgate.f32() + at[3], dup.f32() + at[4], count);
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

void clamp_backward(const Tensor& dy, const Tensor& x, float limit) {
  for (const Tensor& t : {dy, x}) require_f32("clamp_backward", t);
  require(limit > 0, "clamp_backward: a limit of ", limit);
  const auto kernel = DS_SIMD_DISPATCH(clamp_backward_span);
  for_spans("clamp_backward", {dy, x}, [&](const auto& at, size_t count) { kernel(dy.f32() + at[0], x.f32() + at[1], limit, count); });
}

void softcap_backward(const Tensor& dy, const Tensor& y, float cap) {
  for (const Tensor& t : {dy, y}) require_f32("softcap_backward", t);
  require(cap > 0, "softcap_backward: a cap of ", cap);
  const auto kernel = DS_SIMD_DISPATCH(softcap_backward_span);
  for_spans("softcap_backward", {dy, y}, [&](const auto& at, size_t count) { kernel(dy.f32() + at[0], y.f32() + at[1], cap, count); });
}

}  // namespace ds::cpu
#endif
