// Llama 2 and 3 (arXiv 2307.09288, 2407.21783): grouped-query attention, dense feed-forward.
#include "model/architecture.h"

namespace ds {

static void parse_llama(const ConfigReader& keys, Config& config) {
  parse_multi_head(keys, config);
  config.qkv_bias = config.o_bias = keys.flag_or("attention_bias", false);
  config.mlp_bias = keys.flag_or("mlp_bias", false);
  config.intermediate_size = keys.size("intermediate_size");
  parse_rope(keys, 10000.0, config);
}

static void write_llama(const Config& config, JsonWriter& json) {
  json.field("head_dim", config.head_dim).field("attention_bias", config.qkv_bias).field("mlp_bias", config.mlp_bias);
  json.field("intermediate_size", config.intermediate_size);
}

const Architecture kLlama = {"LlamaForCausalLM", "llama", parse_llama, write_llama};

}  // namespace ds
