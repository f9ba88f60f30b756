// One virtual vector of 16 float lanes, on which every CPU kernel is written once: one AVX-512 register, two of AVX2,
// four of NEON. Each operation below rounds the same in every width, and reductions over lanes use one tree, so a kernel
// gives the same bits everywhere.
//
// Included once a target by kernels that start with
//   #undef HWY_TARGET_INCLUDE
//   #define HWY_TARGET_INCLUDE "tensor/cpu/NAME.cpp"
//   #include <hwy/foreach_target.h>
//   #include "tensor/cpu/simd.h"
// and stand between HWY_BEFORE_NAMESPACE() and HWY_AFTER_NAMESPACE() in namespace ds::cpu::HWY_NAMESPACE. Lambdas that
// hold vectors carry HWY_ATTR.
#if defined(DS_TENSOR_CPU_SIMD_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef DS_TENSOR_CPU_SIMD_H_
#undef DS_TENSOR_CPU_SIMD_H_
#else
#define DS_TENSOR_CPU_SIMD_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include "tensor/cpu/math.h"

HWY_BEFORE_NAMESPACE();
namespace ds::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

#if HWY_ARCH_X86
static_assert(HWY_TARGET <= HWY_AVX2, "below AVX2, multiply-add is not fused: see cmake/libraries.cmake");
#endif

constexpr size_t kLanes = 16;
constexpr size_t kWidth = HWY_MIN(kLanes, HWY_MAX_BYTES / sizeof(float));  // lanes of a register
constexpr size_t kParts = kLanes / kWidth;                                // registers of a vector
using FloatTag = hn::FixedTag<float, kWidth>;
using IntTag = hn::FixedTag<int32_t, kWidth>;
using WordTag = hn::FixedTag<uint32_t, kWidth>;
using HalfTag = hn::FixedTag<uint16_t, kWidth>;

// Calls op with each part's index; unrolled by hand, which keeps the parts in registers.
template <class Op>
HWY_INLINE void each_part(const Op& op) {
  op(std::integral_constant<size_t, 0>());
  if constexpr (kParts > 1) op(std::integral_constant<size_t, 1>());
  if constexpr (kParts > 2) op(std::integral_constant<size_t, 2>()), op(std::integral_constant<size_t, 3>());
}

struct F32x16 {
  hn::Vec<FloatTag> v[kParts];
  F32x16() = default;
  HWY_INLINE F32x16(float x) {  // NOLINT: a constant in a formula is a vector of it
    each_part([&](auto i) HWY_ATTR { v[i] = hn::Set(FloatTag(), x); });
  }
};
struct Mask16 {
  hn::Mask<FloatTag> m[kParts];
};

// The vector of op(a's part, b's part, ...).
template <class Op, class... V>
HWY_INLINE F32x16 lanewise(const Op& op, const V&... a) {
  F32x16 r;
  each_part([&](auto i) HWY_ATTR { r.v[i] = op(a.v[i]...); });
  return r;
}
template <class Op>
HWY_INLINE Mask16 compare(const Op& op, const F32x16& a, const F32x16& b) {
  Mask16 r;
  each_part([&](auto i) HWY_ATTR { r.m[i] = op(a.v[i], b.v[i]); });
  return r;
}

// ---- Memory: addresses need no alignment; n lanes of a partial access are touched, the rest reads as zero ----

