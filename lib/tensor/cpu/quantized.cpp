// Quantized weights from plain arrays to panels (quantized.h).
#include "tensor/quantized.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "base/parallel.h"
#include "base/sizes.h"
#include "tensor/cpu/gemm.h"

namespace ds {

using cpu::kPanel;
using cpu::panel_rows;

static void check_format(int64_t k, const QuantizedFormat& f) {
  require(cpu::quantized(f.dtype), "a quantized weight is q4, q8 or f8_e4m3, not ", dtype_name(f.dtype));
  const int64_t steps = cpu::steps_per_word(f.dtype);
  require(f.group_size > 0 && (f.group_size % steps == 0 || f.group_size >= k), dtype_name(f.dtype), " weights of ", k,
          " inputs have groups of a multiple of ", steps, " inputs or of all, not of ", f.group_size);
  require(f.scale_dtype == DType::f16 || f.scale_dtype == DType::f32, "scales are f16 or f32, not ", dtype_name(f.scale_dtype));
  require(f.dtype == DType::q4 ? f.zeros != f.mins : !f.zeros && !(f.mins && f.dtype == DType::f8_e4m3),
          "q4 weights have either zeros or mins, q8 mins or neither, f8_e4m3 neither: ", dtype_name(f.dtype),
          f.zeros ? " with zeros" : "", f.mins ? " with mins" : "");
}

Tensor make_quantized(Arena& arena, int64_t experts, int64_t n, int64_t k, const QuantizedFormat& format) {
  require(experts >= 0 && n > 0 && k > 0 && k < std::numeric_limits<int>::max(), "a quantized weight of ", n, " outputs and ",
          k, " inputs");
  check_format(k, format);
  require(arena.device() == Device::cpu, "quantized weights are for the CPU");
  Tensor w = experts > 0 ? make_tensor(nullptr, format.dtype, {experts, n, k}) : make_tensor(nullptr, format.dtype, {n, k});
  w.layout = Layout::panels;
  w.scale_dtype = format.scale_dtype;
  w.group_size = static_cast<int>(std::min(format.group_size, k));
  const size_t rows = checked_mul(static_cast<size_t>(std::max<int64_t>(experts, 1)), static_cast<size_t>(panel_rows(n)), "a weight");
  const size_t groups = checked_mul(rows, static_cast<size_t>(cpu::groups_of(w)), "the groups of a weight");
  const auto zeroed = [&](size_t count, size_t bits) {
    const size_t bytes = checked_mul(count, bits, "a weight") / 8;
    return std::memset(arena.allocate(bytes), 0, bytes);
  };
  w.data = zeroed(checked_mul(rows, static_cast<size_t>(cpu::panel_steps(format.dtype, k)), "a weight"),
                  static_cast<size_t>(dtype_bits(format.dtype)));
  w.scales = zeroed(groups, static_cast<size_t>(dtype_bits(format.scale_dtype)));
  if (format.zeros) w.zeros = zeroed(groups, 8);
  if (format.mins) w.mins = static_cast<const float*>(zeroed(groups, 32));
  return w;
}

// Checks and converts a scale as it is stored. Kernels multiply scales by 16 and by 2^-24, which is exact within these bounds.
static void set_scale(const Tensor& w, int64_t at, float scale) {
  require(std::fabs(scale) <= 0x1p100f, "a quantized weight has the scale ", scale);
  if (std::fabs(scale) < 0x1p-100f) scale = 0;
  if (w.scale_dtype == DType::f32) {
    static_cast<float*>(const_cast<void*>(w.scales))[at] = scale;
    return;
  }
  const uint16_t half = f32_to_f16(scale);
  require(f16_to_f32(half) == scale, "the scale ", scale, " of a quantized weight is no f16");
  static_cast<uint16_t*>(const_cast<void*>(w.scales))[at] = half;
}

static void set_groups(const Tensor& w, const QuantizedRows& rows, int64_t n) {
  const int64_t groups = cpu::groups_of(w);
  for (int64_t g = 0; g < groups; ++g) {
    const auto from = static_cast<size_t>(n * groups + g);
    const int64_t to = (n / kPanel * groups + g) * kPanel + n % kPanel;
    set_scale(w, to, rows.scales[from]);
    if (w.zeros) {
      require(rows.zeros[from] <= 16, "a zero of a 4-bit weight is 0 to 16, not ", int{rows.zeros[from]});
      static_cast<uint8_t*>(const_cast<void*>(w.zeros))[to] = rows.zeros[from];
    }
    if (w.mins) {
      require(std::isfinite(rows.mins[from]), "a quantized weight has a min that is no number");
      const_cast<float*>(w.mins)[to] = rows.mins[from];
    }
  }
}

// Words of row n: 8 values of 4 bits, or 4 bytes, in each.
static void set_values(const Tensor& w, const uint8_t* values, int64_t n) {
  const int64_t k = w.cols(), steps = cpu::steps_per_word(w.dtype), words = cpu::panel_steps(w.dtype, k) / steps;
  uint32_t* const out = w.as<uint32_t>() + n / kPanel * kPanel * words + n % kPanel;
  uint32_t all = 0, nan = 0;
  for (int64_t i = 0; i < words; ++i) {
    uint32_t part[2] = {};  // of values i * steps on; little-endian
    std::memcpy(part, values + i * steps, static_cast<size_t>(std::min(steps, k - i * steps)));
    all |= part[0] | part[1];
    if (w.dtype == DType::f8_e4m3) nan |= ((part[0] & 0x7f7f7f7f) + 0x01010101) & 0x80808080;  // 0x7f + 1 carries
    out[i * kPanel] = part[0] | part[1] << 4;
  }
  require(w.dtype != DType::q4 || (all & 0xf0f0f0f0) == 0, "a 4-bit weight has values of 0 to 15, and one of them is larger");
  require(nan == 0, "an 8-bit float weight has a NaN");
}

void set_quantized(const Tensor& w, const QuantizedRows& rows) {
  require(cpu::quantized(w.dtype) && w.layout == Layout::panels && w.rank == 2 && w.scales, "a quantized weight [N, K] is wanted, not ",
          describe(w));
  const auto values = static_cast<size_t>(w.rows() * w.cols()), groups = static_cast<size_t>(w.rows() * cpu::groups_of(w));
  require(rows.values.size() == values && rows.scales.size() == groups && rows.zeros.size() == (w.zeros ? groups : 0) &&
              rows.mins.size() == (w.mins ? groups : 0),
          describe(w), " with groups of ", w.group_size, " takes ", values, " values, ", groups, " scales, ", w.zeros ? groups : 0,
          " zeros and ", w.mins ? groups : 0, " mins, not ", rows.values.size(), ", ", rows.scales.size(), ", ", rows.zeros.size(),
          " and ", rows.mins.size());
  parallel_for(static_cast<size_t>(w.rows()), kPanel, [&](size_t begin, size_t end) {
    for (auto n = static_cast<int64_t>(begin); n < static_cast<int64_t>(end); ++n) {
      set_values(w, rows.values.data() + n * w.cols(), n);
      set_groups(w, rows, n);
    }
  });
}

float f8_e4m3_to_f32(uint8_t bits) {
  const uint32_t sign = uint32_t{bits} >> 7 << 31, magnitude = bits & 0x7fu;
  if (magnitude == 0x7f) return std::bit_cast<float>(sign | 0x7fc00000);
  // As f32 with the same fields, a number (subnormal ones included) is 2^-120 of what it is.
  return std::bit_cast<float>(sign | magnitude << 20) * 0x1p120f;
}

}  // namespace ds
