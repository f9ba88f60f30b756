// What the tests of the decoder share: fixtures that transformers made, tiny configs, and plain ways to run the decoder.
#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/rng.h"
#include "io/json.h"
#include "model/decoder.h"

namespace ds {

// The folder of data shared between projects; tests that need it are skipped where it is not.
inline std::string shared_folder() {
  if (const char* given = std::getenv("DS_SHARED")) return given;
  return DS_SOURCE_DIR "/../shared";
}
inline std::string fixture(const std::string& name) {
  return shared_folder() + (name == "stories260K" ? "/data/models/stories260K/hf" : "/fixtures/" + name);
}
#define DS_NEEDS_FIXTURE(name) \
  if (!std::filesystem::exists(fixture(name))) GTEST_SKIP() << "no fixture " << fixture(name) << " (set DS_SHARED)"

// A folder that goes with the test.
struct Scratch {
  std::filesystem::path path;
  Scratch() {
    std::string name = (std::filesystem::temp_directory_path() / "ds-model-XXXXXX").string();
    path = ::mkdtemp(name.data());
  }
  ~Scratch() { std::filesystem::remove_all(path); }
  std::string operator/(const std::string& name) const { return (path / name).string(); }
};

inline std::vector<float> floats(const Json& list) {
  std::vector<float> values;
  for (const Json& v : list.items) values.push_back(static_cast<float>(v.as_double("expected.json")));
  return values;
}
inline std::vector<int32_t> ids(const Json& list) {
  std::vector<int32_t> values;
  for (const Json& v : list.items) values.push_back(static_cast<int32_t>(v.as_int("expected.json")));
  return values;
}

inline void append(TokenBatch& batch, int32_t sequence, int32_t from, const std::vector<int32_t>& tokens) {
  for (size_t i = 0; i < tokens.size(); ++i) {
    batch.tokens.push_back(tokens[i]);
    batch.sequences.push_back(sequence);
    batch.positions.push_back(from + static_cast<int32_t>(i));
  }
}

// final_normed and logits of every row of a batch.
struct Outputs {
  std::vector<float> normed, logits;
  int64_t hidden = 0, vocab = 0;
  const float* row(size_t t) const { return logits.data() + static_cast<int64_t>(t) * vocab; }
};
inline Outputs run_batch(const Config& config, const Weights& weights, const TokenBatch& batch, KvCache& cache,
                         Activations& acts) {
  forward(config, weights, batch, cache, acts);
  Arena arena;
  const int64_t tokens = static_cast<int64_t>(batch.tokens.size());
  const Tensor logits = arena.make(DType::f32, {tokens, config.vocab_size});
  head(config, weights, acts.final_normed, logits);
  return {{acts.final_normed.f32(), acts.final_normed.f32() + acts.final_normed.elements()},
          {logits.f32(), logits.f32() + logits.elements()},
          config.hidden_size,
          config.vocab_size};
}

// A tiny DeepSeek-V3: 3 layers, the first dense, 8 experts in 4 groups. Sizes are no multiples of vector widths.
inline std::string tiny_deepseek(const std::string& more = "") {
  return R"({"architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3", "vocab_size": 61, "hidden_size": 24,
    "num_hidden_layers": 3, "num_attention_heads": 3, "num_key_value_heads": 3, "max_position_embeddings": 128,
    "q_lora_rank": 12, "kv_lora_rank": 10, "qk_nope_head_dim": 6, "qk_rope_head_dim": 4, "v_head_dim": 7,
    "intermediate_size": 29, "moe_intermediate_size": 9, "n_routed_experts": 8, "n_shared_experts": 1,
    "num_experts_per_tok": 3, "n_group": 4, "topk_group": 2, "norm_topk_prob": true, "routed_scaling_factor": 2.5,
    "first_k_dense_replace": 1, "initializer_range": 0.3, "rope_theta": 100.0)" + more + "}";
}
inline std::string tiny_llama(const std::string& more = "") {
  return R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 61, "hidden_size": 24,
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 6,
    "max_position_embeddings": 128, "intermediate_size": 29, "initializer_range": 0.3, "rope_theta": 100.0)" + more + "}";
}
// A tiny Qwen3-MoE, its router one of ours: 6 experts, normalised weights.
inline std::string tiny_router(const std::string& kind, const std::string& more) {
  return tiny_llama(R"(, "architectures": ["DsForCausalLM"], "model_type": "ds", "base_model_type": "qwen3_moe", "num_experts": 6,
    "num_experts_per_tok": 2, "moe_intermediate_size": 10, "norm_topk_prob": true, "router_type": ")" + kind + "\"" + more);
}
// A tiny Gemma 3: a window of 5 in the first and last layer.
inline std::string tiny_gemma(const std::string& more = "") {
  return R"({"architectures": ["Gemma3ForCausalLM"], "model_type": "gemma3_text", "vocab_size": 61, "hidden_size": 24,
    "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 6, "query_pre_attn_scalar": 7,
    "max_position_embeddings": 128, "intermediate_size": 29, "initializer_range": 0.3, "rope_theta": 100.0,
    "rope_local_base_freq": 30.0, "rope_scaling": {"rope_type": "linear", "factor": 3.0}, "sliding_window": 5,
    "layer_types": ["sliding_attention", "full_attention", "sliding_attention"])" + more + "}";
}
inline std::string tiny_gpt2(const std::string& more = "") {
  return R"({"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "vocab_size": 61, "n_embd": 24, "n_layer": 2, "n_head": 4,
    "n_positions": 128, "n_inner": 29, "initializer_range": 0.3)" + more + "}";
}
// A tiny Llama with an attention pattern: `keys` are those of attention_pattern_config.cpp.
inline std::string tiny_pattern(const std::string& keys) {
  return tiny_llama(R"(, "architectures": ["DsForCausalLM"], "model_type": "ds", "base_model_type": "llama", )" + keys);
}
constexpr const char* kSparseKeys = R"("attention_pattern": "block_sparse", "attention_local_blocks": 1, "attention_score_norm": true,
    "attention_position_buckets": 8, "attention_position_max_distance": 20)";
