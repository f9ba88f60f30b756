#include "tensor/cpu/gemm.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/gemm.cpp"
#include <hwy/foreach_target.h>
// Highway's headers come after foreach_target.h.
#include <hwy/highway.h>

#include <algorithm>
#include <vector>

#include "base/parallel.h"
#include "tensor/cpu/dispatch.h"

#ifndef DS_TENSOR_CPU_GEMM_PART_
#define DS_TENSOR_CPU_GEMM_PART_
namespace ds::cpu {
// A part of a product that one thread computes: rows [m0, m1) and panels [p0, p1) of c.
struct Part {
  const Product* product;
  int64_t m0, m1, p0, p1;
};
}  // namespace ds::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace ds::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr int kWidth = HWY_MIN(16, HWY_MAX_BYTES / 4);  // lanes of a register
constexpr int kParts = kPanel / kWidth;                 // registers of a panel
using FloatTag = hn::FixedTag<float, kWidth>;
using WordTag = hn::FixedTag<uint32_t, kWidth>;
using IntTag = hn::FixedTag<int32_t, kWidth>;
using Half16Tag = hn::FixedTag<uint16_t, kWidth>;
using Float16Tag = hn::FixedTag<hwy::float16_t, kWidth>;
using ByteTag = hn::FixedTag<uint8_t, kWidth>;
using F32 = hn::Vec<FloatTag>;

// The register block: kRows x kPanels panels; 24 accumulators of 32 registers (AVX-512, NEON) or 12 of 16 (AVX2).
constexpr int kPanels = kParts == 1 ? 2 : 1;
constexpr int kRows = kParts == 2 ? 6 : (kParts == 1 ? 12 : 6);
constexpr int kWidePanels = kParts == 1 ? 4 : 2;  // for one or two rows: more panels, as many chains

HWY_INLINE F32 widen_bf16(const uint16_t* p) {
  return hn::BitCast(FloatTag(), hn::ShiftLeft<16>(hn::PromoteTo(WordTag(), hn::LoadU(Half16Tag(), p))));
}
HWY_INLINE F32 widen_f16(const uint16_t* p) {
  return hn::PromoteTo(FloatTag(), hn::BitCast(Float16Tag(), hn::LoadU(Half16Tag(), p)));
}

// ---- Blocks of b: [kc][16] f32, widened or transposed as needed ----

static void widen_panel(const Tensor& w, int64_t panel, int64_t k0, int64_t kc, float* HWY_RESTRICT out) {
  const uint16_t* const from = w.as<const uint16_t>() + (panel * w.shape[1] + k0) * kPanel;
  for (int64_t i = 0; i < kc * kPanel; i += kWidth)
    hn::Store(w.dtype == DType::bf16 ? widen_bf16(from + i) : widen_f16(from + i), FloatTag(), out + i);
}

static void widen_q4_panel(const Tensor& w, int64_t panel, int64_t k0, int64_t kc, float* HWY_RESTRICT out) {
  const int64_t k = w.shape[1], groups = k / w.group_size;
  const uint8_t* const from = w.as<const uint8_t>() + (panel * k + k0) * (kPanel / 2);
  F32 zero[kParts], scale[kParts];
  int64_t group_end = 0;
  for (int64_t i = 0; i < kc; ++i) {
    if (i >= group_end) {
      const int64_t group = (k0 + i) / w.group_size, at = (panel * groups + group) * kPanel;
      for (int part = 0; part < kParts; ++part) {
        scale[part] = widen_f16(static_cast<const uint16_t*>(w.scales) + at + part * kWidth);
        const auto z = hn::LoadU(ByteTag(), static_cast<const uint8_t*>(w.zeros) + at + part * kWidth);
        zero[part] = hn::ConvertTo(FloatTag(), hn::PromoteTo(IntTag(), z));
      }
      group_end = (group + 1) * w.group_size - k0;
    }
    alignas(16) uint8_t q[kPanel];
    for (int j = 0; j < 8; ++j) {
      q[j] = from[i * 8 + j] & 15;
      q[j + 8] = from[i * 8 + j] >> 4;
    }
    for (int part = 0; part < kParts; ++part) {
      const F32 value = hn::ConvertTo(FloatTag(), hn::PromoteTo(IntTag(), hn::Load(ByteTag(), q + part * kWidth)));
      hn::Store(hn::Mul(hn::Sub(value, zero[part]), scale[part]), FloatTag(), out + i * kPanel + part * kWidth);
    }
  }
}

