// Tokens to experts and back: sort_by_expert, gather_rows, combine, and their backward operations.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/moe.cpp"
#include <hwy/foreach_target.h>
#include "tensor/cpu/simd.h"

HWY_BEFORE_NAMESPACE();
namespace ds::cpu::HWY_NAMESPACE {

// y += factor * x
static void axpy(float factor, const float* x, float* y, size_t n) {
  for (size_t i = 0; i < n; i += kLanes) store(mul_add(load(x + i, n - i), factor, load(y + i, n - i)), y + i, n - i);
}

// dx = factor * dy; returns dot(dy, x). dx may be x.
static float scaled_and_dot(float factor, const float* dy, const float* x, float* dx, size_t n) {
  F32x16 sum = 0.0f;
  for (size_t i = 0; i < n; i += kLanes) {
    const F32x16 d = load(dy + i, n - i);
    sum = mul_add(d, load(x + i, n - i), sum);
    store(d * factor, dx + i, n - i);
  }
  return reduce_add(sum);
}

}  // namespace ds::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <cstring>
#include <vector>

#include "tensor/cpu/arguments.h"
#include "tensor/cpu/dispatch.h"
#include "tensor/cpu/row_sums.h"
#include "tensor/ops.h"

namespace ds::cpu {
HWY_EXPORT(axpy);
HWY_EXPORT(scaled_and_dot);

void sort_by_expert(const Tensor& indices, const Tensor& offsets, const Tensor& slot_of_row, const Tensor& row_of_slot) {
  const char* const op = "sort_by_expert";
  const size_t slots = static_cast<size_t>(indices.elements());
  require(slots <= INT32_MAX && offsets.elements() >= 2, op, ": ", describe(indices), " choices into ", describe(offsets));
  const size_t experts = static_cast<size_t>(offsets.elements()) - 1;
  const int32_t* const expert = i32_array(op, indices, slots);
  int32_t* const offset = i32_array(op, offsets, experts + 1);
  int32_t* const slot = i32_array(op, slot_of_row, slots);
  int32_t* const row = i32_array(op, row_of_slot, slots);
  std::fill(offset, offset + experts + 1, 0);
  for (size_t i = 0; i < slots; ++i) {
    require(expert[i] >= -1 && expert[i] < static_cast<int64_t>(experts), op, ": expert ", expert[i], " of ", experts);
    if (expert[i] >= 0) ++offset[expert[i] + 1];
  }
  for (size_t e = 0; e < experts; ++e) offset[e + 1] += offset[e];
  std::vector<int32_t> next(offset, offset + experts);
  for (size_t i = 0; i < slots; ++i) {
    row[i] = expert[i] < 0 ? -1 : next[static_cast<size_t>(expert[i])]++;
    if (row[i] >= 0) slot[row[i]] = static_cast<int32_t>(i);
  }
  std::fill(slot + offset[experts], slot + slots, -1);
}

// An i32 permutation (or part of one) of [0, bound), checked. lowest is -1 where there may be slots without a row.
static const int32_t* checked_indices(const char* op, const Tensor& t, size_t count, size_t bound, int32_t lowest) {
  const int32_t* const index = i32_array(op, t, count);
  for (size_t i = 0; i < count; ++i)
    require(index[i] >= lowest && index[i] < static_cast<int64_t>(bound), op, ": row ", index[i], " of ", bound);
  return index;
}

void gather_rows(const Tensor& x, const Tensor& slot_of_row, int top_k, const Tensor& y) {
  const Matrix in = matrix("gather_rows", x), out = matrix("gather_rows", y);
  require(top_k > 0 && in.cols == out.cols, "gather_rows: rows of ", describe(x), " do not fit ", describe(y));
  const size_t k = static_cast<size_t>(top_k);
  const int32_t* const slot = checked_indices("gather_rows", slot_of_row, out.rows, in.rows * k, 0);
  parallel_for(out.rows, row_grain(out.cols), [&](size_t begin, size_t end) {
    for (size_t r = begin; r < end; ++r) std::memcpy(out.row(r), in.row(static_cast<size_t>(slot[r]) / k), out.cols * sizeof(float));
  });
}

void gather_rows_backward(const Tensor& dy, const Tensor& row_of_slot, int top_k, const Tensor& dx) {
  const char* const op = "gather_rows_backward";
  const Matrix in = matrix(op, dy), out = matrix(op, dx);
  require(top_k > 0 && in.cols == out.cols, op, ": rows of ", describe(dy), " do not fit ", describe(dx));
  const size_t k = static_cast<size_t>(top_k);
  const int32_t* const row = checked_indices(op, row_of_slot, out.rows * k, in.rows, -1);
  parallel_for(out.rows, row_grain(out.cols * k), [&](size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t)
      for (size_t j = 0; j < k; ++j)
        if (const int32_t r = row[t * k + j]; r >= 0) add_rows(in.row(static_cast<size_t>(r)), out.row(t), out.cols);
  });
}

void combine(const Tensor& x, const Tensor& row_of_slot, const Tensor& weights, const Tensor& y) {
  const Matrix in = matrix("combine", x), out = matrix("combine", y), w = matrix("combine", weights);
  require(in.cols == out.cols && w.rows == out.rows, "combine: ", describe(x), " and ", describe(weights), " do not fit ", describe(y));
  const int32_t* const row = checked_indices("combine", row_of_slot, w.rows * w.cols, in.rows, -1);
  const auto kernel = DS_SIMD_DISPATCH(axpy);
  parallel_for(out.rows, row_grain(out.cols * w.cols), [&](size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t)
      for (size_t j = 0; j < w.cols; ++j)
        if (const int32_t r = row[t * w.cols + j]; r >= 0)
          kernel(w.row(t)[j], in.row(static_cast<size_t>(r)), out.row(t), out.cols);
  });
}

void combine_backward(const Tensor& dy, const Tensor& x, const Tensor& row_of_slot, const Tensor& weights, const Tensor& dx,
                      const Tensor& dweights) {
  const char* const op = "combine_backward";
  const Matrix grad = matrix(op, dy), in = matrix(op, x), w = matrix(op, weights, grad.rows, static_cast<size_t>(weights.cols()));
  const Matrix out = matrix(op, dx, in.rows, in.cols), dw = matrix(op, dweights, w.rows, w.cols);
  require(in.cols == grad.cols && in.rows <= w.rows * w.cols, op, ": ", describe(x), " does not fit ", describe(weights));
  const int32_t* const row = checked_indices(op, row_of_slot, w.rows * w.cols, in.rows, -1);
  const auto kernel = DS_SIMD_DISPATCH(scaled_and_dot);
  parallel_for(grad.rows, row_grain(grad.cols * w.cols), [&](size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t)
      for (size_t j = 0; j < w.cols; ++j) {
        const int32_t slot_row = row[t * w.cols + j];
        const auto r = static_cast<size_t>(slot_row);
        dw.row(t)[j] = slot_row < 0 ? 0.0f : kernel(w.row(t)[j], grad.row(t), in.row(r), out.row(r), grad.cols);
      }
  });
}

}  // namespace ds::cpu
#endif
