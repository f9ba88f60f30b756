// The matrix product against a loop in double precision, and its invariants.
#include "tensor/cpu/gemm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "base/parallel.h"
#include "tensor/cpu/dispatch.h"
#include "tensor/gemm_data.h"
#include "tensor/ops.h"

namespace ds {
namespace {

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
                                         Size{31, 131, 700}, Size{300, 77, 400}, Size{70, 300, 300}),
                         [](const auto& info) {
                           return cat(info.param.m, "x", info.param.n, "x", info.param.k);
                         });

// ---- The same bytes ----

struct Results {
  std::vector<float> y, dx, dw;
  bool operator==(const Results& other) const {
    const auto same = [](const std::vector<float>& a, const std::vector<float>& b) {
      return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
    };
    return same(y, other.y) && same(dx, other.dx) && same(dw, other.dw);
  }
};

// All three products of one set of inputs.
Results all_products(int64_t m, int64_t n, int64_t k) {
  auto x = random_values(m * k, 1), w = random_values(n * k, 2), dy = random_values(m * n, 4);
  Results r{random_values(m * n, 3), random_values(m * k, 5), random_values(n * k, 6)};
  linear(view(x, m, k), view(w, n, k), view(r.y, m, n));
  linear_backward_input(view(dy, m, n), view(w, n, k), view(r.dx, m, k));
  linear_backward_weight(view(dy, m, n), view(x, m, k), view(r.dw, n, k));
  return r;
}

TEST(GemmBytes, ThreadsDoNotMatter) {
  for (const auto [m, n, k] : {Size{1, 1000, 300}, Size{517, 130, 270}, Size{40, 700, 260}}) {
    set_threads(1);
    const Results one = all_products(m, n, k);
    for (const size_t count : {2, 3, 7}) {
      set_threads(count);
      EXPECT_TRUE(all_products(m, n, k) == one) << count << " threads, " << m << "x" << n << "x" << k;
    }
  }
  set_threads(0);
}

// Each row of a product is what the row gives alone, wherever it stands and whatever the others are.
TEST(GemmBytes, ARowAloneIsTheRowInABatch) {
  const int64_t k = 601, n = 83;
  for (const int64_t m : {2, 3, 11, 12, 13, 47, 130, 600}) {
    auto x = random_values(m * k, 1), w = random_values(n * k, 2);
    std::vector<float> y(static_cast<size_t>(m * n)), alone(static_cast<size_t>(n));
    const Tensor tx = view(x, m, k), tw = view(w, n, k);
    linear(tx, tw, view(y, m, n));
    for (const int64_t row : {int64_t{0}, m / 2, m - 1}) {
      linear(rows(tx, row, 1), tw, view(alone, 1, n));
      EXPECT_EQ(std::memcmp(alone.data(), y.data() + row * n, alone.size() * sizeof(float)), 0) << row << " of " << m;
    }
  }
}

// And a column of outputs is what it gives alone.
TEST(GemmBytes, AColumnAloneIsTheColumnInAWideProduct) {
  const int64_t m = 29, k = 300, n = 150;
  auto x = random_values(m * k, 1), w = random_values(n * k, 2);
  std::vector<float> y(static_cast<size_t>(m * n)), alone(static_cast<size_t>(m));
  const Tensor tx = view(x, m, k), tw = view(w, n, k);
  linear(tx, tw, view(y, m, n));
  for (const int64_t column : {0, 15, 16, 149}) {
    linear(tx, rows(tw, column, 1), view(alone, m, 1));
    for (int64_t i = 0; i < m; ++i) EXPECT_EQ(alone[i], y[i * n + column]);
  }
}

// The order of summation is the documented one: fused, in order within blocks of 256, the blocks' sums in order.
TEST(GemmBytes, TheOrderOfSummationIsTheDocumentedOne) {
  const int64_t m = 14, n = 35, k = 777;
  auto x = random_values(m * k, 1), w = random_values(n * k, 2);
  std::vector<float> y(static_cast<size_t>(m * n));
  linear(view(x, m, k), view(w, n, k), view(y, m, n));
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      float total = 0;
      for (int64_t k0 = 0; k0 < k; k0 += cpu::kKBlock) {
        float chain = 0;
        for (int64_t q = k0; q < std::min(k, k0 + cpu::kKBlock); ++q) chain = std::fma(x[i * k + q], w[j * k + q], chain);
        total = k0 == 0 ? chain : total + chain;
      }
      ASSERT_EQ(total, y[i * n + j]) << i << ", " << j;
    }
  }
}

// ---- Vector widths ----

struct WidestAgain {
  ~WidestAgain() { cpu::set_simd(""); }
};

TEST(GemmBytes, VectorWidthsAgree) {
  const WidestAgain guard;
  const char* const forced = std::getenv("DS_SIMD");
  if (cpu::simd_width() != "avx512") GTEST_SKIP() << "runs at " << cpu::simd_width() << ": needs AVX-512 to compare with";
  EXPECT_TRUE(forced == nullptr || std::string_view(forced) == "avx512");
  for (const auto [m, n, k] : {Size{1, 100, 513}, Size{14, 35, 300}, Size{70, 190, 270}}) {
    cpu::set_simd("avx512");
    const Results wide = all_products(m, n, k);
    cpu::set_simd("avx2");
    ASSERT_EQ(cpu::simd_width(), "avx2");
    EXPECT_TRUE(all_products(m, n, k) == wide) << m << "x" << n << "x" << k;
  }
}

TEST(Dispatch, AnUnknownWidthIsAnError) {
  const WidestAgain guard;
  EXPECT_THROW(cpu::set_simd("avx3"), Error);
  EXPECT_THROW(cpu::set_simd("AVX2"), Error);
}

[[noreturn]] void product_under(const char* width) {
  setenv("DS_SIMD", width, 1);
  std::vector<float> x(32, 1), w(32, 1), y(1);
  try {
    linear(view(x, 1, 32), view(w, 1, 32), view(y, 1, 1));
  } catch (const Error& error) {
    std::exit(std::string_view(error.what()).find(width) != std::string_view::npos ? 3 : 4);
  }
  std::exit(cpu::simd_width() == width && y[0] == 32 ? 0 : 1);
}

// The variable is read at the first operation of a process, so these ask in a child.
TEST(DispatchDeathTest, TheEnvironmentForcesTheWidth) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
#if defined(__x86_64__)
  EXPECT_EXIT(product_under("avx2"), testing::ExitedWithCode(0), "");
#endif
  EXPECT_EXIT(product_under("sse9"), testing::ExitedWithCode(3), "");
}

}  // namespace
}  // namespace ds
