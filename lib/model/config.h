// What a decoder is made of: one plain struct for all architectures, and the rows that map their config.json to it.
#pragma once
#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "io/json.h"
#include "model/quantization.h"
#include "tensor/ops.h"

namespace ds {

// Positions by rotation. (RoFormer, arXiv 2104.09864; linear, dynamic and yarn: arXiv 2309.00071; llama3: Llama 3.1's
// release.) dynamic: position p has the angles of a text of p + 1 tokens, as in transformers when a text grows token by
// token; transformers gives a longer prompt all at once the angles of its last token, so that they depend on the cut.
struct RopeScaling {
  enum class Type : uint8_t { none, linear, dynamic, llama3, yarn, factors } type = Type::none;
  double factor = 1;
  double low_freq_factor = 1, high_freq_factor = 4;             // llama3
  double beta_fast = 32, beta_slow = 1;                         // yarn
  double mscale = 0, mscale_all_dim = 0, attention_factor = 0;  // yarn; 0: not given
  bool truncate = true;                                         // yarn
  int64_t original_max_position_embeddings = 0;                 // llama3, yarn, factors
  std::vector<float> factors;                                   // what each frequency is divided by (longrope's lists, equal)
};

// Norms: by the root of the mean square; or LayerNorm (arXiv 1607.06450), which takes the mean away first and has a bias.
enum class Norm : uint8_t { rms, layer };
// Positions: rotations of queries and keys; or a learned vector for each, added to the embedded token.
enum class Positions : uint8_t { rope, learned };

enum class LayerType : uint8_t { full_attention, sliding_attention };

struct Config {
  std::string architecture;            // "DeepseekV3ForCausalLM"
  std::string model_type;              // "deepseek_v3"
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t num_hidden_layers = 0;
  int64_t max_position_embeddings = 0;
  Norm norm = Norm::rms;
  float rms_norm_eps = 1e-6f;          // of all norms, LayerNorm too
  Positions positions = Positions::rope;
  bool tie_word_embeddings = false;
  int32_t bos_token_id = -1, eos_token_id = -1, pad_token_id = -1;
  std::vector<int32_t> eos_token_ids;  // all of them, where the file has a list; eos_token_id is the first
  double initializer_range = 0.02;
  float embedding_scale = 1;           // of the embedded tokens (Gemma: sqrt(hidden_size), rounded to the file's dtype)
  bool norm_plus_one = false;          // norms multiply by 1 + w (Gemma)
  bool post_norms = false;             // a norm after attention and after the feed-forward too (Gemma)
  float final_logit_softcapping = 0;   // 0: none; c: logits become c * tanh(logit / c) (Gemma 2)

  // Attention. MLA where kv_lora_rank > 0, else multi-head / grouped-query.
  int64_t num_attention_heads = 0, num_key_value_heads = 0;
  int64_t head_dim = 0;                // of q and k; MLA: qk_nope_head_dim + qk_rope_head_dim
  int64_t v_head_dim = 0;              // of v; multi-head: head_dim
  int64_t q_lora_rank = 0, kv_lora_rank = 0, qk_nope_head_dim = 0, qk_rope_head_dim = 0;
  double rope_theta = 10000.0;
  RopeScaling rope_scaling;
  double rope_local_base_freq = 0;     // base of the sliding layers, never scaled; 0: as all layers
  bool rope_interleave = false;
  float attention_scale = 0;           // of q.k, everything included
  float attn_logit_softcapping = 0;    // 0: none; c: scores become c * tanh(score / c)
  float clip_qkv = 0;                  // 0: none; c: q, k and v are clamped to [-c, c] before rotation (OLMoE)
  int64_t sliding_window = 0;          // of the sliding layers: the last W keys, the row itself included; 0: none slides
  std::vector<LayerType> layer_types;  // a layer each; empty: all slide where sliding_window is set
  // What the layers that do not slide see, and what all layers' scores go through (tensor/ops.h, docs/attention.md).
  AttentionPattern pattern;
  int64_t attention_window = 0;        // of the pattern's window, in tokens; 0: it has none
  int64_t attention_local_heads = 0;   // kv heads that have it; 0: all
  bool score_norm = false;
  bool qkv_bias = false, o_bias = false;  // MLA's qkv_bias: of q_a and kv_a
  enum class QkNorm : uint8_t { none, per_head, full } qk_norm = QkNorm::none;

