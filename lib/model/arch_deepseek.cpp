// DeepSeek-V2 and V3 (arXiv 2405.04434, 2412.19437): multi-head latent attention; V2 has a softmax router, V3 a sigmoid
// router with groups and a selection bias.
#include <cmath>

#include "base/error.h"
#include "base/math.h"
#include "model/architecture.h"

namespace ds {

// The scale of q.k; with scaled positions times mscale^2, mscale = 0.1 mscale_all_dim ln(factor) + 1.
static float mla_attention_scale(const Config& config) {
  double scale = 1.0 / std::sqrt(static_cast<double>(config.head_dim));
  const RopeScaling& rope = config.rope_scaling;
  if (rope.type != RopeScaling::Type::none && rope.mscale_all_dim != 0 && rope.factor > 1) {
    const double mscale = 0.1 * rope.mscale_all_dim * math::log(rope.factor) + 1.0;
    scale *= mscale * mscale;
  }
  return static_cast<float>(scale);
}

static void parse_mla(const ConfigReader& keys, Config& config) {
  config.num_key_value_heads = keys.size_or("num_key_value_heads", config.num_attention_heads);
  require(config.num_key_value_heads == config.num_attention_heads, keys.at("num_key_value_heads"),
          " has to equal num_attention_heads: latent attention has as many");
  config.q_lora_rank = keys.has("q_lora_rank") ? keys.size_or("q_lora_rank", 0) : 1536;
  config.kv_lora_rank = keys.size("kv_lora_rank");
  config.qk_nope_head_dim = keys.size("qk_nope_head_dim");
  config.qk_rope_head_dim = keys.size("qk_rope_head_dim");
  config.v_head_dim = keys.size("v_head_dim");
  config.head_dim = config.qk_nope_head_dim + config.qk_rope_head_dim;
  config.qkv_bias = config.o_bias = keys.flag_or("attention_bias", false);
  keys.ignore("head_dim");     // transformers writes the rotated part there, and reads neither of them
  keys.ignore("qk_head_dim");
  parse_rope(keys, config);
  config.attention_scale = mla_attention_scale(config);
}

// The class defaults of V2 and V3 differ.
struct ExpertDefaults {
  int64_t n_shared_experts, first_k_dense_replace, n_group, topk_group;
  double routed_scaling_factor;
};

static void parse_deepseek_experts(const ConfigReader& keys, const ExpertDefaults& defaults, Config& config) {
  config.intermediate_size = keys.size("intermediate_size");
  config.n_routed_experts = keys.size("n_routed_experts");
  config.n_shared_experts = keys.has("n_shared_experts") ? keys.count_or("n_shared_experts", 0) : defaults.n_shared_experts;
  config.moe_intermediate_size = keys.size("moe_intermediate_size");
  config.first_k_dense_replace = keys.count_or("first_k_dense_replace", defaults.first_k_dense_replace);
  keys.ignore("moe_layer_freq");  // transformers does not read it; where it said anything, the weights' names would not fit
  config.router.top_k = static_cast<int>(keys.size_or("num_experts_per_tok", 8));
  config.router.n_group = static_cast<int>(keys.size_or("n_group", defaults.n_group));
  config.router.topk_group = static_cast<int>(keys.size_or("topk_group", defaults.topk_group));
  config.router.routed_scaling_factor = static_cast<float>(keys.positive_or("routed_scaling_factor", defaults.routed_scaling_factor));
}

static void parse_v3(const ConfigReader& keys, Config& config) {
  parse_mla(keys, config);
  parse_deepseek_experts(keys, {1, 3, 8, 4, 2.5}, config);
  keys.only_text("scoring_func", "sigmoid");
  keys.only_text("topk_method", "noaux_tc");
  config.rope_interleave = keys.flag_or("rope_interleave", true);
  config.router.scores = RouterSpec::Scores::sigmoid;
  config.router.group_score = RouterSpec::GroupScore::top2_sum;
  config.router.norm_topk_prob = keys.flag_or("norm_topk_prob", true);
  config.router_bias = true;
  config.num_nextn_predict_layers = keys.count_or("num_nextn_predict_layers", keys.count_or("num_mtp_layers", 0));
}

static void write_deepseek(const Config& config, JsonWriter& json) {
  write_size_or_null(json, "q_lora_rank", config.q_lora_rank);
  json.field("kv_lora_rank", config.kv_lora_rank).field("qk_nope_head_dim", config.qk_nope_head_dim);
  json.field("qk_rope_head_dim", config.qk_rope_head_dim).field("v_head_dim", config.v_head_dim);
  json.field("qk_head_dim", config.head_dim).field("head_dim", config.qk_rope_head_dim).field("attention_bias", config.qkv_bias);
  json.field("intermediate_size", config.intermediate_size).field("moe_intermediate_size", config.moe_intermediate_size);
  json.field("n_routed_experts", config.n_routed_experts).field("n_shared_experts", config.n_shared_experts);
  json.field("num_experts_per_tok", config.router.top_k).field("first_k_dense_replace", config.first_k_dense_replace);
  json.field("n_group", config.router.n_group).field("topk_group", config.router.topk_group);
  json.field("norm_topk_prob", config.router.norm_topk_prob);
  write_real(json, "routed_scaling_factor", config.router.routed_scaling_factor);
  json.field("moe_layer_freq", 1);
}

static void write_v3(const Config& config, JsonWriter& json) {
  write_deepseek(config, json);
  json.field("rope_interleave", config.rope_interleave);
  json.field("scoring_func", "sigmoid").field("topk_method", "noaux_tc");
  json.field("num_nextn_predict_layers", config.num_nextn_predict_layers);
}

// The scores are multiplied by routed_scaling_factor and never normalised: transformers does not read norm_topk_prob.
static void parse_v2(const ConfigReader& keys, Config& config) {
  parse_mla(keys, config);
  parse_deepseek_experts(keys, {2, 0, 1, 1, 1.0}, config);
  keys.only_text("scoring_func", "softmax");
  keys.ignore("norm_topk_prob");
  keys.only_flag("mlp_bias", false);
  config.rope_interleave = true;
  config.router.scores = RouterSpec::Scores::softmax;
  config.router.group_score = RouterSpec::GroupScore::max;
  const std::string method = keys.string_or("topk_method", "greedy");
  if (method == "greedy") config.router.n_group = config.router.topk_group = 1;
  else require(method == "group_limited_greedy", keys.at("topk_method"), " is \"", method,
               "\"; greedy and group_limited_greedy are supported");
}

static void write_v2(const Config& config, JsonWriter& json) {
  write_deepseek(config, json);
  json.field("scoring_func", "softmax").field("mlp_bias", false);
  json.field("topk_method", config.router.n_group > 1 ? "group_limited_greedy" : "greedy");
}

const Architecture kDeepseekV2 = {"DeepseekV2ForCausalLM", "deepseek_v2", parse_v2, write_v2};
const Architecture kDeepseekV3 = {"DeepseekV3ForCausalLM", "deepseek_v3", parse_v3, write_v3, {}, {.max_position_embeddings = 4096}};

}  // namespace ds
