#include "train/initial_config.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "base/error.h"
#include "train/step.h"

namespace ds {

// Each one is a model that can be made, and has a gradient in every weight that is trained.
TEST(InitialConfig, EveryArchitectureTrains) {
  Documents documents(300);
  documents.files = {"d.jsonl"};
  for (int32_t d = 0; d < 4; ++d) {
    std::vector<int32_t> ids(33);
    for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>((d * 31 + i * i * 7) % 300);
    documents.ids.append(ids);
    documents.offsets.push_back(documents.ids.size());
    documents.places.push_back({0, 1});
  }
  const auto batches = make_batches(documents, pack_rows(documents, 32), std::vector<size_t>{0, 1, 2, 3}, 4);
  for (const std::string& name : arch_names()) {
    const std::string text = set_keys(arch_config(name), {"vocab_size=300", "hidden_size=64"}, name);
    Model model;
    model.config = parse_config(parse_json(text, name), name);
    EXPECT_EQ(model.config.model_type, name);
    EXPECT_EQ(model.config.hidden_size, 64);
    model.weights = make_weights(model.config, model.arena);
    initialize(model.config, model.weights, 1);
    TrainState state = make_state(std::move(model));
    const StepResult result = accumulate_gradients(state, batches, {});
    EXPECT_NEAR(result.loss, std::log(300), 0.5) << name;
    for (const Parameter& p : state.parameters) {
      double squares = 0;
      sum_of_squares(p.gradient, &squares);
      EXPECT_GT(squares, 0) << name << " " << p.name;
    }
    // The same to the bit where activations are computed anew.
    Model twin;
    twin.config = state.model.config;
    twin.weights = make_weights(twin.config, twin.arena);
    initialize(twin.config, twin.weights, 1);
    TrainState anew = make_state(std::move(twin), {.recompute = true});
    EXPECT_EQ(accumulate_gradients(anew, batches, {}).expert_load, result.expert_load);
    for (size_t i = 0; i < state.parameters.size(); ++i)
      EXPECT_EQ(std::memcmp(state.parameters[i].gradient.data, anew.parameters[i].gradient.data,
                            static_cast<size_t>(state.parameters[i].gradient.elements()) * sizeof(float)), 0) << name << " " << state.parameters[i].name;
    EXPECT_LT(anew.workspace.activations.arena.bytes_used(), state.workspace.activations.arena.bytes_used() / 3) << name;
  }
  EXPECT_THROW(arch_config("gpt9"), UsageError);
}

TEST(InitialConfig, SetsKeysAsJsonOrText) {
  EXPECT_EQ(set_keys(R"({"a": 1, "b": [2]})", {"a=3", "c=[1, 2]", "d=silu", "e=\"x\"", "a=4"}, "c"),
            R"({"a": 4, "b": [2], "c": [1, 2], "d": "silu", "e": "x"})");
  EXPECT_THROW(set_keys("{}", {"a"}, "c"), UsageError);
  EXPECT_THROW(set_keys("{}", {"=a"}, "c"), UsageError);
}

TEST(InitialConfig, AKeyOfOursMakesTheModelOneOfOurs) {
  for (const std::vector<std::string>& keys : {std::vector<std::string>{"router_type=three_layer", "n_group=4"}, {"attention_pattern=pooled"},
                                               {"model_type=ds", "base_model_type=qwen3_moe", "router_expert_attention=true"}}) {
    const std::string text = set_keys(arch_config("qwen3_moe"), keys, "c");
    EXPECT_NE(text.find(R"("architectures": ["DsForCausalLM"])") == std::string::npos, keys.size() < 3) << text;
    if (keys.size() < 3) EXPECT_EQ(parse_config(parse_json(text, "c"), "c").model_type, "qwen3_moe");
  }
  EXPECT_EQ(set_keys(R"({"model_type": "llama"})", {"rope_theta=2"}, "c"), R"({"model_type": "llama", "rope_theta": 2})");
}

}  // namespace ds
