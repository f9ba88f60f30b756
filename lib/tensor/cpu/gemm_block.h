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
#include <type_traits>

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

// Calls op with 0 .. N-1 as constants.
template <int N, int I = 0, class Op>
HWY_INLINE void each(const Op& op) {
  if constexpr (I < N) {
    op(std::integral_constant<int, I>());
    each<N, I + 1>(op);
  }
}

// ---- Where the register block reads b: element (k, register j of its panels) as f32 ----

// What is needed next, fetched meanwhile: `step` bytes for each step of k, of one array a panel that lie `panel` bytes apart.
struct Ahead {
  const char* p = kNothing;
  int64_t panel = 0, step = 0;
  static constexpr char kNothing[64] = {};
};

// read(k) takes kSteps steps of k, of which value<s>(j) gives registers. With kGroups a source is one of Groups, too.
struct FromF32 {
  static constexpr int kSteps = 1;
  static constexpr bool kGroups = false;
  const float* p;
  int64_t panel;  // elements from one panel to the next
  Ahead next = {};
  const float* at = nullptr;
  template <int NP>
  HWY_INLINE void read(int64_t k) {
    at = p + k * kPanel;
    HWY_UNROLL(16) for (int j = 0; j < NP; ++j) hwy::Prefetch(next.p + j * next.panel + k * next.step);
  }
  template <int>
  HWY_INLINE F32 value(int j) const {
    return hn::Load(FloatTag(), at + (j / kParts) * panel + (j % kParts) * kWidth);
  }
};
// Rows of an f32 matrix as they lie; the panels are next to one another.
struct FromSteps {
  static constexpr int kSteps = 1;
  static constexpr bool kGroups = false;
  const float* p;
  int64_t stride;
  const float* at = nullptr;
  template <int>
  HWY_INLINE void read(int64_t k) { at = p + k * stride; }
  template <int>
  HWY_INLINE F32 value(int j) const { return hn::LoadU(FloatTag(), at + j * kWidth); }
};
template <bool bf16>
struct From16 {
  static constexpr int kSteps = 1;
  static constexpr bool kGroups = false;
  const uint16_t* p;
  int64_t panel;
  Ahead next = {};
  const uint16_t* at = nullptr;
  template <int NP>
  HWY_INLINE void read(int64_t k) {
    at = p + k * kPanel;
    HWY_UNROLL(16) for (int j = 0; j < NP; ++j) hwy::Prefetch(next.p + j * next.panel + k * next.step);
  }
  template <int>
  HWY_INLINE F32 value(int j) const {
    const uint16_t* const from = at + (j / kParts) * panel + (j % kParts) * kWidth;
    return bf16 ? widen_bf16(from) : widen_f16(from);
  }
};

// Where the register block is in the groups of a quantized weight, from (panel, k0) on, and what ends a group's sums.
struct Groups {
  const Tensor* w;
  int64_t k0, count, first, group = 0;
  const float* sums = nullptr;  // of a's rows over the groups of this block, where the weight has an offset
  int64_t sums_row = 0;

  Groups(const Tensor& weight, int64_t panel, int64_t k_begin)
      : w(&weight), k0(k_begin), count(groups_of(weight)), first(panel * count * kPanel) {}
  // Goes to the group of step k; returns where it ends.
  HWY_INLINE int64_t enter(int64_t k, int64_t end) {
    group = (k0 + k) / w->group_size;
    return std::min(end, (group + 1) * w->group_size - k0);
  }
  // Where the group's numbers for register j are.
  HWY_INLINE int64_t at(int j) const { return first + ((j / kParts) * count + group) * kPanel + (j % kParts) * kWidth; }
  HWY_INLINE F32 scale(int j) const {
    return w->scale_dtype == DType::f16 ? widen_f16(static_cast<const uint16_t*>(w->scales) + at(j))
                                        : hn::LoadU(FloatTag(), static_cast<const float*>(w->scales) + at(j));
  }
  // What a number is beyond scale times what the register block sums: (middle - zero) scale, or middle scale - min.
  HWY_INLINE F32 shift(int j, F32 scale) const {
    const F32 middle = hn::Set(FloatTag(), middle_of(w->dtype));
    if (w->mins) return hn::MulSub(middle, scale, hn::LoadU(FloatTag(), w->mins + at(j)));
    const auto zeros = hn::PromoteTo(IntTag(), hn::LoadU(ByteTag(), static_cast<const uint8_t*>(w->zeros) + at(j)));
    return hn::Mul(hn::Sub(middle, hn::ConvertTo(FloatTag(), zeros)), scale);
  }
  HWY_INLINE int64_t group_of_block() const { return group - k0 / w->group_size; }
};
// Values of a quantized weight that were widened before, its scales and shifts too: [groups of the block][NV registers].
template <int NV>
struct FromValues : FromF32, Groups {
  static constexpr bool kGroups = true;
  const float *scales, *shifts;

