// The dense products, by cuBLAS. cuBLAS is column-major: a row-major [rows, cols] matrix is its transpose there, so
// y = x w^T is computed as y^T = w x^T.
#include <climits>

#include "tensor/cuda/memory.h"
#include "tensor/cuda/runtime.cuh"
#include "tensor/ops.h"

namespace ds::cuda {

static cublasHandle_t blas() {
  static cublasHandle_t const handle = [] {
    cublasHandle_t h = nullptr;
    require(cublasCreate(&h) == CUBLAS_STATUS_SUCCESS, "cuBLAS could not be started");
    // Full f32 products: TF32 would be a silent loss of precision against the CPU.
    require(cublasSetMathMode(h, CUBLAS_PEDANTIC_MATH) == CUBLAS_STATUS_SUCCESS, "cuBLAS: math mode");
    return h;
  }();
  return handle;
}

static int as_int(int64_t value, const char* what) {
  require(value >= 0 && value <= INT_MAX, what, " of ", value, " is more than cuBLAS takes");
  return static_cast<int>(value);
}

// Row-major c[m, n] (+)= op(a)[m, k] op(b)[k, n]; a and b are given by their row strides, transposed or not.
static void product(const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b, const Tensor& c, bool accumulate) {
  const int64_t m = transpose_a ? a.cols() : a.rows(), k = transpose_a ? a.rows() : a.cols();
  const int64_t n = transpose_b ? b.rows() : b.cols(), k_b = transpose_b ? b.cols() : b.rows();
  require(k == k_b && c.rows() == m && c.cols() == n, "product of ", describe(a), " and ", describe(b), " into ", describe(c));
  if (m == 0 || n == 0) return;
  const float one = 1, beta = accumulate ? 1 : 0;
  const cublasStatus_t status =
      cublasSgemm(blas(), transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N, transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N, as_int(n, "n"), as_int(m, "m"),
                  as_int(k, "k"), &one, b.f32(), as_int(b.row_stride, "a row stride"), a.f32(), as_int(a.row_stride, "a row stride"), &beta,
                  c.f32(), as_int(c.row_stride, "a row stride"));
  require(status == CUBLAS_STATUS_SUCCESS, "cuBLAS: product failed with status ", static_cast<int>(status));
}

// Calls use(w) with the weight in f32, widened into a workspace where it is 16-bit.
template <class F>
static void with_f32(const Tensor& w, F use) {
  require(w.layout == Layout::rows && w.dtype != DType::q4, "linear on CUDA takes weights as rows in f32, f16 or bf16, not ", describe(w));
  if (w.dtype == DType::f32) return use(w);
  const Workspace widened(static_cast<size_t>(w.elements()) * sizeof(float));
  const Tensor f32 = make_tensor(widened.as<float>(), DType::f32, {w.rows(), w.cols()}, Device::cuda);
  cuda::convert(w, f32);
  use(f32);
  synchronize();
}

void linear(const Tensor& x, const Tensor& w, const Tensor& y, bool accumulate) {
  with_f32(w, [&](const Tensor& f32) { product(x, false, f32, true, y, accumulate); });
}
void linear_backward_input(const Tensor& dy, const Tensor& w, const Tensor& dx, bool accumulate) {
  with_f32(w, [&](const Tensor& f32) { product(dy, false, f32, false, dx, accumulate); });
}
void linear_backward_weight(const Tensor& dy, const Tensor& x, const Tensor& dw) { product(dy, true, x, false, dw, true); }

}  // namespace ds::cuda
