// The matrix product of the CPU backend: one kernel for forward, backward and grouped products, any weight format.
//
// Each element of the result is a chain of fused multiply-adds in the order of k within blocks of kKBlock, and the sums
// of the blocks are added in order. Of a quantized weight, whose number is value * scale + shift, the chains are of the
// values less their middle (integers from -8 to 7 of 4-bit ones), and end with each group too: scale times the sum is
// added, fused, and then, where there are zeros or mins, shift times the sum of the row of a over the same k (16 lanes
// and a tree). The bits depend on the row, the column, K and the groups alone: not on M, N, threads, vector width, layout,
// or on whether a 16-, 8- or 4-bit weight was widened before or inside the product.
#pragma once
#include <cstdint>
#include <span>

#include "tensor/tensor.h"

namespace ds::cpu {

constexpr int64_t kPanel = 16;    // outputs (rows of a weight) side by side in a panel
constexpr int64_t kKBlock = 256;  // products summed in one chain

// Layout::panels of a weight [N, K]: panel p holds rows 16p .. 16p+15 (zeros past N), k by k: element (n, k) is at
// (n / 16 * K + k) * 16 + n % 16. Experts follow one another. Those of quantized weights: tensor/quantized.h.
constexpr int64_t panel_rows(int64_t n) { return (n + kPanel - 1) / kPanel * kPanel; }
// Steps of k that share a 32-bit word of a panel; K is rounded up to them.
constexpr int64_t steps_per_word(DType dtype) {
  return dtype == DType::q4 ? 8 : dtype == DType::q8 || dtype == DType::f8_e4m3 ? 4 : 1;
}
constexpr int64_t panel_steps(DType dtype, int64_t k) {
  return (k + steps_per_word(dtype) - 1) / steps_per_word(dtype) * steps_per_word(dtype);
}
constexpr bool quantized(DType dtype) { return steps_per_word(dtype) > 1; }
// What is subtracted from a quantized weight's values before they are summed.
constexpr float middle_of(DType dtype) { return dtype == DType::q4 ? 8 : 0; }
// Groups along K of a quantized weight [N, K].
inline int64_t groups_of(const Tensor& w) { return (w.cols() + w.group_size - 1) / w.group_size; }

// Row n of a weight [N, K] of any dtype and layout as f32[K], each number rounded once (where it has a k_order, in that
// order).
void dequantize_row(const Tensor& w, int64_t n, float* out);

// c[m, n] (+)= a[m, k] b[k, n].
struct Product {
  int64_t m = 0, n = 0, k = 0;
  const float* a = nullptr;
  int64_t a_row = 0, a_step = 1;     // a(i, k) = a[i * a_row + k * a_step]; a_step 1 with a quantized weight
  enum class Form : uint8_t {
    weight,                          // b(k, j) = element (j, k) of the weight `b`, any dtype and layout
    steps                            // b(k, j) = row k, column j of the f32 tensor `b`
  } form = Form::weight;
  Tensor b;                          // 2-d
  float* c = nullptr;
  int64_t c_row = 0;
  bool accumulate = false;
};

// Computes the products on all threads. They must not overlap in c.
void multiply(std::span<const Product> products);

}  // namespace ds::cpu
