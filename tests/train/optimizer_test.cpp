#include "train/optimizer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/rng.h"
#include "train/step.h"
#include "train/testing.h"

namespace ds {

using testing_train::tiny_model;

TEST(Optimizer, ParametersGoInLockstep) {
  TrainState state = make_state(tiny_model(1));
  size_t named = 0;
  bool router_bias = false;
  for_each_weight(state.model.config, state.model.weights, [&](const WeightInfo& info, Tensor& tensor) {
    if (!info.trained) {
      router_bias = true;
      return;
    }
    const Parameter& p = state.parameters.at(named++);
    EXPECT_EQ(p.name, info.name);
    EXPECT_EQ(p.weight.data, tensor.data);
    EXPECT_EQ(p.decayed, tensor.rank > 1);
    for (const Tensor* t : {&p.gradient, &p.m, &p.v}) {
      EXPECT_EQ(t->elements(), tensor.elements());
      EXPECT_NE(t->data, tensor.data);
    }
  });
  EXPECT_EQ(named, state.parameters.size());
  EXPECT_TRUE(router_bias);
}

// torch.optim.AdamW and clip_grad_norm_, in double, over several steps.
TEST(Optimizer, AdamWAgreesWithTorchsFormula) {
  TrainState state = make_state(tiny_model(2));
  const AdamWSpec base{.learning_rate = 0.01f, .beta1 = 0.9f, .beta2 = 0.95f, .epsilon = 1e-8f, .weight_decay = 0.1f};
  std::vector<std::vector<double>> weights, m, v;
  for (const Parameter& p : state.parameters) {
    weights.emplace_back(p.weight.f32(), p.weight.f32() + p.weight.elements());
    m.emplace_back(weights.back().size()), v.emplace_back(weights.back().size());
  }
  for (int step = 1; step <= 5; ++step) {
    double squares = 0;
    for (size_t i = 0; i < state.parameters.size(); ++i) {
      const Parameter& p = state.parameters[i];
      for (int64_t k = 0; k < p.gradient.elements(); ++k) {
        const bool idle = i % 5 == 4 && step > 2;  // like an expert without tokens
        const auto g = idle ? 0.0f : static_cast<float>(0.2 * Rng{9, i}.normal(static_cast<uint64_t>(step * 100000 + k)));
        p.gradient.f32()[k] = g;
        squares += double{g} * g;
      }
    }
    const double norm = gradient_norm(state.parameters);
    EXPECT_NEAR(norm, std::sqrt(squares), 1e-7 * norm);
    const float coefficient = clip_coefficient(norm, 1.0);
    EXPECT_FLOAT_EQ(coefficient, static_cast<float>(std::min(1.0, 1.0 / (norm + 1e-6))));
    EXPECT_LT(coefficient, 1);
    for (size_t i = 0; i < weights.size(); ++i) {
      const Parameter& p = state.parameters[i];
      const double decay = p.weight.rank > 1 ? 0.1 : 0.0;
      for (size_t k = 0; k < weights[i].size(); ++k) {
        const double g = double{p.gradient.f32()[k]} * coefficient;
        weights[i][k] *= 1 - 0.01 * decay;
        m[i][k] = 0.9 * m[i][k] + 0.1 * g;
        v[i][k] = 0.95 * v[i][k] + 0.05 * g * g;
        const double c1 = 1 - std::pow(0.9, step), c2 = 1 - std::pow(0.95, step);
        weights[i][k] -= 0.01 / c1 * m[i][k] / (std::sqrt(v[i][k]) / std::sqrt(c2) + 1e-8);
      }
    }
    OptimizerSpec spec;
    spec.adamw = base;
    spec.adamw.step = step;
    spec.adamw.grad_scale = coefficient;
    update(state.parameters, spec, state.workspace.scratch);
    for (size_t i = 0; i < weights.size(); ++i) {
      const Parameter& p = state.parameters[i];
      for (size_t k = 0; k < weights[i].size(); ++k) {
        ASSERT_NEAR(p.weight.f32()[k], weights[i][k], 2e-6 * (1 + std::abs(weights[i][k]))) << p.name << " step " << step;
        ASSERT_EQ(p.gradient.f32()[k], 0.0f);
      }
    }
  }
}

namespace {

using Matrix = std::vector<std::vector<double>>;

Matrix matrix_of(const Tensor& t) {
  Matrix m(static_cast<size_t>(t.rows()), std::vector<double>(static_cast<size_t>(t.cols())));
  for (size_t i = 0; i < m.size(); ++i)
    for (size_t k = 0; k < m[i].size(); ++k) m[i][k] = t.f32()[i * m[i].size() + k];
  return m;
}
Matrix product(const Matrix& a, const Matrix& b) {
  Matrix c(a.size(), std::vector<double>(b[0].size()));
  for (size_t i = 0; i < a.size(); ++i)
    for (size_t j = 0; j < b.size(); ++j)
      for (size_t k = 0; k < b[0].size(); ++k) c[i][k] += a[i][j] * b[j][k];
  return c;
}
Matrix transposed(const Matrix& a) {
  Matrix t(a[0].size(), std::vector<double>(a.size()));
  for (size_t i = 0; i < a.size(); ++i)
    for (size_t k = 0; k < a[0].size(); ++k) t[k][i] = a[i][k];
  return t;
}
// zeropower_via_newtonschulz5 of torch.optim.Muon's description, in double.
Matrix newton_schulz(Matrix g) {
  const bool tall = g.size() > g[0].size();
  if (tall) g = transposed(g);
  double squares = 0;
  for (const auto& row : g)
    for (const double x : row) squares += x * x;
  for (auto& row : g)
    for (double& x : row) x /= std::sqrt(squares);
  for (int step = 0; step < 5; ++step) {
    const Matrix a = product(g, transposed(g)), aa = product(a, a);
    Matrix b = a;
    for (size_t i = 0; i < b.size(); ++i)
      for (size_t k = 0; k < b.size(); ++k) b[i][k] = -4.7750 * a[i][k] + 2.0315 * aa[i][k];
    const Matrix bg = product(b, g);
    for (size_t i = 0; i < g.size(); ++i)
      for (size_t k = 0; k < g[0].size(); ++k) g[i][k] = 3.4445 * g[i][k] + bg[i][k];
  }
  return tall ? transposed(g) : g;
}

}  // namespace

TEST(Muon, OrthogonalisesAsTheIterationInDouble) {
  for (const auto& [rows, columns] : {std::pair<int64_t, int64_t>{12, 12}, {8, 30}, {30, 8}}) {
    Arena arena;
    const Tensor g = arena.make(DType::f32, {rows, columns});
    for (int64_t i = 0; i < g.elements(); ++i) g.f32()[i] = static_cast<float>(1e-3 * Rng{4, 4}.normal(static_cast<uint64_t>(i)));
    const Matrix want = newton_schulz(matrix_of(g)), got = matrix_of(orthogonalise(g, arena));
    for (size_t i = 0; i < want.size(); ++i)
      for (size_t k = 0; k < want[0].size(); ++k) EXPECT_NEAR(got[i][k], want[i][k], 2e-4);
    // Rows (or columns) are orthogonal and of length about 1: singular values end in 0.7 to 1.2.
    const Matrix gram = rows <= columns ? product(got, transposed(got)) : product(transposed(got), got);
    for (size_t i = 0; i < gram.size(); ++i) EXPECT_NEAR(gram[i][i], 0.9, 0.6);
  }
}

// Two steps of torch.optim.Muon (Nesterov, lr * sqrt(max(1, rows / columns)), decoupled decay), experts each by itself.
TEST(Muon, StepsAsTorchDoes) {
  TrainState state = make_state(tiny_model(3), {DType::f32, Optimizer::muon});
  const auto named = [&](const std::string& ending) {
    for (const Parameter& p : state.parameters)
      if (p.name.ends_with(ending)) return p;
    throw Error("no " + ending);
  };
  const Parameter down = named("layers.0.mlp.down_proj.weight"), experts = named("layers.1.mlp.experts.{}.up_proj.weight");
  EXPECT_TRUE(down.orthogonalised && experts.orthogonalised);
  EXPECT_FALSE(named("embed_tokens.weight").orthogonalised || named("mlp.gate.weight").orthogonalised || named("norm.weight").orthogonalised);
  EXPECT_FALSE(down.v);
  const std::vector<std::pair<Tensor, Tensor>> matrices = {{down.weight, down.gradient}, {item(experts.weight, 5), item(experts.gradient, 5)}};
  std::vector<Matrix> weights, momenta;
  for (const auto& [w, g] : matrices) weights.push_back(matrix_of(w)), momenta.emplace_back(weights.back().size(), std::vector<double>(weights.back()[0].size()));
  for (int step = 1; step <= 2; ++step) {
    for (size_t i = 0; i < matrices.size(); ++i) {
      const auto& [w, g] = matrices[i];
      for (int64_t k = 0; k < g.elements(); ++k) g.f32()[k] = static_cast<float>(Rng{static_cast<uint64_t>(step), i}.normal(static_cast<uint64_t>(k)));
      Matrix ahead = matrix_of(g);
      for (size_t r = 0; r < ahead.size(); ++r)
        for (size_t c = 0; c < ahead[0].size(); ++c) {
          double& m = momenta[i][r][c];
          m = 0.95 * m + 0.05 * 0.5 * ahead[r][c];
          ahead[r][c] = 0.05 * 0.5 * ahead[r][c] + 0.95 * m;
        }
      const Matrix update = newton_schulz(ahead);
      const double rate = 0.02 * std::sqrt(std::max(1.0, static_cast<double>(w.rows()) / static_cast<double>(w.cols())));
      for (size_t r = 0; r < ahead.size(); ++r)
        for (size_t c = 0; c < ahead[0].size(); ++c) weights[i][r][c] = weights[i][r][c] * (1 - 0.02 * 0.1) - rate * update[r][c];
    }
    OptimizerSpec spec;
    spec.adamw.step = step, spec.adamw.grad_scale = 0.5f;
    update(state.parameters, spec, state.workspace.scratch);
    for (size_t i = 0; i < matrices.size(); ++i) {
      const Matrix now = matrix_of(matrices[i].first);
      for (size_t r = 0; r < now.size(); ++r)
        for (size_t c = 0; c < now[0].size(); ++c) ASSERT_NEAR(now[r][c], weights[i][r][c], 1e-5) << i << " step " << step;
    }
  }
}

TEST(Optimizer, SmallGradientsAreNotScaled) {
  EXPECT_EQ(clip_coefficient(0.5, 1.0), 1.0f);
  EXPECT_EQ(clip_coefficient(1e9, 0.0), 1.0f);
  EXPECT_FLOAT_EQ(clip_coefficient(4.0, 1.0), 0.25f);
}

TEST(Optimizer, RouterBiasMovesAgainstTheLoad) {
  Arena arena;
  const Tensor bias = arena.make(DType::f32, {4});
  update_router_bias(bias, std::vector<int64_t>{10, 0, 5, 5}, 0.25f);
  EXPECT_EQ(std::vector<float>(bias.f32(), bias.f32() + 4), (std::vector<float>{-0.25f, 0.25f, 0, 0}));
  update_router_bias(bias, std::vector<int64_t>{1, 0, 0, 0}, 0.25f);
  EXPECT_EQ(std::vector<float>(bias.f32(), bias.f32() + 4), (std::vector<float>{-0.5f, 0.5f, 0.25f, 0.25f}));
}

}  // namespace ds
