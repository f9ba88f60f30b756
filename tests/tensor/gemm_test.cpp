// The matrix product against a loop in double precision, and its invariants.
#include "tensor/cpu/gemm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "base/parallel.h"
#include "base/rng.h"
#include "tensor/cpu/dispatch.h"
#include "tensor/ops.h"

namespace ds {
namespace {

std::vector<float> random_values(size_t count, uint64_t stream) {
  const Rng rng{7, stream};
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i) values[i] = static_cast<float>(rng.normal(i));
  return values;
}

Tensor view(std::vector<float>& values, int64_t rows, int64_t cols) {
  return make_tensor(values.data(), DType::f32, {rows, cols});
}

struct Size {
  int64_t m, n, k;
};

class Gemm : public testing::TestWithParam<Size> {};

// The error of a sum of k products is at most about k * 2^-24 * sum |x w|.
void expect_close(float got, double want, double magnitude, int64_t k) {
  EXPECT_NEAR(got, want, 1e-30 + (static_cast<double>(k) + 2) * 6e-8 * magnitude);
}

TEST_P(Gemm, ForwardAndBackwardAreTheSums) {
  const auto [m, n, k] = GetParam();
  auto x = random_values(m * k, 1), w = random_values(n * k, 2), y = random_values(m * n, 3), dy = random_values(m * n, 4);
  auto dx = random_values(m * k, 5), dw = random_values(n * k, 6);
  const auto y0 = y, dx0 = dx, dw0 = dw;
  const Tensor tx = view(x, m, k), tw = view(w, n, k), ty = view(y, m, n), tdy = view(dy, m, n);
  linear(tx, tw, ty);
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      double sum = 0, magnitude = 0;
      for (int64_t q = 0; q < k; ++q) {
        const double term = double{x[i * k + q]} * w[j * k + q];
        sum += term, magnitude += std::abs(term);
      }
      expect_close(y[i * n + j], sum, magnitude, k);
    }
  }
  auto twice = y0;
  linear(tx, tw, view(twice, m, n), true);
  for (int64_t i = 0; i < m * n; ++i) EXPECT_NEAR(twice[i], y0[i] + y[i], 1e-5 * (1 + std::abs(y[i]) + std::abs(y0[i])) * 4);

  linear_backward_input(tdy, tw, view(dx, m, k), true);
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t q = 0; q < k; ++q) {
      double sum = dx0[i * k + q], magnitude = std::abs(sum);
      for (int64_t j = 0; j < n; ++j) {
        const double term = double{dy[i * n + j]} * w[j * k + q];
        sum += term, magnitude += std::abs(term);
      }
      expect_close(dx[i * k + q], sum, magnitude, n);
    }
  }
  linear_backward_weight(tdy, tx, view(dw, n, k));
  for (int64_t j = 0; j < n; ++j) {
    for (int64_t q = 0; q < k; ++q) {
      double sum = dw0[j * k + q], magnitude = std::abs(sum);
      for (int64_t i = 0; i < m; ++i) {
        const double term = double{dy[i * n + j]} * x[i * k + q];
        sum += term, magnitude += std::abs(term);
      }
      expect_close(dw[j * k + q], sum, magnitude, m);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, Gemm,
                         testing::Values(Size{1, 1, 1}, Size{1, 16, 7}, Size{3, 1, 300}, Size{1, 100, 513}, Size{2, 65, 33},
                                         Size{13, 37, 257}, Size{25, 64, 256}, Size{5, 17, 1}, Size{600, 33, 20},
                                         Size{31, 131, 700}),
                         [](const auto& info) {
                           return cat(info.param.m, "x", info.param.n, "x", info.param.k);
                         });

}  // namespace
}  // namespace ds