HWY_INLINE F32x16 load(const float* p) {
  F32x16 r;
  each_part([&](auto i) HWY_ATTR { r.v[i] = hn::LoadU(FloatTag(), p + i * kWidth); });
  return r;
}
HWY_INLINE void store(const F32x16& a, float* p) {
  each_part([&](auto i) HWY_ATTR { hn::StoreU(a.v[i], FloatTag(), p + i * kWidth); });
}
HWY_INLINE F32x16 load_partial(const float* p, size_t n) {
#if HWY_ARCH_X86
  F32x16 r;
  each_part([&](auto i) HWY_ATTR {
    const size_t left = n > i * kWidth ? n - i * kWidth : 0;
    r.v[i] = hn::MaskedLoad(hn::FirstN(FloatTag(), left), FloatTag(), p + i * kWidth);
  });
  return r;
#else
  float buffer[kLanes] = {};
  std::memcpy(buffer, p, std::min(n, kLanes) * sizeof(float));
  return load(buffer);
#endif
}
HWY_INLINE void store_partial(const F32x16& a, float* p, size_t n) {
#if HWY_ARCH_X86
  each_part([&](auto i) HWY_ATTR {
    const size_t left = n > i * kWidth ? n - i * kWidth : 0;
    hn::BlendedStore(a.v[i], hn::FirstN(FloatTag(), left), FloatTag(), p + i * kWidth);
  });
#else
  float buffer[kLanes];
  store(a, buffer);
  std::memcpy(p, buffer, std::min(n, kLanes) * sizeof(float));
#endif
}
// All 16 lanes where n >= 16, else n of them.
HWY_INLINE F32x16 load(const float* p, size_t n) { return HWY_LIKELY(n >= kLanes) ? load(p) : load_partial(p, n); }
HWY_INLINE void store(const F32x16& a, float* p, size_t n) {
  if (HWY_LIKELY(n >= kLanes)) return store(a, p);
  store_partial(a, p, n);
}

// 32 numbers as 16 pairs (a, b), and back.
HWY_INLINE void load_pairs(const float* p, F32x16& a, F32x16& b) {
  each_part([&](auto i) HWY_ATTR { hn::LoadInterleaved2(FloatTag(), p + i * 2 * kWidth, a.v[i], b.v[i]); });
}
HWY_INLINE void store_pairs(const F32x16& a, const F32x16& b, float* p) {
  each_part([&](auto i) HWY_ATTR { hn::StoreInterleaved2(a.v[i], b.v[i], FloatTag(), p + i * 2 * kWidth); });
}

// 16 numbers of bf16 or f16, widened (exact).
HWY_INLINE F32x16 load_bf16(const uint16_t* p) {
  F32x16 r;
  each_part([&](auto i) HWY_ATTR {
    const auto wide = hn::PromoteTo(WordTag(), hn::LoadU(HalfTag(), p + i * kWidth));
    r.v[i] = hn::BitCast(FloatTag(), hn::ShiftLeft<16>(wide));
  });
  return r;
}
HWY_INLINE F32x16 load_f16(const uint16_t* p) {
  F32x16 r;
  each_part([&](auto i) HWY_ATTR {
    const hn::FixedTag<hwy::float16_t, kWidth> tag;
    r.v[i] = hn::PromoteTo(FloatTag(), hn::BitCast(tag, hn::LoadU(HalfTag(), p + i * kWidth)));
  });
  return r;
}
// 16 integers of 8 bits, as floats.
HWY_INLINE F32x16 load_i8(const int8_t* p) {
  F32x16 r;
  each_part([&](auto i) HWY_ATTR {
    const hn::FixedTag<int8_t, kWidth> tag;
    r.v[i] = hn::ConvertTo(FloatTag(), hn::PromoteTo(IntTag(), hn::LoadU(tag, p + i * kWidth)));
  });
  return r;
}
// To bf16, to nearest even, in integers as f32_to_bf16 does it.
HWY_INLINE void store_bf16(const F32x16& a, uint16_t* p) {
  each_part([&](auto i) HWY_ATTR {
    const WordTag w;
    const auto u = hn::BitCast(w, a.v[i]);
    const auto top = hn::ShiftRight<16>(u);
    const auto rounded = hn::ShiftRight<16>(u + hn::Set(w, 0x7fff) + hn::And(top, hn::Set(w, 1)));
    const auto nan = hn::RebindMask(w, hn::IsNaN(a.v[i]));
    const auto result = hn::IfThenElse(nan, hn::Or(top, hn::Set(w, 0x40)), rounded);
    hn::StoreU(hn::DemoteTo(HalfTag(), hn::BitCast(IntTag(), result)), HalfTag(), p + i * kWidth);
  });
}

// ---- Arithmetic ----

