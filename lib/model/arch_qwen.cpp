// Qwen2 and Qwen3 (arXiv 2407.10671, 2505.09388), dense and with experts: biases in Qwen2, normed heads in Qwen3.
#include "base/error.h"
#include "model/architecture.h"

namespace ds {

static void parse_qwen(const ConfigReader& keys, Config& config) {
  parse_multi_head(keys, config);
  const int64_t window = keys.count_or("sliding_window", 4096);
  if (keys.flag_or("use_sliding_window", false)) config.sliding_window = window;
  parse_rope(keys, config);
}

static void write_qwen(const Config& config, JsonWriter& json) {
  json.field("head_dim", config.head_dim);
  json.field("use_sliding_window", config.sliding_window > 0);
  write_size_or_null(json, "sliding_window", config.sliding_window);
}

static void parse_qwen_dense(const ConfigReader& keys, Config& config) {
  parse_qwen(keys, config);
  config.intermediate_size = keys.size("intermediate_size");
  const int64_t first = keys.count_or("max_window_layers", 28);
  const bool slides = config.sliding_window > 0;
  parse_layer_types(
      keys, [&](int64_t layer) { return slides && layer >= first ? LayerType::sliding_attention : LayerType::full_attention; }, config);
}

static void write_qwen_dense(const Config& config, JsonWriter& json) {
  write_qwen(config, json);
  json.field("intermediate_size", config.intermediate_size);
  // The greatest number that agrees with layer_types, for readers that know only this key.
  int64_t first = config.num_hidden_layers;
  for (int64_t i = config.num_hidden_layers - 1; i >= 0; --i)
    if (config.is_sliding(i)) first = i;
  json.field("max_window_layers", first);
  write_layer_types(config, json);
}

static void parse_qwen2(const ConfigReader& keys, Config& config) {
  parse_qwen_dense(keys, config);
  config.qkv_bias = true;
}

static void parse_qwen3_heads(const ConfigReader& keys, Config& config) {
  config.qkv_bias = config.o_bias = keys.flag_or("attention_bias", false);
  config.qk_norm = Config::QkNorm::per_head;
}

static void parse_qwen3(const ConfigReader& keys, Config& config) {
  parse_qwen_dense(keys, config);
  parse_qwen3_heads(keys, config);
}

static void write_qwen3(const Config& config, JsonWriter& json) {
  write_qwen_dense(config, json);
  json.field("attention_bias", config.qkv_bias);
}

static void parse_qwen3_moe(const ConfigReader& keys, Config& config) {
  parse_qwen(keys, config);
  parse_qwen3_heads(keys, config);
  config.intermediate_size = keys.size_or("intermediate_size", 0);
  config.n_routed_experts = keys.size(keys.find("num_experts") ? "num_experts" : "num_local_experts");
  keys.ignore("num_local_experts");
  keys.ignore("max_window_layers");  // of the dense ones only
  keys.only_flag("use_qk_norm", true);
  config.moe_intermediate_size = keys.size("moe_intermediate_size");
  config.router.top_k = static_cast<int>(keys.size("num_experts_per_tok"));
  config.router.norm_topk_prob = keys.flag_or("norm_topk_prob", false);
  config.decoder_sparse_step = keys.size_or("decoder_sparse_step", 1);
  if (const Json* dense = keys.find("mlp_only_layers")) {
    require(dense->type == Json::Type::array && dense->items.size() <= static_cast<size_t>(config.num_hidden_layers),
            keys.at("mlp_only_layers"), " has to be a list of at most num_hidden_layers numbers");
    for (const Json& layer : dense->items) {
      const int64_t index = layer.as_int(keys.at("mlp_only_layers"));
      require(index >= 0 && index < config.num_hidden_layers, keys.at("mlp_only_layers"), " has ", index, ", and there are ",
              config.num_hidden_layers, " layers");
      config.mlp_only_layers.push_back(index);
    }
  }
  for (int64_t i = 0; i < config.num_hidden_layers; ++i)
    require(config.is_moe(i) || config.intermediate_size > 0, keys.at("intermediate_size"), " is missing, and layer ", i, " is dense");
}

static void write_qwen3_moe(const Config& config, JsonWriter& json) {
  write_qwen(config, json);
  json.field("attention_bias", config.qkv_bias);
  if (config.intermediate_size) json.field("intermediate_size", config.intermediate_size);
  json.field("num_experts", config.n_routed_experts).field("moe_intermediate_size", config.moe_intermediate_size);
  json.field("num_experts_per_tok", config.router.top_k).field("norm_topk_prob", config.router.norm_topk_prob);
  json.field("decoder_sparse_step", config.decoder_sparse_step).open('[', "mlp_only_layers");
  for (const int64_t layer : config.mlp_only_layers) json.value(layer);
  json.close();
}

constexpr Defaults kQwenDefaults = {.max_position_embeddings = 32768};
constexpr Defaults kQwen3Defaults = {.head_dim = 128, .max_position_embeddings = 32768};

const Architecture kQwen2 = {"Qwen2ForCausalLM", "qwen2", parse_qwen2, write_qwen_dense, {}, kQwenDefaults};
const Architecture kQwen3 = {"Qwen3ForCausalLM", "qwen3", parse_qwen3, write_qwen3, {}, kQwen3Defaults};
const Architecture kQwen3Moe = {"Qwen3MoeForCausalLM", "qwen3_moe", parse_qwen3_moe, write_qwen3_moe, {}, kQwenDefaults};

}  // namespace ds
