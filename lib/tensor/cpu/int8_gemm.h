// The matrix product of the CPU backend with activations rounded to 8 bits: integer dot products with q8 and q4 weights.
//
// Each row x of the activations has one scale. a = max |x|; q = x * (127 / a), one division and one multiplication in
// f32, to the nearest integer, ties to even; the scale is a / 127. So |q| <= 127. A row with a < 2^-100 counts as zeros;
// a row that holds an infinity or a NaN gives NaN everywhere.
// Then for output n, group by group in the order of k, in f32:
//   d = sum (value - zero) q    over the group, exact in integers
//   acc = fma(f32(d), scale, acc), and where the weight has minimums acc = fma(-f32(sum q), min, acc)
// and y = acc * (a / 127). These are the same bits in any number of rows and threads and at any vector width, with the
// instructions for 8-bit dot products (AVX-512 VNNI) and without: in no path does an integer saturate.
//
// (vLLM rounds the activations of W8A8 checkpoints like this. The compressed-tensors library divides by 127.5 and keeps
// -128: as coarse, but other integers.)
#pragma once
#include <span>

#include "tensor/cpu/gemm.h"

namespace ds::cpu {

// Computes products by a weight (Form::weight, a_step 1), q4 or q8 in panels, on all threads. They must not overlap in c.
// Weights that are something else, and groups of more than kLongestGroup inputs, whose sums may not fit 32 bits, are an
// Error.
constexpr int64_t kLongestGroup = 1 << 17;
void multiply_int8(std::span<const Product> products);

// Whether the VNNI instructions are used where the processor has them (they are unless this says no), so that tests and
// benchmarks reach the path without. Returns whether they are in use at the widest vectors. Not to be called while
// kernels run.
bool use_vnni(bool use);

}  // namespace ds::cpu
