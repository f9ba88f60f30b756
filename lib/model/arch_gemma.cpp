// Gemma 2 and 3 (arXiv 2408.00118, 2503.19786): norms with 1 + w before and after both halves of a block, GeGLU, a scaled
// embedding, windows in most layers. Gemma 2 caps scores and logits; Gemma 3 norms heads, and rotates its sliding layers
// by a base of their own. Of multimodal Gemma 3 files the text model is read.
#include <cmath>

#include "base/dtype.h"
#include "base/error.h"
#include "model/architecture.h"

namespace ds {

// sqrt(hidden_size) as a number of the file's dtype: 25.298 is 25.25 in bf16.
static float embedding_scale(const ConfigReader& keys, int64_t hidden_size) {
  const float exact = static_cast<float>(std::sqrt(static_cast<double>(hidden_size)));
  const std::string dtype = keys.string_or("dtype", keys.string_or("torch_dtype", "float32"));
  if (dtype == "bfloat16") return bf16_to_f32(f32_to_bf16(exact));
  if (dtype == "float16") return f16_to_f32(f32_to_f16(exact));
  require(dtype == "float32", keys.at("dtype"), " is \"", dtype, "\"; float32, float16 and bfloat16 are supported");
  return exact;
}

static float softcap(const ConfigReader& keys, std::string_view key, double fallback) {
  return static_cast<float>(keys.has(key) ? keys.positive_or(key, 0) : fallback);
}

// `pattern`: of so many layers the last one sees everything.
static void parse_gemma(const ConfigReader& keys, int64_t pattern, double attention_cap, double logit_cap, Config& config) {
  parse_multi_head(keys, config);
  config.intermediate_size = keys.size("intermediate_size");
  config.hidden_act = parse_activation(keys, "hidden_activation", "gelu_pytorch_tanh");
  config.qkv_bias = config.o_bias = keys.flag_or("attention_bias", false);
  config.attention_scale = plain_attention_scale(keys.size_or("query_pre_attn_scalar", 256));
  config.attn_logit_softcapping = softcap(keys, "attn_logit_softcapping", attention_cap);
  config.final_logit_softcapping = softcap(keys, "final_logit_softcapping", logit_cap);
  config.embedding_scale = embedding_scale(keys, config.hidden_size);
  config.norm_plus_one = config.post_norms = true;
  keys.only_flag("use_bidirectional_attention", false);
  config.sliding_window = keys.has("sliding_window") ? keys.count_or("sliding_window", 0) : 4096;
  parse_layer_types(
      keys, [&](int64_t layer) { return (layer + 1) % pattern ? LayerType::sliding_attention : LayerType::full_attention; }, config);
  parse_rope(keys, config);
}

static void write_gemma(const Config& config, JsonWriter& json) {
  json.field("head_dim", config.head_dim).field("intermediate_size", config.intermediate_size);
  json.field("hidden_activation", activation_name(config.hidden_act)).field("attention_bias", config.qkv_bias);
  const double scale = config.attention_scale;
  json.field("query_pre_attn_scalar", static_cast<int64_t>(std::llround(1.0 / (scale * scale))));
  write_real_or_null(json, "attn_logit_softcapping", config.attn_logit_softcapping);
  write_real_or_null(json, "final_logit_softcapping", config.final_logit_softcapping);
  json.field("use_bidirectional_attention", false);
  write_size_or_null(json, "sliding_window", config.sliding_window);
  write_layer_types(config, json);
}

static void parse_gemma2(const ConfigReader& keys, Config& config) { parse_gemma(keys, 2, 50, 30, config); }

static void parse_gemma3(const ConfigReader& keys, Config& config) {
  config.rope_local_base_freq = 10000;
  config.qk_norm = Config::QkNorm::per_head;
  keys.ignore("_sliding_window_pattern");  // transformers writes it beside layer_types
  parse_gemma(keys, keys.size_or("sliding_window_pattern", 6), 0, 0, config);
}

constexpr std::pair<std::string_view, std::string_view> kPrefixes[] = {
    {"language_model.model.", "model."}, {"language_model.lm_head.", "lm_head."}, {"model.language_model.", "model."}};
constexpr std::string_view kIgnored[] = {"vision_tower.", "multi_modal_projector.", "model.vision_tower.", "model.multi_modal_projector."};

const Architecture kGemma2 = {"Gemma2ForCausalLM", "gemma2", parse_gemma2, write_gemma, {},
                              {.vocab_size = 256000, .num_attention_heads = 8, .num_key_value_heads = 4, .head_dim = 256,
                               .max_position_embeddings = 8192, .tie_word_embeddings = true}};
const Architecture kGemma3 = {"Gemma3ForCausalLM", "gemma3_text", parse_gemma3, write_gemma, {},
                              {.vocab_size = 262208, .num_attention_heads = 8, .num_key_value_heads = 4, .head_dim = 256,
                               .max_position_embeddings = 131072, .rope_theta = 1e6, .tie_word_embeddings = true},
                              "Gemma3ForConditionalGeneration", "gemma3", kPrefixes, kIgnored};

}  // namespace ds
