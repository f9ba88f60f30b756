// The innermost loops of the matrix product, for each vector width: blocks of b as f32 panels, and the register block.
// Included by gemm.cpp once a target.
#if defined(DS_TENSOR_CPU_GEMM_BLOCK_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef DS_TENSOR_CPU_GEMM_BLOCK_H_
#undef DS_TENSOR_CPU_GEMM_BLOCK_H_
#else
#define DS_TENSOR_CPU_GEMM_BLOCK_H_
#endif

#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <algorithm>

#include "tensor/cpu/gemm.h"

HWY_BEFORE_NAMESPACE();
namespace ds::cpu::HWY_NAMESPACE {
namespace gemm {
namespace hn = hwy::HWY_NAMESPACE;

constexpr int kWidth = HWY_MIN(16, HWY_MAX_BYTES / 4);  // lanes of a register
constexpr int kParts = kPanel / kWidth;                 // registers of a panel
using FloatTag = hn::FixedTag<float, kWidth>;
using WordTag = hn::FixedTag<uint32_t, kWidth>;
using IntTag = hn::FixedTag<int32_t, kWidth>;
using HalfTag = hn::FixedTag<uint16_t, kWidth>;
using Float16Tag = hn::FixedTag<hwy::float16_t, kWidth>;
using ByteTag = hn::FixedTag<uint8_t, kWidth>;
using F32 = hn::Vec<FloatTag>;

HWY_INLINE F32 widen_bf16(const uint16_t* p) {
  return hn::BitCast(FloatTag(), hn::ShiftLeft<16>(hn::PromoteTo(WordTag(), hn::LoadU(HalfTag(), p))));
}
HWY_INLINE F32 widen_f16(const uint16_t* p) {
  return hn::PromoteTo(FloatTag(), hn::BitCast(Float16Tag(), hn::LoadU(HalfTag(), p)));
}
HWY_INLINE F32 widen_bytes(hn::Vec<ByteTag> bytes) { return hn::ConvertTo(FloatTag(), hn::PromoteTo(IntTag(), bytes)); }

// ---- Where the register block reads b: element (k, register j of its panels) as f32 ----

// A source says with enter(k, end) up to which k its state holds, and gives registers with load(k, j).
struct FromF32 {
  const float* p;
  int64_t panel;  // elements from one panel to the next
  HWY_INLINE int64_t enter(int64_t, int64_t end) { return end; }
  HWY_INLINE F32 load(int64_t k, int j) const {
    return hn::Load(FloatTag(), p + (j / kParts) * panel + k * kPanel + (j % kParts) * kWidth);
  }
};
// Rows of an f32 matrix as they lie; the panels are next to one another.
struct FromSteps {
  const float* p;
  int64_t stride;
  HWY_INLINE int64_t enter(int64_t, int64_t end) { return end; }
  HWY_INLINE F32 load(int64_t k, int j) const { return hn::LoadU(FloatTag(), p + k * stride + j * kWidth); }
};
template <bool bf16>
struct From16 {
  const uint16_t* p;
  int64_t panel;
  HWY_INLINE int64_t enter(int64_t, int64_t end) { return end; }
  HWY_INLINE F32 load(int64_t k, int j) const {
    const uint16_t* const at = p + (j / kParts) * panel + k * kPanel + (j % kParts) * kWidth;
    return bf16 ? widen_bf16(at) : widen_f16(at);
  }
};
// Register `part` of 16 nibbles: rows 0..7 of a panel are the low halves of its 8 bytes, rows 8..15 the high ones.
template <class D>
HWY_INLINE hn::Vec<D> nibbles(D d, const uint8_t* p, int part) {
  constexpr size_t kBytes = HWY_MIN(8, hn::MaxLanes(D()));
  const hn::FixedTag<uint8_t, kBytes> loaded;
  const hn::Repartition<uint16_t, decltype(loaded)> words;
  const int first = part * kWidth;
  const auto x = hn::LoadU(loaded, p + first % 8);
  const auto upper = hn::BitCast(loaded, hn::ShiftRight<4>(hn::BitCast(words, x)));
  const auto low_bits = hn::Set(d, 15);
  if constexpr (kBytes < hn::MaxLanes(D())) {
    return hn::And(hn::Combine(d, upper, x), low_bits);
  } else {
    return hn::And(first < 8 ? x : upper, low_bits);
  }
}
template <int NP>
struct FromQ4 {
  const uint8_t* p;       // of the first panel, at k0
  const uint16_t* scales;  // of the first panel, group 0
  const uint8_t* zeros;
  int64_t panel, groups, group_size, k0;
  F32 scale[NP * kParts], zero[NP * kParts];

