// Layouts of weights: rows to panels, and 4-bit weights from plain arrays.
#include <cstring>

#include "base/parallel.h"
#include "base/sizes.h"
#include "tensor/cpu/gemm.h"
#include "tensor/ops.h"

namespace ds {

using cpu::kPanel;
using cpu::panel_rows;

template <class T>
static void pack_panel(const Tensor& w, int64_t panel, T* out) {
  const int64_t n = w.shape[0], k = w.shape[1], first = panel * kPanel, count = std::min(kPanel, n - first);
  constexpr int64_t kBlock = 64;  // so that the lines of the 16 rows stay in the cache while their elements are read
  for (int64_t k0 = 0; k0 < k; k0 += kBlock) {
    for (int64_t j = 0; j < count; ++j) {
      const T* const row = w.as<const T>() + (first + j) * w.row_stride;
      for (int64_t i = k0; i < std::min(k, k0 + kBlock); ++i) out[i * kPanel + j] = row[i];
    }
  }
  for (int64_t j = count; j < kPanel; ++j)
    for (int64_t i = 0; i < k; ++i) out[i * kPanel + j] = T{};
}

// The group values of a panel: [K / G][16] from rows [N][K / G].
template <class T>
static void pack_groups(const T* rows, int64_t n, int64_t groups, int64_t panel, T* out) {
  for (int64_t g = 0; g < groups; ++g)
    for (int64_t j = 0; j < kPanel; ++j)
      out[g * kPanel + j] = panel * kPanel + j < n ? rows[(panel * kPanel + j) * groups + g] : T{};
}

static void check_q4_shape(int64_t k, int group_size) {
  require(group_size > 0 && k % group_size == 0 && k % 2 == 0, "a 4-bit weight of ", k, " inputs with groups of ",
          group_size, ": the inputs must be even and a multiple of the group");
}

// Sets panel `panel` of w from nibble(n, k) and groups as rows.
template <class Nibble>
static void set_q4_panel(const Tensor& w, int64_t panel, const Nibble& nibble, const uint8_t* zeros,
                         const uint16_t* scales) {
  const int64_t n = w.shape[0], k = w.shape[1], groups = k / w.group_size;
  uint8_t* const out = w.as<uint8_t>() + panel * k * kPanel / 2;
  for (int64_t i = 0; i < k; ++i) {
    for (int64_t j = 0; j < kPanel / 2; ++j) {
      const int64_t low = panel * kPanel + j, high = low + kPanel / 2;
      const unsigned a = low < n ? nibble(low, i) : 0, b = high < n ? nibble(high, i) : 0;
      out[i * kPanel / 2 + j] = static_cast<uint8_t>(a | b << 4);
    }
  }
  const int64_t at = panel * groups * kPanel;
  pack_groups(scales, n, groups, panel, static_cast<uint16_t*>(const_cast<void*>(w.scales)) + at);
  pack_groups(zeros, n, groups, panel, static_cast<uint8_t*>(const_cast<void*>(w.zeros)) + at);
}

// The shape of `w` in panels with new memory.
static Tensor make_panels(const Tensor& w, int64_t experts, int64_t n, int64_t k, Arena& arena) {
  const size_t elements =
      checked_mul(checked_mul(static_cast<size_t>(experts), static_cast<size_t>(panel_rows(n)), "a packed weight"),
                  static_cast<size_t>(k), "a packed weight");
  const size_t bits = checked_mul(elements, static_cast<size_t>(dtype_bits(w.dtype)), "a packed weight");
  Tensor t = w;
  t.layout = Layout::panels;
  t.data = arena.allocate(bits / 8);
  t.row_stride = t.rank == 2 ? k : 0;
  if (w.dtype == DType::q4) {
    const size_t groups = elements / static_cast<size_t>(w.group_size);
    t.scales = arena.allocate(groups * sizeof(uint16_t));
    t.zeros = arena.allocate(groups);
  }
  return t;
}

Tensor pack(const Tensor& w, Arena& arena) {
  require(w.device == Device::cpu && arena.device() == Device::cpu && w.layout == Layout::rows &&
              (w.rank == 2 || w.rank == 3),
          "pack takes a weight [N, K] or [E, N, K] as rows on the CPU, not ", describe(w));
  require(w.dtype == DType::f32 || w.dtype == DType::f16 || w.dtype == DType::bf16 || w.dtype == DType::q4,
          "pack takes f32, f16, bf16 and q4, not ", describe(w));
  if (w.dtype == DType::q4) check_q4_shape(w.cols(), w.group_size);
  const int64_t experts = w.rank == 3 ? w.shape[0] : 1, n = w.shape[w.rank - 2], k = w.cols();
  const Tensor out = make_panels(w, experts, n, k, arena);
  const int64_t panels = panel_rows(n) / kPanel;
  parallel_for(static_cast<size_t>(experts * panels), 1, [&](size_t begin, size_t end) {
    for (auto i = static_cast<int64_t>(begin); i < static_cast<int64_t>(end); ++i) {
      const Tensor from = w.rank == 3 ? item(w, i / panels) : w, to = w.rank == 3 ? item(out, i / panels) : out;
      const int64_t panel = i % panels;
      if (w.dtype == DType::f32) {
        pack_panel(from, panel, to.as<uint32_t>() + panel * k * kPanel);
      } else if (w.dtype != DType::q4) {
        pack_panel(from, panel, to.as<uint16_t>() + panel * k * kPanel);
      } else {
        const auto nibble = [&](int64_t row, int64_t col) {
          return from.as<const uint8_t>()[(row * k + col) / 2] >> (col % 2 * 4) & 15u;
        };
        set_q4_panel(to, panel, nibble, static_cast<const uint8_t*>(from.zeros),
                     static_cast<const uint16_t*>(from.scales));
      }
    }
  });
  return out;
}

}  // namespace ds

