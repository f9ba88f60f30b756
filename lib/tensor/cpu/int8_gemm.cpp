#include "tensor/cpu/int8_gemm.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/int8_gemm.cpp"
#include <hwy/foreach_target.h>
// Highway's headers come after foreach_target.h.
#include <hwy/aligned_allocator.h>

#include <algorithm>
#include <bit>
#include <vector>

#include "base/parallel.h"
#include "base/sizes.h"
#include "tensor/cpu/dispatch.h"
#include "tensor/cpu/gemm.h"
#include "tensor/cpu/int8_gemm_block.h"

#ifndef DS_TENSOR_CPU_INT8_GEMM_WORK_
#define DS_TENSOR_CPU_INT8_GEMM_WORK_
namespace ds::cpu {
// A product and its rounded activations: tiles of `mr` rows, the last one filled up with zeros.
struct Int8Work {
  const Product* product = nullptr;
  const Int8Work* like = nullptr;      // one with the same activations, which rounds them for both
  int64_t k = 0, panels = 0, groups = 0;
  int64_t group_size = 0;              // at most k
  int64_t steps = 0, group_steps = 0;  // of k, kSteps of the format at a time
  int64_t mr = 0, tiles = 0, tile_bytes = 0;
  int8_t* x = nullptr;         // [tiles][steps][mr][kBytes]
  int32_t* offsets = nullptr;  // [tiles][groups][mr]: sums of the activations, as the register block takes them
  float* sums = nullptr;
  float* scales = nullptr;  // [tiles][mr]
  bool vnni = false;
};
// What one thread computes: tiles [t0, t1) and panels [p0, p1).
struct Int8Part {
  const Int8Work* work;
  int64_t t0, t1, p0, p1;
};
}  // namespace ds::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace ds::cpu::HWY_NAMESPACE {
namespace int8 {

// The register block: 24 sums of 32 registers (AVX-512), or 8 of 16. One or two rows wait for memory: more panels.
constexpr bool kWide = kParts == 1;
constexpr int kPanels = kWide ? 2 : 1, kPanelsOfTwo = kWide ? 4 : 2, kPanelsOfOne = 4;
constexpr int kRows = kWide ? 12 : 4;

// Calls run with the rows of a block, of those that are compiled, that holds `rows`.
template <class Run>
void with_rows(int64_t rows, const Run& run) {
  if (rows <= 1) return run(std::integral_constant<int, 1>());
  if (rows <= 2) return run(std::integral_constant<int, 2>());
  if (rows <= 3) return run(std::integral_constant<int, 3>());
  if (rows <= 4 || !kWide) return run(std::integral_constant<int, 4>());
  if constexpr (kWide) {
    if (rows <= 6) return run(std::integral_constant<int, 6>());
    if (rows <= 8) return run(std::integral_constant<int, 8>());
    if (rows <= 10) return run(std::integral_constant<int, 10>());
    run(std::integral_constant<int, 12>());
  }
}

template <class Run>
void with_format(const Int8Work& work, const Run& run) {
  const bool q4 = work.product->b.dtype == DType::q4;
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
  if (work.vnni) return q4 ? run(Q4<true>()) : run(Q8<true>());
#endif
  q4 ? run(Q4<false>()) : run(Q8<false>());
}

// ---- Rounding ----

// The scale of a row of k numbers, and what to multiply it with before rounding (0: the row counts as zeros).
void row_scale(const float* x, int64_t k, float& scale, float& inverse) {
  const IntTag d;
  const auto magnitude = hn::Set(d, 0x7fffffff);
  auto most = hn::Zero(d);
  int64_t i = 0;
  // As integers the sizes of floats have the same order, infinities and NaN above them.
  for (; i + static_cast<int64_t>(kWidth) <= k; i += kWidth)
    most = hn::Max(most, hn::And(hn::BitCast(d, hn::LoadU(FloatTag(), x + i)), magnitude));
  int32_t bits = hn::GetLane(hn::MaxOfLanes(d, most));
  for (; i < k; ++i) bits = std::max(bits, std::bit_cast<int32_t>(x[i]) & 0x7fffffff);
  const float a = std::bit_cast<float>(bits);
  scale = inverse = 0;
  if (bits >= 0x7f800000)
    scale = std::numeric_limits<float>::quiet_NaN();
  else if (a >= 0x1p-100f)
    scale = a / 127, inverse = 127 / a;
}

void round_row(const float* x, int64_t count, float inverse, int8_t* q) {
  const hn::FixedTag<int8_t, kWidth> bytes;
  if (inverse == 0) {
    std::memset(q, 0, static_cast<size_t>(count));
    return;
  }
  for (int64_t i = 0; i < count; i += kLanes) {
    const F32x16 scaled = load(x + i, static_cast<size_t>(count - i)) * F32x16(inverse);
    each_part([&](auto part) HWY_ATTR {
      hn::StoreU(hn::DemoteTo(bytes, hn::NearestInt(scaled.v[part])), bytes, q + i + part * kWidth);
    });
  }
}

template <class Format>
void round_tile_of(const Int8Work& w, int64_t tile) {
  constexpr int64_t kChunk = 1024;  // a multiple of every kSteps
  alignas(64) int8_t q[kChunk + kLanes];
  int8_t* const x = w.x + tile * w.tile_bytes;
  const int64_t first_sum = tile * w.groups * w.mr;
  int32_t* const sums = w.offsets + first_sum;
  std::fill_n(sums, w.groups * w.mr, 0);
  const Product& p = *w.product;
  for (int64_t i = 0; i < w.mr; ++i) {
    const int64_t m = tile * w.mr + i;
    const float* const row = p.a + m * p.a_row;
    float scale = 0, inverse = 0;
    if (m < p.m) row_scale(row, w.k, scale, inverse);
    w.scales[tile * w.mr + i] = scale;
    for (int64_t k0 = 0; k0 < w.k; k0 += kChunk) {
      const int64_t count = std::min(kChunk, w.k - k0),
                    whole = (count + Format::kSteps - 1) / Format::kSteps * Format::kSteps;
      round_row(row + k0, count, inverse, q);
      std::fill(q + count, q + whole, int8_t{0});
      int8_t* out = x + (k0 / Format::kSteps * w.mr + i) * Format::kBytes;
      for (int64_t k = 0; k < whole; k += Format::kSteps, out += w.mr * Format::kBytes) Format::place(q + k, out);
      for (int64_t k = 0; k < count;) {
        const int64_t g = (k0 + k) / w.group_size, end = std::min(count, (g + 1) * w.group_size - k0);
        int32_t sum = 0;
        for (; k < end; ++k) sum += q[k];
        sums[g * w.mr + i] += sum;
      }
    }
  }
  for (int64_t i = 0; i < w.groups * w.mr; ++i) {
    w.sums[first_sum + i] = static_cast<float>(sums[i]);
    sums[i] *= -Format::kOffset;
  }
}

// ---- Products ----

template <class Format, int MR, int NP>
void run_block(const Int8Work& w, int64_t tile, int64_t panel) {
  const Product& p = *w.product;
  Panels<NP> panels;
  for (int j = 0; j < NP; ++j) {
    const int64_t at = std::min(panel + j, w.panels - 1);  // past the last one: again, and not stored
    panels.values[j] = p.b.as<const uint8_t>() + at * w.steps * 64;
    panels.group[j] = at * w.groups;
  }
  hn::Vec<FloatTag> total[MR][NP * kParts];
  block<Format, MR, NP>(p.b, panels, w.steps, w.group_steps, w.x + tile * w.tile_bytes,
                        w.offsets + tile * w.groups * MR, w.sums + tile * w.groups * MR, total);
  HWY_UNROLL(16) for (int i = 0; i < MR; ++i) {
    const int64_t m = tile * MR + i;
    if (m >= p.m) break;
    const F32x16 scale = w.scales[m];
    HWY_UNROLL(4) for (int j = 0; j < NP; ++j) {
      const int64_t first = (panel + j) * static_cast<int64_t>(kLanes);
      if (first >= p.n) break;
      float* const y = p.c + m * p.c_row + first;
      const auto count = static_cast<size_t>(p.n - first);
      F32x16 value;
      HWY_UNROLL(4) for (size_t part = 0; part < kParts; ++part) value.v[part] = total[i][j * kParts + part];
      value = value * scale;
      store(p.accumulate ? load(y, count) + value : value, y, count);
    }
  }
}

template <class Format, int MR>
void compute_part(const Int8Part& part) {
  constexpr int NP = MR == 1 ? kPanelsOfOne : MR == 2 ? kPanelsOfTwo : kPanels;
  for (int64_t panel = part.p0; panel < part.p1; panel += NP)
    for (int64_t tile = part.t0; tile < part.t1; ++tile) run_block<Format, MR, NP>(*part.work, tile, panel);
}

}  // namespace int8

