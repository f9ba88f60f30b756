#include "run/inspect.h"

#include <algorithm>
#include <filesystem>
#include <memory>

#include "base/error.h"
#include "base/sizes.h"
#include "io/gguf.h"
#include "io/input.h"
#include "io/json.h"
#include "io/safetensors.h"
#include "model/architecture.h"
#include "model/binder.h"
#include "model/decoder.h"
#include "run/engine.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace ds {

namespace fs = std::filesystem;

namespace {

// How a matrix product reads a matrix: bits a number, and of quantized ones the numbers of a group and the bytes that a group
// has besides (scale, zero point or minimum).
struct Packed {
  int64_t bits = 0, group = 0, group_bytes = 0;
};
struct Stored {
  std::string dtype;
  std::vector<int64_t> shape;
  uint64_t bytes = 0;
  Packed packed;                    // of GGUF types and floats
};
using StoredTensors = std::map<std::string, Stored, std::less<>>;

// Runs a part of the inspection; what it refuses goes into the list.
template <class F>
void attempt(Inspection& inspection, F part) {
  try {
    part();
  } catch (const SystemError&) {
    throw;
  } catch (const Error& error) {
    const std::string why = error.what();  // parts that read the same file fail alike
    if (std::find(inspection.refused.begin(), inspection.refused.end(), why) == inspection.refused.end()) inspection.refused.push_back(why);
  }
}

Packed packed(GgufType type) {
  const int64_t group = gguf_group_values(type);
  if (group == 0) return {8 * gguf_block_bytes(type)};
  const std::string_view name = gguf_type_name(type);
  const bool four = name.starts_with("Q2") || name.starts_with("Q3") || name.starts_with("Q4"), mins = gguf_has_mins(type);
  return {four ? 4 : 8, group, (gguf_block_values(type) == 256 ? 4 : 2) + (mins ? 4 : four ? 1 : 0)};
}

StoredTensors stored_tensors(const std::string& model) {
  StoredTensors all;
  if (!fs::is_directory(model)) {
    const GgufFile file(model);
    for (const GgufTensor& t : file.tensors()) all[t.name] = {std::string(gguf_type_name(t.type)), t.shape, t.data.size(), packed(t.type)};
    return all;
  }
  const SafetensorsFolder folder(model);
  for (const std::string& name : folder.names()) {
    const StoredTensor& t = *folder.find(name);
    all[name] = {std::string(safetensors_dtype_name(t.dtype)), t.shape, t.data.size(), {static_cast<int64_t>(dtype_bits(t.dtype))}};
  }
  return all;
}

// Whether the folder has a weight: by its name, as the parts of a quantized module, or with all experts in one tensor.
bool has_weight(const StoredTensors& stored, const std::string& name, const std::string& fused) {
  if (stored.contains(name) || (!fused.empty() && stored.contains(fused))) return true;
  if (!name.ends_with(".weight")) return false;
  const std::string module = name.substr(0, name.size() - 6);  // with its dot
  const auto found = stored.lower_bound(module);
  return found != stored.end() && found->first.starts_with(module);
}

// The weights of a folder by our names, without those that no run reads, which are counted.
StoredTensors read_ones(const Config& config, StoredTensors stored, Inspection& inspection) {
  StoredTensors all;
  const bool bare = stored.contains(bare_embedding(config));
  for (auto& [name, tensor] : stored) {
    if (is_ignored(config, name)) {
      ++inspection.ignored_tensors;
      inspection.ignored_bytes += tensor.bytes;
    } else {
      all[our_name(config, name, bare)] = std::move(tensor);
    }
  }
  return all;
}

uint64_t elements(const std::vector<int64_t>& shape) { return static_cast<uint64_t>(checked_elements(shape, "elements of a weight")); }

// Counts parameters, and finds what is missing in a folder of safetensors, where names are those of the table.
void count_weights(const Config& config, const StoredTensors& stored, bool check_names, Inspection& inspection) {
  Weights weights;
  uint64_t missing = 0;
  std::string first_missing;
  for_each_weight(config, weights, [&](const WeightInfo& info, Tensor&) {
    const uint64_t count = elements(info.shape);
    const bool experts = info.shape.size() == 3;
    inspection.parameters += count;
    inspection.active_parameters += experts ? count / static_cast<uint64_t>(info.shape[0]) * static_cast<uint64_t>(config.router.top_k) : count;
    if (!check_names) return;
    const size_t at = info.name.find("{}");
    const std::string prefix = at == std::string::npos ? "" : info.name.substr(0, at);
    const std::string fused = prefix.empty() ? "" : prefix + (info.name == prefix + "{}.down_proj.weight" ? "down_proj" : "gate_up_proj");
    for (int64_t e = 0; e < (experts ? info.shape[0] : 1); ++e) {
      const std::string name = stored_place(config, expert_name(info, e)).name;
      if (has_weight(stored, name, fused)) continue;
      if (missing++ == 0) first_missing = name;
    }
  });
  if (missing) inspection.refused.push_back(cat(missing, " weights are missing, ", first_missing, " first"));
}

// ---- Weights as they are in memory ----

// `count` matrices [n, k] in panels of 16 outputs.
uint64_t panel_bytes(const Packed& p, int64_t count, int64_t n, int64_t k) {
  const auto rows = checked_mul(static_cast<size_t>(count), round_up(static_cast<size_t>(n), 16), "weights");
  const auto steps = round_up(static_cast<size_t>(k), p.group == 0 ? 1 : p.bits == 4 ? 8 : 4);
  const size_t groups = p.group ? (static_cast<size_t>(k) + static_cast<size_t>(p.group) - 1) / static_cast<size_t>(p.group) : 0;
  return checked_mul(rows, steps * static_cast<size_t>(p.bits) / 8 + groups * static_cast<size_t>(p.group_bytes), "weights");
}

constexpr Packed kFloat = {32}, kHalf = {16};

// What split_latent makes of a kv_b_proj.
uint64_t absorbed_bytes(const Config& c, const Packed& kv_b) {
  const Packed& p = kv_b.group ? kHalf : kv_b;
  return panel_bytes(p, c.num_attention_heads, c.kv_lora_rank, c.qk_nope_head_dim) + panel_bytes(p, c.num_attention_heads, c.v_head_dim, c.kv_lora_rank);
}

// How a weight of a folder is stored: by its name, else in one tensor of all experts, else as the parts of a quantized module.
Packed packed(const Config& c, const StoredTensors& stored, const WeightInfo& info) {
  const std::string name = expert_name(info, 0), prefix = info.name.substr(0, info.name.find("{}"));
  const auto at = stored.find(name);
  if (at != stored.end() && at->second.packed.bits != 8) return at->second.packed;
  for (const char* fused : {"gate_up_proj", "down_proj"})
    if (prefix != info.name && stored.contains(prefix + fused)) return stored.find(prefix + fused)->second.packed;
  const Quantization& q = c.quantization;
  const std::string module = name.substr(0, name.size() - std::string_view(".weight").size());
  int64_t scale = 4;
  for (const char* part : {".scales", ".weight_scale"})
    if (const auto found = stored.find(module + part); found != stored.end() && found->second.packed.bits == 16 && found->second.dtype == "F16") scale = 2;
  const bool four = q.bits == 4;
  return {four ? 4 : 8, q.group_size > 0 ? q.group_size : info.shape.back(), scale + (four ? 1 : q.symmetric ? 0 : 4)};
}

// Of a folder, weight by weight.
uint64_t folder_weight_bytes(const Config& c, const StoredTensors& stored) {
  Weights weights;
  uint64_t total = 0;
  for_each_weight(c, weights, [&](const WeightInfo& info, Tensor&) {
    const bool matrix = info.shape.size() > 1, router = info.layer >= 0 && !info.linear;
    if (!matrix || router) {
      total = checked_add(total, checked_mul(elements(info.shape), sizeof(float), "weights"), "weights");
      return;
    }
    const Packed p = packed(c, stored, info);
    const int64_t count = info.shape.size() == 3 ? info.shape[0] : 1;
    total = checked_add(total, panel_bytes(p, count, info.shape[info.shape.size() - 2], info.shape.back()), "weights");
    if (c.is_mla() && info.name.ends_with("kv_b_proj.weight")) total = checked_add(total, absorbed_bytes(c, p), "weights");
  });
  return total;
}

// Of a .gguf file, tensor by tensor.
uint64_t gguf_weight_bytes(const Config& c, const StoredTensors& stored) {
  uint64_t total = 0;
  for (const auto& [name, t] : stored) {
    const bool router = name.ends_with("ffn_gate_inp.weight"), part = name.ends_with("attn_k_b.weight") || name.ends_with("attn_v_b.weight");
    uint64_t bytes = checked_mul(elements(t.shape), sizeof(float), "weights");
    if (t.shape.size() > 1 && !router && !part) bytes = panel_bytes(t.packed, t.shape.size() == 3 ? t.shape[0] : 1, t.shape[t.shape.size() - 2], t.shape.back());
    total = checked_add(total, bytes, "weights");
    if (c.is_mla() && (name.ends_with("attn_kv_b.weight") || name.ends_with("attn_k_b.weight")))
      total = checked_add(total, absorbed_bytes(c, part ? kFloat : t.packed), "weights");
  }
  return total;
}

// To read the embedding or the head, the largest matrices.
uint64_t most_reading_bytes(const Config& c, const StoredTensors& stored) {
  uint64_t most = 0;
  for (const char* name : {"model.embed_tokens.weight", "lm_head.weight", "token_embd.weight", "output.weight"})
    if (const auto at = stored.find(name); at != stored.end())
      most = std::max(most, reading_bytes(c.vocab_size, c.hidden_size, at->second.packed.bits, at->second.packed.group));
  return most;
}

std::string tokenizer_kind(const std::string& model) {
  if (!fs::is_directory(model)) return std::string(GgufFile(model).string_or("tokenizer.ggml.model", ""));
  const fs::path file = fs::path(model) / "tokenizer.json";
  if (!fs::exists(file)) return "";
  const Json json = parse_json_file(file.string(), kMaxTokenizerBytes);
  const Json* const type = json.find("model") ? json.find("model")->find("type") : nullptr;
  return type && type->type == Json::Type::string ? type->text : "unknown";
}

}  // namespace

