// add_bias and its backward operation.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/bias.cpp"
#include <hwy/foreach_target.h>
#include "tensor/cpu/simd.h"

HWY_BEFORE_NAMESPACE();
namespace ds::cpu::HWY_NAMESPACE {

static void accumulate_row(const float* x, float* y, size_t n) {
  for (size_t i = 0; i < n; i += kLanes) store(load(y + i, n - i) + load(x + i, n - i), y + i, n - i);
}

}  // namespace ds::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "tensor/cpu/arguments.h"
#include "tensor/cpu/dispatch.h"
#include "tensor/cpu/row_sums.h"
#include "tensor/ops.h"

namespace ds::cpu {
HWY_EXPORT(accumulate_row);

void add_rows(const float* x, float* y, size_t n) { DS_SIMD_DISPATCH(accumulate_row)(x, y, n); }

void add_bias(const Tensor& x, const Tensor& bias) {
  const Matrix m = matrix("add_bias", x);
  const float* const b = f32_array("add_bias", bias, m.cols);
  parallel_for(m.rows, row_grain(m.cols), [&](size_t begin, size_t end) {
    for (size_t r = begin; r < end; ++r) add_rows(b, m.row(r), m.cols);
  });
}

void add_bias_backward(const Tensor& dy, const Tensor& dbias) {
  const Matrix m = matrix("add_bias_backward", dy);
  float* const db = f32_array("add_bias_backward", dbias, m.cols);
  sum_rows(m.rows, m.cols, db, [&](size_t begin, size_t end, float* sum) {
    for (size_t r = begin; r < end; ++r) add_rows(m.row(r), sum, m.cols);
  });
}

}  // namespace ds::cpu
#endif
