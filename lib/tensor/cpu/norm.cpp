// rms_norm, layer_norm and their backward operations.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/norm.cpp"
#include <hwy/foreach_target.h>
#include "tensor/cpu/simd.h"

HWY_BEFORE_NAMESPACE();
namespace ds::cpu::HWY_NAMESPACE {

// 1 / sqrt(mean(x^2) + eps)
static float inverse_rms(const float* x, size_t n, float eps) {
  F32x16 sum = 0.0f;
  for (size_t i = 0; i < n; i += kLanes) {
    const F32x16 v = load(x + i, n - i);
    sum = mul_add(v, v, sum);
  }
  return 1.0f / std::sqrt(reduce_add(sum) / static_cast<float>(n) + eps);
}

// `offset` is added to w: 1 for Gemma, else 0.
static void rms_norm_row(const float* x, const float* w, float offset, float eps, float* y, size_t n) {
  const float r = inverse_rms(x, n, eps);
  for (size_t i = 0; i < n; i += kLanes) store(load(x + i, n - i) * r * (load(w + i, n - i) + offset), y + i, n - i);
}

// dx = r (w dy - x r^2 mean(w dy x)); dw += dy x r.
static void rms_norm_backward_row(const float* dy, const float* x, const float* w, float offset, float eps, float* dx, float* dw,
                                  bool accumulate, size_t n) {
  const float r = inverse_rms(x, n, eps);
  F32x16 sum = 0.0f;
  for (size_t i = 0; i < n; i += kLanes) {
    const F32x16 xi = load(x + i, n - i), dyi = load(dy + i, n - i);
    sum = mul_add(dyi * (load(w + i, n - i) + offset), xi, sum);
    store(mul_add(dyi, xi * r, load(dw + i, n - i)), dw + i, n - i);
  }
  const float slope = reduce_add(sum) / static_cast<float>(n) * r * r;
  for (size_t i = 0; i < n; i += kLanes) {
    const F32x16 g = load(dy + i, n - i) * (load(w + i, n - i) + offset);
    F32x16 d = neg_mul_add(load(x + i, n - i), slope, g) * r;
    if (accumulate) d += load(dx + i, n - i);
    store(d, dx + i, n - i);
  }
}

// The mean of a row, and 1 / sqrt(var + eps). Lanes beyond the row count as the mean.
struct Moments {
  float mean, r;
};
static Moments moments(const float* x, size_t n, float eps) {
  F32x16 sum = 0.0f, squares = 0.0f;
  for (size_t i = 0; i < n; i += kLanes) sum += load(x + i, n - i);
  const float mean = reduce_add(sum) / static_cast<float>(n);
  for (size_t i = 0; i < n; i += kLanes) {
    F32x16 d = load(x + i, n - i) - mean;
    if (n - i < kLanes) d = select(first_lanes(n - i), d, 0.0f);
    squares = mul_add(d, d, squares);
  }
  return {mean, 1.0f / std::sqrt(reduce_add(squares) / static_cast<float>(n) + eps)};
}

static void layer_norm_row(const float* x, const float* w, const float* b, float eps, float* y, size_t n) {
  const auto [mean, r] = moments(x, n, eps);
  for (size_t i = 0; i < n; i += kLanes)
    store(mul_add((load(x + i, n - i) - mean) * r, load(w + i, n - i), load(b + i, n - i)), y + i, n - i);
}

// With u = (x - mean) r: dx = r (w dy - mean(w dy) - u mean(w dy u)); dw += dy u; db += dy.
static void layer_norm_backward_row(const float* dy, const float* x, const float* w, float eps, float* dx, float* dw, float* db,
                                    bool accumulate, size_t n) {
  const auto [mean, r] = moments(x, n, eps);
  F32x16 plain = 0.0f, along = 0.0f;
  for (size_t i = 0; i < n; i += kLanes) {
    const F32x16 dyi = load(dy + i, n - i), u = (load(x + i, n - i) - mean) * r, g = dyi * load(w + i, n - i);
    plain += g;
    along = mul_add(g, u, along);
    store(mul_add(dyi, u, load(dw + i, n - i)), dw + i, n - i);
    store(load(db + i, n - i) + dyi, db + i, n - i);
  }
  const float plain_mean = reduce_add(plain) / static_cast<float>(n), along_mean = reduce_add(along) / static_cast<float>(n);
  for (size_t i = 0; i < n; i += kLanes) {
    const F32x16 u = (load(x + i, n - i) - mean) * r, g = load(dy + i, n - i) * load(w + i, n - i);
    F32x16 d = neg_mul_add(u, along_mean, g - plain_mean) * r;
    if (accumulate) d += load(dx + i, n - i);
    store(d, dx + i, n - i);
  }
}

}  // namespace ds::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "tensor/cpu/arguments.h"
#include "tensor/cpu/dispatch.h"
#include "tensor/cpu/row_sums.h"
#include "tensor/ops.h"

