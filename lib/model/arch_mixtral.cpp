// Mixtral (arXiv 2401.04088): experts in every layer, weights normalised over the chosen ones, its own tensor names.
// OLMoE (arXiv 2409.02060): many small experts, queries and keys normed over all heads together.
#include "model/architecture.h"

namespace ds {

constexpr float kDefaultEps = 1e-5f;

static void parse_all_experts(const ConfigReader& keys, const char* experts, Config& config) {
  parse_multi_head(keys, config);
  if (!keys.find("rms_norm_eps")) config.rms_norm_eps = kDefaultEps;
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
  config.sliding_window = keys.size_or("sliding_window", 0);
  parse_rope(keys, 1e6, config);
}

static void write_mixtral(const Config& config, JsonWriter& json) {
  write_all_experts(config, "num_local_experts", json);
  json.key("sliding_window");
  if (config.sliding_window) json.value(config.sliding_window);
  else json.null();
}

static void parse_olmoe(const ConfigReader& keys, Config& config) {
  parse_all_experts(keys, "num_experts", config);
  keys.only_null("clip_qkv");
  config.qkv_bias = config.o_bias = keys.flag_or("attention_bias", false);
  config.qk_norm = Config::QkNorm::full;
  config.router.norm_topk_prob = keys.flag_or("norm_topk_prob", false);
  parse_rope(keys, 10000.0, config);
}

static void write_olmoe(const Config& config, JsonWriter& json) {
  write_all_experts(config, "num_experts", json);
  json.field("attention_bias", config.qkv_bias).field("norm_topk_prob", config.router.norm_topk_prob).key("clip_qkv").null();
}

const Architecture kMixtral = {"MixtralForCausalLM", "mixtral", parse_mixtral, write_mixtral,
                               {"block_sparse_moe.gate.weight", "block_sparse_moe.experts.", "w1", "w3", "w2"}};
const Architecture kOlmoe = {"OlmoeForCausalLM", "olmoe", parse_olmoe, write_olmoe};

}  // namespace ds