HWY_INLINE F32x16 operator+(F32x16 a, F32x16 b) {
  return lanewise([](auto x, auto y) HWY_ATTR { return hn::Add(x, y); }, a, b);
}
HWY_INLINE F32x16 operator-(F32x16 a, F32x16 b) {
  return lanewise([](auto x, auto y) HWY_ATTR { return hn::Sub(x, y); }, a, b);
}
HWY_INLINE F32x16 operator*(F32x16 a, F32x16 b) {
  return lanewise([](auto x, auto y) HWY_ATTR { return hn::Mul(x, y); }, a, b);
}
HWY_INLINE F32x16 operator/(F32x16 a, F32x16 b) {
  return lanewise([](auto x, auto y) HWY_ATTR { return hn::Div(x, y); }, a, b);
}
HWY_INLINE F32x16 operator-(F32x16 a) {
  return lanewise([](auto x) HWY_ATTR { return hn::Neg(x); }, a);
}
HWY_INLINE F32x16& operator+=(F32x16& a, F32x16 b) { return a = a + b; }
HWY_INLINE F32x16& operator*=(F32x16& a, F32x16 b) { return a = a * b; }
// a * b + c and c - a * b, rounded once.
HWY_INLINE F32x16 mul_add(F32x16 a, F32x16 b, F32x16 c) {
  return lanewise([](auto x, auto y, auto z) HWY_ATTR { return hn::MulAdd(x, y, z); }, a, b, c);
}
HWY_INLINE F32x16 neg_mul_add(F32x16 a, F32x16 b, F32x16 c) {
  return lanewise([](auto x, auto y, auto z) HWY_ATTR { return hn::NegMulAdd(x, y, z); }, a, b, c);
}
// Of numbers; which one they give where one side is NaN differs between processors.
HWY_INLINE F32x16 min(F32x16 a, F32x16 b) {
  return lanewise([](auto x, auto y) HWY_ATTR { return hn::Min(x, y); }, a, b);
}
HWY_INLINE F32x16 max(F32x16 a, F32x16 b) {
  return lanewise([](auto x, auto y) HWY_ATTR { return hn::Max(x, y); }, a, b);
}
HWY_INLINE F32x16 sqrt(F32x16 a) {
  return lanewise([](auto x) HWY_ATTR { return hn::Sqrt(x); }, a);
}
HWY_INLINE F32x16 abs(F32x16 a) {
  return lanewise([](auto x) HWY_ATTR { return hn::Abs(x); }, a);
}
HWY_INLINE F32x16 copy_sign(F32x16 magnitude, F32x16 sign) {
  return lanewise([](auto x, auto y) HWY_ATTR { return hn::CopySign(x, y); }, magnitude, sign);
}

// ---- Comparison ----

HWY_INLINE Mask16 operator<(F32x16 a, F32x16 b) {
  return compare([](auto x, auto y) HWY_ATTR { return hn::Lt(x, y); }, a, b);
}
HWY_INLINE Mask16 operator<=(F32x16 a, F32x16 b) {
  return compare([](auto x, auto y) HWY_ATTR { return hn::Le(x, y); }, a, b);
}
HWY_INLINE Mask16 operator==(F32x16 a, F32x16 b) {
  return compare([](auto x, auto y) HWY_ATTR { return hn::Eq(x, y); }, a, b);
}
// The first n lanes.
HWY_INLINE Mask16 first_lanes(size_t n) {
  Mask16 r;
  each_part([&](auto i) HWY_ATTR { r.m[i] = hn::FirstN(FloatTag(), n > i * kWidth ? n - i * kWidth : 0); });
  return r;
}
HWY_INLINE F32x16 select(Mask16 mask, F32x16 yes, F32x16 no) {
  F32x16 r;
  each_part([&](auto i) HWY_ATTR { r.v[i] = hn::IfThenElse(mask.m[i], yes.v[i], no.v[i]); });
  return r;
}
// The least lane that is set, or kLanes.
HWY_INLINE size_t find_first(Mask16 mask) {
  size_t found = kLanes;
  each_part([&](auto i) HWY_ATTR {
    const auto at = hn::FindFirstTrue(FloatTag(), mask.m[i]);
    if (found == kLanes && at >= 0) found = i * kWidth + static_cast<size_t>(at);
  });
  return found;
}

// ---- Reductions: lanes l and l + 8, then l and l + 4, l + 2, l + 1 ----