Inspection inspect(const InspectOptions& options) {
  require(fs::exists(options.model), options.model, ": there is no such model folder or file");
  Inspection result;
  StoredTensors stored;
  attempt(result, [&] { result.config = load_config(options.model); });
  attempt(result, [&] { stored = stored_tensors(options.model); });
  for (const auto& [name, tensor] : stored) result.stored_bytes[tensor.dtype] += tensor.bytes;
  result.tensors = stored.size();
  attempt(result, [&] {
    result.tokenizer = tokenizer_kind(options.model);
    if (!result.tokenizer.empty()) result.tokenizer_tokens = Tokenizer(options.model).vocab_size();
  });
  attempt(result, [&] { result.chat_template = ChatTemplate::load(options.model) != nullptr; });
  if (!result.config) return result;
  const Config& config = *result.config;
  const bool is_folder = fs::is_directory(options.model);
  if (is_folder) stored = read_ones(config, std::move(stored), result);
  if (!stored.empty()) attempt(result, [&] { count_weights(config, stored, is_folder, result); });
  attempt(result, [&] {
    check_context(config, options.context);
    MemoryNeeds needs{.weight_bytes = is_folder ? folder_weight_bytes(config, stored) : gguf_weight_bytes(config, stored),
                      .reading_bytes = most_reading_bytes(config, stored), .tokens = result.tokenizer_tokens, .sequences = options.sequences,
                      .positions = options.context ? options.context : config.max_position_embeddings,
                      .batch_tokens = options.batch_tokens, .kv_cache_dtype = options.kv_cache_dtype};
    result.memory = plan_memory(config, needs);
    result.cache_bytes_per_token = (KvCache::page_bytes(config, result.memory->options) + KvCache::window_page_bytes(config, result.memory->options)) / kKeyBlock;
  });
  return result;
}

