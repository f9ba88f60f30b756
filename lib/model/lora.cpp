#include "model/lora.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <set>

#include "base/error.h"
#include "base/parallel.h"
#include "io/input.h"
#include "model/architecture.h"
#include "model/binder.h"
#include "model/blocks.h"

namespace ds {

namespace {

constexpr std::string_view kWeight = ".weight", kA = ".lora_A.weight", kB = ".lora_B.weight";

// ---- adapter_config.json ----

// A number for all modules, and others for some by their names.
struct Pattern {
  double otherwise = 0;
  std::vector<std::pair<std::string, double>> named;  // in the file's order: the first that fits counts

  double of(const std::string& module) const {
    for (const auto& [key, value] : named)
      if (module == key || (module.ends_with(key) && module[module.size() - key.size() - 1] == '.')) return value;
    return otherwise;
  }
};

Pattern read_pattern(const ConfigReader& keys, std::string_view number, std::string_view named) {
  Pattern pattern;
  pattern.otherwise = keys.positive_or(number, 8);
  const Json* const object = keys.find(named);
  if (!object) return pattern;
  require(object->type == Json::Type::object, keys.at(named), " is not an object");
  for (const auto& [key, value] : object->members) {
    const std::string at = cat(keys.at(named), ": ", shown(key));
    // PEFT takes keys as regular expressions; a name is one that fits itself.
    const bool plain = !key.empty() && std::all_of(key.begin(), key.end(), [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.';
    });
    require(plain, at, " is a regular expression; only names of modules, and ends of names, are supported");
    const double given = value.as_double(at);
    require(std::isfinite(given) && given > 0, at, " is ", given, "; it has to be positive");
    pattern.named.emplace_back(key, given);
  }
  return pattern;
}

struct Settings {
  Pattern rank, alpha;
  bool rslora = false;
};

Settings read_settings(const std::string& file) {
  const Json json = parse_json_file(file, kMaxConfigBytes);
  require(json.type == Json::Type::object, file, " is not an object");
  const ConfigReader keys(json, file);
  require(keys.string_or("peft_type", "") == "LORA", keys.at("peft_type"), " is \"", keys.string_or("peft_type", ""), "\"; only \"LORA\" is supported");
  Settings settings{read_pattern(keys, "r", "rank_pattern"), read_pattern(keys, "lora_alpha", "alpha_pattern"), keys.flag_or("use_rslora", false)};
  keys.only_text("bias", "none");
  // How A and B began does not matter, but where the model's own weights were changed for it.
  if (const Json* const init = keys.find("init_lora_weights"); init && init->type == Json::Type::string)
    require(init->text == "gaussian" || init->text == "eva" || init->text == "orthogonal", keys.at("init_lora_weights"), " is \"", init->text,
            "\", which changes the model's weights too; convert the adapter to plain LoRA");
  // What says which modules are adapted (the tensors do), and what matters in training only.
  for (const char* const key : {"target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "lora_dropout", "inference_mode",
                                "task_type", "base_model_name_or_path", "revision", "auto_mapping", "peft_version", "megatron_core",
                                "qalora_group_size", "loftq_config", "eva_config", "corda_config", "lora_ga_config", "ensure_weight_tying",
                                "runtime_config"})
    keys.ignore(key);
  keys.check_all_read();
  return settings;
}

// ---- adapter_model.safetensors ----

class AdapterReader {
 public:
  AdapterReader(const std::string& folder, const Config& config)
      : folder_(folder), settings_(read_settings(path("adapter_config.json"))), file_(path("adapter_model.safetensors")) {
    constexpr std::string_view prefix = "base_model.model.";
    const Architecture& row = architecture_of(config);
    require(row.tensors.empty(), folder, ": LoRA adapters of a ", row.name, " are not supported: its files have q, k and v in one matrix");
    const bool bare = std::any_of(file_.tensors().begin(), file_.tensors().end(),
                                  [&](const StoredTensor& t) { return t.name.starts_with(cat(prefix, "layers.")); });
    for (const StoredTensor& t : file_.tensors())
      if (t.name.starts_with(prefix)) {
        const auto [at, inserted] = tensors_.emplace(our_name(row, t.name.substr(prefix.size()), bare), &t);
        require(inserted, folder, ": ", t.name, " and ", at->second->name, " are of the same weight");
      }
  }