  // Fills `numbers`, which has room for two registers' for each group of a block.
  FromValues(const FromF32& values, const Groups& groups, int64_t kc, float* numbers) : FromF32(values), Groups(groups) {
    float* const offsets = numbers + (kKBlock / 4 + 2) * NV * kWidth;
    for (int64_t k = 0; k < kc;) {
      k = enter(k, kc);
      HWY_UNROLL(16) for (int j = 0; j < NV; ++j) {
        const int64_t to = (group_of_block() * NV + j) * kWidth;
        const F32 one = Groups::scale(j);
        hn::Store(one, FloatTag(), numbers + to);
        if (w->zeros || w->mins) hn::Store(Groups::shift(j, one), FloatTag(), offsets + to);
      }
    }
    scales = numbers, shifts = offsets;
  }
  HWY_INLINE F32 scale(int j) const { return hn::Load(FloatTag(), scales + (group_of_block() * NV + j) * kWidth); }
  HWY_INLINE F32 shift(int j, F32) const { return hn::Load(FloatTag(), shifts + (group_of_block() * NV + j) * kWidth); }
};

// A value of a word as f32 without converting it: left where it is in the word, in the fraction of a power of two whose
// unit it counts, it is that power plus the value. What is too much is subtracted, exactly.
template <int bits, int shift, int place>
HWY_INLINE F32 in_place(hn::Vec<WordTag> words, int middle) {
  constexpr uint32_t kMask = ((1u << bits) - 1) << place, kPower = (127u + 23 - place) << 23;
  const auto number = hn::OrAnd(hn::Set(WordTag(), kPower), hn::ShiftRight<shift>(words), hn::Set(WordTag(), kMask));
  return hn::Sub(hn::BitCast(FloatTag(), number), hn::Set(FloatTag(), static_cast<float>((1 << 23 >> place) + middle)));
}

// NP panels of a quantized weight: its values, less what is the middle of the 4-bit ones, without scale and offset.
template <int NP, DType dtype>
struct FromQuantized : Groups {
  static constexpr int kSteps = static_cast<int>(steps_per_word(dtype));
  static constexpr bool kGroups = true;
  static constexpr int NV = NP * kParts;
  const uint32_t* p;  // of the first panel, at k0
  int64_t panel;
  hn::Vec<WordTag> words[NV];

