// Quantized weights: from plain arrays, whatever file format they come from, to the panels that the CPU's products read.
//
// Panels (Layout::panels) of a quantized weight [N, K]: panel p holds rows 16p .. 16p+15 (zeros past N).
//   q4          8 steps of k are 64 bytes: 16 little-endian u32, one a row; byte j of it has step k + j in its low half and
//               step k + 4 + j in its high half. K is rounded up to 8 (values 0).
//   q8, f8_e4m3 4 steps of k are 64 bytes: 16 rows of 4 bytes, byte j step k + j. K is rounded up to 4 (values 0).
//   scales, zeros, mins of row n and group g are at (n / 16 * groups + g) * 16 + n % 16, groups = ceil(K / group_size).
// So one load gives all 16 rows: the lanes lie along n in f32 products, and four steps of k a lane suit integer dot products.
#pragma once
#include <cstdint>
#include <span>

#include "tensor/tensor.h"

namespace ds {

// What a quantized weight consists of. group_size is a multiple of 8 (q4) or of 4 (q8, f8_e4m3), or at least K.
struct QuantizedFormat {
  DType dtype = DType::q4;           // q4, q8 or f8_e4m3
  int64_t group_size = 128;
  DType scale_dtype = DType::f16;    // f16 (every scale is one exactly) or f32
  bool zeros = false, mins = false;  // at most one of them; q4 has exactly one
};
// A weight [n, k], or experts [experts, n, k] where experts > 0, its memory from the arena, all zero until set_quantized
// fills item e (or the whole of a 2-d one). Sizes that do not fit are an Error.
Tensor make_quantized(Arena& arena, int64_t experts, int64_t n, int64_t k, const QuantizedFormat& format);

// Plain arrays, rows one after the other. G = ceil(k / group_size).
struct QuantizedRows {
  std::span<const uint8_t> values;   // [N, K], a byte each: q4 0..15, q8 int8, f8_e4m3 its bits (NaN is an Error)
  std::span<const float> scales;     // [N, G]
  std::span<const uint8_t> zeros;    // [N, G] where the format has them; up to 16 for q4 (GPTQ)
  std::span<const float> mins;       // [N, G] where the format has them
};
// Values and sizes that do not fit `w` (2-d, made by make_quantized) are an Error, as are scales over 2^100; those below
// 2^-100 count as 0. On all threads.
void set_quantized(const Tensor& w, const QuantizedRows& rows);

// The value of an 8-bit float: sign, 4 bits of exponent (bias 7), 3 of mantissa; no infinities, 0x7f and 0xff are NaN.
// (OCP 8-bit floating point specification, E4M3)
float f8_e4m3_to_f32(uint8_t bits);

}  // namespace ds