// ---- To read ----

namespace {

std::string attention_kind(const Config& c) {
  if (c.is_mla()) return "latent (MLA)";
  if (c.num_key_value_heads == c.num_attention_heads) return "multi-head";
  return c.num_key_value_heads == 1 ? "multi-query" : "grouped-query";
}

std::string rope_kind(const RopeScaling& scaling) {
  switch (scaling.type) {
    case RopeScaling::Type::none: return "plain";
    case RopeScaling::Type::linear: return "linear";
    case RopeScaling::Type::dynamic: return "dynamic";
    case RopeScaling::Type::llama3: return "llama3";
    case RopeScaling::Type::yarn: return "yarn";
    case RopeScaling::Type::factors: return "given factors";
  }
  return "unknown";
}

int64_t sliding_layers(const Config& c) {
  int64_t count = 0;
  for (int64_t layer = 0; layer < c.num_hidden_layers; ++layer) count += c.is_sliding(layer);
  return count;
}

int64_t moe_layers(const Config& c) {
  int64_t count = 0;
  for (int64_t layer = 0; layer < c.num_hidden_layers; ++layer) count += c.is_moe(layer);
  return count;
}

void write_config(const Config& c, JsonWriter& w) {
  w.field("architecture", c.architecture).field("model_type", c.model_type);
  const int64_t sparse = moe_layers(c);
  w.open('{', "layers").field("total", c.num_hidden_layers).field("dense", c.num_hidden_layers - sparse).field("moe", sparse).field("sliding", sliding_layers(c)).close();
  w.field("hidden_size", c.hidden_size);
  w.open('{', "attention").field("kind", attention_kind(c)).field("heads", c.num_attention_heads).field("kv_heads", c.kv_heads());
  w.field("head_dim", c.head_dim).field("v_head_dim", c.v_head_dim).field("sliding_window", c.sliding_window).close();
  if (sparse) {
    w.open('{', "experts").field("routed", c.n_routed_experts).field("active", static_cast<int64_t>(c.router.top_k));
    w.field("shared", c.n_shared_experts).field("intermediate_size", c.moe_intermediate_size).close();
  }
  w.field("intermediate_size", c.intermediate_size).field("context_length", c.max_position_embeddings);
  w.field("positions", c.positions == Positions::learned ? "learned" : "rope");
  if (c.positions == Positions::rope)
    w.open('{', "rope").field("type", rope_kind(c.rope_scaling)).field("theta", c.rope_theta).field("factor", c.rope_scaling.factor).close();
  w.field("vocabulary", c.vocab_size).field("tied_embeddings", c.tie_word_embeddings);
  if (c.quantization.bits)
    w.open('{', "quantization").field("method", c.quantization.method).field("bits", c.quantization.bits).field("group_size", c.quantization.group_size).close();
}

std::string as_json(const Inspection& i, const InspectOptions& options) {
  JsonWriter w(2);
  w.open('{').field("model", options.model).open('[', "refused");
  for (const std::string& why : i.refused) w.value(why);
  w.close();
  if (i.config) write_config(*i.config, w);
  w.open('{', "parameters").field("total", i.parameters).field("active", i.active_parameters).close();
  w.field("tensors", i.tensors).open('{', "stored_bytes");
  for (const auto& [dtype, bytes] : i.stored_bytes) w.field(dtype, bytes);
  w.close();
  w.open('{', "ignored").field("tensors", i.ignored_tensors).field("bytes", i.ignored_bytes).close();
  if (!i.tokenizer.empty()) w.open('{', "tokenizer").field("kind", i.tokenizer).field("tokens", i.tokenizer_tokens).close();
  w.field("chat_template", i.chat_template);
  if (i.memory) {
    const MemoryPlan& m = *i.memory;
    w.field("cache_bytes_per_token", i.cache_bytes_per_token);
    w.open('{', "memory").field("batch_sequences", options.sequences);
    w.field("context", options.context ? options.context : i.config->max_position_embeddings).field("kv_cache_dtype", dtype_name(m.options.dtype));
    w.field("weight_bytes", m.weights).field("cache_bytes", m.cache).field("activation_bytes", m.activations);
    w.field("position_bytes", m.positions).field("process_bytes", m.process).field("reading_bytes", m.reading).field("total_bytes", m.total()).close();
  }
  return w.close().text + "\n";
}

// 1234567 -> "1,234,567".
std::string grouped(uint64_t n) {
  const std::string digits = std::to_string(n);
  std::string text;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i && (digits.size() - i) % 3 == 0) text += ',';
    text += digits[i];
  }
  return text;
}

