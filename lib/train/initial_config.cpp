#include "train/initial_config.h"

#include <algorithm>

#include "base/error.h"
#include "io/json.h"
#include "io/record.h"

namespace ds {

namespace {

struct Arch {
  std::string_view name, config;
};

// Of each, what its row needs beyond the sizes that all share.
constexpr Arch kArchs[] = {
    {"gpt2", R"("architectures": ["GPT2LMHeadModel"], "model_type": "gpt2")"},
    {"llama", R"("architectures": ["LlamaForCausalLM"], "model_type": "llama", "intermediate_size": 768, "num_key_value_heads": 4)"},
    {"qwen2", R"("architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "intermediate_size": 768, "num_key_value_heads": 2)"},
    {"qwen3", R"("architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "intermediate_size": 768, "num_key_value_heads": 2,
 "head_dim": 64)"},
    {"gemma3_text", R"("architectures": ["Gemma3ForCausalLM"], "model_type": "gemma3_text", "intermediate_size": 768,
 "num_key_value_heads": 2, "head_dim": 64, "query_pre_attn_scalar": 64, "sliding_window": 256, "rope_local_base_freq": 10000.0,
 "hidden_activation": "gelu_pytorch_tanh", "layer_types": ["sliding_attention", "sliding_attention", "sliding_attention", "full_attention"])"},
    {"mixtral", R"("architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "intermediate_size": 384,
 "num_key_value_heads": 2, "num_local_experts": 8, "num_experts_per_tok": 2)"},
    {"olmoe", R"("architectures": ["OlmoeForCausalLM"], "model_type": "olmoe", "intermediate_size": 128, "num_key_value_heads": 4,
 "num_experts": 32, "num_experts_per_tok": 4, "norm_topk_prob": false)"},
    {"qwen3_moe", R"("architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "intermediate_size": 768,
 "num_key_value_heads": 2, "head_dim": 64, "num_experts": 16, "num_experts_per_tok": 2, "moe_intermediate_size": 192,
 "norm_topk_prob": true, "decoder_sparse_step": 1, "mlp_only_layers": [])"},
    {"deepseek_v2", R"("architectures": ["DeepseekV2ForCausalLM"], "model_type": "deepseek_v2", "intermediate_size": 768,
 "num_key_value_heads": 4, "q_lora_rank": null, "kv_lora_rank": 64, "qk_nope_head_dim": 64, "qk_rope_head_dim": 32, "v_head_dim": 64,
 "first_k_dense_replace": 1, "n_routed_experts": 16, "n_shared_experts": 1, "num_experts_per_tok": 2, "n_group": 1,
 "topk_group": 1, "topk_method": "greedy", "moe_intermediate_size": 192, "norm_topk_prob": false, "scoring_func": "softmax",
 "routed_scaling_factor": 1.0)"},
    {"deepseek_v3", R"("architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3", "intermediate_size": 768,
 "num_key_value_heads": 4, "q_lora_rank": 128, "kv_lora_rank": 64, "qk_nope_head_dim": 64, "qk_rope_head_dim": 32, "v_head_dim": 64,
 "first_k_dense_replace": 1, "n_routed_experts": 128, "n_shared_experts": 1, "num_experts_per_tok": 2, "n_group": 16,
 "topk_group": 4, "moe_intermediate_size": 64, "norm_topk_prob": true, "scoring_func": "sigmoid", "topk_method": "noaux_tc",
 "routed_scaling_factor": 1.0)"},
};
constexpr std::string_view kShared = R"("vocab_size": 8192, "hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4,
 "max_position_embeddings": 1024, "tie_word_embeddings": true, "initializer_range": 0.02)";
constexpr std::string_view kRotated = R"(, "rope_theta": 10000.0, "rms_norm_eps": 1e-6, "hidden_act": "silu")";  // all but GPT-2

}  // namespace

std::vector<std::string> arch_names() {
  std::vector<std::string> names;
  for (const Arch& arch : kArchs) names.emplace_back(arch.name);
  return names;
}

std::string arch_config(std::string_view name) {
  for (const Arch& arch : kArchs)
    if (arch.name == name) return cat("{", arch.config, ", ", kShared, name == "gpt2" ? "" : kRotated, "}");
  std::string known;
  for (const Arch& arch : kArchs) known += cat(known.empty() ? "" : ", ", arch.name);
  throw UsageError(cat("--arch ", name, ": expected one of ", known));
}

// Whether the text is one JSON value.
static bool is_json(const std::string& text) {
  try {
    parse_json(text, "");
    return true;
  } catch (const Error&) {
    return false;
  }
}

// Keys that make a model one of ours. Those that say more about them go along.
static bool is_own_key(std::string_view key) {
  constexpr std::string_view kOwn[] = {"router_type", "router_expert_attention", "attention_pattern", "attention_score_norm", "attention_position_buckets"};
  return std::find(std::begin(kOwn), std::end(kOwn), key) != std::end(kOwn);
}

std::string set_keys(const std::string& config, const std::vector<std::string>& keys, const std::string& where) {
  if (keys.empty()) return config;
  Record record(config, where, 1);
  bool own = false;
  for (const std::string& text : keys) {
    const size_t equals = text.find('=');
    if (equals == 0 || equals == std::string::npos) throw UsageError(cat("--set ", text, ": expected KEY=VALUE"));
    const std::string key = text.substr(0, equals), value = text.substr(equals + 1);
    record.set(key, is_json(value) ? value : json_string(value));
    own = own || is_own_key(key);
  }
  if (const auto base = record.string("model_type"); own && base && *base != "ds") {
    record.set("base_model_type", json_string(*base));
    record.set("model_type", json_string("ds"));
    record.set("architectures", R"(["DsForCausalLM"])");
  }
  return std::string(record.raw());
}

}  // namespace ds
