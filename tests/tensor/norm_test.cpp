#include "tensor/check.h"

namespace ds {

static std::vector<double> reference(const std::vector<double>& x, const std::vector<double>& w, double eps, bool plus_one) {
  std::vector<double> y(x.size());
  const size_t n = w.size();
  for (size_t row = 0; row < x.size(); row += n) {
    double sum = 0;
    for (size_t i = 0; i < n; ++i) sum += x[row + i] * x[row + i];
    const double r = 1 / std::sqrt(sum / static_cast<double>(n) + eps);
    for (size_t i = 0; i < n; ++i) y[row + i] = x[row + i] * r * (w[i] + plus_one);
  }
  return y;
}

struct Case {
  int64_t rows, heads, n;
  bool plus_one, accumulate;
};

class RmsNorm : public testing::TestWithParam<Case> {};

TEST_P(RmsNorm, agrees_with_the_reference_and_its_finite_differences) {
  const auto [t, heads, n, plus_one, accumulate] = GetParam();
  const float eps = 1e-2f;
  Arena arena;
  const Tensor x = strided(arena, random_tensor(arena, {t, heads * n}, 1)), w = random_tensor(arena, {n}, 2);
  const Tensor y = strided(arena, random_tensor(arena, {t, heads * n}, 3)), dy = random_tensor(arena, {t, heads * n}, 4);
  rms_norm(x, w, eps, plus_one, y);
  expect_close(y, reference(doubles(x), doubles(w), eps, plus_one), 1e-6);

  const Tensor dx = random_tensor(arena, {t, heads * n}, 5), dw = random_tensor(arena, {n}, 6);
  auto want_dx = numeric_gradient([&](const auto& v) { return dot(doubles(dy), reference(v, doubles(w), eps, plus_one)); }, doubles(x));
  auto want_dw = numeric_gradient([&](const auto& v) { return dot(doubles(dy), reference(doubles(x), v, eps, plus_one)); }, doubles(w));
  for (size_t i = 0; accumulate && i < want_dx.size(); ++i) want_dx[i] += dx.f32()[i];
  for (size_t i = 0; i < want_dw.size(); ++i) want_dw[i] += dw.f32()[i];
  rms_norm_backward(dy, x, w, eps, plus_one, dx, dw, accumulate);
  expect_close(dx, want_dx, 3e-6, "dx");
  expect_close(dw, want_dw, 3e-6, "dw");
}

INSTANTIATE_TEST_SUITE_P(Shapes, RmsNorm,
                         testing::Values(Case{3, 1, 64, false, false}, Case{5, 1, 37, true, true}, Case{2, 4, 16, false, true},
                                         Case{70, 3, 5, true, false}, Case{1, 1, 1, false, false}));

TEST(RmsNorm, a_row_alone_is_the_row_in_a_batch_and_bytes_are_the_same_everywhere) {
  const auto run = [](Arena& arena) {
    const Tensor x = random_tensor(arena, {517, 200}, 1), w = random_tensor(arena, {100}, 2), dy = random_tensor(arena, {517, 200}, 3);
    const Tensor y = arena.make(DType::f32, {517, 200}), dx = arena.make(DType::f32, {517, 200}), dw = arena.make(DType::f32, {100});
    rms_norm(x, w, 1e-6f, false, y);
    rms_norm_backward(dy, x, w, 1e-6f, false, dx, dw, false);
    const Tensor alone = arena.make(DType::f32, {1, 200});
    rms_norm(rows(x, 333, 1), w, 1e-6f, false, alone);
    EXPECT_EQ(bytes(alone), bytes(rows(y, 333, 1)));
    return std::vector<Tensor>{y, dx, dw};
  };
  expect_same_bytes(run);
}

static std::vector<double> layer_reference(const std::vector<double>& x, const std::vector<double>& w, const std::vector<double>& b, double eps) {
  std::vector<double> y(x.size());
  const size_t n = w.size();
  for (size_t row = 0; row < x.size(); row += n) {
    double mean = 0, variance = 0;
    for (size_t i = 0; i < n; ++i) mean += x[row + i] / static_cast<double>(n);
    for (size_t i = 0; i < n; ++i) variance += (x[row + i] - mean) * (x[row + i] - mean) / static_cast<double>(n);
    for (size_t i = 0; i < n; ++i) y[row + i] = (x[row + i] - mean) / std::sqrt(variance + eps) * w[i] + b[i];
  }
  return y;
}

struct LayerCase {
  int64_t rows, n;
  bool accumulate;
};
class LayerNorm : public testing::TestWithParam<LayerCase> {};

TEST_P(LayerNorm, agrees_with_the_reference_and_its_finite_differences) {
  const auto [t, n, accumulate] = GetParam();
  const float eps = 1e-2f;
  Arena arena;
  const Tensor x = strided(arena, random_tensor(arena, {t, n}, 1)), w = random_tensor(arena, {n}, 2), b = random_tensor(arena, {n}, 7);
  for (int64_t r = 0; r < t; ++r)
    for (int64_t i = 0; i < n; ++i) x.f32()[r * x.row_stride + i] += 3;  // a mean that matters
  const Tensor y = strided(arena, random_tensor(arena, {t, n}, 3)), dy = random_tensor(arena, {t, n}, 4);
  layer_norm(x, w, b, eps, y);
  expect_close(y, layer_reference(doubles(x), doubles(w), doubles(b), eps), 2e-6);

  const Tensor dx = random_tensor(arena, {t, n}, 5), dw = random_tensor(arena, {n}, 6), db = random_tensor(arena, {n}, 8);
  const auto loss = [&](const auto& xs, const auto& ws, const auto& bs) { return dot(doubles(dy), layer_reference(xs, ws, bs, eps)); };
  auto want_dx = numeric_gradient([&](const auto& v) { return loss(v, doubles(w), doubles(b)); }, doubles(x));
  auto want_dw = numeric_gradient([&](const auto& v) { return loss(doubles(x), v, doubles(b)); }, doubles(w));
  auto want_db = numeric_gradient([&](const auto& v) { return loss(doubles(x), doubles(w), v); }, doubles(b));
  for (size_t i = 0; accumulate && i < want_dx.size(); ++i) want_dx[i] += dx.f32()[i];
  for (size_t i = 0; i < want_dw.size(); ++i) want_dw[i] += dw.f32()[i], want_db[i] += db.f32()[i];
  layer_norm_backward(dy, x, w, eps, dx, dw, db, accumulate);
  expect_close(dx, want_dx, 5e-6, "dx");
  expect_close(dw, want_dw, 5e-6, "dw");
  expect_close(db, want_db, 5e-6, "db");
}

INSTANTIATE_TEST_SUITE_P(Shapes, LayerNorm, testing::Values(LayerCase{3, 64, false}, LayerCase{5, 37, true}, LayerCase{70, 5, true}, LayerCase{2, 3, false}));

TEST(LayerNorm, a_row_alone_is_the_row_in_a_batch_and_bytes_are_the_same_everywhere) {
  expect_same_bytes([](Arena& arena) {
    const Tensor x = random_tensor(arena, {517, 100}, 1), w = random_tensor(arena, {100}, 2), b = random_tensor(arena, {100}, 3);
    const Tensor dy = random_tensor(arena, {517, 100}, 4), y = arena.make(DType::f32, {517, 100}), dx = arena.make(DType::f32, {517, 100});
    const Tensor dw = arena.make(DType::f32, {100}), db = arena.make(DType::f32, {100}), alone = arena.make(DType::f32, {1, 100});
    layer_norm(x, w, b, 1e-5f, y);
    layer_norm_backward(dy, x, w, 1e-5f, dx, dw, db, false);
    layer_norm(rows(x, 333, 1), w, b, 1e-5f, alone);
    EXPECT_EQ(bytes(alone), bytes(rows(y, 333, 1)));
    return std::vector<Tensor>{y, dx, dw, db};
  });
}

TEST(LayerNorm, refuses_shapes_that_do_not_fit) {
  Arena arena;
  const Tensor x = random_tensor(arena, {3, 8}, 1), y = random_tensor(arena, {3, 8}, 1), w = random_tensor(arena, {8}, 1);
  EXPECT_THROW(layer_norm(x, random_tensor(arena, {4}, 1), w, 1e-5f, y), Error);
  EXPECT_THROW(layer_norm(x, w, random_tensor(arena, {4}, 1), 1e-5f, y), Error);
  EXPECT_THROW(layer_norm(x, w, w, 1e-5f, random_tensor(arena, {3, 4}, 1)), Error);
}

TEST(RmsNorm, refuses_shapes_that_do_not_fit) {
  Arena arena;
  const Tensor x = random_tensor(arena, {3, 8}, 1), y = random_tensor(arena, {3, 8}, 1);
  EXPECT_THROW(rms_norm(x, random_tensor(arena, {3}, 1), 1e-6f, false, y), Error);
  EXPECT_THROW(rms_norm(x, random_tensor(arena, {8}, 1), 1e-6f, false, random_tensor(arena, {3, 4}, 1)), Error);
}

}  // namespace ds
