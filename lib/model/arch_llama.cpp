// Llama 2 and 3 (arXiv 2307.09288, 2407.21783): grouped-query attention, dense feed-forward. Mistral (arXiv 2310.06825):
// the same with a window in every layer.
#include "model/architecture.h"

namespace ds {

static void parse_llama(const ConfigReader& keys, Config& config) {
  parse_multi_head(keys, config);
  config.qkv_bias = config.o_bias = keys.flag_or("attention_bias", false);
  config.mlp_bias = keys.flag_or("mlp_bias", false);
  config.intermediate_size = keys.size("intermediate_size");
  parse_rope(keys, config);
}

static void write_llama(const Config& config, JsonWriter& json) {
  json.field("head_dim", config.head_dim).field("attention_bias", config.qkv_bias).field("mlp_bias", config.mlp_bias);
  json.field("intermediate_size", config.intermediate_size);
}

static void parse_mistral(const ConfigReader& keys, Config& config) {
  parse_multi_head(keys, config);
  config.intermediate_size = keys.size("intermediate_size");
  config.sliding_window = keys.has("sliding_window") ? keys.count_or("sliding_window", 0) : 4096;
  parse_rope(keys, config);
}

static void write_mistral(const Config& config, JsonWriter& json) {
  json.field("head_dim", config.head_dim).field("intermediate_size", config.intermediate_size);
  write_size_or_null(json, "sliding_window", config.sliding_window);
}

const Architecture kLlama = {"LlamaForCausalLM", "llama", parse_llama, write_llama};
const Architecture kMistral = {"MistralForCausalLM", "mistral", parse_mistral, write_mistral, {},
                               {.max_position_embeddings = 131072}};

}  // namespace ds