namespace ds::cpu {

Tensor make_q4_panels(Arena& arena, int64_t experts, int64_t n, int64_t k, int group_size) {
  require(experts >= 0 && n > 0 && k > 0, "a 4-bit weight of ", n, " outputs and ", k, " inputs");
  check_q4_shape(k, group_size);
  Tensor shape = experts > 0 ? make_tensor(nullptr, DType::q4, {experts, n, k}) : make_tensor(nullptr, DType::q4, {n, k});
  shape.group_size = group_size;
  const Tensor w = make_panels(shape, std::max<int64_t>(experts, 1), n, k, arena);
  const size_t elements = static_cast<size_t>(std::max<int64_t>(experts, 1) * panel_rows(n) * k);
  std::memset(w.data, 0, elements / 2);
  std::memset(const_cast<void*>(w.scales), 0, elements / static_cast<size_t>(group_size) * sizeof(uint16_t));
  std::memset(const_cast<void*>(w.zeros), 0, elements / static_cast<size_t>(group_size));
  return w;
}

void set_q4_panels(const Tensor& w, std::span<const uint8_t> q, std::span<const uint8_t> zeros,
                   std::span<const uint16_t> scales) {
  require(w.dtype == DType::q4 && w.layout == Layout::panels && w.rank == 2,
          "a 4-bit weight [N, K] in panels is wanted, not ", describe(w));
  const int64_t n = w.shape[0], k = w.shape[1];
  const auto groups = static_cast<size_t>(n * (k / w.group_size));
  require(q.size() == static_cast<size_t>(n * k) && zeros.size() == groups && scales.size() == groups, describe(w),
          " with groups of ", w.group_size, " takes ", n * k, " values and ", groups, " zeros and scales, not ", q.size(),
          ", ", zeros.size(), " and ", scales.size());
  uint8_t all = 0;
  for (const uint8_t value : q) all |= value;
  for (const uint8_t value : zeros) all |= value;
  require(all < 16, "a 4-bit weight has values and zeros of 0 to 15, and one of them is larger");
  const auto nibble = [&](int64_t row, int64_t col) { return unsigned{q[static_cast<size_t>(row * k + col)]}; };
  for (int64_t panel = 0; panel < panel_rows(n) / kPanel; ++panel)
    set_q4_panel(w, panel, nibble, zeros.data(), scales.data());
}

void dequantize_row(const Tensor& w, int64_t n, float* out) {
  const int64_t k = w.shape[1];
  const bool panels = w.layout == Layout::panels;
  const int64_t groups = w.dtype == DType::q4 ? k / w.group_size : 0;
  for (int64_t i = 0; i < k; ++i) {
    const int64_t at = panels ? (n / kPanel * k + i) * kPanel + n % kPanel : n * w.row_stride + i;
    if (w.dtype == DType::f32) {
      out[i] = w.as<const float>()[at];
    } else if (w.dtype == DType::bf16) {
      out[i] = bf16_to_f32(w.as<const uint16_t>()[at]);
    } else if (w.dtype == DType::f16) {
      out[i] = f16_to_f32(w.as<const uint16_t>()[at]);
    } else {
      const int64_t g = i / w.group_size;
      const int64_t of = panels ? (n / kPanel * groups + g) * kPanel + n % kPanel : n * groups + g;
      const int64_t byte = panels ? (n / kPanel * k + i) * (kPanel / 2) + n % (kPanel / 2) : (n * k + i) / 2;
      const int shift = (panels ? n % kPanel >= kPanel / 2 : i % 2) ? 4 : 0;
      const int q = w.as<const uint8_t>()[byte] >> shift & 15;
      const int zero = static_cast<const uint8_t*>(w.zeros)[of];
      out[i] = static_cast<float>(q - zero) * f16_to_f32(static_cast<const uint16_t*>(w.scales)[of]);
    }
  }
}

}  // namespace ds::cpu
