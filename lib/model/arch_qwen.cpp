// Qwen2 and Qwen3 (arXiv 2407.10671, 2505.09388), dense and with experts: biases in Qwen2, normed heads in Qwen3.
#include "base/error.h"
#include "model/architecture.h"

namespace ds {

static void parse_qwen(const ConfigReader& keys, Config& config) {
  parse_multi_head(keys, config);
  keys.only_flag("use_sliding_window", false);
  config.intermediate_size = keys.size_or("intermediate_size", 0);
  parse_rope(keys, 10000.0, config);
}

static void write_qwen(const Config& config, JsonWriter& json) {
  json.field("head_dim", config.head_dim);
  if (config.intermediate_size) json.field("intermediate_size", config.intermediate_size);
  json.field("use_sliding_window", false).key("sliding_window").null();
}

static void parse_qwen2(const ConfigReader& keys, Config& config) {
  parse_qwen(keys, config);
  require(config.intermediate_size > 0, keys.at("intermediate_size"), " is missing");
  config.qkv_bias = true;
}

static void parse_qwen3_heads(const ConfigReader& keys, Config& config) {
  parse_qwen(keys, config);
  config.qkv_bias = config.o_bias = keys.flag_or("attention_bias", false);
  config.qk_norm = Config::QkNorm::per_head;
}

static void parse_qwen3(const ConfigReader& keys, Config& config) {
  parse_qwen3_heads(keys, config);
  require(config.intermediate_size > 0, keys.at("intermediate_size"), " is missing");
}

static void write_qwen3(const Config& config, JsonWriter& json) {
  write_qwen(config, json);
  json.field("attention_bias", config.qkv_bias);
}

static void parse_qwen3_moe(const ConfigReader& keys, Config& config) {
  parse_qwen3_heads(keys, config);
  config.n_routed_experts = keys.size(keys.find("num_experts") ? "num_experts" : "num_local_experts");
  config.moe_intermediate_size = keys.size("moe_intermediate_size");
  config.router.top_k = static_cast<int>(keys.size("num_experts_per_tok"));
  config.router.norm_topk_prob = keys.flag_or("norm_topk_prob", false);
  require(keys.size_or("decoder_sparse_step", 1) == 1, keys.at("decoder_sparse_step"), " is not 1, which is all that is supported");
  const Json* dense = keys.find("mlp_only_layers");
  require(!dense || dense->items.empty(), keys.at("mlp_only_layers"), " is not empty, which is all that is supported");
}

static void write_qwen3_moe(const Config& config, JsonWriter& json) {
  write_qwen3(config, json);
  json.field("num_experts", config.n_routed_experts).field("moe_intermediate_size", config.moe_intermediate_size);
  json.field("num_experts_per_tok", config.router.top_k).field("norm_topk_prob", config.router.norm_topk_prob);
  json.field("decoder_sparse_step", 1).open('[', "mlp_only_layers").close();
}

const Architecture kQwen2 = {"Qwen2ForCausalLM", "qwen2", parse_qwen2, write_qwen};
const Architecture kQwen3 = {"Qwen3ForCausalLM", "qwen3", parse_qwen3, write_qwen3};
const Architecture kQwen3Moe = {"Qwen3MoeForCausalLM", "qwen3_moe", parse_qwen3_moe, write_qwen3_moe};

}  // namespace ds
