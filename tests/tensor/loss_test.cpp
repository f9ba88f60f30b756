#include "tensor/check.h"

namespace ds {
namespace {

// The sum of weights[t] * loss[t], and the losses themselves.
double reference(const std::vector<double>& x, size_t vocabulary, const Tensor& targets, const std::vector<double>& weights,
                 std::vector<double>* losses = nullptr) {
  double total = 0;
  for (size_t t = 0; t < weights.size(); ++t) {
    double sum = 0, loss = 0;
    if (targets.i32()[t] >= 0) {
      for (size_t i = 0; i < vocabulary; ++i) sum += std::exp(x[t * vocabulary + i]);
      loss = std::log(sum) - x[t * vocabulary + targets.i32()[t]];
    }
    if (losses) losses->push_back(loss);
    total += weights[t] * loss;
  }
  return total;
}

TEST(CrossEntropy, agrees_with_the_reference_and_its_finite_differences) {
  for (const int64_t v : {1, 7, 16, 50, 129}) {
    Arena arena;
    const Tensor x = strided(arena, random_tensor(arena, {6, v}, 1, 3)), w = random_tensor(arena, {6}, 2), loss = random_tensor(arena, {6}, 3);
    const Tensor targets = int_tensor(arena, {0, static_cast<int32_t>(v - 1), -1, static_cast<int32_t>(v / 2), 0, static_cast<int32_t>(v / 3)});
    std::vector<double> want;
    reference(doubles(x), v, targets, doubles(w), &want);
    cross_entropy(x, targets, loss);
    expect_close(loss, want, 1e-6, "loss");
    const Tensor dx = random_tensor(arena, {6, v}, 4);
    cross_entropy_backward(x, targets, w, dx);
    const auto gradient = numeric_gradient([&](const auto& at) { return reference(at, v, targets, doubles(w)); }, doubles(x));
    const auto got = doubles(dx);
    for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], gradient[i], 1e-6) << v << " " << i;
    cross_entropy_backward(x, targets, w, x);  // in place
    EXPECT_EQ(doubles(x), got);
    targets.i32()[4] = static_cast<int32_t>(v);
    EXPECT_THROW(cross_entropy(x, targets, loss), Error);
    EXPECT_THROW(cross_entropy_backward(x, targets, w, dx), Error);
  }
}

TEST(CrossEntropy, great_logits_do_not_overflow_and_nan_shows) {
  Arena arena;
  const Tensor x = arena.make(DType::f32, {3, 20}), targets = int_tensor(arena, {1, 0, 2}), loss = arena.make(DType::f32, {3});
  x.f32()[0] = 1e4f, x.f32()[1] = -1e4f, x.f32()[20] = 3e38f, x.f32()[45] = NAN;
  cross_entropy(x, targets, loss);
  EXPECT_EQ(loss.f32()[0], 2e4f);
  EXPECT_EQ(loss.f32()[1], 0);
  EXPECT_TRUE(std::isnan(loss.f32()[2]));
}

TEST(Argmax, is_the_lowest_index_among_equals) {
  Arena arena;
  const Tensor indices = arena.make(DType::i32, {1});
  for (const int64_t n : {1, 5, 16, 33, 100})
    for (int64_t at = 0; at < n; ++at) {
      const Tensor x = arena.make(DType::f32, {1, n});
      fill(x, -3);
      for (int64_t i = at; i < n; i += 3) x.f32()[i] = -1;
      argmax(x, indices);
      ASSERT_EQ(indices.i32()[0], at) << n;
    }
}

TEST(Loss, same_bytes_and_a_row_alone_is_the_row_in_a_batch) {
  expect_same_bytes([](Arena& arena) {
    const Tensor x = random_tensor(arena, {200, 1003}, 1, 2), w = random_tensor(arena, {200}, 2), loss = arena.make(DType::f32, {200});
    std::vector<int32_t> targets;
    for (int t = 0; t < 200; ++t) targets.push_back(t * 5);
    const Tensor at = int_tensor(arena, targets), best = arena.make(DType::i32, {200}), dx = arena.make(DType::f32, {200, 1003});
    cross_entropy(x, at, loss);
    cross_entropy_backward(x, at, w, dx);
    argmax(x, best);
    const Tensor alone = arena.make(DType::f32, {1});
    cross_entropy(rows(x, 150, 1), rows(at, 150, 1), alone);
    EXPECT_EQ(bytes(alone), bytes(rows(loss, 150, 1)));
    return std::vector<Tensor>{loss, dx, best};
  });
}

}  // namespace
}  // namespace ds
