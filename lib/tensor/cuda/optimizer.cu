// AdamW, and the norm of gradients.
#include <cmath>
#include <vector>

#include "base/math.h"
#include "tensor/cuda/runtime.cuh"
#include "tensor/ops.h"

namespace ds::cuda {

__global__ void adamw_kernel(float* p, const float* g, float* m, float* v, int64_t n, AdamWSpec spec, float correction1, float correction2_root) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kBlock + threadIdx.x;
  if (i >= n) return;
  const float gradient = g[i] * spec.grad_scale;
  const float first = spec.beta1 * m[i] + (1 - spec.beta1) * gradient;
  const float second = spec.beta2 * v[i] + (1 - spec.beta2) * gradient * gradient;
  m[i] = first;
  v[i] = second;
  const float decayed = p[i] * (1 - spec.learning_rate * spec.weight_decay);
  p[i] = decayed - spec.learning_rate / correction1 * first / (sqrtf(second) / correction2_root + spec.epsilon);
}

void adamw(const Tensor& p, const Tensor& g, const Tensor& m, const Tensor& v, const AdamWSpec& spec) {
  const int64_t n = p.elements();
  require(g.elements() == n && m.elements() == n && v.elements() == n, "adamw: ", describe(p), " with a gradient ", describe(g));
  if (n == 0) return;
  const double correction1 = 1 - math::pow(static_cast<double>(spec.beta1), static_cast<double>(spec.step));
  const double correction2 = 1 - math::pow(static_cast<double>(spec.beta2), static_cast<double>(spec.step));
  launch("adamw", adamw_kernel, blocks_for(n), dim3(kBlock), 0, p.f32(), g.f32(), m.f32(), v.f32(), n, spec, static_cast<float>(correction1),
         static_cast<float>(std::sqrt(correction2)));
}

constexpr int64_t kChunk = 64 * kBlock;  // elements that one block sums

__global__ void sum_of_squares_kernel(const float* x, int64_t n, float* sums) {
  DS_SHARED(float, partial);
  float sum = 0;
  for (int64_t i = blockIdx.x * kChunk + threadIdx.x; i < n && i < (blockIdx.x + 1) * kChunk; i += kBlock) sum += x[i] * x[i];
  const float total = block_sum(sum, partial);
  if (threadIdx.x == 0) sums[blockIdx.x] = total;
}

void sum_of_squares(const Tensor& x, double* sum) {
  const int64_t n = x.elements();
  require(x.contiguous(), "sum_of_squares takes contiguous elements, not ", describe(x), " with a row stride of ", x.row_stride);
  if (n == 0) return;
  const dim3 grid = blocks_for(n, kChunk);
  const Workspace sums(grid.x * sizeof(float));
  launch("sum_of_squares", sum_of_squares_kernel, grid, dim3(kBlock), kBlock / kWarp * sizeof(float), x.f32(), n, sums.as<float>());
  std::vector<float> host(grid.x);
  check(cudaMemcpy(host.data(), sums.as<float>(), grid.x * sizeof(float), cudaMemcpyDeviceToHost), "sum_of_squares");
  for (const float part : host) *sum += part;
}

}  // namespace ds::cuda