// Cuts the rows into tiles, and the steps of k as the format has them.
void plan(Int8Work& w) {
  const int64_t m = w.product->m, least = (m + int8::kRows - 1) / int8::kRows;
  int8::with_rows((m + least - 1) / least, [&](auto rows) { w.mr = rows; });
  w.tiles = (m + w.mr - 1) / w.mr;
  int8::with_format(w, [&](auto format) {
    constexpr int64_t kSteps = decltype(format)::kSteps;
    w.steps = (w.k + kSteps - 1) / kSteps;
    w.group_steps = w.groups == 1 ? w.steps : w.group_size / kSteps;
    w.tile_bytes = w.steps * w.mr * decltype(format)::kBytes;
  });
}

void round_tile(const Int8Work& w, int64_t tile) {
  int8::with_format(w, [&](auto format) { int8::round_tile_of<decltype(format)>(w, tile); });
}

void compute(const Int8Part& part) {
  int8::with_format(*part.work, [&](auto format) {
    int8::with_rows(part.work->mr, [&](auto rows) { int8::compute_part<decltype(format), rows>(part); });
  });
}

}  // namespace ds::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ds::cpu {
HWY_EXPORT(plan);
HWY_EXPORT(round_tile);
HWY_EXPORT(compute);

static bool vnni_wanted = true;