// Lines "name  value", the values below each other.
struct Table {
  std::string text;
  template <class... Args>
  void row(std::string name, const Args&... value) {
    name.resize(std::max<size_t>(name.size(), 16), ' ');
    text += cat(name, "  ", value..., "\n");
  }
};

// What shares a scale.
std::string group_text(const Quantization& q) {
  if (q.group_size == -1) return q.group_rows == -1 ? ", a scale a matrix" : ", a scale a row";
  return q.group_rows > 1 ? cat(", blocks of ", q.group_rows, " x ", q.group_size) : cat(", groups of ", q.group_size);
}

void add_config(const Config& c, Table& t) {
  t.row("architecture", c.architecture);
  const int64_t sparse = moe_layers(c);
  if (sparse) t.row("layers", c.num_hidden_layers, ": ", c.num_hidden_layers - sparse, " dense, ", sparse, " mixture of experts");
  else t.row("layers", c.num_hidden_layers);
  t.row("hidden size", c.hidden_size, ", feed-forward ", c.intermediate_size);
  t.row("attention", attention_kind(c), ", ", c.num_attention_heads, " heads of ", c.head_dim,
        c.is_mla() ? cat(", latent ", c.kv_lora_rank, " + ", c.qk_rope_head_dim) : cat(", ", c.num_key_value_heads, " of keys and values"),
        sliding_layers(c) ? cat(", a window of ", c.sliding_window, " in ", sliding_layers(c), " layers") : "");
  if (sparse) t.row("experts", c.n_routed_experts, ", ", c.router.top_k, " a token, ", c.n_shared_experts, " shared; feed-forward ", c.moe_intermediate_size);
  t.row("context", grouped(static_cast<uint64_t>(c.max_position_embeddings)), " tokens");
  if (c.positions == Positions::learned) t.row("positions", "learned");
  else t.row("rope", rope_kind(c.rope_scaling), ", theta ", grouped(static_cast<uint64_t>(c.rope_theta)),
        c.rope_scaling.type == RopeScaling::Type::none ? "" : cat(", factor ", json_number(c.rope_scaling.factor)));
  t.row("vocabulary", grouped(static_cast<uint64_t>(c.vocab_size)), c.tie_word_embeddings ? ", head tied to the embedding" : "");
  if (c.quantization.bits)
    t.row("quantization", c.quantization.method, ", ", c.quantization.bits, " bits", group_text(c.quantization));
}

}  // namespace