constexpr const char* kLocalHeadsKeys = R"("attention_pattern": "local_global", "attention_window": 9, "attention_local_heads": 1)";
constexpr const char* kLearnedKeys = R"("attention_pattern": "learned", "attention_local_blocks": 1, "attention_global_blocks": 1)";
constexpr const char* kPooledKeys = R"("attention_pattern": "pooled", "attention_window": 3)";
constexpr const char* kCompressedKeys = R"("attention_pattern": "compressed", "attention_local_blocks": 1)";
constexpr const char* kLshKeys = R"("attention_pattern": "lsh", "attention_lsh_buckets": 4, "attention_lsh_keys": 5)";
inline Config tiny(const std::string& json) { return parse_config(parse_json(json, "config.json"), "config.json"); }

// What the Error says that this config.json is; "" where it is none.
inline std::string config_error(const std::string& json) {
  try {
    tiny(json);
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

inline std::vector<int32_t> tokens_of(size_t count, uint64_t stream, int64_t vocab) {
  const Rng rng{3, stream};
  std::vector<int32_t> tokens;
  for (size_t i = 0; i < count; ++i) tokens.push_back(static_cast<int32_t>(rng.below(i, static_cast<uint64_t>(vocab))));
  return tokens;
}

// Weights that are made from their names, there (data/) and here by one formula.
// Value i of the weight of this name, from -0.5 to 0.5: FNV-1a of the name, then SplitMix64.
inline double value_of(const std::string& name, uint64_t i) {
  uint64_t x = 0xcbf29ce484222325;
  for (const char c : name) x = (x ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  x += (i + 1) * 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  x ^= x >> 31;
  return static_cast<double>(x >> 40) / 16777216.0 - 0.5;
}

template <class W>  // Weights or MtpWeights
void make_values(const Config& config, W& weights) {
  for_each_weight(config, weights, [&](const WeightInfo& info, Tensor& t) {
    const int64_t experts = info.shape.size() == 3 ? info.shape[0] : 1, each = t.elements() / experts;
    const bool norm = info.shape.size() == 1 && info.name.find("bias") == std::string::npos;
    const double middle = norm && !config.norm_plus_one ? 1 : 0;
    const double spread = !info.trained ? 0.2 : info.shape.size() == 1 ? 0.5 : 1;
    for (int64_t e = 0; e < experts; ++e)
      for (int64_t i = 0; i < each; ++i)
        t.f32()[e * each + i] = static_cast<float>(middle + spread * value_of(expert_name(info, e), static_cast<uint64_t>(i)));
  });
}

}  // namespace ds
