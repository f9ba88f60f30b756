// A GGUF file's metadata as a config.json, which parse_config reads: what a key means has one home.
// https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "model/load_gguf.h"

namespace ds {

namespace {

// The keys of the file's architecture ("llama.block_count"), with messages that name file and key.
class Keys {
 public:
  explicit Keys(const GgufFile& file) : file(file), arch(file.string_or("general.architecture", "")) {
    require(!arch.empty(), file.path(), ": general.architecture is missing");
  }
  std::string full(std::string_view key) const { return cat(arch, ".", key); }
  bool has(std::string_view key) const { return file.get(full(key)) != nullptr; }
  // A number from 0 to 2^30, or one for each layer, all alike.
  int64_t integer_or(std::string_view key, int64_t fallback) const {
    const GgufValue* value = file.get(full(key));
    int64_t found = fallback;
    if (value && value->type == GgufValue::Type::integers) {
      const std::vector<int64_t>& all = value->integers;
      require(!all.empty() && std::all_of(all.begin(), all.end(), [&](int64_t n) { return n == all[0]; }), file.path(), ": ",
              full(key), " is not the same for all layers, which is not supported");
      found = all[0];
    } else {
      found = file.integer_or(full(key), fallback);
    }
    require(found >= 0 && found <= (1 << 30), file.path(), ": ", full(key), " is ", found, "; it has to be from 0 to 2^30");
    return found;
  }
  int64_t need(std::string_view key) const {
    require(has(key), file.path(), ": ", full(key), " is missing");
    return integer_or(key, 0);
  }
  double real_or(std::string_view key, double fallback) const {
    const double found = file.real_or(full(key), fallback);
    require(std::isfinite(found), file.path(), ": ", full(key), " is not finite");
    return found;
  }
  std::string_view string_or(std::string_view key, std::string_view fallback) const { return file.string_or(full(key), fallback); }
  // Error where a key that changes the result is there and not what is supported.
  void only(std::string_view key, int64_t supported) const {
    const int64_t found = integer_or(key, supported);
    require(found == supported, file.path(), ": ", full(key), " is ", found, "; only ", supported, " is supported");
  }

