#include "tensor/cpu/gemm.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/gemm.cpp"
#include <hwy/foreach_target.h>
// Highway's headers come after foreach_target.h.
#include <hwy/aligned_allocator.h>
#include <hwy/highway.h>

#include <algorithm>
#include <vector>

#include "base/parallel.h"
#include "tensor/cpu/dispatch.h"
#include "tensor/cpu/gemm_block.h"
#include "tensor/cpu/simd.h"

#ifndef DS_TENSOR_CPU_GEMM_PART_
#define DS_TENSOR_CPU_GEMM_PART_
namespace ds::cpu {
// A part of a product that one thread computes: rows [m0, m1) and panels [p0, p1) of c.
struct Part {
  const Product* product;
  int64_t m0, m1, p0, p1;
};

// Memory of this thread, kept from part to part. A part calls nothing that could want it too.
inline float* part_memory(size_t count) {
  thread_local hwy::AlignedFreeUniquePtr<float[]> memory;
  thread_local size_t size = 0;
  if (size < count) {
    memory.reset();
    memory = hwy::AllocateAligned<float>(count);
    require(memory != nullptr, "out of memory: ", count, " floats were asked for");
    size = count;
  }
  return memory.get();
}
}  // namespace ds::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace ds::cpu::HWY_NAMESPACE {
namespace gemm {

// The register block: kRows x kPanels panels; 24 accumulators of 32 registers (AVX-512, NEON) or 12 of 16 (AVX2).
constexpr int kPanels = kParts == 1 ? 2 : 1;
constexpr int kRows = kParts == 1 ? 12 : 6;
// For few rows, which wait for memory: fewer of them and more panels, so as many chains; b is widened on the way.
constexpr int kWidePanels = kParts == 1 ? 4 : 2;
constexpr int kFewCopied = 2;  // rows are few where b has to be copied first
// Rows of b in place are read by so many register blocks at most; for more they are copied, so as to lie in few pages.
constexpr int kDirectTiles = 9;
constexpr int kWidenTiles = 4;  // 16-bit panels are widened by so many register blocks each; for more, once into memory
constexpr int64_t kAheadBytes = 256 << 10;  // of the next part's b, fetched while a part is computed
constexpr int64_t kFetchingTiles = 4;       // that fetch what is needed next

bool in_panels(const Product& p) { return p.form == Product::Form::weight && p.b.layout == Layout::panels; }

// Rows that a register block of few rows has at most, beside kWidePanels panels.
template <class Source>
constexpr int kFewRowsOf = kParts == 1 ? 6 : std::is_same_v<Source, FromF32> ? 3 : 2;
int64_t most_few_rows(const Product& p) {
  if (!in_panels(p)) return kFewCopied;
  return kParts == 1 || !quantized(p.b.dtype) ? kRows : 2;
}

// Rows of a, of one register block or one block of k.
struct Rows {
  const float* a;
  int64_t row, step;
};

template <class Source>
using BlockFn = void (*)(int64_t kc, const Rows&, const Source&, float* c, int64_t c_row, bool add);
template <int MR, int NP, class Source>
void run_block(int64_t kc, const Rows& rows, const Source& b, float* c, int64_t c_row, bool add) {
  Source from = b;
  if constexpr (Source::kGroups) {
    for (int64_t k = 0, end; k < kc; k = end, add = true) {
      end = from.enter(k, kc);
      block<MR, NP>(k, end, rows.a + k, rows.row, 1, from, c, c_row, add);
    }
  } else {
    if (rows.step == 1) return block<MR, NP>(0, kc, rows.a, rows.row, 1, from, c, c_row, add);
    block<MR, NP>(0, kc, rows.a, rows.row, rows.step, from, c, c_row, add);
  }
}

// The block for 1 .. MR rows and exactly NP panels.
template <int MR, int NP, class Source>
BlockFn<Source> block_for(int64_t rows) {
  if constexpr (MR > 1)
    if (rows < MR) return block_for<MR - 1, NP, Source>(rows);
  return &run_block<MR, NP, Source>;
}

// Calls the block, and where a panel ends past the last column keeps what lies beyond out of c.
template <class Source>
void write_block(BlockFn<Source> fn, int64_t mr, int64_t kc, const Rows& rows, const Source& b, float* c, int64_t c_row,
                 int64_t columns, int64_t lanes, bool add) {
  if (columns >= lanes) return fn(kc, rows, b, c, c_row, add);
  alignas(64) float edge[kRows * kWidePanels * kPanel];
  for (int64_t i = 0; add && i < mr; ++i) {
    std::copy_n(c + i * c_row, columns, edge + i * lanes);
    std::fill(edge + i * lanes + columns, edge + (i + 1) * lanes, 0.0f);
  }
  fn(kc, rows, b, edge, lanes, add);
  for (int64_t i = 0; i < mr; ++i) std::copy_n(edge + i * lanes, columns, c + i * c_row);
}

// Sums of the rows of a over each group's part of each block of k, which an offset of a weight is multiplied with.
struct RowSums {
  const float* sums = nullptr;
  int64_t block = 0, row = 0;  // numbers a block has, and a row
};
int64_t sums_in_block(const Tensor& w) { return kKBlock / std::min<int64_t>(w.group_size, kKBlock) + 2; }
size_t count_row_sums(const Part& part) {
  const Product& p = *part.product;
  if (!p.b.zeros && !p.b.mins) return 0;
  return static_cast<size_t>((part.m1 - part.m0) * sums_in_block(p.b) * ((p.k + kKBlock - 1) / kKBlock));
}
RowSums row_sums(const Part& part, float* out) {
  const Product& p = *part.product;
  if (count_row_sums(part) == 0) return {};
  const int64_t group = p.b.group_size;
  RowSums r{out, sums_in_block(p.b), 0};
  r.row = r.block * ((p.k + kKBlock - 1) / kKBlock);
  for (int64_t m = part.m0; m < part.m1; ++m, out += r.row) {
    const float* const a = p.a + m * p.a_row;
    for (int64_t k = 0; k < p.k;) {
      const int64_t block = k / kKBlock, first = block * kKBlock;
      const int64_t end = std::min({p.k, first + kKBlock, (k / group + 1) * group});
      F32x16 sum = 0.0f;
      const int64_t at = block * r.block + k / group - first / group;
      for (; k < end; k += kPanel) sum += load(a + k, static_cast<size_t>(end - k));
      out[at] = reduce_add(sum);
      k = end;
    }
  }
  return r;
}
template <class Source>
void set_sums(Source& b, const RowSums& sums, int64_t row) {
  if (!sums.sums) return;
  b.sums = sums.sums + row * sums.row + b.k0 / kKBlock * sums.block;
  b.sums_row = sums.row;
}

// Copies the block of a at k0 register block by register block, so that it lies in few lines and pages.
Rows pack_a(const Part& part, int64_t mr, int64_t k0, int64_t kc, float* out) {
  const Product& p = *part.product;
  const bool by_rows = p.a_step == 1;
  const int64_t row = by_rows ? kKBlock + 16 : 1, step = by_rows ? 1 : mr;
  const int64_t tile_size = mr * (kKBlock + 16);
  if (by_rows) {
    for (int64_t m = part.m0; m < part.m1; ++m)
      std::copy_n(p.a + m * p.a_row + k0, kc, out + (m - part.m0) / mr * tile_size + (m - part.m0) % mr * row);
    return {out, row, step};
  }
  // Step by step, so that the reads follow one another. Whole panels are copied where the matrix has as many rows left:
  // what they write beyond their own rows is the next step's, or the tile's margin.
  for (int64_t k = 0; k < kc; ++k) {
    const float* const from = p.a + (k0 + k) * p.a_step;
    for (int64_t m = part.m0; m < part.m1; m += mr) {
      float* const to = out + (m - part.m0) / mr * tile_size + k * mr;
      if (p.a_row == 1 && m + kPanel <= p.m) {
        HWY_UNROLL(4) for (int j = 0; j < kPanel; j += kWidth)
          hn::StoreU(hn::LoadU(FloatTag(), from + m + j), FloatTag(), to + j);
      } else {
        for (int64_t i = 0; i < std::min(mr, part.m1 - m); ++i) to[i] = from[(m + i) * p.a_row];
      }
    }
  }
  return {out, row, step};
}

// How compute_many goes through the rows of a part: `tiles` register blocks of mr rows, the last one of `last`.
struct Tiling {
  int64_t mr, tiles, last;
};
Tiling tiling(int64_t rows) {
  const int64_t least = (rows + kRows - 1) / kRows, mr = (rows + least - 1) / least, tiles = (rows + mr - 1) / mr;
  return {mr, tiles, rows - (tiles - 1) * mr};
}

// Steps from k0 on of panels from `panel` on, if there are any.
Ahead ahead_of(const Part& part, int64_t panel, int64_t k0) {
  const Product& p = *part.product;
  if (panel >= part.p1 || k0 >= p.k) return {};
  const int64_t step = kPanel * dtype_bits(p.b.dtype) / 8, whole = panel_steps(p.b.dtype, p.k) * step;
  return {p.b.as<const char>() + panel * whole + k0 * step, whole, step};
}
// This step's share of the matrix that the part after this one multiplies with: experts are small and many, and without
// it each would begin by waiting for memory.
Ahead share_of(const Part& part, int64_t panel, int64_t k0, int64_t kc, const Part* following) {
  if (!following || following->product->b.data == part.product->b.data) return {};
  const Tensor& b = following->product->b;
  const int64_t bytes = b.elements() * dtype_bits(b.dtype) / 8;
  if (!b.contiguous() || bytes > kAheadBytes) return {};
  const int64_t per_k = (part.p1 - part.p0 + kPanels - 1) / kPanels, steps = per_k * ((part.product->k + kKBlock - 1) / kKBlock);
  const int64_t step = k0 / kKBlock * per_k + (panel - part.p0) / kPanels, share = bytes / (steps * kPanels);
  return {b.as<const char>() + step * kPanels * share, share, (share + kc - 1) / kc};
}

// All rows of the part times np panels of b.
template <class Source>
void sweep(const Part& part, const Tiling& t, int64_t panel, int64_t np, int64_t k0, int64_t kc, Rows a, int64_t a_tile,
           Source b, const Ahead& next) {
  const Product& p = *part.product;
  float* c = p.c + part.m0 * p.c_row + panel * kPanel;
  const auto block_of = [&](int64_t rows) {
    return np == kPanels ? block_for<kRows, kPanels, Source>(rows) : block_for<kRows, 1, Source>(rows);
  };
  const BlockFn<Source> full = block_of(t.mr), rest = block_of(t.last);
  // The first tiles fetch what is needed next, each a part of every step's bytes.
  const int64_t fetching = std::min(t.tiles, kFetchingTiles), step = (next.step + fetching - 1) / fetching;
  for (int64_t tile = 0; tile < t.tiles; ++tile, c += t.mr * p.c_row, a.a += a_tile) {
    if constexpr (!std::is_same_v<Source, FromSteps>)
      b.next = tile < fetching ? Ahead{next.p + tile * step * kc, next.panel, step} : Ahead();
    const bool whole = tile + 1 < t.tiles;
    write_block(whole ? full : rest, whole ? t.mr : t.last, kc, a, b, c, p.c_row, p.n - panel * kPanel, np * kPanel,
                p.accumulate || k0 > 0);
    if constexpr (Source::kGroups) b.sums += t.mr * b.sums_row;
  }
}

// The panels of b from `panel` on times the rows, a block of k: b is widened or transposed for all rows unless the register
// block can read it where it is.
void multiply_panels(const Part& part, const Tiling& t, int64_t panel, int64_t k0, Rows a, int64_t a_tile,
                     const RowSums& sums, const Ahead& next) {
  const Product& p = *part.product;
  const int64_t np = std::min<int64_t>(kPanels, part.p1 - panel), kc = std::min(kKBlock, p.k - k0);
  const int64_t at = (panel * p.k + k0) * kPanel, each = p.k * kPanel;
  const auto run = [&](const auto& b) { sweep(part, t, panel, np, k0, kc, a, a_tile, b, next); };
  if (in_panels(p) && p.b.dtype == DType::f32) return run(FromF32{p.b.as<const float>() + at, each});
  if (in_panels(p) && t.tiles <= kWidenTiles) {
    const uint16_t* const half = p.b.as<const uint16_t>() + at;
    if (p.b.dtype == DType::bf16) return run(From16<true>{half, each});
    if (p.b.dtype == DType::f16) return run(From16<false>{half, each});
  }
  if (p.form == Product::Form::steps && t.tiles <= kDirectTiles && p.n >= (panel + np) * kPanel)
    return run(FromSteps{p.b.f32() + k0 * p.b.row_stride + panel * kPanel, p.b.row_stride});
  alignas(64) float buffer[kPanels * kKBlock * kPanel];
  for (int64_t i = 0; i < np; ++i) load_block(p, panel + i, k0, kc, buffer + i * kKBlock * kPanel);
  const FromF32 widened{buffer, kKBlock * kPanel};
  if (!quantized(p.b.dtype)) return run(widened);
  alignas(64) float numbers[2 * (kKBlock / 4 + 2) * kPanels * kPanel];
  const auto run_values = [&](auto count) {
    FromValues<count * kParts> values(widened, Groups(p.b, panel, k0), kc, numbers);
    set_sums(values, sums, 0);
    run(values);
  };
  np == 1 ? run_values(std::integral_constant<int, 1>()) : run_values(std::integral_constant<int, kPanels>());
}

// More rows than one register block has: a block of a is rearranged for all panels where that pays.
void compute_many(const Part& part, const Part* following) {
  const Product& p = *part.product;
  const Tiling t = tiling(part.m1 - part.m0);
  const bool packed_a = part.p1 - part.p0 >= 6 * kPanels && t.tiles > 1 && p.k > 32;
  const auto packed = static_cast<size_t>(packed_a ? t.tiles * t.mr * (kKBlock + 16) : 0);
  float* const memory = part_memory(packed + count_row_sums(part));
  const RowSums sums = row_sums(part, memory + packed);
  for (int64_t k0 = 0; k0 < p.k; k0 += kKBlock) {
    const int64_t kc = std::min(kKBlock, p.k - k0);
    const Rows a = packed_a ? pack_a(part, t.mr, k0, kc, memory) : Rows{p.a + part.m0 * p.a_row + k0 * p.a_step, p.a_row, p.a_step};
    const int64_t a_tile = t.mr * (packed_a ? kKBlock + 16 : p.a_row);
    for (int64_t panel = part.p0; panel < part.p1; panel += kPanels) {
      Ahead next;
      if (!in_panels(p))
        next = share_of(part, panel, k0, kc, following);
      else
        next = panel + kPanels < part.p1 ? ahead_of(part, panel + kPanels, k0) : ahead_of(part, part.p0, k0 + kKBlock);
      multiply_panels(part, t, panel, k0, a, a_tile, sums, next);
    }
  }
}

template <int NP, class Source>
void few_rows_of(const Part& part, const Rows& a, const RowSums& sums, int64_t panel, int64_t k0, Source b) {
  const Product& p = *part.product;
  constexpr int most = kFewRowsOf<Source>;
  const int64_t rows = part.m1 - part.m0, tiles = (rows + most - 1) / most;
  for (int64_t tile = 0; tile < tiles; ++tile) {
    const int64_t m = tile * rows / tiles, count = (tile + 1) * rows / tiles - m;
    if constexpr (Source::kGroups) set_sums(b, sums, m);
    write_block(block_for<most, NP, Source>(count), count, std::min(kKBlock, p.k - k0), {a.a + m * a.row, a.row, a.step}, b,
                p.c + (part.m0 + m) * p.c_row + panel * kPanel, p.c_row, p.n - panel * kPanel, NP * kPanel,
                p.accumulate || k0 > 0);
  }
}

// NP panels, all of k: each is read from end to end.
template <int NP>
void few_rows(const Part& part, int64_t panel, const Rows& a, const RowSums& sums) {
  const Product& p = *part.product;
  alignas(64) float buffer[NP * kKBlock * kPanel];
  for (int64_t k0 = 0; k0 < p.k; k0 += kKBlock) {
    const Rows at = {a.a + k0 * a.step, a.row, a.step};
    if (in_panels(p)) {
      with_source<NP>(p.b, panel, k0, [&](const auto& from) { few_rows_of<NP>(part, at, sums, panel, k0, from); });
    } else {
      for (int64_t i = 0; i < NP; ++i) load_block(p, panel + i, k0, std::min(kKBlock, p.k - k0), buffer + i * kKBlock * kPanel);
      few_rows_of<NP>(part, at, sums, panel, k0, FromF32{buffer, kKBlock * kPanel});
    }
  }
}

void compute_few(const Part& part) {
  const Product& p = *part.product;
  Rows a = {p.a + part.m0 * p.a_row, p.a_row, p.a_step};
  const int64_t rows = part.m1 - part.m0, row = p.k + 16;
  // Copied, since rows a multiple of 4096 bytes apart share the same few lines of a cache.
  const bool copied = rows > kFewCopied && a.step == 1;
  float* const copy = part_memory(static_cast<size_t>(copied ? rows * row : 0) + count_row_sums(part));
  const RowSums sums = row_sums(part, copy + (copied ? rows * row : 0));
  if (copied) {
    for (int64_t i = 0; i < rows; ++i) std::copy_n(a.a + i * a.row, p.k, copy + i * row);
    a = {copy, row, 1};
  }
  int64_t panel = part.p0;
  for (; panel + kWidePanels <= part.p1; panel += kWidePanels) few_rows<kWidePanels>(part, panel, a, sums);
  for (; panel < part.p1; ++panel) few_rows<1>(part, panel, a, sums);
}

void compute(const Part& part, const Part* following) {
  const int64_t rows = part.m1 - part.m0;
  rows <= most_few_rows(*part.product) ? compute_few(part) : compute_many(part, following);
}

}  // namespace gemm

