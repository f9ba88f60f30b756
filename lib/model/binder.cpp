#include "model/binder.h"

#include <algorithm>

#include "base/edit_distance.h"
#include "base/error.h"
#include "base/log.h"
#include "model/architecture.h"

namespace ds {

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += cat(i ? ", " : "", shape[i]);
  return text + "]";
}

std::string near_names(const std::string& name, const std::vector<std::string>& names) {
  std::vector<std::pair<size_t, std::string>> ranked;
  size_t work = 0;  // a hostile file has very many long names
  for (const std::string& other : names) {
    if (other.size() > 2 * name.size() || work > 400'000'000) continue;
    work += name.size() * other.size();
    ranked.emplace_back(edit_distance(name, other), other);
  }
  const size_t count = std::min<size_t>(3, ranked.size());
  std::partial_sort(ranked.begin(), ranked.begin() + static_cast<std::ptrdiff_t>(count), ranked.end());
  std::string text;
  for (size_t i = 0; i < count; ++i) text += cat(i ? ", " : "", shown(ranked[i].second));
  return count ? text : "none";
}

std::string our_name(const Architecture& row, const std::string& stored, bool bare) {
  for (const auto& [theirs, ours] : row.prefixes)
    if (stored.starts_with(theirs)) return cat(ours, stored.substr(theirs.size()));
  return bare && !stored.starts_with("lm_head.") ? cat(row.root, stored) : stored;
}

std::string our_name(const Config& config, const std::string& stored, bool bare) { return our_name(architecture_of(config), stored, bare); }

StoredPlace stored_place(const Architecture& row, const std::string& name) {
  constexpr std::string_view layers = "model.layers.";
  const size_t begin = name.starts_with(layers) ? name.find('.', layers.size()) + 1 : 0;  // of the name in its block
  const std::string_view own = std::string_view(name).substr(begin);
  for (const StoredWeight& t : row.tensors) {
    const size_t count = static_cast<size_t>(std::find(std::begin(t.ours), std::end(t.ours), "") - std::begin(t.ours));
    const size_t index = static_cast<size_t>(std::find(std::begin(t.ours), std::end(t.ours), own) - std::begin(t.ours));
    if (index >= count) continue;
    const std::string block = begin ? cat(row.layers, name.substr(layers.size(), begin - layers.size())) : std::string(row.root);
    return {cat(block, t.stored), index, count, t.transposed};
  }
  return {name};
}
StoredPlace stored_place(const Config& config, const std::string& name) { return stored_place(architecture_of(config), name); }

std::string bare_embedding(const Config& config) {
  const Architecture& row = architecture_of(config);
  return stored_place(row, "model.embed_tokens.weight").name.substr(row.root.size());
}

static bool is_of_prediction(const Config& config, std::string_view name) {
  for (int64_t i = 0; i < config.num_nextn_predict_layers; ++i)
    if (name.starts_with(cat("model.layers.", config.num_hidden_layers + i, "."))) return true;
  return false;
}

bool is_ignored(const Config& config, const std::string& stored) {
  const Architecture& row = architecture_of(config);
  return is_of_prediction(config, our_name(config, stored, false)) ||
         std::any_of(row.ignored.begin(), row.ignored.end(), [&](std::string_view part) { return stored.starts_with(part); }) ||
         std::any_of(row.buffers.begin(), row.buffers.end(), [&](std::string_view end) { return stored.ends_with(end); });
}

Binder::Binder(const std::string& folder, const Config& config) : config_(config), folder_(folder), file_(folder) {
  const Architecture& row = architecture_of(config);
  const bool bare = file_.find(bare_embedding(config)) != nullptr;
  for (const std::string& stored : file_.names()) {
    const StoredTensor* t = file_.find(stored);
    const auto [at, inserted] = tensors_.emplace(our_name(row, stored, bare), t);
    require(inserted, folder, ": ", shown(stored), " and ", shown(at->second->name), " are the same weight");
  }
}

bool Binder::has(const std::string& name) const { return tensors_.contains(name); }

const StoredTensor* Binder::find(const std::string& name) {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) return nullptr;
  used_.insert(name);
  return found->second;
}

void Binder::fail_missing(const std::string& name) const {
  std::vector<std::string> names;
  for (const auto& [other, t] : tensors_) names.push_back(other);
  fail(folder_, ": the weight ", name, " is missing; near names: ", near_names(name, names));
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

bool Binder::may_be_left_over(const std::string& name, const StoredTensor& t, size_t& skipped) const {
  if (config_.tie_word_embeddings && name == "lm_head.weight") return true;  // a copy of the embedding
  if (name.ends_with(".rotary_emb.inv_freq")) return true;                   // computed, not learned
  if (is_of_prediction(config_, name)) {
    // These two are copies of the model's own, which the heads share.
    skipped += !name.ends_with(".embed_tokens.weight") && !name.ends_with(".shared_head.head.weight");
    return true;
  }
  if (is_ignored(config_, t.name)) return true;
  // Older tools for GPTQ write a bias for every layer, of zeros where the model has none.
  return config_.quantization.format == Quantization::Format::gptq && name.ends_with(".bias") &&
         std::all_of(t.data.begin(), t.data.end(), [](char c) { return c == 0; });
}

void Binder::check_left_over() const {
  size_t skipped = 0;
  for (const auto& [name, t] : tensors_)
    require(used_.contains(name) || may_be_left_over(name, *t, skipped), folder_, ": the weight ", shown(t->name), " does not belong to a ",
            config_.architecture, " with this config.json");
  if (skipped) info(folder_, ": skipped ", skipped, " weights of multi-token-prediction layers");
}

}  // namespace ds