  FromQuantized(const Tensor& weight, int64_t first_panel, int64_t k_begin) : Groups(weight, first_panel, k_begin) {
    panel = panel_steps(dtype, weight.cols()) / kSteps * kPanel;
    p = weight.as<const uint32_t>() + first_panel * panel + k0 / kSteps * kPanel;
  }
  template <int>
  HWY_INLINE void read(int64_t k) {
    HWY_UNROLL(16) for (int j = 0; j < NV; ++j) {
      const uint32_t* const from = p + (j / kParts) * panel + k / kSteps * kPanel + (j % kParts) * kWidth;
      if (j % kParts == 0) __builtin_prefetch(from + NP * panel, 0, 2);
      words[j] = hn::LoadU(WordTag(), from);
      if constexpr (dtype == DType::q8) words[j] = hn::Xor(words[j], hn::Set(WordTag(), 0x80808080u));  // plus 128
#if HWY_TARGET <= HWY_AVX3
      if constexpr (dtype == DType::q4) asm("" : "+v"(words[j].raw));  // to be loaded once, not by each shift
#endif
    }
  }
  template <int s>
  HWY_INLINE F32 value(int j) const {
    if constexpr (dtype == DType::f8_e4m3) {
      // As f32 with the same fields it is 2^-120 of what it is.
      const IntTag di;
      const auto top = hn::BitCast(di, hn::ShiftLeft<24 - 8 * s>(words[j]));
      const auto fields = hn::And(hn::ShiftRight<4>(top), hn::Set(di, static_cast<int32_t>(0x87f00000)));
      return hn::Mul(hn::BitCast(FloatTag(), fields), hn::Set(FloatTag(), 0x1p120f));
    } else if constexpr (dtype == DType::q8) {
      return in_place<8, s / 2 * 16, s % 2 * 8>(words[j], 128);
    } else {
      constexpr int kBit = s % 4 * 8 + s / 4 * 4;
#if HWY_TARGET <= HWY_AVX3
      alignas(64) static constexpr float kValues[16] = {-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7};
      // The lookup reads the low 4 bits of an index only.
      return F32{_mm512_permutexvar_ps(hn::ShiftRight<kBit>(words[j]).raw, hn::Load(FloatTag(), kValues).raw)};
#else
      return in_place<4, kBit / 16 * 16, kBit % 16>(words[j], 8);
#endif
    }
  }
};

// Calls use with the source for NP panels of a weight in panels, from (panel, k0) on.
template <int NP, class Use>
HWY_INLINE void with_source(const Tensor& w, int64_t panel, int64_t k0, const Use& use) {
  const int64_t k = w.cols(), at = (panel * k + k0) * kPanel;
  switch (w.dtype) {
    case DType::f32: return use(FromF32{w.as<const float>() + at, k * kPanel});
    case DType::bf16: return use(From16<true>{w.as<const uint16_t>() + at, k * kPanel});
    case DType::f16: return use(From16<false>{w.as<const uint16_t>() + at, k * kPanel});
    case DType::f8_e4m3: return use(FromQuantized<NP, DType::f8_e4m3>(w, panel, k0));
    case DType::q8: return use(FromQuantized<NP, DType::q8>(w, panel, k0));
    default: return use(FromQuantized<NP, DType::q4>(w, panel, k0));
  }
}

// ---- Blocks of b: [kc][16] f32, widened or transposed as needed ----

// What a source reads at once, as [kSteps][NV registers].
template <int NV, class Source>
HWY_INLINE void read_steps(Source& b, int64_t k, float* HWY_RESTRICT out) {
  b.template read<NV / kParts>(k);
  each<Source::kSteps>([&](auto s) HWY_ATTR {
    HWY_UNROLL(16) for (int j = 0; j < NV; ++j) hn::Store(b.template value<s>(j), FloatTag(), out + (s * NV + j) * kWidth);
  });
}

