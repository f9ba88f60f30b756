// Softmax cross-entropy: a block for each row.
#include "tensor/cuda/runtime.cuh"
#include "tensor/ops.h"

namespace ds::cuda {

// max and log of the sum of exp(logits - max) of a row.
DS_DEVICE float row_max(const float* row, int64_t n, float* partial) {
  float largest = -INFINITY;
  for (int64_t i = threadIdx.x; i < n; i += kBlock) largest = fmaxf(largest, row[i]);
  return block_max(largest, partial);
}
DS_DEVICE float row_exp_sum(const float* row, int64_t n, float largest, float* partial) {
  float sum = 0;
  for (int64_t i = threadIdx.x; i < n; i += kBlock) sum += expf(row[i] - largest);
  return block_sum(sum, partial);
}

__global__ void cross_entropy_kernel(const float* logits, int64_t stride, int64_t n, const int32_t* targets, float* loss) {
  DS_SHARED(float, partial);
  const int32_t target = targets[blockIdx.x];
  if (target < 0) {  // the whole block returns together
    if (threadIdx.x == 0) loss[blockIdx.x] = 0;
    return;
  }
  const float* const row = logits + blockIdx.x * stride;
  const float largest = row_max(row, n, partial);
  const float sum = row_exp_sum(row, n, largest, partial);
  if (threadIdx.x == 0) loss[blockIdx.x] = logf(sum) - (row[target] - largest);
}

void cross_entropy(const Tensor& logits, const Tensor& targets, const Tensor& loss) {
  require(logits.rank == 2 && targets.elements() == logits.rows() && loss.elements() == logits.rows(), "cross_entropy: ", describe(logits),
          " with ", describe(targets), " targets");
  if (logits.rows() == 0) return;
  launch("cross_entropy", cross_entropy_kernel, dim3(static_cast<unsigned>(logits.rows())), dim3(kBlock), kBlock / kWarp * sizeof(float),
         logits.f32(), logits.row_stride, logits.cols(), targets.i32(), loss.f32());
}

__global__ void cross_entropy_backward_kernel(const float* logits, int64_t stride, int64_t n, const int32_t* targets, const float* weights,
                                              float* dlogits, int64_t d_stride) {
  DS_SHARED(float, partial);
  const int32_t target = targets[blockIdx.x];
  const float* const row = logits + blockIdx.x * stride;
  float* const out = dlogits + blockIdx.x * d_stride;
  if (target < 0) {
    for (int64_t i = threadIdx.x; i < n; i += kBlock) out[i] = 0;
    return;
  }
  const float weight = weights[blockIdx.x];
  const float largest = row_max(row, n, partial);
  const float sum = row_exp_sum(row, n, largest, partial);
  // In place: each thread reads an element before it writes it, and nobody else reads it from here on.
  for (int64_t i = threadIdx.x; i < n; i += kBlock) out[i] = (expf(row[i] - largest) / sum - (i == target ? 1.0f : 0.0f)) * weight;
}

void cross_entropy_backward(const Tensor& logits, const Tensor& targets, const Tensor& weights, const Tensor& dlogits) {
  require(logits.rank == 2 && targets.elements() == logits.rows() && weights.elements() == logits.rows() && dlogits.rows() == logits.rows() &&
              dlogits.cols() == logits.cols(),
          "cross_entropy_backward: ", describe(logits), " into ", describe(dlogits));
  if (logits.rows() == 0) return;
  launch("cross_entropy_backward", cross_entropy_backward_kernel, dim3(static_cast<unsigned>(logits.rows())), dim3(kBlock),
         kBlock / kWarp * sizeof(float), logits.f32(), logits.row_stride, logits.cols(), targets.i32(), weights.f32(), dlogits.f32(),
         dlogits.row_stride);
}

}  // namespace ds::cuda
