// Layouts of weights: rows to panels, and any layout to a row.
#include <cmath>
#include <cstring>

#include "base/parallel.h"
#include "base/sizes.h"
#include "tensor/cpu/gemm.h"
#include "tensor/ops.h"
#include "tensor/quantized.h"

namespace ds {

using cpu::kPanel;
using cpu::panel_rows;

// Panel `panel` of w from rows of T that lie `stride` bytes apart, not aligned.
template <class T>
static void pack_panel(const Tensor& w, int64_t panel, const char* from, int64_t stride) {
  const int64_t n = w.shape[0], k = w.shape[1], first = panel * kPanel, count = std::min(kPanel, n - first);
  T* const out = w.as<T>() + panel * k * kPanel;
  constexpr int64_t kBlock = 64;  // so that the lines of the 16 rows stay in the cache while their elements are read
  for (int64_t k0 = 0; k0 < k; k0 += kBlock) {
    for (int64_t j = 0; j < count; ++j) {
      const char* const row = from + (first + j) * stride;
      for (int64_t i = k0; i < std::min(k, k0 + kBlock); ++i) std::memcpy(out + i * kPanel + j, row + i * static_cast<int64_t>(sizeof(T)), sizeof(T));
    }
  }
  for (int64_t j = count; j < kPanel; ++j)
    for (int64_t i = 0; i < k; ++i) out[i * kPanel + j] = T{};
}

static void pack_panel(const Tensor& w, int64_t panel, const void* from, int64_t row_stride) {
  const auto* const bytes = static_cast<const char*>(from);
  if (w.dtype == DType::f32) pack_panel<uint32_t>(w, panel, bytes, row_stride * 4);
  else pack_panel<uint16_t>(w, panel, bytes, row_stride * 2);
}

Tensor make_panels(Arena& arena, DType dtype, int64_t experts, int64_t n, int64_t k) {
  require(dtype == DType::f32 || dtype == DType::f16 || dtype == DType::bf16, "panels are f32, f16 or bf16, not ", dtype_name(dtype));
  require(arena.device() == Device::cpu && experts >= 0 && n > 0 && k > 0, "panels of ", n, " outputs and ", k, " inputs on the CPU");
  Tensor w = experts > 0 ? make_tensor(nullptr, dtype, {experts, n, k}) : make_tensor(nullptr, dtype, {n, k});
  w.layout = Layout::panels;
  const size_t rows = checked_mul(static_cast<size_t>(std::max<int64_t>(experts, 1)), static_cast<size_t>(panel_rows(n)), "a packed weight");
  const size_t elements = checked_mul(rows, static_cast<size_t>(k), "a packed weight");
  w.data = arena.allocate(checked_mul(elements, static_cast<size_t>(dtype_bits(dtype)), "a packed weight") / 8);
  return w;
}

void set_panels(const Tensor& w, const void* from) {
  require(w.layout == Layout::panels && w.rank == 2 && !w.scales, "set_panels takes a weight [N, K] in panels, not ", describe(w));
  parallel_for(static_cast<size_t>(panel_rows(w.rows()) / kPanel), 1, [&](size_t begin, size_t end) {
    for (size_t panel = begin; panel < end; ++panel) pack_panel(w, static_cast<int64_t>(panel), from, w.cols());
  });
}

Tensor pack(const Tensor& w, Arena& arena) {
  require(w.device == Device::cpu && w.layout == Layout::rows && (w.rank == 2 || w.rank == 3),
          "pack takes a weight [N, K] or [E, N, K] as rows on the CPU, not ", describe(w));
  const int64_t experts = w.rank == 3 ? w.shape[0] : 1, n = w.shape[w.rank - 2], k = w.cols();
  const Tensor out = make_panels(arena, w.dtype, w.rank == 3 ? experts : 0, n, k);
  const int64_t panels = panel_rows(n) / kPanel;
  parallel_for(static_cast<size_t>(experts * panels), 1, [&](size_t begin, size_t end) {
    for (auto i = static_cast<int64_t>(begin); i < static_cast<int64_t>(end); ++i) {
      const Tensor from = w.rank == 3 ? item(w, i / panels) : w, to = w.rank == 3 ? item(out, i / panels) : out;
      pack_panel(to, i % panels, from.data, from.row_stride);
    }
  });
  return out;
}

}  // namespace ds

namespace ds::cpu {

static void dequantize_panel_row(const Tensor& w, int64_t n, float* out) {
  const int64_t k = w.cols(), groups = groups_of(w), steps = panel_steps(w.dtype, k), lane = n % kPanel;
  const uint8_t* const bytes = w.as<const uint8_t>() + n / kPanel * kPanel * steps * dtype_bits(w.dtype) / 8;
  for (int64_t g = 0; g < groups; ++g) {
    const int64_t at = (n / kPanel * groups + g) * kPanel + lane;
    const float scale = w.scale_dtype == DType::f16 ? f16_to_f32(static_cast<const uint16_t*>(w.scales)[at])
                                                    : static_cast<const float*>(w.scales)[at];
    const float zero = w.zeros ? static_cast<float>(static_cast<const uint8_t*>(w.zeros)[at]) : 0;
    for (int64_t i = g * w.group_size; i < std::min(k, (g + 1) * w.group_size); ++i) {
      float value;
      if (w.dtype == DType::q4)
        value = static_cast<float>(bytes[(i / 8 * kPanel + lane) * 4 + i % 4] >> (i % 8 / 4 * 4) & 15);
      else if (w.dtype == DType::q8)
        value = static_cast<float>(static_cast<int8_t>(bytes[(i / 4 * kPanel + lane) * 4 + i % 4]));
      else
        value = f8_e4m3_to_f32(bytes[(i / 4 * kPanel + lane) * 4 + i % 4]);
      out[i] = w.mins ? std::fma(value, scale, -w.mins[at]) : (value - zero) * scale;
    }
  }
}

void dequantize_row(const Tensor& w, int64_t n, float* out) {
  if (quantized(w.dtype)) return dequantize_panel_row(w, n, out);
  for (int64_t i = 0; i < w.cols(); ++i) {
    const int64_t at = w.layout == Layout::panels ? (n / kPanel * w.cols() + i) * kPanel + n % kPanel : n * w.row_stride + i;
    out[i] = w.dtype == DType::f32    ? w.as<const float>()[at]
             : w.dtype == DType::bf16 ? bf16_to_f32(w.as<const uint16_t>()[at])
                                      : f16_to_f32(w.as<const uint16_t>()[at]);
  }
}

}  // namespace ds::cpu