  const GgufFile& file;
  const std::string arch;
};

// Control tokens that end an answer wherever they stand, whatever the keys say: ends of turns, messages and texts, and what
// separates files in training on code. Not every file has the keys; llama.cpp goes by these texts too.
constexpr std::string_view kEndTexts[] = {
    "<|eot_id|>", "<|eom_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>",
    "<EOT>", "_<EOT>", "[EOT]", "[EOS]", "<\uff5cend\u2581of\u2581sentence\uff5c>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>"};

// The ids of the tokens that end an answer, in order.
template <class Named>
std::vector<int64_t> end_ids(const GgufFile& file, int64_t vocabulary, const Named& named) {
  std::vector<int64_t> ends;
  for (const char* name : {"eos", "eot", "eom", "fim_pad", "fim_rep", "fim_sep"})
    if (const int64_t end = named(name); end >= 0) ends.push_back(end);
  const GgufValue *const tokens = file.get("tokenizer.ggml.tokens"), *const types = file.get("tokenizer.ggml.token_type");
  constexpr int64_t kControl = 3;
  if (tokens && types)
    for (size_t i = 0; i < std::min({tokens->strings.size(), types->integers.size(), static_cast<size_t>(vocabulary)}); ++i)
      if (types->integers[i] == kControl && std::ranges::find(kEndTexts, tokens->strings[i]) != std::end(kEndTexts))
        ends.push_back(static_cast<int64_t>(i));
  std::sort(ends.begin(), ends.end());
  ends.erase(std::unique(ends.begin(), ends.end()), ends.end());
  return ends;
}

void write_token_ids(const Keys& keys, int64_t vocabulary, JsonWriter& json) {
  const auto id = [&](std::string_view name) {
    const int64_t value = keys.file.integer_or(cat("tokenizer.ggml.", name, "_token_id"), -1);
    return value < vocabulary ? value : -1;
  };
  if (const int64_t bos = id("bos"); bos >= 0) json.field("bos_token_id", bos);
  if (const int64_t pad = id("padding"); pad >= 0) json.field("pad_token_id", pad);
  const std::vector<int64_t> ends = end_ids(keys.file, vocabulary, id);
  if (ends.empty()) return;
  json.open('[', "eos_token_id");
  for (const int64_t end : ends) json.value(end);
  json.close();
}

// Llama 3's scaling is a tensor in the file: a divisor for each frequency.
bool write_rope_factors(const Keys& keys, int64_t context, JsonWriter& json) {
  const GgufTensor* factors = keys.file.find("rope_freqs.weight");
  if (!factors) return false;
  require(factors->shape.size() == 1 && factors->type == GgufType::f32 && factors->shape[0] <= 65536, keys.file.path(),
          ": rope_freqs.weight is not a vector in F32");
  std::vector<float> values(static_cast<size_t>(factors->shape[0]));
  dequantize_gguf(*factors, 0, factors->shape[0], values.data());
  json.open('{', "rope_scaling").field("rope_type", "longrope").field("attention_factor", 1.0);
  json.field("original_max_position_embeddings", context);
  for (const char* name : {"short_factor", "long_factor"}) {
    json.open('[', name);
    for (const float value : values) json.value(value);
    json.close();
  }
  json.close();
  return true;
}

void write_rope(const Keys& keys, int64_t context, JsonWriter& json) {
  json.field("rope_theta", keys.real_or("rope.freq_base", 10000.0));
  const std::string_view type = keys.string_or("rope.scaling.type", keys.has("rope.scale_linear") ? "linear" : "none");
  if (type == "none") {
    write_rope_factors(keys, context, json);
    return;
  }
  require(type == "linear" || type == "yarn", keys.file.path(), ": ", keys.full("rope.scaling.type"), " is \"", type,
          "\"; none, linear and yarn are supported");
  json.open('{', "rope_scaling").field("rope_type", type);
  json.field("factor", keys.real_or("rope.scaling.factor", keys.real_or("rope.scale_linear", 1.0)));
  if (type == "yarn") {
    json.field("original_max_position_embeddings", keys.integer_or("rope.scaling.original_context_length", context));
    for (const char* name : {"beta_fast", "beta_slow"})
      if (const std::string key = cat("rope.scaling.yarn_", name); keys.has(key)) json.field(name, keys.real_or(key, 0));
    const char* const amplitude = keys.has("rope.scaling.yarn_attn_factor") ? "rope.scaling.yarn_attn_factor" : "rope.scaling.attn_factor";
    if (keys.has(amplitude)) json.field("attention_factor", keys.real_or(amplitude, 1));
    // Written as a tenth of mscale_all_dim; files do not say mscale, which is the same in all models that have it.
    if (const double multiplier = keys.real_or("rope.scaling.yarn_log_multiplier", 0); multiplier != 0)
      json.field("mscale", multiplier / 0.1).field("mscale_all_dim", multiplier / 0.1);
  }
  json.close();
}

void write_experts(const Keys& keys, std::string_view count, JsonWriter& json) {
  json.field(count, keys.need("expert_count")).field("num_experts_per_tok", keys.need("expert_used_count"));
}

// ---- Architectures ----

void write_llama(const Keys& keys, JsonWriter& json) {
  const bool experts = keys.integer_or("expert_count", 0) > 0;
  const int64_t window = keys.integer_or("attention.sliding_window", 0);
  json.open('[', "architectures").value(experts ? "MixtralForCausalLM" : window ? "MistralForCausalLM" : "LlamaForCausalLM").close();
  if (window) json.field("sliding_window", window);
  json.field("intermediate_size", keys.need("feed_forward_length"));
  if (experts) write_experts(keys, "num_local_experts", json);
}
void write_qwen2(const Keys& keys, JsonWriter& json) {
  json.open('[', "architectures").value("Qwen2ForCausalLM").close();
  json.field("intermediate_size", keys.need("feed_forward_length"));
}
void write_qwen3(const Keys& keys, JsonWriter& json) {
  json.open('[', "architectures").value("Qwen3ForCausalLM").close();
  json.field("intermediate_size", keys.need("feed_forward_length"));
}
void write_qwen3_moe(const Keys& keys, JsonWriter& json) {
  json.open('[', "architectures").value("Qwen3MoeForCausalLM").close();
  if (keys.has("feed_forward_length")) json.field("intermediate_size", keys.need("feed_forward_length"));
  json.field("moe_intermediate_size", keys.need("expert_feed_forward_length")).field("norm_topk_prob", true);
  write_experts(keys, "num_experts", json);
}
void write_olmoe(const Keys& keys, JsonWriter& json) {
  json.open('[', "architectures").value("OlmoeForCausalLM").close();
  json.field("intermediate_size", keys.need("feed_forward_length")).field("norm_topk_prob", false);
  if (keys.has("attention.clamp_kqv")) json.field("clip_qkv", keys.real_or("attention.clamp_kqv", 0));
  write_experts(keys, "num_experts", json);
}
void write_gemma3(const Keys& keys, JsonWriter& json) {
  const int64_t layers = keys.need("block_count"), heads = keys.need("attention.head_count"), hidden = keys.need("embedding_length");
  json.open('[', "architectures").value("Gemma3ForCausalLM").close().field("model_type", "gemma3_text");
  json.field("intermediate_size", keys.need("feed_forward_length")).field("hidden_activation", "gelu_pytorch_tanh");
  // The 27B has a scale of its own, which files do not say.
  require(heads > 0, keys.file.path(), ": ", keys.full("attention.head_count"), " is 0");
  json.field("query_pre_attn_scalar", layers == 62 ? hidden / heads : keys.need("attention.key_length"));
  json.field("rope_local_base_freq", keys.real_or("rope.freq_base_swa", 10000.0));
  if (const int64_t window = keys.integer_or("attention.sliding_window", 0); window > 0)
    json.field("sliding_window", window).field("sliding_window_pattern", keys.integer_or("attention.sliding_window_pattern", 6));
  if (keys.has("final_logit_softcapping")) json.field("final_logit_softcapping", keys.real_or("final_logit_softcapping", 0));
}
void write_deepseek2(const Keys& keys, JsonWriter& json) {
  const bool sigmoid = keys.integer_or("expert_gating_func", 1) == 2;
  keys.only("expert_gating_func", sigmoid ? 2 : 1);
  json.open('[', "architectures").value(sigmoid ? "DeepseekV3ForCausalLM" : "DeepseekV2ForCausalLM").close();
  const int64_t rope = keys.need("rope.dimension_count");
  const bool latent = keys.has("attention.key_length_mla");
  const int64_t head = keys.need(latent ? "attention.key_length_mla" : "attention.key_length");
  json.key("q_lora_rank");
  if (const int64_t rank = keys.integer_or("attention.q_lora_rank", 0); rank != 0) json.value(rank);
  else json.null();
  json.field("kv_lora_rank", keys.need("attention.kv_lora_rank")).field("qk_rope_head_dim", rope).field("qk_nope_head_dim", head - rope);
  json.field("v_head_dim", keys.need(latent ? "attention.value_length_mla" : "attention.value_length"));
  json.field("intermediate_size", keys.need("feed_forward_length"));
  json.field("moe_intermediate_size", keys.need("expert_feed_forward_length"));
  json.field("n_shared_experts", keys.integer_or("expert_shared_count", 0));
  json.field("first_k_dense_replace", keys.integer_or("leading_dense_block_count", 0));
  json.field("routed_scaling_factor", keys.real_or("expert_weights_scale", 1.0));
  json.field("norm_topk_prob", keys.file.flag_or(keys.full("expert_weights_norm"), false));
  const int64_t groups = keys.integer_or("expert_group_count", 1);
  json.field("n_group", groups).field("topk_group", keys.integer_or("expert_group_used_count", 1));
  if (!sigmoid) json.field("topk_method", groups > 1 ? "group_limited_greedy" : "greedy");
  write_experts(keys, "n_routed_experts", json);
}

struct ArchitectureRow {
  std::string_view name;
  void (*write)(const Keys& keys, JsonWriter& json);
};
constexpr ArchitectureRow kArchitectures[] = {
    {"llama", write_llama}, {"qwen2", write_qwen2},   {"qwen3", write_qwen3},         {"qwen3moe", write_qwen3_moe},
    {"olmoe", write_olmoe}, {"gemma3", write_gemma3}, {"deepseek2", write_deepseek2},
};

const ArchitectureRow& row_of(const Keys& keys) {
  std::string known;
  for (const ArchitectureRow& row : kArchitectures) {
    if (row.name == keys.arch) return row;
    known += cat(known.empty() ? "" : ", ", row.name);
  }
  fail(keys.file.path(), ": general.architecture is \"", keys.arch, "\"; known are ", known);
}

}  // namespace

Config gguf_config(const GgufFile& file) {
  const Keys keys(file);
  const ArchitectureRow& row = row_of(keys);
  const int64_t parts = file.integer_or("split.count", 1), prediction = keys.integer_or("nextn_predict_layers", 0);
  require(parts <= 1, file.path(), " is one of ", parts, " parts of a model: join them (llama-gguf-split --merge)");
  const GgufTensor* embedding = file.find("token_embd.weight");
  require(embedding && embedding->shape.size() == 2, file.path(), ": token_embd.weight is missing, or no matrix");
  const int64_t vocabulary = embedding->shape[0], context = keys.integer_or("context_length", 2048);
  const int64_t heads = keys.need("attention.head_count");
  const bool latent = keys.arch == "deepseek2";

  JsonWriter json;
  json.open('{');
  json.field("vocab_size", vocabulary).field("hidden_size", keys.need("embedding_length"));
  json.field("num_hidden_layers", keys.need("block_count") - prediction);
  if (prediction) json.field("num_nextn_predict_layers", prediction);
  json.field("max_position_embeddings", context).field("num_attention_heads", heads);
  json.field("num_key_value_heads", latent ? heads : keys.integer_or("attention.head_count_kv", heads));
  json.field("rms_norm_eps", keys.real_or("attention.layer_norm_rms_epsilon", 1e-6));
  json.field("tie_word_embeddings", file.find("output.weight") == nullptr).field("dtype", "float32");
  if (!latent && keys.has("attention.key_length")) {
    json.field("head_dim", keys.need("attention.key_length"));
    keys.only("attention.value_length", keys.need("attention.key_length"));
  }
  if (!latent && keys.has("rope.dimension_count") && heads > 0)
    keys.only("rope.dimension_count", keys.integer_or("attention.key_length", keys.need("embedding_length") / heads));
  if (keys.arch != "qwen2" && file.find("blk.0.attn_q.bias")) json.field("attention_bias", true);
  if (file.find("blk.0.ffn_gate.bias")) json.field("mlp_bias", true);
  write_token_ids(keys, vocabulary, json);
  write_rope(keys, context, json);
  row.write(keys, json);
  json.close();
  return parse_config(parse_json(json.text, file.path()), file.path());
}

}  // namespace ds
