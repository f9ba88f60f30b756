// convert, fill, add, scale.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/memory.cpp"
#include <hwy/foreach_target.h>
#include "tensor/cpu/simd.h"

HWY_BEFORE_NAMESPACE();
namespace ds::cpu::HWY_NAMESPACE {

static void fill_span(float* x, float value, size_t n) {
  for (size_t i = 0; i < n; i += kLanes) store(F32x16(value), x + i, n - i);
}

static void add_span(const float* x, float* y, size_t n) {
  for (size_t i = 0; i < n; i += kLanes) store(load(y + i, n - i) + load(x + i, n - i), y + i, n - i);
}

static void scale_span(float* x, float factor, size_t n) {
  for (size_t i = 0; i < n; i += kLanes) store(load(x + i, n - i) * factor, x + i, n - i);
}

// The whole vectors of a conversion; returns how many numbers they hold.
static size_t widen_f16_span(const uint16_t* x, float* y, size_t n) {
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(load_f16(x + i), y + i);
  return i;
}
static size_t widen_bf16_span(const uint16_t* x, float* y, size_t n) {
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(load_bf16(x + i), y + i);
  return i;
}
static size_t narrow_bf16_span(const float* x, uint16_t* y, size_t n) {
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store_bf16(load(x + i), y + i);
  return i;
}

}  // namespace ds::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "tensor/cpu/arguments.h"
#include "tensor/cpu/dispatch.h"
#include "tensor/cpu/convert.h"
#include "tensor/ops.h"

namespace ds::cpu {
HWY_EXPORT(fill_span);
HWY_EXPORT(add_span);
HWY_EXPORT(scale_span);
HWY_EXPORT(widen_f16_span);
HWY_EXPORT(widen_bf16_span);
HWY_EXPORT(narrow_bf16_span);

void widen(DType dtype, const void* from, float* to, size_t count) {
  const auto* const half = static_cast<const uint16_t*>(from);
  if (dtype == DType::f32) {
    std::memcpy(to, from, count * sizeof(float));
  } else if (dtype == DType::f16) {
    for (size_t i = DS_SIMD_DISPATCH(widen_f16_span)(half, to, count); i < count; ++i) to[i] = f16_to_f32(half[i]);
  } else {
    require(dtype == DType::bf16, "convert: f32, f16 or bf16 is expected, not ", dtype_name(dtype));
    for (size_t i = DS_SIMD_DISPATCH(widen_bf16_span)(half, to, count); i < count; ++i) to[i] = bf16_to_f32(half[i]);
  }
}

static void narrow(DType dtype, const float* from, void* to, size_t count) {
  auto* const half = static_cast<uint16_t*>(to);
  if (dtype == DType::f32) {
    std::memcpy(to, from, count * sizeof(float));
  } else if (dtype == DType::f16) {
    for (size_t i = 0; i < count; ++i) half[i] = f32_to_f16(from[i]);
  } else {
    require(dtype == DType::bf16, "convert: f32, f16 or bf16 is expected, not ", dtype_name(dtype));
    for (size_t i = DS_SIMD_DISPATCH(narrow_bf16_span)(from, half, count); i < count; ++i) half[i] = f32_to_bf16(from[i]);
  }
}

void convert(const Tensor& x, const Tensor& y) {
  for_spans("convert", {x, y}, [&](const auto& at, size_t count) {
    const char* from = x.as<char>() + at[0] * (dtype_bits(x.dtype) / 8);
    char* to = y.as<char>() + at[1] * (dtype_bits(y.dtype) / 8);
    if (x.dtype == DType::f32) return narrow(y.dtype, reinterpret_cast<const float*>(from), to, count);
    if (y.dtype == DType::f32) return widen(x.dtype, from, reinterpret_cast<float*>(to), count);
    float buffer[256];  // between f16 and bf16
    for (size_t i = 0; i < count; i += 256) {
      const size_t n = std::min<size_t>(256, count - i);
      widen(x.dtype, from + 2 * i, buffer, n);
      narrow(y.dtype, buffer, to + 2 * i, n);
    }
  });
}

void fill(const Tensor& x, float value) {
  require_f32("fill", x);
  for_spans("fill", {x}, [&](const auto& at, size_t count) { DS_SIMD_DISPATCH(fill_span)(x.f32() + at[0], value, count); });
}

void add(const Tensor& x, const Tensor& y) {
  require_f32("add", x);
  require_f32("add", y);
  for_spans("add", {x, y}, [&](const auto& at, size_t count) {
    DS_SIMD_DISPATCH(add_span)(x.f32() + at[0], y.f32() + at[1], count);
  });
}

void scale(const Tensor& x, float factor) {
  require_f32("scale", x);
  for_spans("scale", {x}, [&](const auto& at, size_t count) { DS_SIMD_DISPATCH(scale_span)(x.f32() + at[0], factor, count); });
}

}  // namespace ds::cpu
#endif
