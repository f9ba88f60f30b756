// embedding and its backward operation.
#include <cstring>

#include "tensor/cpu/arguments.h"
#include "tensor/cpu/convert.h"
#include "tensor/cpu/gemm.h"
#include "tensor/cpu/row_sums.h"
#include "tensor/ops.h"

namespace ds::cpu {

static void check_ids(const char* op, const int32_t* ids, size_t count, int64_t vocabulary) {
  for (size_t t = 0; t < count; ++t)
    require(ids[t] >= 0 && ids[t] < vocabulary, op, ": token id ", ids[t], " at row ", t, " is not in the vocabulary of ", vocabulary);
}

void embedding(const Tensor& w, const Tensor& tokens, const Tensor& y) {
  const Matrix out = matrix("embedding", y);
  require(w.rank == 2 && static_cast<size_t>(w.shape[1]) == out.cols, "embedding: rows of ", describe(w), " do not fit ", describe(y));
  const int32_t* const ids = i32_array("embedding", tokens, out.rows);
  check_ids("embedding", ids, out.rows, w.shape[0]);
  const size_t row_bytes = static_cast<size_t>(w.row_stride) * static_cast<size_t>(dtype_bits(w.dtype)) / 8;
  parallel_for(out.rows, row_grain(out.cols), [&](size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t) {
      if (w.layout == Layout::panels) dequantize_row(w, ids[t], out.row(t));
      else widen(w.dtype, w.as<char>() + static_cast<size_t>(ids[t]) * row_bytes, out.row(t), out.cols);
    }
  });
}

// Threads split the columns, so that each element gets its terms in the order of the tokens.
void embedding_backward(const Tensor& dy, const Tensor& tokens, const Tensor& dw) {
  const Matrix grad = matrix("embedding_backward", dy), out = matrix("embedding_backward", dw);
  require(grad.cols == out.cols, "embedding_backward: rows of ", describe(dy), " do not fit ", describe(dw));
  const int32_t* const ids = i32_array("embedding_backward", tokens, grad.rows);
  check_ids("embedding_backward", ids, grad.rows, dw.shape[0]);
  parallel_for(out.cols, 64, [&](size_t begin, size_t end) {
    for (size_t t = 0; t < grad.rows; ++t) add_rows(grad.row(t) + begin, out.row(static_cast<size_t>(ids[t])) + begin, end - begin);
  });
}

}  // namespace ds::cpu