void compute(const Part& part, const Part* following) { gemm::compute(part, following); }

}  // namespace ds::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ds::cpu {
HWY_EXPORT(compute);

static void clear(const Product& p) {
  for (int64_t i = 0; i < p.m && !p.accumulate; ++i) std::fill_n(p.c + i * p.c_row, p.n, 0.0f);
}

constexpr int64_t kPartRows = 504;   // a multiple of every kRows; with a block of k it fits a second-level cache
constexpr double kPartWork = 1 << 20;  // multiply-adds that are worth a thread
constexpr int64_t kMemoryRows = 16;    // with fewer rows, a weight takes as long to read as so many rows take to compute

// Cuts a product into parts: by rows where there are many, then by panels. With one thread, as few as the cache allows.
static void cut(const Product& p, std::vector<Part>& parts) {
  const int64_t panels = panel_rows(p.n) / kPanel;
  const double work = static_cast<double>(std::max(p.m, kMemoryRows)) * static_cast<double>(p.n) * static_cast<double>(p.k);
  const double most = threads() == 1 ? 1 : static_cast<double>(threads() * 4);
  const auto wanted = static_cast<int64_t>(std::clamp(work / kPartWork, 1.0, most));
  const int64_t row_parts = (p.m + kPartRows - 1) / kPartRows, rows = ((p.m + row_parts - 1) / row_parts + 11) / 12 * 12;
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
    require(p.a_step == 1 || !quantized(p.b.dtype), "a product with ", describe(p.b), " takes rows that lie number by number");
    if (p.k == 0)
      clear(p);
    else
      cut(p, parts);
  }
  const auto run = DS_SIMD_DISPATCH(compute);
  parallel_for(parts.size(), 1, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) run(parts[i], i + 1 < end ? &parts[i + 1] : nullptr);
  });
}

}  // namespace ds::cpu
#endif
