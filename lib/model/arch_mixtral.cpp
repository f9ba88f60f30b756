// Mixtral (arXiv 2401.04088): experts in every layer, weights normalised over the chosen ones, its own tensor names.
// OLMoE (arXiv 2409.02060): many small experts, queries and keys normed over all heads together.
#include "model/architecture.h"

namespace ds {

static void parse_all_experts(const ConfigReader& keys, const char* experts, Config& config) {
  parse_multi_head(keys, config);
  config.n_routed_experts = keys.size(experts);
  config.moe_intermediate_size = keys.size("intermediate_size");
  config.router.top_k = static_cast<int>(keys.size("num_experts_per_tok"));
}

static void write_all_experts(const Config& config, const char* experts, JsonWriter& json) {
  json.field("head_dim", config.head_dim).field("intermediate_size", config.moe_intermediate_size);
  json.field(experts, config.n_routed_experts).field("num_experts_per_tok", config.router.top_k);
}

static void parse_mixtral(const ConfigReader& keys, Config& config) {
  parse_all_experts(keys, "num_local_experts", config);
  config.router.norm_topk_prob = true;
  config.sliding_window = keys.count_or("sliding_window", 0);
  parse_rope(keys, config);
}

static void write_mixtral(const Config& config, JsonWriter& json) {
  write_all_experts(config, "num_local_experts", json);
  write_size_or_null(json, "sliding_window", config.sliding_window);
}

static void parse_olmoe(const ConfigReader& keys, Config& config) {
  parse_all_experts(keys, "num_experts", config);
  config.clip_qkv = static_cast<float>(keys.positive_or("clip_qkv", 0));
  config.qkv_bias = config.o_bias = keys.flag_or("attention_bias", false);
  config.qk_norm = Config::QkNorm::full;
  config.router.norm_topk_prob = keys.flag_or("norm_topk_prob", false);
  parse_rope(keys, config);
}

static void write_olmoe(const Config& config, JsonWriter& json) {
  write_all_experts(config, "num_experts", json);
  json.field("attention_bias", config.qkv_bias).field("norm_topk_prob", config.router.norm_topk_prob);
  write_real_or_null(json, "clip_qkv", config.clip_qkv);
}

const Architecture kMixtral = {"MixtralForCausalLM", "mixtral", parse_mixtral, write_mixtral,
                               {"block_sparse_moe.gate.weight", "block_sparse_moe.experts.", "w1", "w3", "w2"},
                               {.max_position_embeddings = 131072, .rms_norm_eps = 1e-5f, .rope_theta = 1e6}};
const Architecture kOlmoe = {"OlmoeForCausalLM", "olmoe", parse_olmoe, write_olmoe, {},
                             {.max_position_embeddings = 4096, .rms_norm_eps = 1e-5f}};

}  // namespace ds
