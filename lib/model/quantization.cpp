#include "model/quantization.h"

#include "base/error.h"
#include "model/architecture.h"

namespace ds {

using Format = Quantization::Format;

static int64_t group_size_of(const ConfigReader& keys, std::string_view key, int64_t fallback) {
  const Json* size = keys.find(key);
  const int64_t value = size ? size->as_int(keys.at(key)) : fallback;
  require(value == -1 || (value > 0 && value <= (int64_t{1} << 30)), keys.at(key), " is ", value,
          "; it has to be positive, or -1 for whole rows");
  return value;
}

static std::vector<std::string> strings_of(const ConfigReader& keys, std::string_view key) {
  std::vector<std::string> all;
  if (const Json* list = keys.find(key)) {
    require(list->type == Json::Type::array, keys.at(key), " is not a list");
    for (const Json& name : list->items) all.push_back(name.as_string(keys.at(key)));
  }
  return all;
}

// Marks keys that say how the weights were made, or which modules are quantized (the weights say that), and refuses all
// others that are set and that nobody asked for.
static void check_rest(const ConfigReader& keys, std::initializer_list<std::string_view> harmless) {
  for (const std::string_view key : harmless) keys.ignore(key);
  keys.check_all_read();
}

// ---- AWQ and GPTQ ----

static void parse_awq(const ConfigReader& keys, Quantization& q) {
  q.format = Format::awq;
  q.bits = static_cast<int>(keys.size_or("bits", keys.size_or("w_bit", 4)));
  require(q.bits == 4, keys.at("bits"), " is ", q.bits, "; only 4 is supported for awq");
  q.group_size = group_size_of(keys, keys.find("group_size") ? "group_size" : "q_group_size", 128);
  keys.only_flag("zero_point", true);
  const std::string format = keys.string_or("version", keys.string_or("format", "gemm"));
  require(format == "gemm" || format == "GEMM", keys.at("version"), " is \"", format, "\"; only \"gemm\" is supported");
  q.modules_to_not_convert = strings_of(keys, "modules_to_not_convert");
  check_rest(keys, {"quant_method", "bits", "w_bit", "group_size", "q_group_size", "format", "version", "backend", "do_fuse",
                    "fuse_max_seq_len", "modules_to_fuse", "exllama_config", "lm_head", "desc_act", "sym", "meta", "true_sequential",
                    "pack_dtype", "damp_percent", "checkpoint_format", "n_samples", "calib_data"});
}

static void parse_gptq(const ConfigReader& keys, Quantization& q) {
  q.format = Format::gptq;
  q.bits = static_cast<int>(keys.size("bits"));
  require(q.bits == 4 || q.bits == 8, keys.at("bits"), " is ", q.bits, "; 4 and 8 are supported for gptq");
  q.group_size = group_size_of(keys, "group_size", 128);
  q.symmetric = keys.flag_or("sym", true);
  q.reordered = keys.flag_or("desc_act", false);
  const std::string key = keys.find("checkpoint_format") ? "checkpoint_format" : "format";
  const std::string version = keys.string_or(key, "gptq");
  require(version == "gptq" || version == "gptq_v2", keys.at(key), " is \"", version, "\"; gptq and gptq_v2 are supported");
  q.zeros_less_one = version == "gptq";
  keys.only_text("pack_dtype", "int32");
  check_rest(keys, {"quant_method", "format", "lm_head", "damp_percent", "damp_auto_increment", "true_sequential", "static_groups",
                    "model_name_or_path", "model_file_base_name", "meta", "dataset", "tokenizer", "batch_size", "block_name_to_quantize",
                    "module_name_preceding_first_block", "modules_in_block_to_quantize", "modules_to_not_convert", "cache_block_outputs",
                    "model_seqlen", "max_input_length", "pad_token_id", "use_cuda_fp16", "use_exllama", "disable_exllama", "exllama_config",
                    "use_exllama_v2", "backend", "group_aware", "act_group_aware", "mse", "hyb_act", "modules_to_convert"});
}

// ---- compressed-tensors ----

// input_activations: absent, or rounded at run time, a row of them by itself.
static bool has_dynamic_activations(const ConfigReader& group, const char* type) {
  const Json* value = group.find("input_activations");
  if (!value) return false;
  const ConfigReader keys(*value, group.at("input_activations"));
  require(value->type == Json::Type::object, group.at("input_activations"), " is not an object");
  require(keys.size_or("num_bits", 8) == 8, keys.at("num_bits"), " is not 8, which is all that is supported");
  keys.only_text("type", type);
  keys.only_flag("symmetric", true);
  const Json* dynamic = keys.find("dynamic");
  require(dynamic && dynamic->type == Json::Type::boolean && dynamic->boolean, keys.at("dynamic"),
          " is not true: scales of activations that are fixed in the file (input_scale) are not supported");
  check_rest(keys, {"strategy", "observer", "observer_kwargs", "group_size", "block_structure", "actorder", "scale_dtype", "zp_dtype"});
  return true;
}

static void parse_order(const ConfigReader& weights, Quantization& q) {
  const Json* order = weights.find("actorder");
  if (!order || order->type == Json::Type::boolean) {
    q.reordered = order && order->boolean;
    return;
  }
  const std::string name = order->as_string(weights.at("actorder"));
  q.reordered = name == "group" || name == "dynamic";
  require(q.reordered || name == "weight" || name == "static", weights.at("actorder"), " is \"", name,
          "\"; group, dynamic, weight and static are supported");
}

static void parse_strategy(const ConfigReader& weights, Quantization& q) {
  const bool grouped = weights.find("group_size") != nullptr;
  const std::string strategy = weights.string_or("strategy", grouped ? "group" : "tensor");
  q.group_size = -1;
  if (strategy == "group") {
    require(grouped, weights.at("group_size"), " is missing");
    q.group_size = group_size_of(weights, "group_size", 0);
  } else if (strategy == "tensor") {
    q.group_rows = -1;
  } else if (strategy == "block" && q.format == Format::f8_e4m3) {
    const Json* block = weights.find("block_structure");
    require(block && block->type == Json::Type::array && block->items.size() == 2, weights.at("block_structure"),
            " has to be a list of two numbers");
    q.group_rows = block->items[0].as_int(weights.at("block_structure"));
    q.group_size = block->items[1].as_int(weights.at("block_structure"));
    require(q.group_rows > 0 && q.group_size > 0, weights.at("block_structure"), " has to be positive");
  } else {
    require(strategy == "channel", weights.at("strategy"), " is \"", strategy, "\", which is not supported for this format");
  }
}

static void parse_compressed_tensors(const ConfigReader& keys, Quantization& q) {
  const Json* groups = keys.find("config_groups");
  require(groups && groups->type == Json::Type::object && groups->members.size() == 1, keys.at("config_groups"),
          " has to have one group of modules; several are not supported");
  const std::string group_at = cat(keys.at("config_groups"), ": ", groups->members[0].first);
  require(groups->members[0].second.type == Json::Type::object, group_at, " is not an object");
  const ConfigReader group(groups->members[0].second, group_at);
  const std::string format = group.string_or("format", keys.string_or("format", ""));
  const Json* json = group.find("weights");
  require(json && json->type == Json::Type::object, group.at("weights"), " is missing");
  const ConfigReader weights(*json, group.at("weights"));
  const std::string type = weights.string_or("type", "int");
  q.bits = static_cast<int>(weights.size_or("num_bits", 8));
  q.symmetric = weights.flag_or("symmetric", true);
  if (format == "pack-quantized") {
    q.format = Format::packed;
    require(type == "int" && (q.bits == 4 || q.bits == 8), weights.at("num_bits"), " is ", q.bits, " of type \"", type,
            "\"; 4 and 8 of type int are supported for ", format);
  } else if (format == "int-quantized") {
    q.format = Format::int8;
    require(type == "int" && q.bits == 8, weights.at("num_bits"), " is ", q.bits, " of type \"", type,
            "\"; 8 of type int is supported for ", format);
  } else if (format == "float-quantized") {
    q.format = Format::f8_e4m3;
    require(type == "float" && q.bits == 8 && q.symmetric, weights.at("num_bits"), " is ", q.bits, " of type \"", type,
            "\"; 8 of type float, symmetric, is supported for ", format);
  } else {
    fail(keys.at("format"), " is \"", format, "\"; pack-quantized, int-quantized and float-quantized are supported");
  }
  parse_strategy(weights, q);
  parse_order(weights, q);
  require(!q.reordered || q.format == Format::packed, weights.at("actorder"), " is not supported for ", format);
  const bool rounded = has_dynamic_activations(group, q.format == Format::f8_e4m3 ? "float" : "int");
  q.int8_activations = rounded && q.format != Format::f8_e4m3;
  if (const Json* sparsity = keys.find("sparsity_config"); sparsity && !sparsity->members.empty())
    ConfigReader(*sparsity, keys.at("sparsity_config")).only_text("format", "dense");
  keys.only_text("quantization_status", "compressed");
  check_rest(weights, {"observer", "observer_kwargs", "dynamic", "block_structure", "group_size", "scale_dtype", "zp_dtype"});
  check_rest(group, {"targets", "format"});
  check_rest(keys, {"quant_method", "format", "ignore", "global_compression_ratio", "version", "run_compressed"});
}

// ---- 8-bit floats ----

static void parse_fp8(const ConfigReader& keys, Quantization& q) {
  q.format = Format::f8_e4m3;
  q.bits = 8;
  q.symmetric = true;
  keys.only_text("fmt", "e4m3");
  keys.only_text("activation_scheme", "dynamic");
  q.group_size = q.group_rows = -1;
  if (const Json* block = keys.find("weight_block_size")) {
    require(block->type == Json::Type::array && block->items.size() == 2, keys.at("weight_block_size"),
            " has to be a list of two numbers");
    q.group_rows = block->items[0].as_int(keys.at("weight_block_size"));
    q.group_size = block->items[1].as_int(keys.at("weight_block_size"));
    require(q.group_rows > 0 && q.group_size > 0 && q.group_rows <= (1 << 30) && q.group_size <= (1 << 30),
            keys.at("weight_block_size"), " has to be positive");
  }
  check_rest(keys, {"quant_method", "scale_fmt", "modules_to_not_convert", "ignored_layers", "ignore", "dequantize"});
}

Quantization parse_quantization(const Json& json, const std::string& where, const std::string& method) {
  require(json.type == Json::Type::object, where, " is not an object");
  const ConfigReader keys(json, where);
  Quantization q;
  q.method = keys.string_or("quant_method", method);
  if (q.method == "awq") parse_awq(keys, q);
  else if (q.method == "gptq") parse_gptq(keys, q);
  else if (q.method == "compressed-tensors") parse_compressed_tensors(keys, q);
  else if (q.method == "fp8") parse_fp8(keys, q);
  else fail(keys.at("quant_method"), " is \"", q.method, "\"; awq, gptq, compressed-tensors and fp8 are supported");
  return q;
}

// ---- Writing ----

void write_quantization(const Quantization& q, JsonWriter& json) {
  require(q.format == Format::awq, "weights in the format of \"", q.method, "\" are read only: only awq is written");
  json.open('{', "quantization_config");
  json.field("quant_method", q.method).field("bits", static_cast<int64_t>(q.bits)).field("group_size", q.group_size);
  json.field("zero_point", true).field("version", "gemm").key("modules_to_not_convert");
  if (q.modules_to_not_convert.empty()) {
    json.null();
  } else {
    json.open('[');
    for (const std::string& name : q.modules_to_not_convert) json.value(name);
    json.close();
  }
  json.close();
}

}  // namespace ds
