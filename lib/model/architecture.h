// Inside the room: an architecture is a row. How its config.json maps to ours, and how its tensor names map to ours.
//
// A new architecture whose parts the decoder has is one file arch_NAME.cpp with a `parse`, a `write` and the row, its
// declaration below, and its place in architectures(). Mistral, all of it (arch_llama.cpp):
//   static void parse_mistral(const ConfigReader& keys, Config& config) {
//     parse_multi_head(keys, config);
//     config.intermediate_size = keys.size("intermediate_size");
//     config.sliding_window = keys.has("sliding_window") ? keys.count_or("sliding_window", 0) : 4096;
//     parse_rope(keys, config);
//   }
//   static void write_mistral(const Config& config, JsonWriter& json) {
//     json.field("head_dim", config.head_dim).field("intermediate_size", config.intermediate_size);
//     write_size_or_null(json, "sliding_window", config.sliding_window);
//   }
//   const Architecture kMistral = {"MistralForCausalLM", "mistral", parse_mistral, write_mistral, {},
//                                  {.max_position_embeddings = 131072}};
// A key that `parse` does not ask for is an Error by itself (check_all_read). A part that the decoder lacks is a field of
// Config, its step in forward.cpp and backward.cpp, its weights in weights.cpp, and a gradient test.
#pragma once
#include <functional>
#include <set>
#include <span>
#include <string>
#include <string_view>

#include "model/config.h"

namespace ds {

// Reads the keys of one object with messages that name file and key, and remembers which were asked for. A key that is
// null counts as absent, but for has().
class ConfigReader {
 public:
  // `spellings` are keys that the architecture calls otherwise (ours, theirs); a file may have either.
  using Spellings = std::span<const std::pair<std::string_view, std::string_view>>;
  ConfigReader(const Json& json, std::string where, Spellings spellings = {})
      : json_(json), where_(std::move(where)), spellings_(spellings) {}
  const Json* find(std::string_view key) const;
  bool has(std::string_view key) const;                                // null too
  std::string at(std::string_view key) const;                          // "config.json: key"
  int64_t size(std::string_view key) const;                            // required; 1 .. 2^30
  int64_t size_or(std::string_view key, int64_t fallback) const;       // absent: fallback; else 1 .. 2^30
  int64_t count_or(std::string_view key, int64_t fallback) const;      // absent: fallback; else 0 .. 2^30
  double positive_or(std::string_view key, double fallback) const;     // absent: fallback; else 1e-30 .. 1e30, so a float too
  bool flag_or(std::string_view key, bool fallback) const;
  std::string string_or(std::string_view key, const std::string& fallback) const;
  // Error unless the key is absent, or is what is supported.
  void only_flag(std::string_view key, bool supported) const;
  void only_text(std::string_view key, std::string_view supported) const;
  void only_number(std::string_view key, double supported) const;
  // Marks a key as known that cannot change the result, whatever it says.
  void ignore(std::string_view key) const { known_.emplace(spelling(key)); }
  // Error for a key that nobody asked for, unless it is null, false or empty, or cannot change the result.
  void check_all_read() const;

 private:
  std::string_view spelling(std::string_view key) const;

