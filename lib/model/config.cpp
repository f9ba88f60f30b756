#include "model/config.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "base/error.h"
#include "base/sizes.h"
#include "io/input.h"
#include "model/architecture.h"
#include "model/load_gguf.h"

namespace ds {

constexpr int64_t kMaxSize = int64_t{1} << 30;
constexpr int64_t kMaxLayers = 4096, kMaxExperts = 65536;

// ---- The rows ----

std::span<const Architecture* const> architectures() {
  static const Architecture* const all[] = {&kDeepseekV3, &kDeepseekV2, &kLlama,   &kMistral, &kQwen2,  &kQwen3,
                                            &kQwen3Moe,   &kMixtral,    &kOlmoe, &kGemma2,  &kGemma3, &kGpt2};
  return all;
}
const Architecture& architecture_of(const Config& config) {
  for (const Architecture* row : architectures())
    if (row->name == config.architecture) return *row;
  fail("the architecture \"", config.architecture, "\" is not known");
}

// The row of a file, and whether it is the multimodal one whose text_config is of that row.
static std::pair<const Architecture*, bool> find_architecture(const ConfigReader& keys) {
  std::string known, name, model_type = keys.string_or("model_type", "");
  if (const Json* names = keys.find("architectures")) {
    require(names->type == Json::Type::array && names->items.size() == 1, keys.at("architectures"),
            " has to be a list of one name");
    name = names->items[0].as_string(keys.at("architectures"));
  }
  const bool ds = name == kDsName || (name.empty() && model_type == kDsType);
  if (ds) {
    model_type = keys.string_or("base_model_type", "");
    name.clear();
  }
  const auto is = [&](std::string_view row_name, std::string_view row_type) {
    return !row_name.empty() && (name.empty() ? row_type == model_type : row_name == name);
  };
  for (const Architecture* row : architectures()) {
    if (is(row->name, row->model_type)) return {row, false};
    if (!ds && is(row->multimodal_name, row->multimodal_type)) return {row, true};
    known += cat(known.empty() ? "" : ", ", row->name);
  }
  if (ds) fail(keys.at("base_model_type"), " is \"", shown(model_type), "\"; known are the model_types of ", known);
  if (name.empty()) fail(keys.at("model_type"), " is \"", model_type, "\" and architectures is missing; known are ", known);
  fail(keys.at("architectures"), " is \"", shown(name), "\"; known are ", known);
}

float plain_attention_scale(int64_t head_dim) { return static_cast<float>(1.0 / std::sqrt(static_cast<double>(head_dim))); }

void parse_multi_head(const ConfigReader& keys, Config& config) {
  const int64_t fallback = keys.has("num_key_value_heads") ? 0 : config.num_key_value_heads;
  config.num_key_value_heads = keys.size_or("num_key_value_heads", fallback ? fallback : config.num_attention_heads);
  require(config.num_attention_heads % config.num_key_value_heads == 0, keys.at("num_key_value_heads"), " is ",
          config.num_key_value_heads, ", which does not divide num_attention_heads ", config.num_attention_heads);
  config.head_dim = keys.size_or("head_dim", config.head_dim);
  if (config.head_dim == 0) {
    require(config.hidden_size % config.num_attention_heads == 0, keys.at("num_attention_heads"),
            " does not divide hidden_size, and head_dim is missing");
    config.head_dim = config.hidden_size / config.num_attention_heads;
  }
  config.v_head_dim = config.head_dim;
  config.attention_scale = plain_attention_scale(config.head_dim);
}

// ---- Layers ----

constexpr std::string_view kLayerTypeNames[] = {"full_attention", "sliding_attention"};

void parse_layer_types(const ConfigReader& keys, const std::function<LayerType(int64_t layer)>& kind, Config& config) {
  const auto layers = static_cast<size_t>(config.num_hidden_layers);
  config.layer_types.resize(layers);
  const Json* given = keys.find("layer_types");
  require(!given || (given->type == Json::Type::array && given->items.size() == layers), keys.at("layer_types"),
          " has to be a list of the ", layers, " layers' kinds");
  bool slides = false;
  for (size_t i = 0; i < layers; ++i) {
    LayerType& type = config.layer_types[i];
    if (!given) {
      type = kind(static_cast<int64_t>(i));
    } else {
      const std::string& name = given->items[i].as_string(keys.at("layer_types"));
      const auto* const found = std::find(std::begin(kLayerTypeNames), std::end(kLayerTypeNames), name);
      require(found != std::end(kLayerTypeNames), keys.at("layer_types"), " has \"", name,
              "\"; full_attention and sliding_attention are supported");
      type = static_cast<LayerType>(found - std::begin(kLayerTypeNames));
    }
    slides = slides || type == LayerType::sliding_attention;
  }
  require(!slides || config.sliding_window > 0, keys.at("layer_types"), " has sliding layers, and no sliding_window is in use");
  if (!slides) config.sliding_window = 0;
}

void write_layer_types(const Config& config, JsonWriter& json) {
  json.open('[', "layer_types");
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) json.value(kLayerTypeNames[config.is_sliding(i)]);
  json.close();
}

