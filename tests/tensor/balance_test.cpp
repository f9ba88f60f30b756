// The load-balancing loss against its formula, and its gradient against finite differences.
#include <gtest/gtest.h>

#include <cmath>

#include "base/parallel.h"
#include "tensor/gemm_data.h"

namespace ds {
namespace {

constexpr int64_t kRows = 37, kExperts = 8, kTopK = 3;

struct Router {
  std::vector<float> scores = random_values(kRows * kExperts, 21), dscores = std::vector<float>(kRows * kExperts);
  std::vector<int32_t> indices;
  Router() {
    for (float& s : scores) s = 1 / (1 + std::exp(-s));
    const Rng rng{5, 5};
    for (int64_t t = 0; t < kRows; ++t)
      for (int64_t j = 0; j < kTopK; ++j) indices.push_back(static_cast<int32_t>((rng.below(t, 4) + j * 2) % kExperts));
  }
  Tensor chosen() { return make_tensor(indices.data(), DType::i32, {kRows, kTopK}); }
  double loss(float coef) {
    double total = 0;
    balance_loss(view(scores, kRows, kExperts), chosen(), coef, view(dscores, kRows, kExperts), &total);
    return total;
  }
};

TEST(BalanceLoss, IsTheFormula) {
  Router r;
  double want = 0;
  for (int64_t i = 0; i < kExperts; ++i) {
    double count = 0, p = 0;
    for (const int32_t chosen : r.indices) count += chosen == i;
    for (int64_t t = 0; t < kRows; ++t) {
      double sum = 0;
      for (int64_t j = 0; j < kExperts; ++j) sum += r.scores[t * kExperts + j];
      p += r.scores[t * kExperts + i] / sum / kRows;
    }
    want += 0.25 * kExperts * count / (kRows * kTopK) * p;
  }
  EXPECT_NEAR(r.loss(0.25f), want, 1e-9 * want);
}

TEST(BalanceLoss, IsTheCoefficientWhereBalanced) {
  std::vector<float> scores(kExperts * kExperts, 0.5f), dscores(kExperts * kExperts);
  std::vector<int32_t> indices;
  for (int32_t t = 0; t < kExperts; ++t) indices.push_back(t);
  double loss = 1;  // is added to
  balance_loss(view(scores, kExperts, kExperts), make_tensor(indices.data(), DType::i32, {kExperts, 1}), 0.5f,
               view(dscores, kExperts, kExperts), &loss);
  EXPECT_NEAR(loss, 1.5, 1e-12);
}

// The loss is computed in double from f32 scores: with steps of 2^-10, exact in f32, the difference has an error of the
// third derivative's order, 1e-6 of the slope's size.
TEST(BalanceLoss, GradientIsThatOfFiniteDifferences) {
  Router r;
  r.loss(1.0f);
  const std::vector<float> gradient = r.dscores;
  for (size_t i = 0; i < r.scores.size(); ++i) {
    const float at = std::round(r.scores[i] * 0x1p20f) * 0x1p-20f;
    r.scores[i] = at + 0x1p-10f;
    const double above = r.loss(1.0f);
    r.scores[i] = at - 0x1p-10f;
    const double below = r.loss(1.0f);
    r.scores[i] = at;
    EXPECT_NEAR(gradient[i], (above - below) / 0x1p-9, 1e-6) << i;
  }
}

TEST(BalanceLoss, SameBitsForAnyThreads) {
  const size_t before = threads();
  Router one, two;
  set_threads(1);
  const double a = one.loss(0.01f);
  set_threads(2);
  const double b = two.loss(0.01f);
  set_threads(before);
  EXPECT_EQ(a, b);
  EXPECT_EQ(one.dscores, two.dscores);
}

// A slot without an expert, and the fallback expert's, are no choices.
TEST(BalanceLoss, CountsOnlyWhatIsChosenAmongTheExperts) {
  Router some, fewer;
  some.indices.resize(kRows * kTopK);
  std::vector<int32_t> first;
  for (int64_t t = 0; t < kRows; ++t) {
    first.push_back(some.indices[t * kTopK]);
    some.indices[t * kTopK + 1] = -1;
    some.indices[t * kTopK + 2] = kExperts;
  }
  double want = 0;
  balance_loss(view(fewer.scores, kRows, kExperts), make_tensor(first.data(), DType::i32, {kRows, 1}), 0.5f,
               view(fewer.dscores, kRows, kExperts), &want);
  EXPECT_EQ(some.loss(0.5f), want);
  EXPECT_EQ(some.dscores, fewer.dscores);
}

TEST(BalanceLoss, RefusesAnExpertOutside) {
  Router r;
  r.indices[5] = kExperts + 1;  // kExperts itself is the fallback
  EXPECT_THROW(r.loss(1), Error);
}

}  // namespace
}  // namespace ds