  // Both factors of a weight, as rows; empty where it has no adapter. Experts get the greatest rank that one of them has,
  // the others zeros beyond theirs.
  void read(const WeightInfo& info, Arena& arena, Tensor& a, Tensor& b) {
    const int64_t experts = info.shape.size() == 3 ? info.shape[0] : 1, n = info.shape[info.shape.size() - 2], k = info.shape.back();
    std::vector<Pair> pairs;
    int64_t rank = 0;
    for (int64_t e = 0; e < experts; ++e) {
      pairs.push_back(pair(expert_name(info, e), n, k));
      rank = std::max(rank, pairs.back().rank);
    }
    if (rank == 0) return;
    const bool grouped = info.shape.size() == 3;
    a = grouped ? arena.make(DType::f32, {experts, rank, k}) : arena.make(DType::f32, {rank, k});
    b = grouped ? arena.make(DType::f32, {experts, n, rank}) : arena.make(DType::f32, {n, rank});
    for (int64_t e = 0; e < experts; ++e) {
      const Pair& p = pairs[static_cast<size_t>(e)];
      for (int64_t i = 0; i < p.rank * k; ++i) a.f32()[e * rank * k + i] = stored_number(*p.a, i);
      for (int64_t i = 0; i < n; ++i)
        for (int64_t j = 0; j < p.rank; ++j) b.f32()[(e * n + i) * rank + j] = p.scale * stored_number(*p.b, i * p.rank + j);
    }
  }

  void check_left_over() const {
    for (const StoredTensor& t : file_.tensors())
      require(used_.contains(&t), folder_, ": the tensor ", shown(t.name), " does not belong to a LoRA adapter of this model's matrices");
    require(!used_.empty(), folder_, ": the adapter has no tensors");
  }

 private:
  struct Pair {
    const StoredTensor *a = nullptr, *b = nullptr;
    int64_t rank = 0;
    float scale = 0;
  };

  std::string path(const char* name) const {
    const std::string file = (std::filesystem::path(folder_) / name).string();
    require(std::filesystem::exists(file), folder_, " is not a LoRA adapter as PEFT writes it: there is no ", name);
    return file;
  }

  const StoredTensor* find(const std::string& name) {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) return nullptr;
    used_.insert(found->second);
    return found->second;
  }
  void check(const StoredTensor& t, const std::vector<int64_t>& shape) const {
    require(t.shape == shape, folder_, ": ", shown(t.name), " has the shape ", shape_text(t.shape),
            ", and the model and adapter_config.json make it ", shape_text(shape));
    require(t.dtype == DType::f32 || t.dtype == DType::f16 || t.dtype == DType::bf16, folder_, ": ", t.name, " is ", dtype_name(t.dtype),
            "; adapters are f32, f16 or bf16");
  }

  Pair pair(const std::string& weight, int64_t n, int64_t k) {
    const std::string module = weight.substr(0, weight.size() - kWeight.size());
    Pair p{find(cat(module, kA)), find(cat(module, kB))};
    if (!p.a && !p.b) return p;
    require(p.a && p.b, folder_, ": ", (p.a ? p.a : p.b)->name, " has no ", p.a ? "lora_B" : "lora_A", " beside it");
    // Patterns are of the names that the file has.
    constexpr size_t prefix = std::string_view("base_model.model.").size();
    const std::string stored = p.a->name.substr(prefix, p.a->name.size() - prefix - kA.size());
    const double rank = settings_.rank.of(stored), alpha = settings_.alpha.of(stored);
    require(rank == std::floor(rank) && rank <= static_cast<double>(int64_t{1} << 20), folder_, ": the rank of ", stored, " is ", rank);
    p.rank = static_cast<int64_t>(rank);
    check(*p.a, {p.rank, k});
    check(*p.b, {n, p.rank});
    p.scale = static_cast<float>(alpha / (settings_.rslora ? std::sqrt(rank) : rank));
    return p;
  }