template <class Source>
HWY_INLINE void widen(Source from, int64_t kc, float* HWY_RESTRICT out) {
  constexpr int kSteps = Source::kSteps;
  int64_t k = 0;
  for (; k + kSteps <= kc; k += kSteps) read_steps<kParts>(from, k, out + k * kPanel);
  if (k < kc) {
    alignas(64) float rest[kSteps * kPanel];
    read_steps<kParts>(from, k, rest);
    std::copy_n(rest, (kc - k) * kPanel, out + k * kPanel);
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

// Row n of a 16-bit weight in rows, elements [k0, k0 + kc), as f32.
HWY_INLINE void widen_row(const Tensor& w, int64_t n, int64_t k0, int64_t kc, float* HWY_RESTRICT out) {
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
  with_source<1>(p.b, panel, k0, [&](const auto& from) HWY_ATTR { widen(from, kc, out); });
}

// ---- The register block ----

// c (+)= sums; of a group they are scaled, and what its offset adds goes along.
template <int MR, int NV, class Source>
HWY_INLINE void add_sums(const Source& b, const F32 (&sum)[MR][NV], float* HWY_RESTRICT c, int64_t c_row, bool add) {
  const FloatTag d;
  if constexpr (Source::kGroups) {
    F32 scale[NV], shift[NV];
    HWY_UNROLL(16) for (int j = 0; j < NV; ++j) scale[j] = b.scale(j);
    if (b.sums) HWY_UNROLL(16) for (int j = 0; j < NV; ++j) shift[j] = b.shift(j, scale[j]);
    const float* row_sum = b.sums ? b.sums + b.group_of_block() : nullptr;
    HWY_UNROLL(16) for (int i = 0; i < MR; ++i, c += c_row, row_sum += b.sums_row) {
      HWY_UNROLL(16) for (int j = 0; j < NV; ++j) {
        float* const at = c + j * kWidth;
        F32 total = add ? hn::MulAdd(sum[i][j], scale[j], hn::LoadU(d, at)) : hn::Mul(sum[i][j], scale[j]);
        if (b.sums) total = hn::MulAdd(hn::Set(d, *row_sum), shift[j], total);
        hn::StoreU(total, d, at);
      }
    }
  } else {
    HWY_UNROLL(16) for (int i = 0; i < MR; ++i, c += c_row) {
      HWY_UNROLL(16) for (int j = 0; j < NV; ++j) {
        float* const at = c + j * kWidth;
        hn::StoreU(add ? hn::Add(hn::LoadU(d, at), sum[i][j]) : sum[i][j], d, at);
      }
    }
  }
}

// c[MR][NP * 16] (+)= a[MR][] b[][NP panels] over steps [begin, end) of b, whose first one meets the first one of a.
template <int MR, int NP, class Source>
HWY_INLINE void block(int64_t begin, int64_t end, const float* HWY_RESTRICT a, int64_t a_row, int64_t a_step, Source& b,
                      float* HWY_RESTRICT c, int64_t c_row, bool add) {
  constexpr FloatTag d;
  constexpr int NV = NP * kParts;
  F32 sum[MR][NV];
  HWY_UNROLL(16) for (int i = 0; i < MR; ++i) {
    HWY_UNROLL(16) for (int j = 0; j < NV; ++j) sum[i][j] = hn::Zero(d);
    HWY_UNROLL(16) for (int j = 0; j < NP; ++j) hwy::Prefetch(c + i * c_row + j * kPanel);
  }
  constexpr int kSteps = Source::kSteps;
  // A number of a in all lanes takes a slot of the vector units, but for the operand of a multiply-add in memory: so where
  // b takes their time too, each multiply-add has its own, which the compiler must not join.
  constexpr bool kFromMemory = HWY_TARGET <= HWY_AVX3 && !std::is_base_of_v<FromF32, Source> && !std::is_same_v<Source, FromSteps>;
  const auto multiply = [&](const F32 (&bv)[NV]) HWY_ATTR {
    const float* row = a;
    HWY_UNROLL(16) for (int i = 0; i < MR; ++i) {
      if constexpr (kFromMemory) {
        HWY_UNROLL(16) for (int j = 0; j < NV; ++j) {
          const float* at = row;
          asm volatile("" : "+r"(at));
          sum[i][j] = hn::MulAdd(hn::Set(d, *at), bv[j], sum[i][j]);
        }
      } else {
        const F32 av = hn::Set(d, *row);
        HWY_UNROLL(16) for (int j = 0; j < NV; ++j) sum[i][j] = hn::MulAdd(av, bv[j], sum[i][j]);
      }
      row += a_row;
    }
    a += a_step;
  };
  F32 bv[NV];
  int64_t k = begin;
  for (; k + kSteps <= end; k += kSteps) {
    b.template read<NP>(k);
    each<kSteps>([&](auto s) HWY_ATTR {
      HWY_UNROLL(16) for (int j = 0; j < NV; ++j) bv[j] = b.template value<s>(j);
      multiply(bv);
    });
  }
  if (kSteps > 1 && k < end) {
    alignas(64) float rest[kSteps * NV * kWidth];
    read_steps<NV>(b, k, rest);
    for (const float* at = rest; k < end; ++k, at += NV * kWidth) {
      HWY_UNROLL(16) for (int j = 0; j < NV; ++j) bv[j] = hn::Load(d, at + j * kWidth);
      multiply(bv);
    }
  }
  add_sums(b, sum, c, c_row, add);
}

}  // namespace gemm
}  // namespace ds::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
