#include "model/binder.h"

#include <algorithm>

#include "base/edit_distance.h"
#include "base/error.h"
#include "base/log.h"

namespace ds {

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += cat(i ? ", " : "", shape[i]);
  return text + "]";
}

std::string near_names(const std::string& name, const std::vector<std::string>& names) {
  std::vector<std::pair<size_t, std::string>> ranked;
  for (const std::string& other : names)
    if (other.size() < 512) ranked.emplace_back(edit_distance(name, other), other);
  const size_t count = std::min<size_t>(3, ranked.size());
  std::partial_sort(ranked.begin(), ranked.begin() + static_cast<std::ptrdiff_t>(count), ranked.end());
  std::string text;
  for (size_t i = 0; i < count; ++i) text += cat(i ? ", " : "", ranked[i].second);
  return count ? text : "none";
}

Binder::Binder(const std::string& folder) : folder_(folder), file_(folder), names_(file_.names()) {
  static constexpr struct {
    const char *model, *root;
  } kPrefixes[] = {{"model.", ""}, {"language_model.model.", "language_model."}, {"model.language_model.", ""}, {"", ""}};
  for (const auto& prefix : kPrefixes)
    if (file_.find(cat(prefix.model, "embed_tokens.weight"))) {
      model_ = prefix.model, root_ = prefix.root;
      break;
    }
}

std::string Binder::stored_name(const std::string& name) const {
  return name.starts_with("model.") ? model_ + name.substr(6) : root_ + name;
}

bool Binder::has(const std::string& name) const { return file_.find(stored_name(name)) != nullptr; }

const StoredTensor* Binder::find(const std::string& name) {
  const StoredTensor* found = file_.find(stored_name(name));
  if (found) used_.insert(found->name);
  return found;
}

void Binder::fail_missing(const std::string& name) const {
  const std::string stored = stored_name(name);
  fail(folder_, ": the weight ", stored, " is missing; near names: ", near_names(stored, names_));
}

const StoredTensor& Binder::need(const std::string& name, const std::vector<int64_t>& shape) {
  const StoredTensor* found = find(name);
  if (!found) fail_missing(name);
  require(found->shape == shape, folder_, ": ", found->name, " has the shape ", shape_text(found->shape),
          ", and config.json makes it ", shape_text(shape));
  return *found;
}
const StoredTensor& Binder::need(const std::string& name, const std::vector<int64_t>& shape, DType dtype) {
  const StoredTensor& t = need(name, shape);
  require(t.dtype == dtype, folder_, ": ", t.name, " is ", dtype_name(t.dtype), ", and has to be ", dtype_name(dtype));
  return t;
}
const StoredTensor& Binder::need_float(const std::string& name, const std::vector<int64_t>& shape) {
  const StoredTensor& t = need(name, shape);
  require(t.dtype == DType::f32 || t.dtype == DType::f16 || t.dtype == DType::bf16, folder_, ": ", t.name, " is ",
          dtype_name(t.dtype), "; weights are f32, f16 or bf16");
  return t;
}

static bool is_prediction_layer(const Config& config, const std::string& name) {
  for (int64_t i = 0; i < config.num_nextn_predict_layers; ++i)
    if (name.starts_with(cat("model.layers.", config.num_hidden_layers + i, "."))) return true;
  return false;
}
static bool is_zero(const StoredTensor& t) {
  return std::all_of(t.data.begin(), t.data.end(), [](char c) { return c == 0; });
}

void Binder::check_left_over(const Config& config) const {
  size_t skipped = 0, other_parts = 0;
  for (const std::string& name : names_) {
    if (used_.contains(name)) continue;
    if (config.tie_word_embeddings && name == root_ + "lm_head.weight") continue;  // a copy of the embedding
    if (name.ends_with(".rotary_emb.inv_freq")) continue;                          // computed, not learned
    if (is_prediction_layer(config, name)) {
      ++skipped;
      continue;
    }
    if (model_.find("language_model.") != std::string::npos && name.find("language_model.") == std::string::npos) {
      ++other_parts;  // the vision tower and what joins it to the decoder
      continue;
    }
    // Older tools for GPTQ write a bias for every layer, of zeros where the model has none.
    if (config.quantization.format == Quantization::Format::gptq && name.ends_with(".bias") && is_zero(*file_.find(name))) continue;
    fail(folder_, ": the weight ", name, " does not belong to a ", config.architecture, " with this config.json");
  }
  if (skipped) info(folder_, ": skipped ", skipped, " weights of multi-token-prediction layers");
  if (other_parts) info(folder_, ": skipped ", other_parts, " weights that are no part of the language model");
}

}  // namespace ds
