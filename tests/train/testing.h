// What the tests of training share: scratch folders and a decoder small enough for finite differences.
#pragma once
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "base/error.h"
#include "base/rng.h"
#include "io/json.h"
#include "model/decoder.h"
#include "train/packing.h"

namespace ds::testing_train {

// A scratch folder that goes when the object goes.
class Folder {
 public:
  Folder() {
    static int count = 0;
    root_ = std::filesystem::temp_directory_path() / cat("ds-train-test-", ::getpid(), "-", count++);
    std::filesystem::create_directories(root_);
  }
  ~Folder() { std::filesystem::remove_all(root_); }
  std::string path(const std::string& name) const { return (root_ / name).string(); }
  void write(const std::string& name, const std::string& bytes) const { std::ofstream(path(name), std::ios::binary) << bytes; }

 private:
  std::filesystem::path root_;
};

// A DeepSeek-V3-type decoder: one dense and one sparse layer, 8 experts in 4 groups.
inline const char* const kConfig = R"({"architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3",
  "vocab_size": 48, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
  "num_key_value_heads": 2, "q_lora_rank": 8, "kv_lora_rank": 8, "qk_nope_head_dim": 8, "qk_rope_head_dim": 4,
  "v_head_dim": 8, "n_routed_experts": 8, "n_shared_experts": 1, "num_experts_per_tok": 2, "n_group": 4, "topk_group": 2,
  "moe_intermediate_size": 8, "first_k_dense_replace": 1, "norm_topk_prob": true, "scoring_func": "sigmoid",
  "topk_method": "noaux_tc", "routed_scaling_factor": 1.0, "max_position_embeddings": 64, "rope_theta": 10000.0,
  "rms_norm_eps": 1e-6, "hidden_act": "silu", "tie_word_embeddings": false, "initializer_range": 0.1})";

inline Model tiny_model(uint64_t seed) {
  Model model;
  model.config = parse_config(parse_json(kConfig, "config.json"), "config.json");
  model.weights = make_weights(model.config, model.arena);
  initialize(model.config, model.weights, seed);
  return model;
}

// Records of ids that a model can learn: counting up from a random start.
inline std::string counting_records(size_t count, size_t length, uint64_t seed) {
  const Rng rng{seed, 1};
  std::string lines;
  for (size_t d = 0; d < count; ++d) {
    const uint64_t start = rng.below(d, 48);
    lines += "{\"tokens\": [";
    for (size_t i = 0; i < length; ++i) lines += (i ? ", " : "") + std::to_string((start + i) % 48);
    lines += "]}\n";
  }
  return lines;
}

}  // namespace ds::testing_train
