// GPT-2 (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"): LayerNorm, learned positions, a
// feed-forward without a gate, biases everywhere, a tied head. Files have [inputs, outputs] matrices, q, k and v in one.
#include "base/error.h"
#include "model/architecture.h"

namespace ds {

static void parse_gpt2(const ConfigReader& keys, Config& config) {
  config.norm = Norm::layer;
  config.positions = Positions::learned;
  config.gated_mlp = false;
  config.qkv_bias = config.o_bias = config.mlp_bias = true;
  require(config.hidden_size % config.num_attention_heads == 0, keys.at("num_attention_heads"), " is ", config.num_attention_heads,
          ", which does not divide ", config.hidden_size, ", the hidden size");
  config.hidden_act = parse_activation(keys, "hidden_act", "gelu_new");
  config.num_key_value_heads = config.num_attention_heads;
  config.head_dim = config.v_head_dim = config.hidden_size / config.num_attention_heads;
  config.attention_scale = keys.flag_or("scale_attn_weights", true) ? plain_attention_scale(config.head_dim) : 1.0f;
  config.intermediate_size = keys.size_or("intermediate_size", 4 * config.hidden_size);
  keys.only_flag("scale_attn_by_inverse_layer_idx", false);
  keys.only_flag("add_cross_attention", false);
  keys.ignore("reorder_and_upcast_attn");  // the same in f32
  // Equal to n_positions in older files; of heads for other tasks than the next token.
  for (const char* key : {"n_ctx", "summary_type", "summary_use_proj", "summary_activation", "summary_proj_to_labels", "summary_first_dropout"})
    keys.ignore(key);
}

static void write_gpt2(const Config& config, JsonWriter& json) {
  json.field("n_ctx", config.max_position_embeddings).field("n_inner", config.intermediate_size);
  write_real(json, "resid_pdrop", 0.0);
  write_real(json, "embd_pdrop", 0.0);
  json.field("scale_attn_weights", config.attention_scale != 1.0f || config.head_dim == 1);
  json.field("scale_attn_by_inverse_layer_idx", false).field("reorder_and_upcast_attn", false);
}

constexpr std::pair<std::string_view, std::string_view> kSpellings[] = {
    {"hidden_size", "n_embd"}, {"num_hidden_layers", "n_layer"}, {"num_attention_heads", "n_head"},
    {"max_position_embeddings", "n_positions"}, {"intermediate_size", "n_inner"}, {"rms_norm_eps", "layer_norm_epsilon"},
    {"hidden_act", "activation_function"}, {"attention_dropout", "attn_pdrop"}};

constexpr StoredWeight kTensors[] = {
    // Outside the blocks.
    {"wte.weight", {"model.embed_tokens.weight"}},
    {"wpe.weight", {"model.embed_positions.weight"}},
    {"ln_f.weight", {"model.norm.weight"}},
    {"ln_f.bias", {"model.norm.bias"}},
    // Of a block.
    {"ln_1.weight", {"input_layernorm.weight"}},
    {"ln_1.bias", {"input_layernorm.bias"}},
    {"attn.c_attn.weight", {"self_attn.q_proj.weight", "self_attn.k_proj.weight", "self_attn.v_proj.weight"}, true},
    {"attn.c_attn.bias", {"self_attn.q_proj.bias", "self_attn.k_proj.bias", "self_attn.v_proj.bias"}},
    {"attn.c_proj.weight", {"self_attn.o_proj.weight"}, true},
    {"attn.c_proj.bias", {"self_attn.o_proj.bias"}},
    {"ln_2.weight", {"post_attention_layernorm.weight"}},
    {"ln_2.bias", {"post_attention_layernorm.bias"}},
    {"mlp.c_fc.weight", {"mlp.up_proj.weight"}, true},
    {"mlp.c_fc.bias", {"mlp.up_proj.bias"}},
    {"mlp.c_proj.weight", {"mlp.down_proj.weight"}, true},
    {"mlp.c_proj.bias", {"mlp.down_proj.bias"}}};
constexpr std::string_view kBuffers[] = {".attn.bias", ".attn.masked_bias"};

const Architecture kGpt2 = {.name = "GPT2LMHeadModel",
                            .model_type = "gpt2",
                            .parse = parse_gpt2,
                            .write = write_gpt2,
                            .defaults = {.vocab_size = 50257, .num_attention_heads = 12, .max_position_embeddings = 1024,
                                         .rms_norm_eps = 1e-5f, .tie_word_embeddings = true},
                            .spellings = kSpellings,
                            .root = "transformer.",
                            .layers = "transformer.h.",
                            .tensors = kTensors,
                            .buffers = kBuffers};

}  // namespace ds