  const std::string folder_;
  const Settings settings_;
  const SafetensorsFile file_;
  std::map<std::string, const StoredTensor*> tensors_;  // by our names
  std::set<const StoredTensor*> used_;
};

// Calls visit(info, a, b) for every matrix that an adapter may have.
template <class Visit>
void for_each_pair(const Config& config, Adapter& adapter, const Visit& visit) {
  std::vector<Tensor*> of_a;
  for_each_weight(config, adapter.a, [&](const WeightInfo&, Tensor& a) { of_a.push_back(&a); });
  size_t next = 0;
  for_each_weight(config, adapter.b, [&](const WeightInfo& info, Tensor& b) {
    Tensor& a = *of_a[next++];
    if (info.shape.size() > 1 && info.name != "model.embed_tokens.weight" && info.name != "model.embed_positions.weight") visit(info, a, b);
  });
}

// ---- Merging ----

class MergedSource : public WeightSource {
 public:
  MergedSource(std::unique_ptr<WeightSource> base, Adapter adapter, const Config& config) : base_(std::move(base)), adapter_(std::move(adapter)) {
    for_each_pair(config, adapter_, [&](const WeightInfo& info, const Tensor& a, const Tensor& b) {
      if (a) pairs_[info.name] = {a, b};
    });
  }

  void read_vector(const WeightInfo& info, float* out) override { base_->read_vector(info, out); }
  void read_matrix(const WeightInfo& info, int64_t expert, StoredMatrix& out) override {
    base_->read_matrix(info, expert, out);
    const auto found = pairs_.find(info.name);
    if (found == pairs_.end()) return;
    require(!out.quantized(), out.name, " is quantized: an adapter is merged into f32, f16 and bf16 weights only; at run time it goes with any");
    const bool grouped = info.shape.size() == 3;
    const Tensor a = grouped ? item(found->second.first, expert) : found->second.first;
    const Tensor b = grouped ? item(found->second.second, expert) : found->second.second;
    arena_.reset();
    const Tensor sum = arena_.make_uninitialized(DType::f32, {out.n, out.k});
    widen_rows(out, sum.f32());
    linear_backward_input(b, a, sum, true);  // += b a
    out.memory.resize(static_cast<size_t>(out.n * out.k) * dtype_bits(out.dtype) / 8);
    convert(sum, make_tensor(out.memory.data(), out.dtype, {out.n, out.k}));
    out.data = out.memory.data();
  }
  void check_left_over() const override { base_->check_left_over(); }
  std::map<std::string, std::string> metadata() const override { return base_->metadata(); }

 private:
  const std::unique_ptr<WeightSource> base_;
  Adapter adapter_;
  std::map<std::string, std::pair<Tensor, Tensor>> pairs_;
  Arena arena_;
};

}  // namespace

Adapter load_adapter(const std::string& folder, const Config& config, AdapterUse use) {
  Adapter adapter;
  AdapterReader reader(folder, config);
  Arena rows;
  for_each_pair(config, adapter, [&](const WeightInfo& info, Tensor& a, Tensor& b) {
    if (use == AdapterUse::merge) return reader.read(info, adapter.arena, a, b);
    reader.read(info, rows, a, b);
    if (!a) return;
    const bool applies = info.name != "lm_head.weight" && !info.name.ends_with("kv_b_proj.weight");
    require(applies, folder, " adapts ", info.name.substr(0, info.name.size() - kWeight.size()),
            ", which is not possible at run time; merge it into the weights (--merge-adapter)");
    a = pack(a, adapter.arena);
    b = pack(b, adapter.arena);
    rows.reset();
  });
  reader.check_left_over();
  return adapter;
}

