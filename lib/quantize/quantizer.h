// The 4-bit number format: unsigned integers with a scale and a zero point per output and group of inputs.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace ds {

// A weight [N, K] in 4 bits: w[n, k] = (q[n, k] - zero[n, k / G]) * scale[n, k / G].
struct Quantized {
  int64_t n = 0, k = 0, group_size = 0;
  std::vector<uint8_t> q;        // [N, K], 0..15
  std::vector<uint8_t> zeros;    // [N, K / G], 0..15
  std::vector<uint16_t> scales;  // [N, K / G], f16 bits
};

// Quantizes w (f32 [N, K]) group by group between the minimum and maximum of each group (AutoAWQ's asymmetric
// quantizer, definitions in its WQLinear_GEMM: scale = (max - min) / 15, zero = round(-min / scale)); the scale is rounded to f16 first,
// so that the integers fit the scale that the file holds.
Quantized quantize_4bit(const Tensor& w, int64_t group_size);

// The values that the 4 bits stand for, f32 [N, K], into out.
void dequantize(const Quantized& quantized, const Tensor& out);

// out = dequantize(quantize(w)), without keeping the integers; w and out are f32 [N, K], K a multiple of group_size.
void fake_quantize(const Tensor& w, int64_t group_size, const Tensor& out);

// AutoAWQ's GEMM layout: qweight i32[K, N/8], qzeros i32[K/G, N/8], scales f16[K/G, N]. N must be a multiple of 8.
struct AwqTensors {
  std::vector<uint32_t> qweight, qzeros;
  std::vector<uint16_t> scales;
};
AwqTensors awq_layout(const Quantized& quantized);

}  // namespace ds
