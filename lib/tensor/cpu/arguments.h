// How CPU operations read their tensors: shape and dtype are checked once, then kernels see plain pointers.
#pragma once
#include <string_view>

#include "base/parallel.h"
#include "base/sizes.h"
#include "tensor/tensor.h"

namespace ds::cpu {

// An f32 matrix whose rows lie `stride` elements apart.
struct Matrix {
  float* data = nullptr;
  size_t rows = 0, cols = 0, stride = 0;
  float* row(size_t r) const { return data + r * stride; }
};

// t as a matrix, an Error unless it is f32 of two dimensions.
inline Matrix matrix(std::string_view op, const Tensor& t) {
  require(t.dtype == DType::f32 && t.rank == 2 && t.layout == Layout::rows, op, ": an f32 matrix is expected, not ", describe(t));
  return {t.f32(), static_cast<size_t>(t.shape[0]), static_cast<size_t>(t.shape[1]), static_cast<size_t>(t.row_stride)};
}
// The same, an Error unless it has the given shape.
inline Matrix matrix(std::string_view op, const Tensor& t, size_t rows, size_t cols) {
  const Matrix m = matrix(op, t);
  require(m.rows == rows && m.cols == cols, op, ": f32[", rows, ", ", cols, "] is expected, not ", describe(t));
  return m;
}

// t's elements, an Error unless they are `count` contiguous numbers of that dtype.
inline float* f32_array(std::string_view op, const Tensor& t, size_t count) {
  require(t.dtype == DType::f32 && t.contiguous() && static_cast<size_t>(t.elements()) == count, op, ": ", count,
          " f32 numbers are expected, not ", describe(t));
  return t.f32();
}
inline int32_t* i32_array(std::string_view op, const Tensor& t, size_t count) {
  require(t.dtype == DType::i32 && t.contiguous() && static_cast<size_t>(t.elements()) == count, op, ": ", count,
          " i32 numbers are expected, not ", describe(t));
  return t.i32();
}

// Rows a thread takes at a time, so that a range is worth a task.
inline size_t row_grain(size_t cols) { return std::max<size_t>(1, 16384 / std::max<size_t>(1, cols)); }

// An elementwise operation on tensors of one shape: calls body(offsets of the first elements, count) on spans that cover
// them, in parallel. Each tensor is contiguous, or a matrix with a row stride of its own.
template <size_t N, class Body>
void for_spans(std::string_view op, const Tensor (&t)[N], const Body& body) {
  bool flat = true;
  for (const Tensor& x : t) {
    bool same = x.rank == t[0].rank && x.layout == Layout::rows;
    for (int i = 0; same && i < x.rank; ++i) same = x.shape[i] == t[0].shape[i];
    require(same, op, ": ", describe(t[0]), " and ", describe(x), " have different shapes");
    flat = flat && x.contiguous();
  }
  if (flat) {
    parallel_for(static_cast<size_t>(t[0].elements()), 16384, [&](size_t begin, size_t end) {
      std::array<size_t, N> offsets;
      offsets.fill(begin);
      body(offsets, end - begin);
    });
    return;
  }
  const size_t cols = static_cast<size_t>(t[0].shape[1]);
  parallel_for(static_cast<size_t>(t[0].shape[0]), row_grain(cols), [&](size_t begin, size_t end) {
    for (size_t r = begin; r < end; ++r) {
      std::array<size_t, N> offsets;
      for (size_t i = 0; i < N; ++i) offsets[i] = r * static_cast<size_t>(t[i].row_stride);
      body(offsets, cols);
    }
  });
}

inline void require_f32(std::string_view op, const Tensor& t) {
  require(t.dtype == DType::f32, op, ": f32 is expected, not ", describe(t));
}

}  // namespace ds::cpu
