// The matrix product of the CPU backend: one kernel for forward, backward and grouped products, any weight format.
//
// Each element of the result is a chain of fused multiply-adds in the order of k within blocks of kKBlock, and the sums
// of the blocks are added in order. Its bits depend on its row, its column and K alone: not on M, N, threads, vector
// width, layout, or on whether a 16- or 4-bit weight was widened before or inside the product.
#pragma once
#include <cstdint>
#include <span>

#include "tensor/tensor.h"

namespace ds::cpu {

constexpr int64_t kPanel = 16;    // outputs (rows of a weight) side by side in a panel
constexpr int64_t kKBlock = 256;  // products summed in one chain

// Layout::panels of a weight [N, K]: panel p holds rows 16p .. 16p+15 (zeros past N), k by k: element (n, k) is at
// (n / 16 * K + k) * 16 + n % 16. Experts follow one another.
// q4: a step k of a panel is 8 bytes, of which byte j holds row j in its low and row j + 8 in its high half; scales
// (f16) and zeros (u8) of row n and group g are at (n / 16 * (K / group_size) + g) * 16 + n % 16.
// q4 as rows: two k a byte, the even one in the low half (K is even); scales f16[N, K / G], zeros u8[N, K / G].
constexpr int64_t panel_rows(int64_t n) { return (n + kPanel - 1) / kPanel * kPanel; }

// A q4 weight [N, K], or [E, N, K] with experts > 0, in panels, its memory from the arena; all zero until
// set_q4_panels fills item e (or the whole of a 2-d one) from plain arrays: q u8[N, K] (0..15), zeros u8[N, K / G],
// scales f16[N, K / G], so that w[n, k] = (q - zero) * scale. Sizes that do not fit and values above 15 are an Error.
Tensor make_q4_panels(Arena& arena, int64_t experts, int64_t n, int64_t k, int group_size);
void set_q4_panels(const Tensor& w, std::span<const uint8_t> q, std::span<const uint8_t> zeros,
                   std::span<const uint16_t> scales);

// Row n of a weight [N, K] of any dtype and layout as f32[K]: what the products multiply with.
void dequantize_row(const Tensor& w, int64_t n, float* out);

// c[m, n] (+)= a[m, k] b[k, n].
struct Product {
  int64_t m = 0, n = 0, k = 0;
  const float* a = nullptr;
  int64_t a_row = 0, a_step = 1;     // a(i, k) = a[i * a_row + k * a_step]
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