  FromQ4(const Tensor& w, int64_t first, int64_t k_begin) {
    const int64_t k = w.shape[1];
    groups = k / w.group_size, group_size = w.group_size, k0 = k_begin, panel = k * kPanel / 2;
    p = w.as<const uint8_t>() + first * panel + k0 * (kPanel / 2);
    scales = static_cast<const uint16_t*>(w.scales) + first * groups * kPanel;
    zeros = static_cast<const uint8_t*>(w.zeros) + first * groups * kPanel;
  }
  HWY_INLINE int64_t enter(int64_t k, int64_t end) {
    const int64_t group = (k0 + k) / group_size;
    HWY_UNROLL(16) for (int j = 0; j < NP * kParts; ++j) {
      const int64_t at = ((j / kParts) * groups + group) * kPanel + (j % kParts) * kWidth;
      scale[j] = widen_f16(scales + at);
      zero[j] = widen_bytes(hn::LoadU(ByteTag(), zeros + at));
    }
    return std::min(end, (group + 1) * group_size - k0);
  }
  HWY_INLINE F32 load(int64_t k, int j) const {
    return value(nibbles(ByteTag(), p + (j / kParts) * panel + k * (kPanel / 2), j % kParts), j);
  }
  HWY_INLINE F32 value(hn::Vec<ByteTag> q, int j) const { return hn::Mul(hn::Sub(widen_bytes(q), zero[j]), scale[j]); }
};

// ---- Blocks of b: [kc][16] f32, widened or transposed as needed ----

template <class Source>
HWY_INLINE void widen(Source from, int64_t kc, float* HWY_RESTRICT out) {
  for (int64_t k = 0; k < kc;) {
    for (const int64_t end = from.enter(k, kc); k < end; ++k)
      for (int j = 0; j < kParts; ++j) hn::Store(from.load(k, j), FloatTag(), out + k * kPanel + j * kWidth);
  }
}

// Four floats at k from every fourth row, side by side in a register.
template <class D>
HWY_INLINE hn::Vec<D> load_quads(D d, const float* const* rows, int64_t k) {
  if constexpr (hn::MaxLanes(D()) == 4) {
    return hn::LoadU(d, rows[0] + k);
  } else {
    const hn::Half<D> half;
    constexpr size_t kRest = hn::MaxLanes(D()) / 2;
    return hn::Combine(d, load_quads(half, rows + kRest, k), load_quads(half, rows, k));
  }
}

// out[k][16] = rows[16][k]: 4x4 transposes within each block of 128 bits, whose blocks are rows four apart.
HWY_INLINE void transpose16(const float* const* rows, int64_t kc, float* HWY_RESTRICT out) {
  const FloatTag d;
  const hn::RepartitionToWide<FloatTag> dw;
  const auto low = [=](F32 a, F32 b) HWY_ATTR { return hn::InterleaveLower(d, a, b); };
  const auto high = [=](F32 a, F32 b) HWY_ATTR { return hn::InterleaveUpper(d, a, b); };
  const auto low2 = [=](F32 a, F32 b) HWY_ATTR { return hn::BitCast(d, hn::InterleaveLower(dw, hn::BitCast(dw, a), hn::BitCast(dw, b))); };
  const auto high2 = [=](F32 a, F32 b) HWY_ATTR { return hn::BitCast(d, hn::InterleaveUpper(dw, hn::BitCast(dw, a), hn::BitCast(dw, b))); };
  int64_t k = 0;
  for (; k + 4 <= kc; k += 4) {
    HWY_UNROLL(4) for (int part = 0; part < kParts; ++part) {
      const float* const* const group = rows + part * kWidth;
      const F32 a = load_quads(d, group, k), b = load_quads(d, group + 1, k);
      const F32 c = load_quads(d, group + 2, k), e = load_quads(d, group + 3, k);
      const F32 ab0 = low(a, b), ab1 = high(a, b), ce0 = low(c, e), ce1 = high(c, e);
      float* const at = out + k * kPanel + part * kWidth;
      hn::Store(low2(ab0, ce0), d, at);
      hn::Store(high2(ab0, ce0), d, at + kPanel);
      hn::Store(low2(ab1, ce1), d, at + 2 * kPanel);
      hn::Store(high2(ab1, ce1), d, at + 3 * kPanel);
    }
  }
  for (; k < kc; ++k)
    for (int j = 0; j < kPanel; ++j) out[k * kPanel + j] = rows[j][k];
}

// Row n of a weight in rows, elements [k0, k0 + kc), as f32.
HWY_INLINE void widen_row(const Tensor& w, int64_t n, int64_t k0, int64_t kc, float* HWY_RESTRICT out) {
  if (w.dtype == DType::q4) {
    const int64_t k = w.shape[1], groups = k / w.group_size;
    for (int64_t i = 0; i < kc; ++i) {
      const int64_t at = n * k + k0 + i, of = n * groups + (k0 + i) / w.group_size;
      const int q = w.as<const uint8_t>()[at / 2] >> (at % 2 * 4) & 15;
      out[i] = static_cast<float>(q - static_cast<const uint8_t*>(w.zeros)[of]) *
               f16_to_f32(static_cast<const uint16_t*>(w.scales)[of]);
    }
    return;
  }
  const uint16_t* const row = w.as<const uint16_t>() + n * w.row_stride + k0;
  const bool bf16 = w.dtype == DType::bf16;
  int64_t i = 0;
  for (; i + kWidth <= kc; i += kWidth) hn::StoreU(bf16 ? widen_bf16(row + i) : widen_f16(row + i), FloatTag(), out + i);
  for (; i < kc; ++i) out[i] = bf16 ? bf16_to_f32(row[i]) : f16_to_f32(row[i]);
}

inline void transpose_rows(const Tensor& w, int64_t panel, int64_t k0, int64_t kc, float* HWY_RESTRICT out) {
  static constexpr float kZeros[kKBlock] = {};
  const float* rows[kPanel];
  alignas(64) float wide[kPanel * kKBlock];
  for (int64_t j = 0; j < kPanel; ++j) {
    const int64_t n = panel * kPanel + j;
    rows[j] = kZeros;
    if (n >= w.shape[0]) continue;
    if (w.dtype == DType::f32) {
      rows[j] = w.as<const float>() + n * w.row_stride + k0;
    } else {
      widen_row(w, n, k0, kc, wide + j * kKBlock);
      rows[j] = wide + j * kKBlock;
    }
  }
  transpose16(rows, kc, out);
}

inline void copy_steps(const Tensor& b, int64_t panel, int64_t k0, int64_t kc, float* HWY_RESTRICT out) {
  const float* from = b.as<const float>() + k0 * b.row_stride + panel * kPanel;
  const int64_t count = std::min(kPanel, b.shape[1] - panel * kPanel);
  if (count == kPanel) {
    for (int64_t i = 0; i < kc; ++i, from += b.row_stride)
      for (int j = 0; j < kPanel; j += kWidth) hn::Store(hn::LoadU(FloatTag(), from + j), FloatTag(), out + i * kPanel + j);
  } else {
    for (int64_t i = 0; i < kc; ++i, from += b.row_stride)
      for (int64_t j = 0; j < kPanel; ++j) out[i * kPanel + j] = j < count ? from[j] : 0;
  }
}

// Steps [k0, k0 + kc) of a panel of b.
inline void load_block(const Product& p, int64_t panel, int64_t k0, int64_t kc, float* HWY_RESTRICT out) {
  if (p.form == Product::Form::steps) return copy_steps(p.b, panel, k0, kc, out);
  if (p.b.layout == Layout::rows) return transpose_rows(p.b, panel, k0, kc, out);
  if (p.b.dtype == DType::q4) return widen(FromQ4<1>(p.b, panel, k0), kc, out);
  const uint16_t* const from = p.b.as<const uint16_t>() + (panel * p.k + k0) * kPanel;
  if (p.b.dtype == DType::bf16) return widen(From16<true>{from, 0}, kc, out);
  widen(From16<false>{from, 0}, kc, out);
}

// ---- The register block ----

// c[MR][NP * 16] (+)= a[MR][kc] b[kc][NP panels].
template <int MR, int NP, class Source>
HWY_INLINE void block(int64_t kc, const float* HWY_RESTRICT a, int64_t a_row, int64_t a_step, Source b,
                      float* HWY_RESTRICT c, int64_t c_row, bool add) {
  constexpr FloatTag d;
  constexpr int NV = NP * kParts;
  F32 sum[MR][NV];
  HWY_UNROLL(16) for (int i = 0; i < MR; ++i) {
    HWY_UNROLL(16) for (int j = 0; j < NV; ++j) sum[i][j] = hn::Zero(d);
    HWY_UNROLL(16) for (int j = 0; j < NP; ++j) hwy::Prefetch(c + i * c_row + j * kPanel);
  }
  for (int64_t k = 0; k < kc;) {
    for (const int64_t end = b.enter(k, kc); k < end; ++k) {
      F32 bv[NV];
      HWY_UNROLL(16) for (int j = 0; j < NV; ++j) bv[j] = b.load(k, j);
      const float* row = a;
      HWY_UNROLL(16) for (int i = 0; i < MR; ++i) {
        const F32 av = hn::Set(d, *row);
        HWY_UNROLL(16) for (int j = 0; j < NV; ++j) sum[i][j] = hn::MulAdd(av, bv[j], sum[i][j]);
        row += a_row;
      }
      a += a_step;
    }
  }
  HWY_UNROLL(16) for (int i = 0; i < MR; ++i) {
    float* const at = c + i * c_row;
    if (add) {
      HWY_UNROLL(16) for (int j = 0; j < NV; ++j)
        hn::StoreU(hn::Add(hn::LoadU(d, at + j * kWidth), sum[i][j]), d, at + j * kWidth);
    } else {
      HWY_UNROLL(16) for (int j = 0; j < NV; ++j) hn::StoreU(sum[i][j], d, at + j * kWidth);
    }
  }
}

}  // namespace gemm
}  // namespace ds::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
