// Models with routers of ours: config.json and weights there and back, and the same bits however the rows are batched.
#include "model/fixture.h"

namespace ds {
namespace {

const std::pair<const char*, std::string> kKinds[] = {
    {"entropy_fallback", tiny_router("entropy_fallback", R"(, "router_entropy_threshold": 0.75)")},
    {"adaptive", tiny_router("adaptive", R"(, "router_temperature": 0.625)")},
    {"three_layer", tiny_router("three_layer", R"(, "n_group": 3, "topk_group": 2)")},
    {"confidence", tiny_router("confidence", R"(, "router_confidence": 0.8, "num_experts_per_tok": 4, "min_experts_per_tok": 1)")},
    {"expert_attention", tiny_router("top_k", R"(, "num_experts_per_tok": 4, "router_expert_attention": true, "n_group": 2)")},
    {"mixtral", tiny_llama(R"(, "architectures": ["DsForCausalLM"], "model_type": "ds", "base_model_type": "mixtral",
       "num_local_experts": 6, "num_experts_per_tok": 2, "router_type": "entropy_fallback", "router_entropy_threshold": 0.75)")},
    {"deepseek_v2", tiny_deepseek(R"(, "architectures": ["DsForCausalLM"], "model_type": "ds", "base_model_type": "deepseek_v2",
       "topk_method": "group_limited_greedy", "norm_topk_prob": false, "router_type": "three_layer", "router_expert_attention": true)")}};

class RouterKind : public testing::TestWithParam<std::pair<const char*, std::string>> {
 protected:
  Config config = tiny(GetParam().second);
  Arena arena;
  Weights weights = make_weights(config, arena);
  RouterKind() {
    initialize(config, weights, 4);
    for (LayerWeights& w : weights.layers) {
      for (int64_t i = 0; w.router_state && i < w.router_state.elements(); ++i) w.router_state.f32()[i] = 0.1f + 0.07f * static_cast<float>(i * i % 5);
      if (w.expert_attention) w.expert_attention.f32()[0] = 0.7f;
    }
  }
};

std::string text_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

TEST_P(RouterKind, comes_back_from_its_folder) {
  Scratch folder;
  save_model(config, weights, folder / "a", DType::f32, {});
  const std::string json = text_of(folder / "a/config.json");
  EXPECT_NE(json.find("\"DsForCausalLM\""), std::string::npos);
  EXPECT_NE(json.find("\"base_model_type\": \"" + config.model_type + "\""), std::string::npos);
  Model model = load_model(folder / "a");
  save_model(model.config, model.weights, folder / "b", DType::f32, {});
  EXPECT_EQ(text_of(folder / "b/config.json"), json);
  EXPECT_EQ(text_of(folder / "b/model.safetensors"), text_of(folder / "a/model.safetensors"));
  const std::string file = text_of(folder / "a/model.safetensors");
  EXPECT_EQ(file.find("mlp.fallback_expert.up_proj.weight") != std::string::npos, config.fallback_experts() == 1);
  EXPECT_EQ(file.find(cat("experts.", config.n_routed_experts, ".")), std::string::npos);  // the fallback has no number
}

// A token's choice and output depend on the token alone: in a batch with others, in pieces, packed weights or rows.
TEST_P(RouterKind, gives_a_row_the_same_bits_in_any_batch) {
  Scratch folder;
  save_model(config, weights, folder / "a", DType::f32, {});
  const Model model = load_model(folder / "a", {.pack = true});
  const std::vector<int32_t> first = tokens_of(40, 1, config.vocab_size), second = tokens_of(23, 2, config.vocab_size);
  const auto run = [&](const Weights& w, const std::vector<TokenBatch>& batches, int32_t sequence) {
    KvCache cache(config, 2, 64);
    std::vector<float> logits;
    for (const TokenBatch& batch : batches) {
      Activations acts;
      const Outputs out = run_batch(config, w, batch, cache, acts);
      for (size_t t = 0; t < batch.tokens.size(); ++t)
        if (batch.sequences[t] == sequence) logits.insert(logits.end(), out.row(t), out.row(t) + out.vocab);
    }
    return logits;
  };
  TokenBatch alone, both;
  append(alone, 0, 0, first);
  append(both, 1, 0, second);
  append(both, 0, 0, first);
  std::vector<TokenBatch> steps;
  for (size_t t = 0; t < first.size(); ++t) append(steps.emplace_back(), 0, static_cast<int32_t>(t), {first[t]});
  const std::vector<float> want = run(weights, {alone}, 0);
  for (const float x : want) ASSERT_TRUE(std::isfinite(x));
  EXPECT_TRUE(run(weights, {both}, 0) == want);
  EXPECT_TRUE(run(model.weights, {both}, 0) == want);
  EXPECT_TRUE(run(model.weights, steps, 0) == want);
}

INSTANTIATE_TEST_SUITE_P(Kinds, RouterKind, testing::ValuesIn(kKinds), [](const auto& info) { return info.param.first; });

TEST(RouterConfig, refuses_what_does_not_fit) {
  const auto has = [&](const std::string& json, const std::string& part) { EXPECT_NE(config_error(json).find(part), std::string::npos) << config_error(json); };
  has(tiny_router("magic", ""), "router_type is \"magic\"");
  has(tiny_router("entropy_fallback", ""), "router_entropy_threshold is missing");
  has(tiny_router("entropy_fallback", R"(, "router_entropy_threshold": 1.5)"), "from 0 to 1");
  has(tiny_router("confidence", R"(, "router_confidence": 0.5, "min_experts_per_tok": 3)"), "min_experts_per_tok is 3");
  has(tiny_router("three_layer", ""), "needs groups");
  has(tiny_router("three_layer", R"(, "n_group": 4)"), "n_group 4");
  has(tiny_router("adaptive", R"(, "router_confidence": 0.5)"), "router_confidence");  // of another kind
  has(tiny_llama(R"(, "architectures": ["Qwen3MoeForCausalLM"], "num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 10,
      "router_type": "adaptive")"), "router_type");
  has(tiny_llama(R"(, "architectures": ["DsForCausalLM"], "model_type": "ds", "base_model_type": "llama", "router_type": "adaptive")"), "no experts");
  has(tiny_deepseek(R"(, "architectures": ["DsForCausalLM"], "model_type": "ds", "base_model_type": "deepseek_v3", "router_type": "adaptive")"), "sigmoid");
}

}  // namespace
}  // namespace ds
