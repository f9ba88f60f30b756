// Rotary position embedding: a thread for each pair of each head of each row.
#include "tensor/cuda/runtime.cuh"
#include "tensor/ops.h"

namespace ds::cuda {

__global__ void rope_kernel(float* x, int64_t x_stride, int64_t rows, int64_t heads, const int32_t* positions, const float* cos_table,
                            const float* sin_table, int pairs, RopeSpec spec) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kBlock + threadIdx.x;
  if (i >= rows * heads * pairs) return;
  const int64_t pair = i % pairs, head = i / pairs % heads, row = i / pairs / heads;
  float* const base = x + row * x_stride + head * spec.head_dim + spec.offset;
  float* const a = base + (spec.interleaved ? 2 * pair : pair);
  float* const b = base + (spec.interleaved ? 2 * pair + 1 : pair + pairs);
  const float c = cos_table[positions[row] * static_cast<int64_t>(pairs) + pair];
  const float s = (spec.inverse ? -1.0f : 1.0f) * sin_table[positions[row] * static_cast<int64_t>(pairs) + pair];
  const float first = *a, second = *b;
  *a = first * c - second * s;
  *b = second * c + first * s;
}

void rope(const Tensor& x, const Tensor& positions, const Tensor& cos, const Tensor& sin, const RopeSpec& spec) {
  const int64_t pairs = cos.cols();
  require(x.rank == 2 && spec.head_dim > 0 && x.cols() % spec.head_dim == 0 && spec.offset + 2 * pairs <= spec.head_dim,
          "rope: ", describe(x), " with heads of ", spec.head_dim, " and ", pairs, " pairs from ", spec.offset);
  require(positions.elements() == x.rows() && sin.elements() == cos.elements(), "rope: ", describe(positions), " positions for ", describe(x));
  const int64_t heads = x.cols() / spec.head_dim;
  if (x.rows() == 0) return;
  launch("rope", rope_kernel, blocks_for(x.rows() * heads * pairs), dim3(kBlock), 0, x.f32(), x.row_stride, x.rows(), heads, positions.i32(),
         cos.f32(), sin.f32(), static_cast<int>(pairs), spec);
}

}  // namespace ds::cuda