std::string describe(const Inspection& i, const InspectOptions& options) {
  if (options.json) return as_json(i, options);
  Table t;
  t.row("model", options.model);
  if (i.config) add_config(*i.config, t);
  if (i.parameters) t.row("parameters", grouped(i.parameters), i.active_parameters == i.parameters ? "" : cat(", ", grouped(i.active_parameters), " active"));
  std::string stored;
  for (const auto& [dtype, bytes] : i.stored_bytes) stored += cat(stored.empty() ? "" : ", ", dtype, " ", format_bytes(bytes));
  if (!stored.empty()) t.row("stored", stored, " in ", i.tensors, " tensors");
  if (i.ignored_tensors) t.row("ignored", i.ignored_tensors, " tensors, ", format_bytes(i.ignored_bytes), ": not of the text model");
  t.row("tokenizer", i.tokenizer.empty() ? "none" : cat(i.tokenizer, ", ", grouped(static_cast<uint64_t>(i.tokenizer_tokens)), " tokens"));
  t.row("chat template", i.chat_template ? "yes" : "none");
  if (i.memory) {
    const MemoryPlan& m = *i.memory;
    t.row("cache", format_bytes(i.cache_bytes_per_token), " a token", sliding_layers(*i.config) && m.options.window_pages ? ", in layers with a window while it is in it" : "");
    const int64_t context = options.context ? options.context : i.config->max_position_embeddings;
    t.row("memory", format_bytes(m.total()), ": weights ", format_bytes(m.weights), ", cache ", format_bytes(m.cache), " (", options.sequences, " x ",
          grouped(static_cast<uint64_t>(context)), " tokens), activations ", format_bytes(m.activations), ", other ", format_bytes(m.positions + m.process));
  }
  for (const std::string& why : i.refused) t.row("refused:", why);
  return t.text;
}

}  // namespace ds
