// cross_entropy, its backward operation, and argmax.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/loss.cpp"
#include <hwy/foreach_target.h>
#include "tensor/cpu/simd.h"

HWY_BEFORE_NAMESPACE();
namespace ds::cpu::HWY_NAMESPACE {

static float greatest(const float* x, size_t n) {
  const float lowest = -std::numeric_limits<float>::infinity();
  F32x16 top = lowest;
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) top = max(top, load(x + i));
  if (i < n) top = max(top, select(first_lanes(n - i), load(x + i, n - i), lowest));
  return reduce_max(top);
}

// Where the greatest value first stands; 0 in a row of NaN.
static size_t argmax_row(const float* x, size_t n) {
  const F32x16 top = greatest(x, n);
  for (size_t i = 0; i < n; i += kLanes) {
    const size_t lane = find_first(load(x + i, n - i) == top);
    if (lane < n - i && lane < kLanes) return i + lane;
  }
  return 0;
}

// -log softmax(x)[target]
static float loss_row(const float* x, size_t target, size_t n) {
  const float top = greatest(x, n);
  F32x16 sum = 0.0f;
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) sum += exp(load(x + i) - top);
  if (i < n) sum += select(first_lanes(n - i), exp(load(x + i, n - i) - top), 0.0f);
  return math::log(reduce_add(sum)) + (top - x[target]);
}

// dx = (softmax(x) - onehot(target)) * weight
static void loss_backward_row(const float* x, size_t target, float weight, float* dx, size_t n) {
  const float top = greatest(x, n);
  F32x16 sum = 0.0f;
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const F32x16 e = exp(load(x + i) - top);
    sum += e;
    store(e, dx + i);
  }
  if (i < n) {
    const F32x16 e = exp(load_partial(x + i, n - i) - top);
    sum += select(first_lanes(n - i), e, 0.0f);
    store_partial(e, dx + i, n - i);
  }
  const F32x16 factor = weight / reduce_add(sum);
  for (size_t i = 0; i < n; i += kLanes) store(load(dx + i, n - i) * factor, dx + i, n - i);
  dx[target] -= weight;
}

}  // namespace ds::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "tensor/cpu/arguments.h"
#include "tensor/cpu/dispatch.h"
#include "tensor/ops.h"

namespace ds::cpu {
HWY_EXPORT(argmax_row);
HWY_EXPORT(loss_row);
HWY_EXPORT(loss_backward_row);

static const int32_t* checked_targets(const char* op, const Tensor& targets, const Matrix& logits) {
  const int32_t* const target = i32_array(op, targets, logits.rows);
  for (size_t t = 0; t < logits.rows; ++t)
    require(target[t] >= -1 && (target[t] < 0 || static_cast<size_t>(target[t]) < logits.cols), op, ": target ", target[t],
            " at row ", t, " is not in the vocabulary of ", logits.cols);
  return target;
}

void cross_entropy(const Tensor& logits, const Tensor& targets, const Tensor& loss) {
  const Matrix x = matrix("cross_entropy", logits);
  const int32_t* const target = checked_targets("cross_entropy", targets, x);
  float* const out = f32_array("cross_entropy", loss, x.rows);
  const auto kernel = DS_SIMD_DISPATCH(loss_row);
  parallel_for(x.rows, row_grain(x.cols), [&](size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t)
      out[t] = target[t] < 0 ? 0.0f : kernel(x.row(t), static_cast<size_t>(target[t]), x.cols);
  });
}

void cross_entropy_backward(const Tensor& logits, const Tensor& targets, const Tensor& weights, const Tensor& dlogits) {
  const Matrix x = matrix("cross_entropy_backward", logits), dx = matrix("cross_entropy_backward", dlogits, x.rows, x.cols);
  const int32_t* const target = checked_targets("cross_entropy_backward", targets, x);
  const float* const weight = f32_array("cross_entropy_backward", weights, x.rows);
  const auto kernel = DS_SIMD_DISPATCH(loss_backward_row);
  parallel_for(x.rows, row_grain(x.cols), [&](size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t) {
      if (target[t] < 0)
        std::fill(dx.row(t), dx.row(t) + dx.cols, 0.0f);
      else
        kernel(x.row(t), static_cast<size_t>(target[t]), weight[t], dx.row(t), x.cols);
    }
  });
}

void argmax(const Tensor& logits, const Tensor& indices) {
  const Matrix x = matrix("argmax", logits);
  require(x.cols > 0, "argmax: rows of no elements");
  int32_t* const out = i32_array("argmax", indices, x.rows);
  const auto kernel = DS_SIMD_DISPATCH(argmax_row);
  parallel_for(x.rows, row_grain(x.cols), [&](size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t) out[t] = static_cast<int32_t>(kernel(x.row(t), x.cols));
  });
}

}  // namespace ds::cpu
#endif