namespace ds::cpu {
HWY_EXPORT(rms_norm_row);
HWY_EXPORT(rms_norm_backward_row);
HWY_EXPORT(layer_norm_row);
HWY_EXPORT(layer_norm_backward_row);

// The width of w, which divides that of x.
static size_t norm_width(const char* op, const Matrix& x, const Tensor& w) {
  const size_t n = static_cast<size_t>(w.elements());
  require(n > 0 && x.cols % n == 0, op, ": rows of ", x.cols, " are not heads of ", describe(w));
  return n;
}

void rms_norm(const Tensor& x, const Tensor& w, float eps, bool plus_one, const Tensor& y) {
  const Matrix in = matrix("rms_norm", x), out = matrix("rms_norm", y, in.rows, in.cols);
  const size_t n = norm_width("rms_norm", in, w);
  const float* const weight = f32_array("rms_norm", w, n);
  const float offset = plus_one ? 1.0f : 0.0f;
  const auto kernel = DS_SIMD_DISPATCH(rms_norm_row);
  parallel_for(in.rows, row_grain(in.cols), [&](size_t begin, size_t end) {
    for (size_t r = begin; r < end; ++r)
      for (size_t c = 0; c < in.cols; c += n) kernel(in.row(r) + c, weight, offset, eps, out.row(r) + c, n);
  });
}

void rms_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& w, float eps, bool plus_one, const Tensor& dx,
                       const Tensor& dw, bool accumulate) {
  const char* const op = "rms_norm_backward";
  const Matrix in = matrix(op, x), grad = matrix(op, dy, in.rows, in.cols), out = matrix(op, dx, in.rows, in.cols);
  const size_t n = norm_width(op, in, w);
  const float* const weight = f32_array(op, w, n);
  const float offset = plus_one ? 1.0f : 0.0f;
  const auto kernel = DS_SIMD_DISPATCH(rms_norm_backward_row);
  sum_rows(in.rows, n, f32_array(op, dw, n), [&](size_t begin, size_t end, float* sum) {
    for (size_t r = begin; r < end; ++r)
      for (size_t c = 0; c < in.cols; c += n)
        kernel(grad.row(r) + c, in.row(r) + c, weight, offset, eps, out.row(r) + c, sum, accumulate, n);
  });
}

void layer_norm(const Tensor& x, const Tensor& w, const Tensor& b, float eps, const Tensor& y) {
  const char* const op = "layer_norm";
  const Matrix in = matrix(op, x), out = matrix(op, y, in.rows, in.cols);
  require(in.cols > 0, op, ": rows of ", describe(x), " are empty");
  const float *const weight = f32_array(op, w, in.cols), *const bias = f32_array(op, b, in.cols);
  const auto kernel = DS_SIMD_DISPATCH(layer_norm_row);
  parallel_for(in.rows, row_grain(in.cols), [&](size_t begin, size_t end) {
    for (size_t r = begin; r < end; ++r) kernel(in.row(r), weight, bias, eps, out.row(r), in.cols);
  });
}

void layer_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& w, float eps, const Tensor& dx, const Tensor& dw,
                         const Tensor& db, bool accumulate) {
  const char* const op = "layer_norm_backward";
  const Matrix in = matrix(op, x), grad = matrix(op, dy, in.rows, in.cols), out = matrix(op, dx, in.rows, in.cols);
  require(in.cols > 0, op, ": rows of ", describe(x), " are empty");
  const size_t n = in.cols;
  const float* const weight = f32_array(op, w, n);
  float *const weight_grad = f32_array(op, dw, n), *const bias_grad = f32_array(op, db, n);
  const auto kernel = DS_SIMD_DISPATCH(layer_norm_backward_row);
  std::vector<float> total(2 * n);  // of w, then of b
  sum_rows(in.rows, 2 * n, total.data(), [&](size_t begin, size_t end, float* sum) {
    for (size_t r = begin; r < end; ++r) kernel(grad.row(r), in.row(r), weight, eps, out.row(r), sum, sum + n, accumulate, n);
  });
  add_rows(total.data(), weight_grad, n);
  add_rows(total.data() + n, bias_grad, n);
}

}  // namespace ds::cpu
#endif
