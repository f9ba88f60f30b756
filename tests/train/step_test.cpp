#include "train/step.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/parallel.h"
#include "train/testing.h"

namespace ds {

using testing_train::tiny_model;

namespace {

struct Fixture {
  Documents documents{48};
  PackedRows packed;
  std::vector<size_t> rows;
  explicit Fixture(bool weighted) {
    documents.files = {"d.jsonl"};
    const Rng rng{11, 0};
    uint64_t at = 0;
    for (int d = 0; d < 9; ++d) {
      std::vector<int32_t> ids(3 + rng.below(at++, 20));
      for (auto& id : ids) id = static_cast<int32_t>(rng.below(at++, 48));
      documents.ids.append(ids);
      documents.offsets.push_back(documents.ids.size());
      documents.places.push_back({0, static_cast<uint64_t>(d) + 1});
      if (weighted) documents.weights.push_back(0.5f + static_cast<float>(d % 3));
    }
    packed = pack_rows(documents, 24);
    rows.resize(packed.count());
    std::iota(rows.begin(), rows.end(), size_t{0});
  }
  std::vector<TrainingBatch> batches(int64_t micro) const { return make_batches(documents, packed, rows, micro); }
};

std::vector<float> gradients(const TrainState& state) {
  std::vector<float> all;
  for (const Parameter& p : state.parameters) all.insert(all.end(), p.gradient.f32(), p.gradient.f32() + p.gradient.elements());
  return all;
}

StepSpec spec_of(AuxLoss aux = {}, double rate = 0) {
  StepSpec spec;
  spec.aux = aux, spec.router_bias_update_rate = rate;
  return spec;
}

StepResult train_step(TrainState& state, const std::vector<TrainingBatch>& batches, const StepSpec& spec) {
  StepResult result = accumulate_gradients(state, batches, spec);
  apply_step(state, spec, result);
  return result;
}

// sum(w * loss) / sum(w), straight from the logits in double, document piece by document piece.
double weighted_loss(Model& model, const Fixture& f) {
  double sum = 0, total = 0;
  for (const size_t r : f.rows) {
    for (const Piece& piece : f.packed.row(r)) {
      TokenBatch batch;
      for (int32_t i = 0; i < piece.length; ++i) {
        batch.tokens.push_back(f.documents.ids[piece.begin + static_cast<size_t>(i)]);
        batch.sequences.push_back(0), batch.positions.push_back(i);
      }
      KvCache cache(model.config, 1, piece.length);
      Activations acts;
      forward(model.config, model.weights, batch, cache, acts);
      Arena arena;
      const Tensor logits = arena.make(DType::f32, {piece.length, model.config.vocab_size});
      head(model.config, model.weights, acts.final_normed, logits);
      for (int32_t i = 0; i < piece.length; ++i) {
        const float* row = logits.f32() + i * model.config.vocab_size;
        double z = 0;
        for (int64_t j = 0; j < model.config.vocab_size; ++j) z += std::exp(double{row[j]});
        const double w = f.documents.weights.empty() ? 1 : f.documents.weights[piece.document];
        sum += w * (std::log(z) - row[f.documents.ids[piece.begin + static_cast<size_t>(i) + 1]]);
        total += w;
      }
    }
  }
  return sum / total;
}

}  // namespace

TEST(Step, LossIsTheMeanOverTokensAndCountsThem) {
  const Fixture f(false);
  TrainState state = make_state(tiny_model(3));
  const double expected = weighted_loss(state.model, f);
  const StepResult result = accumulate_gradients(state, f.batches(2), spec_of());
  EXPECT_NEAR(result.loss, expected, 1e-6 * expected);
  EXPECT_EQ(result.tokens, f.packed.targets);
  ASSERT_EQ(result.expert_load.size(), 1u);
  EXPECT_EQ(std::accumulate(result.expert_load[0].begin(), result.expert_load[0].end(), int64_t{0}),
            static_cast<int64_t>(2 * result.tokens));
}

// The whole chain, data to gradient: along the gradient itself the loss must change by its squared norm.
TEST(Step, GradientIsThatOfTheWeightedMeanLoss) {
  const Fixture f(true);
  TrainState state = make_state(tiny_model(4));
  // The choice of experts is a jump, which has no derivative: hold it.
  for (int e = 0; e < 8; ++e) state.model.weights.layers[1].router_bias.f32()[e] = static_cast<float>(e * 3 % 8);
  accumulate_gradients(state, f.batches(2), spec_of());
  double squares = 0;
  for (const float g : gradients(state)) squares += double{g} * g;
  const double h = 5e-4 / std::sqrt(squares);
  const auto shift = [&](double by) {
    for (const Parameter& p : state.parameters) {
      for (int64_t k = 0; k < p.weight.elements(); ++k) p.weight.f32()[k] += static_cast<float>(by * p.gradient.f32()[k]);
    }
  };
  shift(h);
  const double above = weighted_loss(state.model, f);
  shift(-2 * h);
  const double below = weighted_loss(state.model, f);
  EXPECT_NEAR((above - below) / (2 * h), squares, 0.01 * squares);
}

TEST(Step, MicroBatchesChangeOnlyRounding) {
  const Fixture f(true);
  std::vector<std::vector<float>> all;
  for (const int64_t micro : {1, 2, 100}) {
    TrainState state = make_state(tiny_model(5));
    accumulate_gradients(state, f.batches(micro), spec_of());
    all.push_back(gradients(state));
  }
  double squares = 0, difference = 0;
  for (size_t k = 0; k < all[0].size(); ++k) {
    squares += double{all[0][k]} * all[0][k];
    for (const size_t other : {1, 2}) difference += std::pow(double{all[other][k]} - all[0][k], 2);
  }
  EXPECT_LT(std::sqrt(difference), 1e-5 * std::sqrt(squares));
}

TEST(Step, SameBytesForAnyNumberOfThreads) {
  const Fixture f(false);
  const size_t before = threads();
  std::vector<std::vector<float>> all;
  for (const size_t count : {1, 2, 5}) {
    set_threads(count);
    TrainState state = make_state(tiny_model(6));
    for (int step = 1; step <= 3; ++step) {
      StepSpec spec = spec_of({0.01f, 0.01f}, 1e-2);
      train_step(state, f.batches(3), spec);
    }
    std::vector<float> weights;
    for (const Parameter& p : state.parameters) weights.insert(weights.end(), p.weight.f32(), p.weight.f32() + p.weight.elements());
    all.push_back(weights);
  }
  set_threads(before);
  EXPECT_EQ(all[0], all[1]);
  EXPECT_EQ(all[0], all[2]);
}

TEST(Step, LearnsAndBalances) {
  const Fixture f(false);
  TrainState state = make_state(tiny_model(7));
  double first = 0, last = 0;
  for (int step = 1; step <= 60; ++step) {
    StepSpec spec = spec_of({}, 0.01);
    spec.learning_rate = 0.01;
    const StepResult result = train_step(state, f.batches(8), spec);
    (step == 1 ? first : last) = result.loss;
  }
  EXPECT_GT(first, 3.5);
  EXPECT_LT(last, 0.5 * first);
  const Tensor& bias = state.model.weights.layers[1].router_bias;
  EXPECT_TRUE(std::any_of(bias.f32(), bias.f32() + 8, [](float b) { return b != 0; }));
}

TEST(Step, LossThatIsNotFiniteIsNotSound) {
  const Fixture f(false);
  TrainState state = make_state(tiny_model(8));
  state.model.weights.lm_head.f32()[0] = INFINITY;
  StepResult result = accumulate_gradients(state, f.batches(8), {});
  EXPECT_FALSE(is_sound(state, result));
  EXPECT_THROW(apply_step(state, {}, result), Error);
}

TEST(Step, EveryOptimizerLearnsInEveryFormat) {
  const Fixture f(false);
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
    for (const Optimizer optimizer : {Optimizer::adamw, Optimizer::adamw8, Optimizer::muon}) {
      TrainState state = make_state(tiny_model(7), {dtype, optimizer});
      double first = 0, last = 0;
      for (int step = 1; step <= 60; ++step) {
        StepSpec spec = spec_of({}, 0.01);
        spec.learning_rate = 0.01, spec.muon_learning_rate = 0.02;
        const StepResult result = train_step(state, f.batches(8), spec);
        (step == 1 ? first : last) = result.loss;
      }
      EXPECT_GT(first, 3.5);
      EXPECT_LT(last, 0.5 * first) << dtype_name(dtype) << " " << static_cast<int>(optimizer);
    }
  }
}

