#include "quantize/quantizer.h"

#include <algorithm>
#include <cmath>

#include "base/dtype.h"
#include "base/error.h"
#include "base/parallel.h"

namespace ds {

namespace {

struct GroupScale {
  uint16_t scale_bits;
  float scale, zero;
};

}  // namespace

// Rounds half to even whatever the processor: the default rounding mode is never changed.
static float round_even(float x) { return std::nearbyintf(x); }

static GroupScale group_scale(const float* w, int64_t count) {
  const auto [low, high] = std::minmax_element(w, w + count);
  GroupScale g;
  g.scale_bits = f32_to_f16(std::max(*high - *low, 1e-5f) / 15.0f);
  g.scale = f16_to_f32(g.scale_bits);
  g.zero = std::clamp(round_even(-*low / g.scale), 0.0f, 15.0f);
  return g;
}

static float quantize_value(float w, const GroupScale& g) {
  return std::clamp(round_even(w / g.scale) + g.zero, 0.0f, 15.0f);
}

static void check(const Tensor& w, int64_t group_size) {
  require(w.dtype == DType::f32 && w.rank == 2 && w.contiguous(), "4-bit quantization takes f32 [N, K], not ", describe(w));
  require(group_size > 0 && w.cols() % group_size == 0, "a weight with ", w.cols(),
          " inputs cannot be cut into groups of ", group_size);
}

Quantized quantize_4bit(const Tensor& w, int64_t group_size) {
  check(w, group_size);
  const int64_t groups = w.cols() / group_size;
  Quantized out{w.rows(), w.cols(), group_size, {}, {}, {}};
  out.q.resize(static_cast<size_t>(w.elements()));
  out.zeros.resize(static_cast<size_t>(w.rows() * groups));
  out.scales.resize(out.zeros.size());
  parallel_for(static_cast<size_t>(w.rows()), 16, [&](size_t begin, size_t end) {
    for (size_t i = begin * groups; i < end * groups; ++i) {
      const float* const values = w.f32() + i * group_size;
      const GroupScale g = group_scale(values, group_size);
      out.zeros[i] = static_cast<uint8_t>(g.zero);
      out.scales[i] = g.scale_bits;
      for (int64_t k = 0; k < group_size; ++k)
        out.q[i * group_size + k] = static_cast<uint8_t>(quantize_value(values[k], g));
    }
  });
  return out;
}

void dequantize(const Quantized& quantized, const Tensor& out) {
  check(out, quantized.group_size);
  require(out.rows() == quantized.n && out.cols() == quantized.k, "dequantize into ", describe(out));
  for (size_t i = 0; i < quantized.zeros.size(); ++i) {
    const float scale = f16_to_f32(quantized.scales[i]);
    for (int64_t k = 0; k < quantized.group_size; ++k) {
      const size_t at = i * quantized.group_size + k;
      out.f32()[at] = static_cast<float>(int{quantized.q[at]} - int{quantized.zeros[i]}) * scale;
    }
  }
}

void fake_quantize(const Tensor& w, int64_t group_size, const Tensor& out) {
  check(w, group_size);
  const int64_t groups = w.cols() / group_size;
  parallel_for(static_cast<size_t>(w.rows()), 16, [&](size_t begin, size_t end) {
    for (size_t i = begin * groups; i < end * groups; ++i) {
      const float* const values = w.f32() + i * group_size;
      const GroupScale g = group_scale(values, group_size);
      for (int64_t k = 0; k < group_size; ++k)
        out.f32()[i * group_size + k] = (quantize_value(values[k], g) - g.zero) * g.scale;
    }
  });
}

AwqTensors awq_layout(const Quantized& quantized) {
  static constexpr int kOrder[8] = {0, 2, 4, 6, 1, 3, 5, 7};  // nibble i of a word holds output 8c + kOrder[i]
  const int64_t n = quantized.n, k = quantized.k, groups = k / quantized.group_size;
  require(n % 8 == 0, "AutoAWQ's layout packs 8 outputs a word, and ", n, " is not a multiple of 8");
  AwqTensors out;
  out.qweight.resize(static_cast<size_t>(k * (n / 8)));
  out.qzeros.resize(static_cast<size_t>(groups * (n / 8)));
  out.scales.resize(static_cast<size_t>(groups * n));
  const auto word = [&](const std::vector<uint8_t>& values, int64_t row_length, int64_t column, int64_t c) {
    uint32_t packed = 0;
    for (int i = 0; i < 8; ++i) packed |= uint32_t{values[static_cast<size_t>((8 * c + kOrder[i]) * row_length + column)]} << (4 * i);
    return packed;
  };
  for (int64_t row = 0; row < k; ++row)
    for (int64_t c = 0; c < n / 8; ++c) out.qweight[static_cast<size_t>(row * (n / 8) + c)] = word(quantized.q, k, row, c);
  for (int64_t g = 0; g < groups; ++g) {
    for (int64_t c = 0; c < n / 8; ++c) out.qzeros[static_cast<size_t>(g * (n / 8) + c)] = word(quantized.zeros, groups, g, c);
    for (int64_t i = 0; i < n; ++i) out.scales[static_cast<size_t>(g * n + i)] = quantized.scales[static_cast<size_t>(i * groups + g)];
  }
  return out;
}

}  // namespace ds
