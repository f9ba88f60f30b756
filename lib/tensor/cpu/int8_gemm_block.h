// The innermost loops of the products with 8-bit activations, for each vector width: the dot products and the register
// block around them. Included by int8_gemm.cpp once a target.
#if defined(DS_TENSOR_CPU_INT8_GEMM_BLOCK_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef DS_TENSOR_CPU_INT8_GEMM_BLOCK_H_
#undef DS_TENSOR_CPU_INT8_GEMM_BLOCK_H_
#else
#define DS_TENSOR_CPU_INT8_GEMM_BLOCK_H_
#endif

#include "tensor/cpu/simd.h"

HWY_BEFORE_NAMESPACE();
namespace ds::cpu::HWY_NAMESPACE {
namespace int8 {

using Words = hn::Vec<IntTag>;  // a lane a row of the weight: four bytes of it, or a sum
using ByteTag = hn::FixedTag<uint8_t, kWidth>;

HWY_INLINE Words broadcast_word(const int8_t* p) {
  int32_t word;
  std::memcpy(&word, p, sizeof(word));
  return hn::Set(IntTag(), word);
}

// ---- Four products of bytes in each lane, added to a sum ----

#if HWY_ARCH_X86
#if HWY_TARGET <= HWY_AVX3
// Assembly rather than an intrinsic, which a function for AVX-512 without VNNI may not contain: so the code around it is
// compiled once for both, and int8_gemm.cpp asks the processor.
HWY_INLINE Words add_dot_vnni(Words sum, Words u8, Words i8) {
  auto result = sum.raw;
  asm("vpdpbusd %2, %1, %0" : "+v"(result) : "v"(u8.raw), "v"(i8.raw));
  return Words{result};
}
HWY_INLINE Words multiply_pairs(Words a, Words b) { return Words{_mm512_madd_epi16(a.raw, b.raw)}; }
HWY_INLINE Words multiply_byte_pairs(Words u8, Words i8) { return Words{_mm512_maddubs_epi16(u8.raw, i8.raw)}; }
#else
HWY_INLINE Words multiply_pairs(Words a, Words b) { return Words{_mm256_madd_epi16(a.raw, b.raw)}; }
HWY_INLINE Words multiply_byte_pairs(Words u8, Words i8) { return Words{_mm256_maddubs_epi16(u8.raw, i8.raw)}; }
#endif
#else
// Without instructions for it: byte by byte in 32 bits.
template <int i>
HWY_INLINE Words signed_byte(Words w) {
  return hn::ShiftRight<24>(hn::ShiftLeft<24 - 8 * i>(w));
}
HWY_INLINE Words add_dot_plain(Words sum, Words a, Words b) {
  sum = hn::Add(sum, hn::Mul(signed_byte<0>(a), signed_byte<0>(b)));
  sum = hn::Add(sum, hn::Mul(signed_byte<1>(a), signed_byte<1>(b)));
  sum = hn::Add(sum, hn::Mul(signed_byte<2>(a), signed_byte<2>(b)));
  return hn::Add(sum, hn::Mul(signed_byte<3>(a), signed_byte<3>(b)));
}
#endif

// ---- Weights and activations as the dot products want them ----

// A format takes kSteps steps of k at a time: 64 bytes of a panel, and kBytes of each row of activations, which place()
// makes of kSteps numbers. add() adds kSteps products to a lane, plus kOffset times the activations' sum.

template <bool vnni>
struct Q8 {
  static constexpr int kSteps = 4;
#if HWY_ARCH_X86
  static constexpr int kBytes = vnni ? 4 : 8;
  static constexpr int kOffset = vnni ? 128 : 0;
#else
  static constexpr int kBytes = 4, kOffset = 0;
#endif
  struct Weights {
    Words even, odd;  // (VNNI: one, as bytes from 0 to 255)
  };
  struct Inputs {
    Words even, odd;
  };
  static HWY_INLINE void place(const int8_t* q, int8_t* out) {
    if constexpr (kBytes == 4) {
      std::memcpy(out, q, 4);
    } else {
      const int16_t pairs[4] = {q[0], q[2], q[1], q[3]};
      std::memcpy(out, pairs, 8);
    }
  }
  static HWY_INLINE Words shift_of(Words) { return hn::Zero(IntTag()); }
  static HWY_INLINE Weights weights(const uint8_t* p, Words) {
    const Words w = hn::LoadU(IntTag(), reinterpret_cast<const int32_t*>(p));
    if constexpr (kOffset != 0) return {hn::Xor(w, hn::Set(IntTag(), static_cast<int32_t>(0x80808080u))), w};
    if constexpr (kBytes == 4) return {w, w};
    const hn::Repartition<int16_t, IntTag> shorts;
    const auto pairs = hn::BitCast(shorts, w);
    return {hn::BitCast(IntTag(), hn::ShiftRight<8>(hn::ShiftLeft<8>(pairs))), hn::BitCast(IntTag(), hn::ShiftRight<8>(pairs))};
  }
  static HWY_INLINE Inputs inputs(const int8_t* x) {
    if constexpr (kBytes == 4) return {broadcast_word(x), hn::Zero(IntTag())};
    return {broadcast_word(x), broadcast_word(x + 4)};
  }
  static HWY_INLINE Words add(Words sum, const Weights& w, const Inputs& x) {
#if HWY_ARCH_X86
#if HWY_TARGET <= HWY_AVX3
    if constexpr (vnni) return add_dot_vnni(sum, w.even, x.even);
#endif
    return hn::Add(hn::Add(sum, multiply_pairs(w.even, x.even)), multiply_pairs(w.odd, x.odd));
#else
    return add_dot_plain(sum, w.even, x.even);
#endif
  }
};

// The bytes of the dot product are value - zero + 16, from 0 to 31; 2 * 2 * 31 * 127 fits 16 bits.
template <bool vnni>
struct Q4 {
  static constexpr int kSteps = 8, kBytes = 8, kOffset = 16;
  struct Weights {
    Words low, high;
  };
  struct Inputs {
    Words low, high;
  };
  static HWY_INLINE void place(const int8_t* q, int8_t* out) { std::memcpy(out, q, 8); }
  static HWY_INLINE Words shift_of(Words zero) {
    return hn::Mul(hn::Sub(hn::Set(IntTag(), 16), zero), hn::Set(IntTag(), 0x01010101));
  }
  static HWY_INLINE Weights weights(const uint8_t* p, Words shift) {
    const Words w = hn::LoadU(IntTag(), reinterpret_cast<const int32_t*>(p)), mask = hn::Set(IntTag(), 0x0f0f0f0f);
    // No byte carries into the next one: its sum is at most 31.
    return {hn::Add(hn::And(w, mask), shift), hn::Add(hn::And(hn::ShiftRight<4>(w), mask), shift)};
  }
  static HWY_INLINE Inputs inputs(const int8_t* x) { return {broadcast_word(x), broadcast_word(x + 4)}; }
  static HWY_INLINE Words add(Words sum, const Weights& w, const Inputs& x) {
#if HWY_ARCH_X86
#if HWY_TARGET <= HWY_AVX3
    if constexpr (vnni) return add_dot_vnni(add_dot_vnni(sum, w.low, x.low), w.high, x.high);
#endif
    const hn::Repartition<int16_t, IntTag> shorts;
    const auto pairs = hn::Add(hn::BitCast(shorts, multiply_byte_pairs(w.low, x.low)),
                               hn::BitCast(shorts, multiply_byte_pairs(w.high, x.high)));
    return hn::Add(sum, multiply_pairs(hn::BitCast(IntTag(), pairs), hn::Set(IntTag(), 0x00010001)));
#else
    return add_dot_plain(add_dot_plain(sum, w.low, x.low), w.high, x.high);
#endif
  }
};

// ---- The register block ----

// NP panels of a weight: where their values are, and the index of their first group.
template <int NP>
struct Panels {
  const uint8_t* values[NP];
  int64_t group[NP];
};

HWY_INLINE hn::Vec<FloatTag> load_scales(const Tensor& w, int64_t at) {
  if (w.scale_dtype == DType::f32) return hn::LoadU(FloatTag(), static_cast<const float*>(w.scales) + at);
  const hn::FixedTag<hwy::float16_t, kWidth> halves;
  return hn::PromoteTo(FloatTag(), hn::BitCast(halves, hn::LoadU(HalfTag(), static_cast<const uint16_t*>(w.scales) + at)));
}
HWY_INLINE Words load_zeros(const Tensor& w, int64_t at) {
  if (!w.zeros) return hn::Zero(IntTag());
  return hn::PromoteTo(IntTag(), hn::LoadU(ByteTag(), static_cast<const uint8_t*>(w.zeros) + at));
}

// total += the group's dot products in f32, scaled. Loops over registers and not lambdas (simd.h) here and in block():
// with those the compiler keeps the sums in memory.
template <int MR, int NP>
HWY_INLINE void add_group(const Tensor& w, const Panels<NP>& panels, int64_t g, const float* sums,
                          const Words (&dot)[MR][NP * kParts], hn::Vec<FloatTag> (&total)[MR][NP * kParts]) {
  HWY_UNROLL(16) for (int v = 0; v < NP * static_cast<int>(kParts); ++v) {
    const int64_t at = (panels.group[v / kParts] + g) * static_cast<int64_t>(kLanes) + v % kParts * kWidth;
    const auto scale = load_scales(w, at);
    HWY_UNROLL(16) for (int i = 0; i < MR; ++i)
      total[i][v] = hn::MulAdd(hn::ConvertTo(FloatTag(), dot[i][v]), scale, total[i][v]);
    if (w.mins) {
      const auto min = hn::LoadU(FloatTag(), w.mins + at);
      HWY_UNROLL(16) for (int i = 0; i < MR; ++i)
        total[i][v] = hn::NegMulAdd(hn::Set(FloatTag(), sums[i]), min, total[i][v]);
    }
  }
}

// total[MR][NP panels] = activations x[steps][MR][kBytes] times NP panels, without the activations' scale. offsets and
// sums, [groups][MR]: the sums of the activations, as they are and times -kOffset.
template <class Format, int MR, int NP>
HWY_INLINE void block(const Tensor& w, const Panels<NP>& panels, int64_t steps, int64_t group_steps,
                      const int8_t* HWY_RESTRICT x, const int32_t* HWY_RESTRICT offsets, const float* HWY_RESTRICT sums,
                      hn::Vec<FloatTag> (&total)[MR][NP * kParts]) {
  constexpr int NV = NP * kParts;
  HWY_UNROLL(16) for (int i = 0; i < MR; ++i)
    HWY_UNROLL(16) for (int v = 0; v < NV; ++v) total[i][v] = hn::Zero(FloatTag());
  for (int64_t g = 0, step = 0; step < steps; ++g, offsets += MR, sums += MR) {
    Words dot[MR][NV], shift[NV];
    HWY_UNROLL(16) for (int i = 0; i < MR; ++i)
      HWY_UNROLL(16) for (int v = 0; v < NV; ++v) dot[i][v] = hn::Set(IntTag(), offsets[i]);
    HWY_UNROLL(16) for (int v = 0; v < NV; ++v) {
      const int64_t at = (panels.group[v / kParts] + g) * static_cast<int64_t>(kLanes) + v % kParts * kWidth;
      shift[v] = Format::shift_of(load_zeros(w, at));
    }
    for (const int64_t end = std::min(steps, step + group_steps); step < end; ++step) {
      // The panels after these: they begin before the processor could see a pattern.
      HWY_UNROLL(4) for (int j = 0; j < NP; ++j) __builtin_prefetch(panels.values[j] + (step + NP * steps) * 64, 0, 2);
      typename Format::Weights b[NV];
      HWY_UNROLL(16) for (int v = 0; v < NV; ++v)
        b[v] = Format::weights(panels.values[v / kParts] + step * 64 + v % kParts * kWidth * 4, shift[v]);
      HWY_UNROLL(16) for (int i = 0; i < MR; ++i) {
        const auto a = Format::inputs(x + i * Format::kBytes);
        HWY_UNROLL(16) for (int v = 0; v < NV; ++v) dot[i][v] = Format::add(dot[i][v], b[v], a);
      }
      x += MR * Format::kBytes;
    }
    add_group<MR, NP>(w, panels, g, sums, dot, total);
  }
}

}  // namespace int8
}  // namespace ds::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