// An architecture that has no layer_types may have the key all the same, if it says what is so anyway.
static void check_layer_types(const ConfigReader& keys, const Config& config) {
  const Json* given = keys.find("layer_types");
  if (!given || !config.layer_types.empty()) return;
  require(given->type == Json::Type::array, keys.at("layer_types"), " is not a list");
  for (const Json& one : given->items)
    require(one.as_string(keys.at("layer_types")) == kLayerTypeNames[config.sliding_window > 0], keys.at("layer_types"), " has \"",
            one.text, "\"; all layers of this architecture are ", kLayerTypeNames[config.sliding_window > 0]);
}

// ---- Activations ----

Activation parse_activation(const ConfigReader& keys, std::string_view key, std::string_view fallback) {
  const std::string name = keys.string_or(key, std::string(fallback));
  if (name == "silu" || name == "swish") return Activation::silu;
  if (name == "gelu_pytorch_tanh" || name == "gelu_new") return Activation::gelu_tanh;
  if (name == "gelu") return Activation::gelu;
  fail(keys.at(key), " is \"", name, "\"; silu, gelu_pytorch_tanh, gelu_new and gelu are supported");
}
std::string_view activation_name(Activation activation) {
  switch (activation) {
    case Activation::silu: return "silu";
    case Activation::gelu_tanh: return "gelu_pytorch_tanh";
    case Activation::gelu: return "gelu";
  }
  fail("an activation without a name");
}

// ---- Routers ----

void check_router(const Config& config, const std::string& where) {
  const RouterSpec& router = config.router;
  const int64_t experts = config.n_routed_experts;
  require(experts <= kMaxExperts, where, ": ", experts, " experts are more than ", kMaxExperts);
  require(router.n_group >= 1 && experts % router.n_group == 0, where, ": n_group ", router.n_group,
          " does not divide the number of experts ", experts);
  require(router.topk_group >= 1 && router.topk_group <= router.n_group, where, ": topk_group ", router.topk_group,
          " is not between 1 and n_group ", router.n_group);
  const int64_t eligible = experts / router.n_group * router.topk_group;
  require(router.top_k >= 1 && router.top_k <= eligible, where, ": num_experts_per_tok ", router.top_k,
          " is not between 1 and the ", eligible, " experts of the groups that are kept");
  if (router.n_group > 1 && router.group_score == RouterSpec::GroupScore::top2_sum)
    require(experts / router.n_group >= 2, where, ": groups are ranked by their two best experts, and have only one");
}

// ---- Reading ----

static void parse_token_ids(const ConfigReader& keys, Config& config) {
  auto id = [&](const Json& value, std::string_view key) {
    const int64_t number = value.as_int(keys.at(key));
    require(number >= 0 && number < config.vocab_size, keys.at(key), " is ", number, ", outside the vocabulary of ",
            config.vocab_size);
    return static_cast<int32_t>(number);
  };
  if (const Json* bos = keys.find("bos_token_id")) config.bos_token_id = id(*bos, "bos_token_id");
  if (const Json* pad = keys.find("pad_token_id"); pad && pad->text != "-1") config.pad_token_id = id(*pad, "pad_token_id");
  if (const Json* eos = keys.find("eos_token_id")) {
    if (eos->type == Json::Type::array) {
      for (const Json& one : eos->items) config.eos_token_ids.push_back(id(one, "eos_token_id"));
    } else {
      config.eos_token_ids.push_back(id(*eos, "eos_token_id"));
    }
    if (!config.eos_token_ids.empty()) config.eos_token_id = config.eos_token_ids[0];
  }
}