static bool processor_has_vnni() {
#if HWY_ARCH_X86
  return __builtin_cpu_supports("avx512vnni") > 0;
#else
  return false;
#endif
}

bool use_vnni(bool use) {
  vnni_wanted = use;
  return use && processor_has_vnni() && simd_width() == "avx512";
}

static Int8Work work_of(const Product& p) {
  const Tensor& w = p.b;
  require((w.dtype == DType::q4 || (w.dtype == DType::q8 && !w.zeros)) && w.layout == Layout::panels && w.rank == 2 &&
              w.scales,
          "8-bit activations take a q4 or q8 weight [N, K] in panels, not ", describe(w));
  const int64_t group_size = std::min<int64_t>(w.group_size, p.k), unit = steps_per_word(w.dtype);
  require(group_size > 0 && (group_size == p.k || group_size % unit == 0), describe(w), " has groups of ", w.group_size,
          ", where a multiple of ", unit, " or all inputs are expected");
  require(group_size <= kLongestGroup, describe(w), ": with 8-bit activations a group has at most ", kLongestGroup,
          " inputs, not ", group_size);
  Int8Work work;
  work.product = &p, work.k = p.k, work.group_size = group_size;
  work.panels = panel_rows(p.n) / kPanel, work.groups = (p.k + group_size - 1) / group_size;
  work.vnni = vnni_wanted && processor_has_vnni();
  return work;
}

// Whether the two multiply the same rows, and round and place them alike.
static bool same_activations(const Int8Work& v, const Int8Work& w) {
  const Product &p = *v.product, &q = *w.product;
  return p.a == q.a && p.a_row == q.a_row && p.m == q.m && p.k == q.k && p.b.dtype == q.b.dtype && v.group_size == w.group_size;
}

