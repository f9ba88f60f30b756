#include "model/config.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "base/error.h"
#include "base/sizes.h"
#include "model/architecture.h"
#include "model/load_gguf.h"

namespace ds {

constexpr int64_t kMaxSize = int64_t{1} << 30;  // of any one dimension: products of two stay far from overflow
constexpr int64_t kMaxLayers = 4096, kMaxExperts = 65536;

// ---- ConfigReader ----

const Json* ConfigReader::find(std::string_view key) const {
  const Json* value = json_.find(key);
  return value && value->type != Json::Type::null ? value : nullptr;
}
std::string ConfigReader::at(std::string_view key) const { return cat(where_, ": ", key); }

static int64_t in_range(int64_t value, int64_t low, const std::string& at) {
  require(value >= low && value <= kMaxSize, at, " is ", value, "; it has to be from ", low, " to ", kMaxSize);
  return value;
}
int64_t ConfigReader::size(std::string_view key) const {
  const Json* value = find(key);
  require(value, at(key), " is missing");
  return in_range(value->as_int(at(key)), 1, at(key));
}
int64_t ConfigReader::size_or(std::string_view key, int64_t fallback) const { return find(key) ? size(key) : fallback; }
int64_t ConfigReader::count_or(std::string_view key, int64_t fallback) const {
  const Json* value = find(key);
  return value ? in_range(value->as_int(at(key)), 0, at(key)) : fallback;
}
double ConfigReader::positive_or(std::string_view key, double fallback) const {
  const Json* value = find(key);
  if (!value) return fallback;
  const double number = value->as_double(at(key));
  require(std::isfinite(number) && number > 0, at(key), " is ", number, "; it has to be positive");
  return number;
}
bool ConfigReader::flag_or(std::string_view key, bool fallback) const {
  const Json* value = find(key);
  return value ? value->as_bool(at(key)) : fallback;
}
std::string ConfigReader::string_or(std::string_view key, const std::string& fallback) const {
  const Json* value = find(key);
  return value ? value->as_string(at(key)) : fallback;
}
void ConfigReader::only_flag(std::string_view key, bool supported) const {
  require(flag_or(key, supported) == supported, at(key), " is ", supported ? "false" : "true", "; only ",
          supported ? "true" : "false", " is supported for this architecture");
}
void ConfigReader::only_text(std::string_view key, std::string_view supported) const {
  const std::string value = string_or(key, std::string(supported));
  require(value == supported, at(key), " is \"", value, "\"; only \"", supported, "\" is supported");
}
void ConfigReader::only_null(std::string_view key) const {
  require(!find(key), at(key), " is set, and not supported: only null is");
}

// ---- The rows ----

std::span<const Architecture* const> architectures() {
  static const Architecture* const all[] = {&kDeepseekV3, &kDeepseekV2, &kLlama,   &kQwen2,
                                          &kQwen3,      &kQwen3Moe,   &kMixtral, &kOlmoe};
  return all;
}
const Architecture& architecture_of(const Config& config) {
  for (const Architecture* row : architectures())
    if (row->name == config.architecture) return *row;
  fail("the architecture \"", config.architecture, "\" is not known");
}

static const Architecture& find_architecture(const ConfigReader& keys) {
  std::string known, name, model_type = keys.string_or("model_type", "");
  if (const Json* names = keys.find("architectures")) {
    require(names->type == Json::Type::array && names->items.size() == 1, keys.at("architectures"),
            " has to be a list of one name");
    name = names->items[0].as_string(keys.at("architectures"));
  }
  for (const Architecture* row : architectures()) {
    if (name.empty() ? row->model_type == model_type : row->name == name) return *row;
    known += cat(known.empty() ? "" : ", ", row->name);
  }
  if (name.empty()) fail(keys.at("model_type"), " is \"", model_type, "\" and architectures is missing; known are ", known);
  fail(keys.at("architectures"), " is \"", name, "\"; known are ", known);
}

float plain_attention_scale(int64_t head_dim) { return static_cast<float>(1.0 / std::sqrt(static_cast<double>(head_dim))); }

void parse_multi_head(const ConfigReader& keys, Config& config) {
  config.num_key_value_heads = keys.size_or("num_key_value_heads", config.num_attention_heads);
  require(config.num_attention_heads % config.num_key_value_heads == 0, keys.at("num_key_value_heads"), " is ",
          config.num_key_value_heads, ", which does not divide num_attention_heads ", config.num_attention_heads);
  if (!keys.find("head_dim"))
    require(config.hidden_size % config.num_attention_heads == 0, keys.at("num_attention_heads"),
            " does not divide hidden_size, and head_dim is missing");
  config.head_dim = config.v_head_dim = keys.size_or("head_dim", config.hidden_size / config.num_attention_heads);
  config.attention_scale = plain_attention_scale(config.head_dim);
}

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

Config parse_config(const Json& json, const std::string& where) {
  require(json.type == Json::Type::object, where, ": a model's configuration is a JSON object");
  const ConfigReader keys(json, where);
  const Architecture& row = find_architecture(keys);
  Config config;
  config.architecture = row.name;
  config.model_type = row.model_type;
  config.vocab_size = keys.size("vocab_size");
  config.hidden_size = keys.size("hidden_size");
  config.num_hidden_layers = keys.size("num_hidden_layers");
  require(config.num_hidden_layers <= kMaxLayers, keys.at("num_hidden_layers"), " is ", config.num_hidden_layers,
          "; at most ", kMaxLayers, " are supported");
  config.max_position_embeddings = keys.size_or("max_position_embeddings", 2048);
  config.num_attention_heads = keys.size("num_attention_heads");
  config.rms_norm_eps = static_cast<float>(keys.positive_or("rms_norm_eps", 1e-6));
  config.tie_word_embeddings = keys.flag_or("tie_word_embeddings", false);
  config.initializer_range = keys.positive_or("initializer_range", 0.02);
  keys.only_text("hidden_act", "silu");
  config.hidden_act = Activation::silu;
  const Json* rotary = keys.find("partial_rotary_factor");
  require(!rotary || rotary->as_double(keys.at("partial_rotary_factor")) == 1, keys.at("partial_rotary_factor"),
          " is not 1, which is all that is supported");
  if (const Json* layers = keys.find("layer_types")) {
    require(layers->type == Json::Type::array, keys.at("layer_types"), " is not a list");
    for (const Json& kind : layers->items)
      require(kind.as_string(keys.at("layer_types")) == "full_attention", keys.at("layer_types"), " has \"", kind.text,
              "\"; only \"full_attention\" is supported");
  }
  parse_token_ids(keys, config);
  row.parse(keys, config);
  require(config.rope_dim() % 2 == 0, where, ": heads are rotated in pairs of columns, and have ", config.rope_dim());
  if (config.n_routed_experts > 0) check_router(config, where);
  if (const Json* q = keys.find("quantization_config")) config.quantization = parse_quantization(*q, keys.at("quantization_config"));
  return config;
}

Config load_config(const std::string& path) {
  if (is_gguf(path)) return gguf_config(GgufFile(path));
  const std::filesystem::path folder(path);
  const bool is_folder = std::filesystem::is_directory(folder);
  const std::string file = is_folder ? (folder / "config.json").string() : path;
  Config config = parse_config(parse_json_file(file), file);
  if (is_folder && !config.quantization.bits) {
    // As AutoAWQ and AutoGPTQ wrote it before it moved into config.json.
    for (const auto& [name, method] : {std::pair{"quant_config.json", "awq"}, {"quantize_config.json", "gptq"}}) {
      const std::string beside = (folder / name).string();
      if (std::filesystem::exists(beside)) config.quantization = parse_quantization(parse_json_file(beside), beside, method);
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
  JsonWriter json(2);
  json.open('{');
  json.open('[', "architectures").value(config.architecture).close();
  json.field("model_type", config.model_type);
  json.field("vocab_size", config.vocab_size).field("hidden_size", config.hidden_size);
  json.field("num_hidden_layers", config.num_hidden_layers).field("num_attention_heads", config.num_attention_heads);
  json.field("num_key_value_heads", config.num_key_value_heads);
  json.field("max_position_embeddings", config.max_position_embeddings);
  json.field("tie_word_embeddings", config.tie_word_embeddings).field("hidden_act", "silu").field("use_cache", true);
  write_real(json, "rms_norm_eps", config.rms_norm_eps);
  write_real(json, "initializer_range", config.initializer_range);
  write_real(json, "attention_dropout", 0.0);
  write_token_ids(config, json);
  row.write(config, json);
  write_rope(config, json);
  json.field("dtype", torch_name(dtype)).field("torch_dtype", torch_name(dtype));
  if (config.quantization.bits) write_quantization(config.quantization, json);
  json.close();
  return json.text + "\n";
}

}  // namespace ds