static void transpose_rows(const Tensor& w, int64_t panel, int64_t k0, int64_t kc, float* HWY_RESTRICT out) {
  const int64_t first = panel * kPanel, count = std::min(kPanel, w.shape[0] - first);
  for (int64_t j = 0; j < count; ++j) {
    const int64_t at = (first + j) * w.row_stride + k0;
    if (w.dtype == DType::f32) {
      const float* const row = w.as<const float>() + at;
      for (int64_t i = 0; i < kc; ++i) out[i * kPanel + j] = row[i];
    } else {
      const uint16_t* const row = w.as<const uint16_t>() + at;
      const bool bf16 = w.dtype == DType::bf16;
      for (int64_t i = 0; i < kc; ++i) out[i * kPanel + j] = bf16 ? bf16_to_f32(row[i]) : f16_to_f32(row[i]);
    }
  }
  for (int64_t j = count; j < kPanel; ++j)
    for (int64_t i = 0; i < kc; ++i) out[i * kPanel + j] = 0;
}

static void transpose_q4_rows(const Tensor& w, int64_t panel, int64_t k0, int64_t kc, float* HWY_RESTRICT out) {
  const int64_t k = w.shape[1], groups = k / w.group_size;
  for (int64_t j = 0; j < kPanel; ++j) {
    const int64_t n = panel * kPanel + j;
    for (int64_t i = 0; i < kc; ++i) {
      float value = 0;
      if (n < w.shape[0]) {
        const int64_t at = n * k + k0 + i, of = n * groups + (k0 + i) / w.group_size;
        const int q = w.as<const uint8_t>()[at / 2] >> (at % 2 * 4) & 15;
        value = static_cast<float>(q - static_cast<const uint8_t*>(w.zeros)[of]) *
                f16_to_f32(static_cast<const uint16_t*>(w.scales)[of]);
      }
      out[i * kPanel + j] = value;
    }
  }
}

static void copy_steps(const Tensor& b, int64_t panel, int64_t k0, int64_t kc, float* HWY_RESTRICT out) {
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

static void load_block(const Product& p, int64_t panel, int64_t k0, int64_t kc, float* out) {
  if (p.form == Product::Form::steps) return copy_steps(p.b, panel, k0, kc, out);
  const bool q4 = p.b.dtype == DType::q4;
  if (p.b.layout == Layout::panels) return q4 ? widen_q4_panel(p.b, panel, k0, kc, out) : widen_panel(p.b, panel, k0, kc, out);
  return q4 ? transpose_q4_rows(p.b, panel, k0, kc, out) : transpose_rows(p.b, panel, k0, kc, out);
}

// ---- The register block ----

// c[MR][NP * 16] (+)= a[MR][kc] b[kc][NP panels]; b_panel elements lie between panels of b.
template <int MR, int NP>
static HWY_INLINE void block(int64_t kc, const float* HWY_RESTRICT a, int64_t a_row, int64_t a_step,
                             const float* HWY_RESTRICT b, int64_t b_panel, float* HWY_RESTRICT c, int64_t c_row, bool add) {
  constexpr FloatTag d;
  constexpr int NV = NP * kParts;
  F32 sum[MR][NV];
  for (int i = 0; i < MR; ++i)
    for (int j = 0; j < NV; ++j) sum[i][j] = hn::Zero(d);
  for (int64_t k = 0; k < kc; ++k) {
    F32 bv[NV];
    for (int j = 0; j < NV; ++j) bv[j] = hn::Load(d, b + (j / kParts) * b_panel + (j % kParts) * kWidth);
    const float* row = a;
    for (int i = 0; i < MR; ++i, row += a_row) {
      const F32 av = hn::Set(d, *row);
      for (int j = 0; j < NV; ++j) sum[i][j] = hn::MulAdd(av, bv[j], sum[i][j]);
    }
    a += a_step;
    b += kPanel;
  }
  for (int i = 0; i < MR; ++i) {
    for (int j = 0; j < NV; ++j) {
      float* const at = c + i * c_row + j * kWidth;
      hn::StoreU(add ? hn::Add(hn::LoadU(d, at), sum[i][j]) : sum[i][j], d, at);
    }
  }
}

using BlockFn = void (*)(int64_t, const float*, int64_t, int64_t, const float*, int64_t, float*, int64_t, bool);
template <int MR, int NP>
static void block_fn(int64_t kc, const float* a, int64_t a_row, int64_t a_step, const float* b, int64_t b_panel, float* c,
                     int64_t c_row, bool add) {
  block<MR, NP>(kc, a, a_row, a_step, b, b_panel, c, c_row, add);
}

// The function for `rows` (1 .. kRows) and `panels`.
template <int NP, int MR = kRows>
static BlockFn block_of(int64_t rows) {
  if constexpr (MR > 1)
    if (rows < MR) return block_of<NP, MR - 1>(rows);
  return &block_fn<MR, NP>;
}
static BlockFn find_block(int64_t rows, int64_t panels) {
  if constexpr (kWidePanels > 2) {
    if (panels == 4) return block_of<4, 2>(rows);
    if (panels == 3) return block_of<3, 2>(rows);
  }
  if (panels == 2) return kPanels == 2 ? block_of<2>(rows) : block_of<2, 2>(rows);
  return block_of<1>(rows);
}

// ---- A part ----

// Rows [m0, m1) of np panels from `panel` on, for one block of k.
static void block_column(const Part& part, int64_t panel, int64_t np, int64_t k0, int64_t kc, const float* b,
                         int64_t b_panel) {
  const Product& p = *part.product;
  const bool add = p.accumulate || k0 > 0;
  const int64_t n0 = panel * kPanel, count = std::min(p.n - n0, np * kPanel);
  alignas(64) float edge[kRows * kWidePanels * kPanel];
  for (int64_t m = part.m0; m < part.m1; m += kRows) {
    const int64_t mr = std::min<int64_t>(kRows, part.m1 - m);
    const float* const a = p.a + m * p.a_row + k0 * p.a_step;
    float* const c = p.c + m * p.c_row + n0;
    const BlockFn fn = find_block(mr, np);
    if (count == np * kPanel) {
      fn(kc, a, p.a_row, p.a_step, b, b_panel, c, p.c_row, add);
    } else {
      fn(kc, a, p.a_row, p.a_step, b, b_panel, edge, np * kPanel, false);
      for (int64_t i = 0; i < mr; ++i)
        for (int64_t j = 0; j < count; ++j)
          c[i * p.c_row + j] = add ? c[i * p.c_row + j] + edge[i * np * kPanel + j] : edge[i * np * kPanel + j];
    }
  }
}

static void compute(const Part& part) {
  const Product& p = *part.product;
  alignas(64) float buffer[kWidePanels * kKBlock * kPanel];
  const bool direct = p.form == Product::Form::weight && p.b.layout == Layout::panels && p.b.dtype == DType::f32;
  const int64_t width = part.m1 - part.m0 <= 2 ? kWidePanels : kPanels;
  const auto step = [&](int64_t panel, int64_t k0) {
    const int64_t np = std::min(width, part.p1 - panel), kc = std::min(kKBlock, p.k - k0);
    if (direct)
      return block_column(part, panel, np, k0, kc, p.b.as<const float>() + (panel * p.k + k0) * kPanel, p.k * kPanel);
    for (int64_t i = 0; i < np; ++i) load_block(p, panel + i, k0, kc, buffer + i * kKBlock * kPanel);
    block_column(part, panel, np, k0, kc, buffer, kKBlock * kPanel);
  };
  // Where a's part fits the second-level cache, finish a panel; else keep a block of a for all panels.
  if ((part.m1 - part.m0) * p.k <= int64_t{64} << 10) {
    for (int64_t panel = part.p0; panel < part.p1; panel += width)
      for (int64_t k0 = 0; k0 < p.k; k0 += kKBlock) step(panel, k0);
  } else {
    for (int64_t k0 = 0; k0 < p.k; k0 += kKBlock)
      for (int64_t panel = part.p0; panel < part.p1; panel += width) step(panel, k0);
  }
}

}  // namespace ds::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ds::cpu {
HWY_EXPORT(compute);

