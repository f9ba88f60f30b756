// Sums over the rows of a batch (gradients of vectors) in an order that the number of rows alone decides: chunks of 64
// rows are summed in order, and the sums of the chunks are added in order.
#pragma once
#include <vector>

#include "base/parallel.h"

namespace ds::cpu {

// y[i] += x[i].
void add_rows(const float* x, float* y, size_t n);

// total[cols] += the sums that body(begin, end, sum) adds to sum[cols] (zero at first) for each chunk of rows.
template <class Body>
void sum_rows(size_t rows, size_t cols, float* total, const Body& body) {
  constexpr size_t kChunk = 64;
  const size_t chunks = (rows + kChunk - 1) / kChunk;
  std::vector<float> sums(chunks * cols);
  parallel_for(chunks, 1, [&](size_t first, size_t last) {
    for (size_t c = first; c < last; ++c) body(c * kChunk, std::min(rows, (c + 1) * kChunk), sums.data() + c * cols);
  });
  for (size_t c = 0; c < chunks; ++c) add_rows(sums.data() + c * cols, total, cols);
}

}  // namespace ds::cpu
