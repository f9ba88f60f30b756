// What a decoder is made of: one plain struct for all architectures, and the rows that map their config.json to it.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "io/json.h"
#include "tensor/ops.h"

namespace ds {

struct Config {
  std::string architecture;            // "DeepseekV3ForCausalLM"
  std::string model_type;              // "deepseek_v3"
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t num_hidden_layers = 0;
  int64_t max_position_embeddings = 0;
  float rms_norm_eps = 1e-6f;
  bool tie_word_embeddings = false;
  int32_t bos_token_id = -1, eos_token_id = -1, pad_token_id = -1;
  double initializer_range = 0.02;

  // Attention. MLA where kv_lora_rank > 0, else multi-head / grouped-query.
  int64_t num_attention_heads = 0, num_key_value_heads = 0;
  int64_t head_dim = 0;                // multi-head: of q, k and v; MLA: qk_nope_head_dim + qk_rope_head_dim
  int64_t q_lora_rank = 0, kv_lora_rank = 0, qk_nope_head_dim = 0, qk_rope_head_dim = 0, v_head_dim = 0;
  double rope_theta = 10000.0;
  bool rope_interleave = false;
  float attention_scale = 0;           // of q.k, everything included

  // Feed-forward.
  int64_t intermediate_size = 0;       // dense layers
  Activation hidden_act = Activation::silu;

  // Mixture of experts: layers from first_k_dense_replace on, where n_routed_experts > 0.
  int64_t n_routed_experts = 0, n_shared_experts = 0, moe_intermediate_size = 0, first_k_dense_replace = 0;
  RouterSpec router;

  bool is_moe(int64_t layer) const { return n_routed_experts > 0 && layer >= first_k_dense_replace; }
  bool is_mla() const { return kv_lora_rank > 0; }
};

// Reads config.json. A key that changes the result and is not supported is an Error that names it.
Config parse_config(const Json& json, const std::string& where);
Config load_config(const std::string& folder);
// config.json as transformers reads it (both the v4 and the v5 spellings of what they renamed).
std::string config_json(const Config& config, DType dtype);

}  // namespace ds
