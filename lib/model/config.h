// What a decoder is made of: one plain struct for all architectures, and the rows that map their config.json to it.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "io/json.h"
#include "model/quantization.h"
#include "tensor/ops.h"

namespace ds {

// Positions by rotation. (RoFormer, arXiv 2104.09864; linear and yarn: arXiv 2309.00071; llama3: Llama 3.1's release)
struct RopeScaling {
  enum class Type : uint8_t { none, linear, llama3, yarn, factors } type = Type::none;
  double factor = 1;
  double low_freq_factor = 1, high_freq_factor = 4;             // llama3
  double beta_fast = 32, beta_slow = 1;                         // yarn
  double mscale = 0, mscale_all_dim = 0, attention_factor = 0;  // yarn; 0: not given
  bool truncate = true;                                         // yarn
  int64_t original_max_position_embeddings = 0;                 // llama3, yarn, factors
  std::vector<float> factors;                                   // what each frequency is divided by (longrope's lists, equal)
};

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
  std::vector<int32_t> eos_token_ids;  // all of them, where the file has a list; eos_token_id is the first
  double initializer_range = 0.02;

  // Attention. MLA where kv_lora_rank > 0, else multi-head / grouped-query.
  int64_t num_attention_heads = 0, num_key_value_heads = 0;
  int64_t head_dim = 0;                // of q and k; MLA: qk_nope_head_dim + qk_rope_head_dim
  int64_t v_head_dim = 0;              // of v; multi-head: head_dim
  int64_t q_lora_rank = 0, kv_lora_rank = 0, qk_nope_head_dim = 0, qk_rope_head_dim = 0;
  double rope_theta = 10000.0;
  RopeScaling rope_scaling;
  bool rope_interleave = false;
  float attention_scale = 0;           // of q.k, everything included
  int64_t sliding_window = 0;          // 0: all earlier keys; W: the last W, the row itself included
  bool qkv_bias = false, o_bias = false;
  enum class QkNorm : uint8_t { none, per_head, full } qk_norm = QkNorm::none;

  // Feed-forward.
  int64_t intermediate_size = 0;       // dense layers
  Activation hidden_act = Activation::silu;
  bool mlp_bias = false;

  // Mixture of experts: layers from first_k_dense_replace on, where n_routed_experts > 0.
  int64_t n_routed_experts = 0, n_shared_experts = 0, moe_intermediate_size = 0, first_k_dense_replace = 0;
  RouterSpec router;
  bool router_bias = false;            // experts are chosen by score + bias (DeepSeek-V3)
  int64_t num_nextn_predict_layers = 0;  // layers for multi-token prediction in the file, after the others: not read

  Quantization quantization;           // of the file it was read from

  bool is_moe(int64_t layer) const { return n_routed_experts > 0 && layer >= first_k_dense_replace; }
  bool is_mla() const { return kv_lora_rank > 0; }
  int64_t rope_dim() const { return is_mla() ? qk_rope_head_dim : head_dim; }      // columns of a head that are rotated
  int64_t kv_heads() const { return is_mla() ? num_attention_heads : num_key_value_heads; }  // heads in the cache
};

// Reads config.json. A key that changes the result and is not supported is an Error that names it.
Config parse_config(const Json& json, const std::string& where);
// Of a model folder, of a config.json itself, or of a .gguf file.
Config load_config(const std::string& path);
// config.json as transformers reads it (both the v4 and the v5 spellings of what they renamed), `quantization` included.
// parse_config of it gives the same Config.
std::string config_json(const Config& config, DType dtype);

}  // namespace ds
