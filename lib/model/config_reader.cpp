// The keys of config.json: reading them, and knowing those that cannot change the result.
#include <cmath>
#include <map>
#include <string>

#include "base/error.h"
#include "model/architecture.h"

namespace ds {

constexpr size_t kMaxText = 1024;               // of a value that is one of a few names, and is shown where it is none
constexpr int64_t kMaxSize = int64_t{1} << 30;  // of any one dimension: products of two stay far from overflow

std::string_view ConfigReader::spelling(std::string_view key) const {
  for (const auto& [ours, theirs] : spellings_)
    if (ours == key && !json_.find(key)) return theirs;
  return key;
}
const Json* ConfigReader::find(std::string_view key) const {
  ignore(key);
  const Json* value = json_.find(spelling(key));
  return value && value->type != Json::Type::null ? value : nullptr;
}
bool ConfigReader::has(std::string_view key) const { return json_.find(spelling(key)) != nullptr; }
std::string ConfigReader::at(std::string_view key) const { return cat(where_, ": ", shown(spelling(key))); }

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
  require(number >= 1e-30 && number <= 1e30, at(key), " is ", number, "; it has to be positive, from 1e-30 to 1e30");
  return number;
}
bool ConfigReader::flag_or(std::string_view key, bool fallback) const {
  const Json* value = find(key);
  return value ? value->as_bool(at(key)) : fallback;
}
std::string ConfigReader::string_or(std::string_view key, const std::string& fallback) const {
  const Json* value = find(key);
  if (!value) return fallback;
  const std::string& text = value->as_string(at(key));
  require(text.size() <= kMaxText, at(key), " is a text of ", text.size(), " bytes; at most ", kMaxText, " are expected");
  return text;
}
void ConfigReader::only_flag(std::string_view key, bool supported) const {
  require(flag_or(key, supported) == supported, at(key), " is ", supported ? "false" : "true", "; only ",
          supported ? "true" : "false", " is supported for this architecture");
}
void ConfigReader::only_text(std::string_view key, std::string_view supported) const {
  const std::string value = string_or(key, std::string(supported));
  require(value == supported, at(key), " is \"", value, "\"; only \"", supported, "\" is supported");
}
void ConfigReader::only_number(std::string_view key, double supported) const {
  const Json* value = find(key);
  require(!value || value->as_double(at(key)) == supported, at(key), " is not ", supported, ", which is all that is supported");
}

// ---- Keys that cannot change the result ----

namespace {

// What transformers writes, or popular files have, and no forward pass of the architectures here reads.
constexpr std::string_view kHarmless[] = {
    // who wrote it, and with what code it is loaded
    "architectures", "model_type", "transformers_version", "_name_or_path", "name_or_path", "_commit_hash", "auto_map", "dtype",
    "torch_dtype", "tokenizer_class", "attn_implementation", "_attn_implementation", "_attn_implementation_autoset",
    "_flash_attn_2_enabled", "experts_implementation", "torchscript", "use_bfloat16", "tf_legacy_loss", "is_llama_config",
    "transformers.js_config", "unsloth_fixed", "unsloth_version", "use_cache", "cache_implementation", "max_sequence_length",
    "model_max_length", "gradient_checkpointing", "ep_size",
    // what a call returns
    "output_attentions", "output_hidden_states", "output_router_logits", "output_scores", "return_dict",
    "return_dict_in_generate", "is_decoder", "id2label", "label2id", "num_labels", "problem_type", "finetuning_task",
    "task_specific_params", "prefix",
    // training
    "initializer_range", "attention_dropout", "hidden_dropout", "attn_pdrop", "embd_pdrop", "resid_pdrop", "classifier_dropout",
    "router_aux_loss_coef", "router_jitter_noise", "router_z_loss_coef", "aux_loss_alpha", "seq_aux",
    // generation, which generation_config.json decides
    "bos_token_id", "eos_token_id", "pad_token_id", "sep_token_id", "unk_token_id", "mask_token_id", "decoder_start_token_id",
    "do_sample", "temperature", "top_k", "top_p", "min_p", "typical_p", "repetition_penalty", "length_penalty",
    "diversity_penalty", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "min_length", "max_length", "max_new_tokens",
    "num_beams", "num_beam_groups", "num_return_sequences", "early_stopping", "bad_words_ids", "forced_bos_token_id",
    "forced_eos_token_id", "suppress_tokens", "begin_suppress_tokens", "remove_invalid_values",
    "exponential_decay_length_penalty"};

// Those that change nothing at one value.
struct HarmlessAt {
  std::string_view key;
  double value;
};
constexpr HarmlessAt kHarmlessAt[] = {{"pretraining_tp", 1},      {"chunk_size_feed_forward", 0},         {"embedding_multiplier", 1},
                                      {"residual_multiplier", 1}, {"logits_scaling", 1},                  {"logit_scale", 1},
                                      {"partial_rotary_factor", 1}, {"shared_expert_intermediate_size", 0}};

bool is_harmless(std::string_view key, const Json& value, const std::string& at) {
  switch (value.type) {
    case Json::Type::null: return true;
    case Json::Type::boolean: if (!value.boolean) return true; break;
    case Json::Type::string: if (value.text.empty()) return true; break;
    case Json::Type::array: if (value.items.empty()) return true; break;
    case Json::Type::object: if (value.members.empty()) return true; break;
    case Json::Type::number: break;
  }
  for (const std::string_view known : kHarmless)
    if (key == known) return true;
  for (const HarmlessAt& known : kHarmlessAt)
    if (key == known.key && value.type == Json::Type::number && value.as_double(at) == known.value) return true;
  return key == "activation" && value.text == "swiglu";  // what hidden_act says in other words
}

std::string brief(const Json& value) {
  switch (value.type) {
    case Json::Type::string: return cat('"', value.text.substr(0, 60), '"');
    case Json::Type::number: return value.text.substr(0, 60);
    case Json::Type::boolean: return value.boolean ? "true" : "false";
    case Json::Type::array: return "a list";
    default: return "an object";
  }
}

}  // namespace

void ConfigReader::check_all_read() const {
  std::map<std::string_view, const Json*> last;  // of equal keys, the one that find() gives
  for (const auto& [key, value] : json_.members) last[key] = &value;
  for (const auto& [key, value] : last)
    require(known_.contains(key) || is_harmless(key, *value, at(key)), at(key), " is set to ", brief(*value),
            ", which is not supported and would change the result; remove the key if it does not");
}

}  // namespace ds