static void start_from(const Defaults& defaults, const ConfigReader& keys, Config& config) {
  const auto size = [&](std::string_view key, int64_t fallback) { return fallback ? keys.size_or(key, fallback) : keys.size(key); };
  config.vocab_size = size("vocab_size", defaults.vocab_size);
  config.num_attention_heads = size("num_attention_heads", defaults.num_attention_heads);
  config.num_key_value_heads = defaults.num_key_value_heads;
  config.head_dim = defaults.head_dim;
  config.max_position_embeddings = keys.size_or("max_position_embeddings", defaults.max_position_embeddings);
  config.rms_norm_eps = static_cast<float>(keys.positive_or("rms_norm_eps", static_cast<double>(defaults.rms_norm_eps)));
  config.rope_theta = defaults.rope_theta;
  config.tie_word_embeddings = keys.flag_or("tie_word_embeddings", defaults.tie_word_embeddings);
}

static Config parse_text_model(const Architecture& row, const Json& json, const std::string& where) {
  const ConfigReader keys(json, where, row.spellings);
  Config config;
  config.architecture = row.name;
  config.model_type = row.model_type;
  config.hidden_size = keys.size("hidden_size");
  config.num_hidden_layers = keys.size("num_hidden_layers");
  require(config.num_hidden_layers <= kMaxLayers, keys.at("num_hidden_layers"), " is ", config.num_hidden_layers,
          "; at most ", kMaxLayers, " are supported");
  start_from(row.defaults, keys, config);
  config.initializer_range = keys.positive_or("initializer_range", 0.02);
  config.hidden_act = parse_activation(keys, "hidden_act", "silu");
  keys.only_number("partial_rotary_factor", 1);
  parse_token_ids(keys, config);
  row.parse(keys, config);
  if (keys.string_or("model_type", "") == kDsType) parse_ds(keys, config);
  check_layer_types(keys, config);
  require(config.positions != Positions::rope || config.rope_dim() % 2 == 0, where, ": heads are rotated in pairs of columns, and have ", config.rope_dim());
  if (config.n_routed_experts > 0) check_router(config, where);
  if (const Json* q = keys.find("quantization_config")) config.quantization = parse_quantization(*q, keys.at("quantization_config"));
  keys.check_all_read();
  return config;
}

// A multimodal file: text_config, and what the outer keys say of the text model.
static Config parse_multimodal(const Architecture& row, const ConfigReader& keys) {
  const Json* inner = keys.find("text_config");
  require(inner && inner->type == Json::Type::object, keys.at("text_config"), " has to be an object");
  Json text = *inner;
  // The outer model has the head, and the inner one everything else.
  if (const Json* tied = keys.find("tie_word_embeddings")) text.members.emplace_back("tie_word_embeddings", *tied);
  for (const char* key : {"bos_token_id", "eos_token_id", "pad_token_id", "initializer_range", "dtype", "torch_dtype", "quantization_config"})
    if (const Json* value = keys.find(key); value && !inner->find(key)) text.members.emplace_back(key, *value);
  for (const char* key : {"vision_config", "mm_tokens_per_image", "boi_token_index", "eoi_token_index", "image_token_index"})
    keys.ignore(key);
  keys.check_all_read();
  const std::string at = keys.at("text_config");
  return parse_text_model(row, text, at);
}

Config parse_config(const Json& json, const std::string& where) {
  require(json.type == Json::Type::object, where, ": a model's configuration is a JSON object");
  const ConfigReader keys(json, where);
  const auto [row, multimodal] = find_architecture(keys);
  return multimodal ? parse_multimodal(*row, keys) : parse_text_model(*row, json, where);
}

