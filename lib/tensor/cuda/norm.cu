// RMSNorm, forward and backward: a block for each row and head.
#include "tensor/cuda/runtime.cuh"
#include "tensor/ops.h"

namespace ds::cuda {

namespace {

struct NormShape {
  int64_t rows, heads, width;    // x[rows, heads * width]
  int64_t x_stride, y_stride, d_stride;
};

NormShape norm_shape(const Tensor& x, const Tensor& w, const Tensor& y, const Tensor& d) {
  const int64_t width = w.elements();
  require(x.rank == 2 && width > 0 && x.cols() % width == 0, "rms_norm: ", describe(x), " does not fit a weight ", describe(w));
  require(y.rank == 2 && y.rows() == x.rows() && y.cols() == x.cols() && d.rows() == x.rows() && d.cols() == x.cols(),
          "rms_norm: ", describe(x), " into ", describe(y));
  return {x.rows(), x.cols() / width, width, x.row_stride, y.row_stride, d.row_stride};
}

}  // namespace

__global__ void rms_norm_kernel(const float* x, const float* w, float eps, float plus, float* y, NormShape s) {
  DS_SHARED(float, partial);
  const int64_t row = blockIdx.x / s.heads, column = blockIdx.x % s.heads * s.width;
  const float* const in = x + row * s.x_stride + column;
  float* const out = y + row * s.y_stride + column;
  float squares = 0;
  for (int64_t i = threadIdx.x; i < s.width; i += kBlock) squares += in[i] * in[i];
  const float r = 1.0f / sqrtf(block_sum(squares, partial) / static_cast<float>(s.width) + eps);
  for (int64_t i = threadIdx.x; i < s.width; i += kBlock) out[i] = in[i] * r * (w[i] + plus);
}

void rms_norm(const Tensor& x, const Tensor& w, float eps, bool plus_one, const Tensor& y) {
  const NormShape s = norm_shape(x, w, y, y);
  if (s.rows == 0) return;
  launch("rms_norm", rms_norm_kernel, dim3(static_cast<unsigned>(s.rows * s.heads)), dim3(kBlock), kBlock / kWarp * sizeof(float), x.f32(),
         w.f32(), eps, plus_one ? 1.0f : 0.0f, y.f32(), s);
}

// dx = r (g - x r^2 mean(g x)) with g = dy (w + plus), r = rsqrt(mean(x^2) + eps); inverse[row, head] keeps r.
__global__ void rms_norm_dx_kernel(const float* dy, const float* x, const float* w, float eps, float plus, float* dx, int accumulate,
                                   float* inverse, NormShape s) {
  DS_SHARED(float, partial);
  const int64_t row = blockIdx.x / s.heads, column = blockIdx.x % s.heads * s.width;
  const float* const in = x + row * s.x_stride + column;
  const float* const up = dy + row * s.d_stride + column;
  float* const out = dx + row * s.y_stride + column;
  float squares = 0, products = 0;
  for (int64_t i = threadIdx.x; i < s.width; i += kBlock) {
    squares += in[i] * in[i];
    products += up[i] * (w[i] + plus) * in[i];
  }
  const float width = static_cast<float>(s.width);
  const float r = 1.0f / sqrtf(block_sum(squares, partial) / width + eps);
  const float mean = block_sum(products, partial) / width;
  for (int64_t i = threadIdx.x; i < s.width; i += kBlock) {
    const float d = r * (up[i] * (w[i] + plus) - in[i] * r * r * mean);
    out[i] = accumulate ? out[i] + d : d;
  }
  if (threadIdx.x == 0) inverse[blockIdx.x] = r;
}

// dw[i] += sum over rows and heads of dy x r, each column by one thread in the order of the rows.
__global__ void rms_norm_dw_kernel(const float* dy, const float* x, const float* inverse, float* dw, NormShape s) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kBlock + threadIdx.x;
  if (i >= s.width) return;
  float sum = 0;
  for (int64_t row = 0; row < s.rows; ++row)
    for (int64_t head = 0; head < s.heads; ++head)
      sum += dy[row * s.d_stride + head * s.width + i] * x[row * s.x_stride + head * s.width + i] * inverse[row * s.heads + head];
  dw[i] += sum;
}

void rms_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& w, float eps, bool plus_one, const Tensor& dx, const Tensor& dw,
                       bool accumulate) {
  const NormShape s = norm_shape(x, w, dx, dy);
  require(dw.elements() == s.width, "rms_norm_backward: dw is ", describe(dw));
  if (s.rows == 0) return;
  const Workspace inverse(static_cast<size_t>(s.rows * s.heads) * sizeof(float));
  launch("rms_norm_dx", rms_norm_dx_kernel, dim3(static_cast<unsigned>(s.rows * s.heads)), dim3(kBlock), kBlock / kWarp * sizeof(float),
         dy.f32(), x.f32(), w.f32(), eps, plus_one ? 1.0f : 0.0f, dx.f32(), accumulate ? 1 : 0, inverse.as<float>(), s);
  launch("rms_norm_dw", rms_norm_dw_kernel, blocks_for(s.width), dim3(kBlock), 0, dy.f32(), x.f32(), inverse.as<float>(), dw.f32(), s);
}

}  // namespace ds::cuda