static void clear(const Product& p) {
  for (int64_t i = 0; i < p.m && !p.accumulate; ++i) std::fill_n(p.c + i * p.c_row, p.n, 0.0f);
}

constexpr int64_t kPartRows = 504;          // a multiple of every kRows
constexpr int64_t kPartWork = 1 << 20;      // multiply-adds below which a part is not worth a thread

// Cuts a product into parts: by rows where there are many, then by panels.
static void cut(const Product& p, std::vector<Part>& parts) {
  const int64_t panels = panel_rows(p.n) / kPanel, pieces = static_cast<int64_t>(threads()) * 4;
  const int64_t wanted = threads() == 1 ? 1 : std::clamp<int64_t>(p.m * p.n / kPartWork * p.k + p.m * p.n % kPartWork * p.k / kPartWork, 1, pieces);
  int64_t rows = std::min(kPartRows, p.m);
  const int64_t row_parts = (p.m + rows - 1) / rows;
  rows = ((p.m + row_parts - 1) / row_parts + 11) / 12 * 12;  // even parts
  const int64_t column_parts = std::clamp<int64_t>((wanted + row_parts - 1) / row_parts, 1, (panels + 3) / 4);
  const int64_t width = ((panels + column_parts - 1) / column_parts + 3) / 4 * 4;
  for (int64_t m = 0; m < p.m; m += rows)
    for (int64_t panel = 0; panel < panels; panel += width)
      parts.push_back({&p, m, std::min(p.m, m + rows), panel, std::min(panels, panel + width)});
}

void multiply(std::span<const Product> products) {
  std::vector<Part> parts;
  for (const Product& p : products) {
    if (p.m == 0 || p.n == 0) continue;
    if (p.k == 0)
      clear(p);
    else
      cut(p, parts);
  }
  const auto run = DS_SIMD_DISPATCH(compute);
  parallel_for(parts.size(), 1, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) run(parts[i]);
  });
}

}  // namespace ds::cpu
#endif