std::unique_ptr<WeightSource> merge_adapter(std::unique_ptr<WeightSource> base, Adapter adapter, const Config& config) {
  return std::make_unique<MergedSource>(std::move(base), std::move(adapter), config);
}

// ---- At run time ----

std::vector<AdaptedRows> adapted_rows(const TokenBatch& batch, std::span<const Adapter> adapters) {
  require(batch.adapters.empty() || batch.adapters.size() == batch.tokens.size(), "a batch of ", batch.tokens.size(), " tokens and ",
          batch.adapters.size(), " numbers of adapters");
  std::vector<AdaptedRows> all;
  for (const Adapter& adapter : adapters) all.push_back({&adapter, {}, {}});
  for (size_t t = 0; t < batch.adapters.size(); ++t) {
    const int32_t number = batch.adapters[t];
    require(number >= -1 && number < static_cast<int64_t>(adapters.size()), "the adapter ", number, " of ", adapters.size());
    if (number >= 0) all[static_cast<size_t>(number)].rows.push_back(static_cast<int32_t>(t));
  }
  std::erase_if(all, [](const AdaptedRows& one) { return one.rows.empty(); });
  return all;
}

std::vector<AdaptedRows> adapted_choices(std::span<const AdaptedRows> tokens, const Tensor& offsets, const Tensor& row_of_slot, int top_k) {
  std::vector<AdaptedRows> all;
  for (const AdaptedRows& one : tokens) {
    AdaptedRows choices{one.adapter, {}, {}};
    for (const int32_t token : one.rows)
      for (int k = 0; k < top_k; ++k)
        if (const int32_t row = row_of_slot.i32()[int64_t{token} * top_k + k]; row >= 0) choices.rows.push_back(row);
    std::sort(choices.rows.begin(), choices.rows.end());
    for (int64_t e = 0; e < offsets.shape[0]; ++e) {
      const auto before = std::lower_bound(choices.rows.begin(), choices.rows.end(), offsets.i32()[e]) - choices.rows.begin();
      choices.offsets.push_back(static_cast<int32_t>(before));
    }
    all.push_back(std::move(choices));
  }
  return all;
}

void add_adapters(std::span<const AdaptedRows> all, int64_t layer, Tensor LayerWeights::*of, const Tensor& x, const Tensor& y,
                  Arena& memory) {
  for (const AdaptedRows& one : all) {
    const Tensor& a = one.adapter->a.layers[static_cast<size_t>(layer)].*of;
    const Tensor& b = one.adapter->b.layers[static_cast<size_t>(layer)].*of;
    if (!a) continue;
    const Arena::Mark begin = memory.mark();
    const auto count = static_cast<int64_t>(one.rows.size());
    const auto make = [&](int64_t columns) { return memory.make_uninitialized(DType::f32, {count, columns}); };
    const Tensor own = make(x.cols()), low = make(a.shape[static_cast<size_t>(a.rank - 2)]), added = make(y.cols());
    gather_rows(x, indices_view(one.rows), 1, own);
    if (a.rank == 3) {
      grouped_linear(own, indices_view(one.offsets), a, low);
      grouped_linear(low, indices_view(one.offsets), b, added);
    } else {
      linear(own, a, low);
      linear(low, b, added);
    }
    parallel_for(one.rows.size(), std::max<size_t>(1, 16384 / static_cast<size_t>(y.cols())), [&](size_t first, size_t last) {
      for (size_t i = first; i < last; ++i) {
        const float* const from = added.f32() + static_cast<int64_t>(i) * y.cols();
        float* const to = y.f32() + one.rows[i] * y.row_stride;
        for (int64_t j = 0; j < y.cols(); ++j) to[j] += from[j];
      }
    });
    memory.rewind(begin);
  }
}

}  // namespace ds