  // Feed-forward.
  int64_t intermediate_size = 0;       // dense layers
  Activation hidden_act = Activation::silu;
  bool gated_mlp = true;               // down(act(gate) * up); else down(act(up))
  bool mlp_bias = false;

  // Mixture of experts: where n_routed_experts > 0, layers from first_k_dense_replace on, every decoder_sparse_step-th
  // of them counted from the first layer of all, but those of mlp_only_layers.
  int64_t n_routed_experts = 0, n_shared_experts = 0, moe_intermediate_size = 0, first_k_dense_replace = 0;
  int64_t decoder_sparse_step = 1;
  std::vector<int64_t> mlp_only_layers;
  RouterSpec router;
  bool router_bias = false;            // experts are chosen by score + bias (DeepSeek-V3)
  bool router_expert_attention = false;  // a token's chosen experts of one group attend to each other's outputs
  int64_t num_nextn_predict_layers = 0;  // layers for multi-token prediction in the file, after the others (mtp.h)

  Quantization quantization;           // of the file it was read from

  bool is_moe(int64_t layer) const {
    return n_routed_experts > 0 && layer >= first_k_dense_replace && (layer + 1) % decoder_sparse_step == 0 &&
           std::find(mlp_only_layers.begin(), mlp_only_layers.end(), layer) == mlp_only_layers.end();
  }
  bool is_sliding(int64_t layer) const {
    return sliding_window > 0 &&
           (layer_types.empty() || layer_types[static_cast<size_t>(layer)] == LayerType::sliding_attention);
  }
  int64_t fallback_experts() const { return router.kind == RouterSpec::Kind::entropy_fallback; }  // behind the routed ones
  bool is_mla() const { return kv_lora_rank > 0; }
  // Whether a layer's attention is the general one: a pattern of blocks or keys, or scores that are normed or biased.
  bool has_pattern(int64_t layer) const {
    return score_norm || pattern.position_buckets > 0 || (pattern.kind != AttentionPattern::Kind::all && !is_sliding(layer));
  }
  // Whether a layer's old pages can go, and how many tokens back a row of any such layer needs them.
  bool is_windowed(int64_t layer) const {
    return !is_mla() && (is_sliding(layer) || pattern.kind == AttentionPattern::Kind::compressed);
  }
  int64_t cache_window() const {
    const bool compressed = pattern.kind == AttentionPattern::Kind::compressed;
    return std::max(sliding_window, compressed ? int64_t{pattern.local_blocks} * kKeyBlock : 0);
  }
  int64_t rope_dim() const { return is_mla() ? qk_rope_head_dim : head_dim; }      // columns of a head that are rotated
  int64_t kv_heads() const { return is_mla() ? num_attention_heads : num_key_value_heads; }  // of keys and values
};

// Reads config.json. A key that changes the result and is not supported is an Error that names it: every key must be
// one that the architecture reads, one that cannot change the result, or null, false or empty. Of a multimodal file the
// text model is read.
Config parse_config(const Json& json, const std::string& where);
// Of a model folder, of a config.json itself, or of a .gguf file.
Config load_config(const std::string& path);
// config.json as transformers reads it (both the v4 and the v5 spellings of what they renamed), `quantization` included.
// parse_config of it gives the same Config, but that embedding_scale is rounded to the dtype given.
std::string config_json(const Config& config, DType dtype);

}  // namespace ds