template <class Op, class V>
HWY_INLINE float reduce(const Op& op, const V& a) {
  const hn::FixedTag<float, 4> d4;
  hn::Vec<decltype(d4)> v;
  if constexpr (kParts == 1) {
    const hn::FixedTag<float, 8> d8;
    const auto half = op(hn::LowerHalf(d8, a.v[0]), hn::UpperHalf(d8, a.v[0]));
    v = op(hn::LowerHalf(d4, half), hn::UpperHalf(d4, half));
  } else if constexpr (kParts == 2) {
    const auto half = op(a.v[0], a.v[kParts - 1]);
    v = op(hn::LowerHalf(d4, half), hn::UpperHalf(d4, half));
  } else {
    v = op(op(a.v[0], a.v[kParts / 2]), op(a.v[kParts / 4], a.v[kParts - 1]));
  }
  v = op(v, hn::Shuffle1032(v));
  return hn::GetLane(op(v, hn::Shuffle2301(v)));
}
HWY_INLINE float reduce_add(F32x16 a) {
  return reduce([](auto x, auto y) HWY_ATTR { return hn::Add(x, y); }, a);
}
HWY_INLINE float reduce_max(F32x16 a) {
  return reduce([](auto x, auto y) HWY_ATTR { return hn::Max(x, y); }, a);
}

// ---- Functions: lane by lane the same bits as math.h ----

template <size_t N>
HWY_INLINE F32x16 polynomial(F32x16 x, const float (&c)[N]) {
  F32x16 y = c[N - 1];
  for (size_t i = N - 1; i-- > 0;) y = mul_add(y, x, c[i]);
  return y;
}

HWY_INLINE F32x16 exp(F32x16 x) {
  const F32x16 t = mul_add(x, math::kLog2E, math::kRound), n = t - math::kRound;
  const F32x16 r = neg_mul_add(n, math::kLn2Low, neg_mul_add(n, math::kLn2High, x));
  const F32x16 y = mul_add(r * r, polynomial(r, math::kExp), r) + 1.0f;
  const F32x16 scaled = lanewise(
      [](auto y, auto t) HWY_ATTR {
        const IntTag i;
        return hn::BitCast(FloatTag(), hn::Add(hn::BitCast(i, y), hn::ShiftLeft<23>(hn::BitCast(i, t))));
      },
      y, t);
  const F32x16 infinity = std::numeric_limits<float>::infinity();
  return select(x < math::kExpMin, 0.0f, select(x <= math::kExpMax, scaled, x + infinity));
}

HWY_INLINE F32x16 sigmoid(F32x16 x) { return F32x16(1.0f) / (exp(-x) + 1.0f); }

HWY_INLINE F32x16 tanh(F32x16 x) {
  const F32x16 a = abs(x), x2 = x * x;
  const F32x16 small = mul_add(x2 * x, polynomial(x2, math::kTanh), x);
  const F32x16 large = copy_sign(F32x16(1.0f) - F32x16(2.0f) / (exp(a + a) + 1.0f), x);
  return select(a < math::kTanhSmall, small, large);
}

HWY_INLINE F32x16 log(F32x16 x) {
  F32x16 n, m;
  each_part([&](auto i) HWY_ATTR {
    const IntTag d;
    const auto root = hn::BitCast(d, hn::Set(FloatTag(), math::kSqrtHalf));
    const auto shifted = hn::Sub(hn::BitCast(d, x.v[i]), root);
    n.v[i] = hn::ConvertTo(FloatTag(), hn::ShiftRight<23>(shifted));
    m.v[i] = hn::BitCast(FloatTag(), hn::Add(hn::And(shifted, hn::Set(d, 0x7fffff)), root));
  });
  const F32x16 f = m - 1.0f, f2 = f * f;
  F32x16 y = (f2 * f) * polynomial(f, math::kLog);
  y = mul_add(n, math::kLn2Low, y);
  y = mul_add(-0.5f, f2, y);
  y = mul_add(n, math::kLn2High, f + y);
  const F32x16 infinity = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  y = select(x < infinity, y, x);
  return select(x < std::numeric_limits<float>::min(), select(x < 0.0f, nan, -infinity), y);
}

}  // namespace ds::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // DS_TENSOR_CPU_SIMD_H_