// Memory for all rounded activations, of the thread that asks for the products and kept for its next ones.
static void allocate(std::span<Int8Work> works) {
  const auto aligned = [](int64_t bytes) { return (static_cast<size_t>(bytes) + 63) / 64 * 64; };
  size_t total = 0;
  const auto each_array = [&](const auto& body) {
    for (Int8Work& w : works) {
      if (w.like) continue;
      body(w.x, w.tiles * w.tile_bytes);
      body(w.offsets, w.tiles * w.groups * w.mr * static_cast<int64_t>(sizeof(int32_t)));
      body(w.sums, w.tiles * w.groups * w.mr * static_cast<int64_t>(sizeof(float)));
      body(w.scales, w.tiles * w.mr * static_cast<int64_t>(sizeof(float)));
    }
  };
  each_array([&](auto*, int64_t bytes) { total += aligned(bytes); });
  thread_local hwy::AlignedFreeUniquePtr<uint8_t[]> memory;
  thread_local size_t size = 0;
  if (size < total) {
    memory.reset();
    size = 0;
    memory = hwy::AllocateAligned<uint8_t>(total);
    require(memory != nullptr, "out of memory: ", total, " bytes were asked for");
    size = total;
  }
  uint8_t* at = memory.get();
  each_array([&](auto*& array, int64_t bytes) {
    array = reinterpret_cast<std::remove_reference_t<decltype(array)>>(at);
    at += aligned(bytes);
  });
  for (Int8Work& w : works)
    if (w.like) w.x = w.like->x, w.offsets = w.like->offsets, w.sums = w.like->sums, w.scales = w.like->scales;
}

constexpr int64_t kPartRows = 504;     // whose activations stay in the second-level cache
constexpr double kPartWork = 1 << 18;  // bytes of a weight that are worth a thread, if each meets one row

static void cut(const Int8Work& w, std::vector<Int8Part>& parts) {
  const double work =
      static_cast<double>(w.panels) * kPanel * static_cast<double>(w.k) * (1 + static_cast<double>(w.product->m) / 8);
  const auto wanted = static_cast<int64_t>(std::clamp(work / kPartWork, 1.0, threads() == 1 ? 1.0 : threads() * 4.0));
  const int64_t row_parts = (w.product->m + kPartRows - 1) / kPartRows, tiles = (w.tiles + row_parts - 1) / row_parts;
  const int64_t column_parts = std::clamp<int64_t>((wanted + row_parts - 1) / row_parts, 1, (w.panels + 3) / 4);
  const int64_t width = ((w.panels + column_parts - 1) / column_parts + 3) / 4 * 4;
  for (int64_t t = 0; t < w.tiles; t += tiles)
    for (int64_t panel = 0; panel < w.panels; panel += width)
      parts.push_back({&w, t, std::min(w.tiles, t + tiles), panel, std::min(w.panels, panel + width)});
}

void multiply_int8(std::span<const Product> products) {
  std::vector<Int8Work> works;
  works.reserve(products.size());
  for (const Product& p : products) {
    if (p.m == 0 || p.n == 0) continue;
    works.push_back(work_of(p));
    Int8Work& work = works.back();
    DS_SIMD_DISPATCH(plan)(work);
    const auto before = std::find_if(works.begin(), works.end() - 1, [&](const Int8Work& w) { return same_activations(w, work); });
    if (before != works.end() - 1) work.like = &*before;
  }
  allocate(works);
  std::vector<Int8Part> parts;
  std::vector<std::pair<const Int8Work*, int64_t>> tiles;
  int64_t longest = 1;
  for (const Int8Work& w : works) {
    for (int64_t t = 0; !w.like && t < w.tiles; ++t) tiles.emplace_back(&w, t);
    longest = std::max(longest, w.mr * w.k);
    cut(w, parts);
  }
  const auto round = DS_SIMD_DISPATCH(round_tile);
  const auto run = DS_SIMD_DISPATCH(compute);
  parallel_for(tiles.size(), static_cast<size_t>(1 + (1 << 16) / longest), [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) round(*tiles[i].first, tiles[i].second);
  });
  parallel_for(parts.size(), 1, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) run(parts[i]);
  });
}

}  // namespace ds::cpu
#endif
