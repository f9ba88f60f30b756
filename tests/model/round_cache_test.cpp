// Training with keys and values rounded: what the forward pass computes is what inference computes over a cache of i8.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "model/decoder.h"

namespace ds {

static Model model_of(const char* config) {
  Model model;
  model.config = parse_config(parse_json(config, "config.json"), "config.json");
  model.weights = make_weights(model.config, model.arena);
  initialize(model.config, model.weights, 3);
  return model;
}

static std::vector<float> forward_of(Model& model, const CacheOptions& options, bool round_cache) {
  TokenBatch batch;
  for (int32_t s = 0; s < 2; ++s)
    for (int32_t p = 0; p < 40 - 9 * s; ++p) {
      batch.tokens.push_back((s * 17 + p * p * 3) % 60);
      batch.sequences.push_back(s), batch.positions.push_back(p);
    }
  KvCache cache(model.config, 2, 40, options);
  Activations acts;
  acts.keep_all = options.use == CacheUse::training;
  acts.round_cache = round_cache;
  forward(model.config, model.weights, batch, cache, acts);
  return {acts.final_normed.f32(), acts.final_normed.f32() + acts.final_normed.elements()};
}

TEST(RoundCache, IsTheCacheOfEightBits) {
  Model model = model_of(R"({"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "vocab_size": 60, "hidden_size": 32,
    "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 40,
    "max_position_embeddings": 64, "rope_theta": 10000.0, "rms_norm_eps": 1e-6, "hidden_act": "silu", "tie_word_embeddings": true,
    "initializer_range": 0.2})");
  const auto rounded = forward_of(model, {.use = CacheUse::training}, true);
  EXPECT_EQ(rounded, forward_of(model, {.dtype = DType::i8}, false));
  EXPECT_NE(rounded, forward_of(model, {.use = CacheUse::training}, false));
}

// Latent vectors are what is rounded; inference may sum what it makes of them in another order.
TEST(RoundCache, IsTheLatentCacheOfEightBits) {
  Model model = model_of(R"({"architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3", "vocab_size": 60,
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 2, "num_key_value_heads": 2,
    "q_lora_rank": 16, "kv_lora_rank": 40, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "v_head_dim": 16, "n_routed_experts": 4,
    "n_shared_experts": 1, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1, "moe_intermediate_size": 16,
    "first_k_dense_replace": 3, "norm_topk_prob": true, "scoring_func": "sigmoid", "topk_method": "noaux_tc",
    "routed_scaling_factor": 1.0, "max_position_embeddings": 64, "rope_theta": 10000.0, "rms_norm_eps": 1e-6, "hidden_act": "silu",
    "tie_word_embeddings": false, "initializer_range": 0.2})");
  const auto rounded = forward_of(model, {.use = CacheUse::training}, true), plain = forward_of(model, {.use = CacheUse::training}, false);
  const auto cached = forward_of(model, {.dtype = DType::i8}, false);
  double apart = 0, rounding = 0;
  for (size_t i = 0; i < plain.size(); ++i) {
    apart = std::max(apart, std::fabs(double{rounded[i]} - cached[i]));
    rounding = std::max(rounding, std::fabs(double{rounded[i]} - plain[i]));
  }
  EXPECT_LT(apart, 1e-4);
  EXPECT_GT(rounding, 1e-3);
}

}  // namespace ds