Config load_config(const std::string& path) {
  if (is_gguf(path)) return gguf_config(GgufFile(path));
  const std::filesystem::path folder(path);
  const bool is_folder = std::filesystem::is_directory(folder);
  const std::string file = is_folder ? (folder / "config.json").string() : path;
  Config config = parse_config(is_folder ? parse_json_file(file, kMaxConfigBytes) : parse_json_file(file), file);
  if (is_folder && !config.quantization.bits) {
    // As AutoAWQ and AutoGPTQ wrote it before it moved into config.json.
    for (const auto& [name, method] : {std::pair{"quant_config.json", "awq"}, {"quantize_config.json", "gptq"}}) {
      const std::string beside = (folder / name).string();
      if (std::filesystem::exists(beside)) config.quantization = parse_quantization(parse_json_file(beside, kMaxConfigBytes), beside, method);
    }
  }
  return config;
}

// ---- Writing ----

static void write_digits(JsonWriter& json, std::string_view key, std::string digits) {
  if (digits.find_first_of(".eE") == std::string::npos) digits += ".0";
  json.key(key).raw(digits);
}
void write_real(JsonWriter& json, std::string_view key, double value) { write_digits(json, key, json_number(value)); }
void write_real(JsonWriter& json, std::string_view key, float value) { write_digits(json, key, json_number(value)); }

void write_real_or_null(JsonWriter& json, std::string_view key, float value) {
  if (value != 0) write_real(json, key, value);
  else json.key(key).null();
}
void write_size_or_null(JsonWriter& json, std::string_view key, int64_t value) {
  if (value) json.field(key, value);
  else json.key(key).null();
}

static std::string_view torch_name(DType dtype) {
  switch (dtype) {
    case DType::f32: return "float32";
    case DType::f16: return "float16";
    case DType::bf16: return "bfloat16";
    default: fail("a model is written as f32, f16 or bf16, not as ", dtype_name(dtype));
  }
}

static void write_token_ids(const Config& config, JsonWriter& json) {
  auto id = [&](std::string_view key, int32_t value) {
    if (value >= 0) json.field(key, static_cast<int64_t>(value));
    else json.key(key).null();
  };
  id("bos_token_id", config.bos_token_id);
  if (config.eos_token_ids.size() > 1) {
    json.open('[', "eos_token_id");
    for (const int32_t eos : config.eos_token_ids) json.value(static_cast<int64_t>(eos));
    json.close();
  } else {
    id("eos_token_id", config.eos_token_id);
  }
  id("pad_token_id", config.pad_token_id);
}

std::string config_json(const Config& config, DType dtype) {
  const Architecture& row = architecture_of(config);
  const auto key = [&](std::string_view ours) {
    for (const auto& [name, theirs] : row.spellings)
      if (name == ours) return theirs;
    return ours;
  };
  JsonWriter json(2);
  json.open('{');
  const bool ds = is_ds(config);
  json.open('[', "architectures").value(ds ? std::string(kDsName) : config.architecture).close();
  json.field("model_type", ds ? std::string(kDsType) : config.model_type);
  if (ds) json.field("base_model_type", config.model_type);
  json.field("vocab_size", config.vocab_size).field(key("hidden_size"), config.hidden_size);
  json.field(key("num_hidden_layers"), config.num_hidden_layers).field(key("num_attention_heads"), config.num_attention_heads);
  if (row.spellings.empty()) json.field("num_key_value_heads", config.num_key_value_heads);
  json.field(key("max_position_embeddings"), config.max_position_embeddings);
  json.field("tie_word_embeddings", config.tie_word_embeddings).field("use_cache", true);
  json.field(key("hidden_act"), activation_name(config.hidden_act));
  write_real(json, key("rms_norm_eps"), config.rms_norm_eps);
  write_real(json, "initializer_range", config.initializer_range);
  write_real(json, key("attention_dropout"), 0.0);
  write_token_ids(config, json);
  row.write(config, json);
  if (ds) write_ds(config, json);
  if (config.positions == Positions::rope) write_rope(config, json);
  json.field("dtype", torch_name(dtype)).field("torch_dtype", torch_name(dtype));
  if (config.quantization.bits) write_quantization(config.quantization, json);
  json.close();
  return json.text + "\n";
}

}  // namespace ds