// What the model computes with is the master rounded, after any number of steps.
TEST(Step, SixteenBitWeightsAreTheMastersRounded) {
  const Fixture f(false);
  TrainState state = make_state(tiny_model(9), {DType::bf16, Optimizer::adamw});
  for (int step = 0; step < 3; ++step) train_step(state, f.batches(8), spec_of());
  size_t rounded = 0;
  for (const Parameter& p : state.parameters) {
    if (p.weight.data == p.master.data) continue;
    ++rounded;
    ASSERT_EQ(p.weight.dtype, DType::bf16);
    for (int64_t k = 0; k < p.weight.elements(); ++k) ASSERT_EQ(p.weight.as<uint16_t>()[k], f32_to_bf16(p.master.f32()[k])) << p.name;
  }
  EXPECT_GT(rounded, 10u);
}

TEST(Step, LossScaleHalvesOnOverflowAndDoublesWhenClean) {
  const Fixture f(false);
  TrainState state = make_state(tiny_model(8), {DType::f16, Optimizer::adamw});
  EXPECT_EQ(state.loss_scale.scale, 65536);
  const TrainState plain = make_state(tiny_model(8), {DType::f16, Optimizer::adamw});
  StepResult result = accumulate_gradients(state, f.batches(8), {});
  for (const Parameter& p : state.parameters) fill(p.gradient, 0);
  state.parameters[2].gradient.f32()[1] = INFINITY;
  result.gradient_norm = gradient_norm(state.parameters);
  EXPECT_TRUE(is_sound(state, result));
  apply_step(state, {}, result);
  EXPECT_TRUE(result.skipped);
  EXPECT_EQ(state.loss_scale.scale, 32768);
  EXPECT_EQ(state.loss_scale.skipped, 1);
  EXPECT_EQ(state.step, 1);
  for (size_t i = 0; i < state.parameters.size(); ++i) {
    EXPECT_EQ(state.parameters[i].master.f32()[0], plain.parameters[i].master.f32()[0]);
    EXPECT_EQ(state.parameters[i].gradient.f32()[1], 0);
  }
  state.loss_scale.clean_steps = LossScale::kGrowAfter - 1;
  EXPECT_FALSE(train_step(state, f.batches(8), spec_of()).skipped);
  EXPECT_EQ(state.loss_scale.scale, 65536);
  EXPECT_EQ(state.loss_scale.clean_steps, 0);
}

