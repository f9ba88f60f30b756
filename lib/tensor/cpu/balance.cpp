// The load-balancing losses of a router. Sums are in double and in the order of the rows.
#include <vector>

#include "base/parallel.h"
#include "tensor/ops.h"

namespace ds::cpu {

void balance_loss(const Tensor& scores, const Tensor& indices, float coef, const Tensor& dscores, double* loss) {
  require(scores.rank == 2 && scores.dtype == DType::f32 && dscores.rank == 2 && dscores.dtype == DType::f32 &&
              indices.rank == 2 && indices.dtype == DType::i32 && dscores.shape == scores.shape &&
              indices.rows() == scores.rows() && indices.cols() > 0,
          "balance_loss: scores ", describe(scores), ", indices ", describe(indices), " and dscores ", describe(dscores),
          " do not fit");
  const int64_t rows = scores.rows(), experts = scores.cols(), top_k = indices.cols();
  if (rows == 0) return;

  std::vector<int64_t> count(static_cast<size_t>(experts), 0);
  int64_t choices = 0;
  std::vector<double> mean(static_cast<size_t>(experts), 0), total(static_cast<size_t>(rows), 0);
  for (int64_t t = 0; t < rows; ++t) {
    const int32_t* const chosen = indices.i32() + t * indices.row_stride;
    for (int64_t j = 0; j < top_k; ++j) {
      require(chosen[j] >= -1 && chosen[j] <= experts, "balance_loss: expert ", chosen[j], " of ", experts);
      if (chosen[j] < 0 || chosen[j] == experts) continue;  // none, or the fallback
      ++count[static_cast<size_t>(chosen[j])];
      ++choices;
    }
    const float* const s = scores.f32() + t * scores.row_stride;
    for (int64_t i = 0; i < experts; ++i) total[t] += s[i];
    total[t] += 1e-20;
    for (int64_t i = 0; i < experts; ++i) mean[i] += s[i] / total[t];
  }
  if (choices == 0) return;
  // d loss / d p[t, i] is the same in every row.
  std::vector<double> slope(static_cast<size_t>(experts));
  for (int64_t i = 0; i < experts; ++i) {
    const double f = static_cast<double>(count[i]) / static_cast<double>(choices);
    slope[i] = static_cast<double>(coef) * static_cast<double>(experts) * f / static_cast<double>(rows);
    *loss += slope[i] * mean[i];
  }
  // Through p = s / sum(s): dL/ds_i = (slope_i - sum_j slope_j p_j) / sum(s).
  parallel_for(static_cast<size_t>(rows), 16, [&](size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t) {
      const float* const s = scores.f32() + static_cast<int64_t>(t) * scores.row_stride;
      float* const ds = dscores.f32() + static_cast<int64_t>(t) * dscores.row_stride;
      double along = 0;
      for (int64_t i = 0; i < experts; ++i) along += slope[i] * (s[i] / total[t]);
      for (int64_t i = 0; i < experts; ++i) ds[i] += static_cast<float>((slope[i] - along) / total[t]);
    }
  });
}

}  // namespace ds::cpu
