// Inside the room: an architecture is a row. How its config.json maps to ours, and how its tensor names map to ours.
#pragma once
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "model/config.h"

namespace ds {

// Reads the keys of one object with messages that name file and key. A key that is null counts as absent.
class ConfigReader {
 public:
  ConfigReader(const Json& json, std::string where) : json_(json), where_(std::move(where)) {}
  const Json* find(std::string_view key) const;
  std::string at(std::string_view key) const;                          // "config.json: key"
  int64_t size(std::string_view key) const;                            // required; 1 .. 2^30
  int64_t size_or(std::string_view key, int64_t fallback) const;       // absent: fallback; else 1 .. 2^30
  int64_t count_or(std::string_view key, int64_t fallback) const;      // absent: fallback; else 0 .. 2^30
  double positive_or(std::string_view key, double fallback) const;     // absent: fallback; else > 0 and finite
  bool flag_or(std::string_view key, bool fallback) const;
  std::string string_or(std::string_view key, const std::string& fallback) const;
  // Error unless the key is absent, or is what is supported.
  void only_flag(std::string_view key, bool supported) const;
  void only_text(std::string_view key, std::string_view supported) const;
  void only_null(std::string_view key) const;

 private:
  const Json& json_;
  std::string where_;
};

// Where an architecture puts its experts; all else is named alike. Prefixes follow "model.layers.N.".
struct ExpertNames {
  std::string_view router = "mlp.gate.weight";
  std::string_view experts = "mlp.experts.";
  std::string_view gate = "gate_proj", up = "up_proj", down = "down_proj";
};

struct Architecture {
  std::string_view name;                                  // "DeepseekV3ForCausalLM"
  std::string_view model_type;                            // "deepseek_v3"
  void (*parse)(const ConfigReader& keys, Config& config);     // its own keys; the common ones are read before
  void (*write)(const Config& config, JsonWriter& json);
  ExpertNames names = {};
};

extern const Architecture kDeepseekV3, kDeepseekV2, kLlama, kQwen2, kQwen3, kQwen3Moe, kMixtral, kOlmoe;
std::span<const Architecture* const> architectures();
const Architecture& architecture_of(const Config& config);

// Multi-head attention's sizes (head_dim, num_key_value_heads, biases from attention_bias), read and written alike by
// all architectures that have it.
void parse_multi_head(const ConfigReader& keys, Config& config);
// The scale of q.k without position scaling: head_dim^-0.5.
float plain_attention_scale(int64_t head_dim);

// rope_theta and rope_scaling (v4), or rope_parameters (v5).
void parse_rope(const ConfigReader& keys, double default_theta, Config& config);
void write_rope(const Config& config, JsonWriter& json);

// A number that transformers declares as float: "1.0", for it refuses "1".
void write_real(JsonWriter& json, std::string_view key, double value);
void write_real(JsonWriter& json, std::string_view key, float value);

// The experts' keys after parsing: group sizes divide, top_k fits. `where` begins the Error.
void check_router(const Config& config, const std::string& where);

}  // namespace ds
