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
    AdamWSpec spec = base;
    spec.step = step;
    spec.grad_scale = coefficient;
    adamw_step(state.parameters, spec);
    for (size_t i = 0; i < weights.size(); ++i) {
      const Parameter& p = state.parameters[i];
      for (size_t k = 0; k < weights[i].size(); ++k) {
        ASSERT_NEAR(p.weight.f32()[k], weights[i][k], 2e-6 * (1 + std::abs(weights[i][k]))) << p.name << " step " << step;
        ASSERT_EQ(p.gradient.f32()[k], 0.0f);
      }
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