  const Json& json_;
  std::string where_;
  Spellings spellings_;
  mutable std::set<std::string, std::less<>> known_;
};

// Where an architecture puts its experts; all else is named alike. Prefixes follow "model.layers.N.".
struct ExpertNames {
  std::string_view router = "mlp.gate.weight";
  std::string_view experts = "mlp.experts.";
  std::string_view gate = "gate_proj", up = "up_proj", down = "down_proj";
};

// A tensor of a file that is named or laid out otherwise than ours: some of ours, one below the other, or with `transposed`
// beside each other as [inputs, outputs]. Names follow those of `layers` and the layer's number, or `root`.
struct StoredWeight {
  std::string_view stored;
  std::string_view ours[3];                               // "": none
  bool transposed = false;
};
// Where a file has one of our weights: as part `index` of `count`.
struct StoredPlace {
  std::string name;
  size_t index = 0, count = 1;
  bool transposed = false;
};

// What transformers takes where config.json lacks the key. 0: there is none, and the key is required.
struct Defaults {
  int64_t vocab_size = 0, num_attention_heads = 0;
  int64_t num_key_value_heads = 0;                        // 0: num_attention_heads
  int64_t head_dim = 0;                                   // 0: hidden_size / num_attention_heads
  int64_t max_position_embeddings = 2048;
  float rms_norm_eps = 1e-6f;
  double rope_theta = 10000.0;
  bool tie_word_embeddings = false;
};

struct Architecture {
  std::string_view name;                                  // "DeepseekV3ForCausalLM"
  std::string_view model_type;                            // "deepseek_v3"
  void (*parse)(const ConfigReader& keys, Config& config);     // its own keys; the common ones are read before
  void (*write)(const Config& config, JsonWriter& json);
  ExpertNames names = {};
  Defaults defaults = {};
  // The multimodal architecture whose text_config is of this one, where there is one. Its files may begin the names of
  // the text model's weights with one of `prefixes` ("X." for ours "Y.", as pairs X, Y), and have others that begin with
  // one of `ignored`.
  std::string_view multimodal_name = {}, multimodal_type = {};
  std::span<const std::pair<std::string_view, std::string_view>> prefixes = {};
  std::span<const std::string_view> ignored = {};
  // An architecture with conventions of its own (GPT-2): keys of config.json, how names begin in files (a base model's leave
  // `root` out), its tensors (all but the head's), and how names end of what is no weight (old files' masks).
  ConfigReader::Spellings spellings = {};
  std::string_view root = "model.", layers = "model.layers.";
  std::span<const StoredWeight> tensors = {};
  std::span<const std::string_view> buffers = {};
};

extern const Architecture kDeepseekV3, kDeepseekV2, kLlama, kMistral, kQwen2, kQwen3, kQwen3Moe, kMixtral, kOlmoe, kGemma2, kGemma3, kGpt2;
std::span<const Architecture* const> architectures();
const Architecture& architecture_of(const Config& config);
// Where files of an architecture have the weight that for_each_weight calls `name`.
StoredPlace stored_place(const Architecture& row, const std::string& name);

// Multi-head attention's sizes (head_dim, num_key_value_heads), read alike by all architectures that have it.
void parse_multi_head(const ConfigReader& keys, Config& config);
// layer_types, where the file has them; else `kind` of each layer. Error where one slides and no window is set.
void parse_layer_types(const ConfigReader& keys, const std::function<LayerType(int64_t layer)>& kind, Config& config);
void write_layer_types(const Config& config, JsonWriter& json);
// The activation under this key: silu, and GELU in the tanh form or the exact one.
Activation parse_activation(const ConfigReader& keys, std::string_view key, std::string_view fallback);
std::string_view activation_name(Activation activation);
// The scale of q.k without position scaling: head_dim^-0.5.
float plain_attention_scale(int64_t head_dim);

// rope_theta and rope_scaling (v4), or rope_parameters (v5; of full_attention and sliding_attention where the
// architecture has a base for each).
void parse_rope(const ConfigReader& keys, Config& config);
void write_rope(const Config& config, JsonWriter& json);

// A number that transformers declares as float: "1.0", for it refuses "1". A size, or null where it is 0.
void write_real(JsonWriter& json, std::string_view key, double value);
void write_real(JsonWriter& json, std::string_view key, float value);
void write_real_or_null(JsonWriter& json, std::string_view key, float value);
void write_size_or_null(JsonWriter& json, std::string_view key, int64_t value);

// Models of ours (arch_ds.cpp): model_type "ds", base_model_type the row that they follow, and keys of their own beside its.
constexpr std::string_view kDsName = "DsForCausalLM", kDsType = "ds";
bool is_ds(const Config& config);  // whether it has what only such a model has
void parse_ds(const ConfigReader& keys, Config& config);
void write_ds(const Config& config, JsonWriter& json);
// Routers and attention among experts (router_config.cpp).
bool has_router_keys(const Config& config);
void parse_router_keys(const ConfigReader& keys, Config& config);
void write_router_keys(const Config& config, JsonWriter& json);
// Attention patterns (attention_pattern_config.cpp).
bool has_attention_keys(const Config& config);
void parse_attention_keys(const ConfigReader& keys, Config& config);
void write_attention_keys(const Config& config, JsonWriter& json);

// The experts' keys after parsing: group sizes divide, top_k fits. `where` begins the Error.
void check_router(const Config& config, const std::string& where);

}  // namespace ds