// The scale is a power of two, so it changes no bit of a weight's gradient that neither overflows nor vanishes.
TEST(Step, LossScaleChangesNoUpdate) {
  const Fixture f(false);
  std::vector<std::vector<float>> all;
  for (const double scale : {1.0, 1024.0}) {
    TrainState state = make_state(tiny_model(5));
    state.loss_scale.scale = scale;
    StepSpec spec = spec_of({0.01f, 0.01f});
    train_step(state, f.batches(4), spec);
    std::vector<float> weights;
    for (const Parameter& p : state.parameters) weights.insert(weights.end(), p.weight.f32(), p.weight.f32() + p.weight.elements());
    all.push_back(weights);
  }
  double difference = 0, squares = 0;
  for (size_t i = 0; i < all[0].size(); ++i) difference += std::pow(all[0][i] - all[1][i], 2), squares += std::pow(all[0][i], 2);
  EXPECT_LT(std::sqrt(difference), 1e-6 * std::sqrt(squares));
}

// With the seed held, dropout leaves a function like any other: along its gradient the loss changes by the squared norm.
TEST(Step, DropoutHasItsGradient) {
  const Fixture f(false);
  TrainState state = make_state(tiny_model(4));
  for (int e = 0; e < 8; ++e) state.model.weights.layers[1].router_bias.f32()[e] = static_cast<float>(e * 3 % 8);
  StepSpec spec = spec_of();
  spec.dropout = 0.3f, spec.seed = 5;
  const double plain = accumulate_gradients(state, f.batches(2), spec_of()).loss;
  for (const Parameter& p : state.parameters) fill(p.gradient, 0);
  EXPECT_NE(accumulate_gradients(state, f.batches(2), spec).loss, plain);
  std::vector<std::vector<float>> slope;
  double squares = 0;
  for (const Parameter& p : state.parameters) {
    slope.emplace_back(p.gradient.f32(), p.gradient.f32() + p.gradient.elements());
    for (const float g : slope.back()) squares += double{g} * g;
  }
  const double h = 5e-4 / std::sqrt(squares);
  const auto loss_at = [&](double by) {
    for (size_t i = 0; i < slope.size(); ++i)
      for (size_t k = 0; k < slope[i].size(); ++k) state.parameters[i].weight.f32()[k] += static_cast<float>(by * slope[i][k]);
    return accumulate_gradients(state, f.batches(2), spec).loss;
  };
  const double above = loss_at(h), below = loss_at(-2 * h);
  EXPECT_NEAR((above - below) / (2 * h), squares, 0.01 * squares);
}

// The same rows fall whether a batch is computed at once or in parts, anew or not, and others at the next step.
TEST(Step, DropoutIsDecidedByPlaceAndStep) {
  const Fixture f(false);
  StepSpec spec = spec_of();
  spec.dropout = 0.2f, spec.seed = 5;
  std::vector<double> losses;
  for (const int64_t micro : {1, 3, 100})
    for (const bool recompute : {false, true}) {
      TrainState state = make_state(tiny_model(4), {.recompute = recompute});
      losses.push_back(accumulate_gradients(state, f.batches(micro), spec).loss);
      EXPECT_NEAR(losses.back(), losses[0], 1e-6);
    }
  TrainState later = make_state(tiny_model(4));
  later.step = 1;
  EXPECT_GT(std::fabs(accumulate_gradients(later, f.batches(3), spec).loss - losses[0]), 1e-4);
}

// A Qwen3-MoE with a router of ours: 6 experts in each of 2 layers.
static Model router_model(const std::string& kind, const std::string& more) {
  const std::string json = R"({"architectures": ["DsForCausalLM"], "model_type": "ds", "base_model_type": "qwen3_moe", "vocab_size": 48,
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 8, "num_experts": 6,
    "num_experts_per_tok": 2, "moe_intermediate_size": 8, "max_position_embeddings": 64, "initializer_range": 0.1, "router_type": ")" +
                           kind + "\"" + more + "}";
  Model model;
  model.config = parse_config(parse_json(json, "config.json"), "config.json");
  model.weights = make_weights(model.config, model.arena);
  initialize(model.config, model.weights, 3);
  return model;
}

TEST(Step, AnAdaptiveRouterCoolsAndRemembersItsLoad) {
  const Fixture f(false);
  TrainState state = make_state(router_model("adaptive", ""));
  StepSpec spec = spec_of();
  spec.router_temperature = 1.75, spec.router_load_decay = 0.75;
  const StepResult result = train_step(state, f.batches(2), spec);
  EXPECT_EQ(state.model.config.router.temperature, 1.75f);
  for (size_t layer = 0; layer < 2; ++layer) {
    const std::vector<int64_t>& load = result.expert_load[layer];
    const auto total = static_cast<double>(std::accumulate(load.begin(), load.end(), int64_t{0}));
    EXPECT_EQ(total, 2.0 * static_cast<double>(result.tokens));
    for (size_t e = 0; e < 6; ++e)
      EXPECT_NEAR(state.model.weights.layers[layer].router_state.f32()[e], 0.75 / 6 + 0.25 * static_cast<double>(load[e]) / total, 1e-7);
  }
}

TEST(Step, ARouterInThreeLayersLearnsFromItsLoad) {
  const Fixture f(false);
  TrainState state = make_state(router_model("three_layer", R"(, "n_group": 3, "topk_group": 2)"));
  StepSpec spec = spec_of();
  spec.router_feedback_rate = 0.5;
  const StepResult result = train_step(state, f.batches(2), spec);
  const std::vector<int64_t>& load = result.expert_load[1];
  const double mean = 2.0 * static_cast<double>(result.tokens) / 6;
  for (size_t e = 0; e < 6; ++e)
    EXPECT_NEAR(state.model.weights.layers[1].router_state.f32()[e], std::clamp(std::exp(0.5 * (mean - static_cast<double>(load[e])) / mean), 0.1, 10.0), 1e-6);
}

TEST(Step, ReportsWhatTheRoutersDo) {
  const Fixture f(false);
  TrainState all = make_state(router_model("entropy_fallback", R"(, "router_entropy_threshold": 0.0)"));
  StepResult result = train_step(all, f.batches(3), spec_of());
  EXPECT_EQ(result.fallback_load, 2 * result.tokens);
  EXPECT_EQ(std::accumulate(result.expert_load[0].begin(), result.expert_load[0].end(), int64_t{0}), 0);
  EXPECT_GT(result.router_entropy, 0.5);
  EXPECT_LE(result.router_entropy, 1.0);
  TrainState none = make_state(router_model("entropy_fallback", R"(, "router_entropy_threshold": 1.0)"));
  result = train_step(none, f.batches(3), spec_of());
  EXPECT_EQ(result.fallback_load, 0u);
}

// A z-loss is no part of the loss, adds to aux_loss what its coefficient says, and is dealt to micro-batches.
TEST(Step, TheZLossIsOfTheWholeBatch) {
  const Fixture f(false);
  std::vector<double> all;
  for (const int64_t micro : {1, 100}) {
    TrainState state = make_state(router_model("three_layer", R"(, "n_group": 3)"));
    all.push_back(accumulate_gradients(state, f.batches(micro), spec_of({0, 0, 0.5f})).aux_loss);
  }
  // Two layers and two gates each, of small logits: about the squares of ln 6 and ln 3.
  EXPECT_NEAR(all[0], 0.5 * 2 * (std::pow(std::log(6.0), 2) + std::pow(std::log(3.0), 2)), 1.0);
  EXPECT_NEAR(all[0], all[1], 1e-5);
}

}  // namespace ds
