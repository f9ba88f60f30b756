// A folder of weights into memory.
#include <algorithm>
#include <cstring>
#include <filesystem>
#include <set>

#include "base/edit_distance.h"
#include "base/error.h"
#include "base/log.h"
#include "base/parallel.h"
#include "io/safetensors.h"
#include "model/architecture.h"
#include "model/decoder.h"
#include "tensor/quantized.h"

namespace ds {

namespace {

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += cat(i ? ", " : "", shape[i]);
  return text + "]";
}

// The weights of a folder, found by name, dtype and shape; remembers what was asked for.
class Binder {
 public:
  Binder(const std::string& folder) : folder_(folder), file_(folder), names_(file_.names()) {}

  bool has(const std::string& name) const { return file_.find(name) != nullptr; }

  const StoredTensor& need(const std::string& name, const std::vector<int64_t>& shape) {
    const StoredTensor* found = file_.find(name);
    if (!found) fail(folder_, ": the weight ", name, " is missing; near names: ", near_names(name));
    require(found->shape == shape, folder_, ": ", name, " has the shape ", shape_text(found->shape),
            ", and config.json makes it ", shape_text(shape));
    used_.insert(name);
    return *found;
  }
  const StoredTensor& need_float(const std::string& name, const std::vector<int64_t>& shape) {
    const StoredTensor& t = need(name, shape);
    require(t.dtype == DType::f32 || t.dtype == DType::f16 || t.dtype == DType::bf16, folder_, ": ", name, " is ",
            dtype_name(t.dtype), "; weights are f32, f16 or bf16");
    return t;
  }
  const StoredTensor& need(const std::string& name, const std::vector<int64_t>& shape, DType dtype) {
    const StoredTensor& t = need(name, shape);
    require(t.dtype == dtype, folder_, ": ", name, " is ", dtype_name(t.dtype), ", and has to be ", dtype_name(dtype));
    return t;
  }

  // Error for a weight that nobody asked for.
  void check_left_over(const Config& config) const {
    size_t skipped = 0;
    for (const std::string& name : names_) {
      if (used_.contains(name)) continue;
      if (config.tie_word_embeddings && name == "lm_head.weight") continue;       // a copy of the embedding
      if (name.ends_with(".rotary_emb.inv_freq")) continue;                       // computed, not learned
      if (is_prediction_layer(config, name)) {
        ++skipped;
        continue;
      }
      fail(folder_, ": the weight ", name, " does not belong to a ", config.architecture, " with this config.json");
    }
    if (skipped) info(folder_, ": skipped ", skipped, " weights of multi-token-prediction layers");
  }

  const std::string& folder() const { return folder_; }
  std::map<std::string, std::string> metadata() const { return file_.metadata(); }

 private:
  static bool is_prediction_layer(const Config& config, const std::string& name) {
    for (int64_t i = 0; i < config.num_nextn_predict_layers; ++i)
      if (name.starts_with(cat("model.layers.", config.num_hidden_layers + i, "."))) return true;
    return false;
  }
  std::string near_names(const std::string& name) const {
    std::vector<std::pair<size_t, std::string>> ranked;
    for (const std::string& other : names_)
      if (other.size() < 512) ranked.emplace_back(edit_distance(name, other), other);
    const size_t count = std::min<size_t>(3, ranked.size());
    std::partial_sort(ranked.begin(), ranked.begin() + static_cast<std::ptrdiff_t>(count), ranked.end());
    std::string text;
    for (size_t i = 0; i < count; ++i) text += cat(i ? ", " : "", ranked[i].second);
    return count ? text : "none";
  }

  std::string folder_;
  SafetensorsFolder file_;
  std::vector<std::string> names_;
  std::set<std::string> used_;
};

// ---- Numbers ----

// Stored numbers as f32; they need not be aligned in the file.
void widen(const char* from, DType dtype, float* to, int64_t count) {
  if (dtype == DType::f32) {
    std::memcpy(to, from, static_cast<size_t>(count) * 4);
    return;
  }
  parallel_for(static_cast<size_t>(count), 1 << 16, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) {
      uint16_t half;
      std::memcpy(&half, from + i * 2, 2);
      to[i] = dtype == DType::bf16 ? bf16_to_f32(half) : f16_to_f32(half);
    }
  });
}

// A matrix in AutoAWQ's GEMM layout as plain arrays: q and zeros u8, [N, K] and [N, K / G], scales [N, K / G].
struct AwqMatrix {
  int64_t n = 0, k = 0, group = 0;
  std::vector<uint8_t> q, zeros;
  std::vector<float> scales;
};

// Eight 4-bit values in a word of the file: nibble i is output 8c + kAwqOrder[i]. Transposes [rows, N / 8] to [N, rows].
void unpack_awq(const StoredTensor& t, int64_t rows, int64_t n, std::vector<uint8_t>& out) {
  static constexpr int kAwqOrder[8] = {0, 2, 4, 6, 1, 3, 5, 7};
  out.resize(static_cast<size_t>(rows * n));
  const int64_t words = n / 8;
  parallel_for(static_cast<size_t>(words), 8, [&](size_t begin, size_t end) {
    for (size_t c = begin; c < end; ++c)
      for (int64_t row = 0; row < rows; ++row) {
        uint32_t word;
        std::memcpy(&word, t.data.data() + (row * words + static_cast<int64_t>(c)) * 4, 4);
        for (int i = 0; i < 8; ++i)
          out[static_cast<size_t>((static_cast<int64_t>(c) * 8 + kAwqOrder[i]) * rows + row)] = word >> (4 * i) & 15;
      }
  });
}

AwqMatrix read_awq(Binder& binder, const std::string& module, int64_t n, int64_t k, int64_t group_size) {
  AwqMatrix m{n, k, group_size == -1 ? k : group_size, {}, {}, {}};
  require(n % 8 == 0 && k % m.group == 0, binder.folder(), ": ", module, " of ", n, " outputs and ", k,
          " inputs does not fit 4-bit groups of ", m.group);
  const int64_t groups = k / m.group;
  unpack_awq(binder.need(module + ".qweight", {k, n / 8}, DType::i32), k, n, m.q);
  unpack_awq(binder.need(module + ".qzeros", {groups, n / 8}, DType::i32), groups, n, m.zeros);
  const StoredTensor& scales = binder.need(module + ".scales", {groups, n}, DType::f16);
  m.scales.resize(static_cast<size_t>(groups * n));
  for (int64_t g = 0; g < groups; ++g)
    for (int64_t i = 0; i < n; ++i) {
      uint16_t half;
      std::memcpy(&half, scales.data.data() + (g * n + i) * 2, 2);
      m.scales[static_cast<size_t>(i * groups + g)] = f16_to_f32(half);
    }
  return m;
}

void dequantize(const AwqMatrix& m, float* out) {
  const int64_t groups = m.k / m.group;
  parallel_for(static_cast<size_t>(m.n), 16, [&](size_t begin, size_t end) {
    for (int64_t i = static_cast<int64_t>(begin); i < static_cast<int64_t>(end); ++i)
      for (int64_t k = 0; k < m.k; ++k) {
        const int64_t g = i * groups + k / m.group;
        out[i * m.k + k] = static_cast<float>(m.q[i * m.k + k] - m.zeros[g]) * m.scales[g];
      }
  });
}

// ---- Weights ----

// Reads the weights of one model in the form that the options ask for.
class Loader {
 public:
  Loader(Binder& binder, const Config& config, bool packed, Arena& arena)
      : binder_(binder), config_(config), packed_(packed), arena_(arena) {}

  Tensor load(const WeightInfo& info) {
    const int64_t experts = info.shape.size() == 3 ? info.shape[0] : 0;
    scratch_.reset();
    if (info.shape.size() == 1) {
      Tensor t = arena_.make_uninitialized(DType::f32, {info.shape[0]});
      const StoredTensor& stored = binder_.need_float(info.name, info.shape);
      widen(stored.data.data(), stored.dtype, t.f32(), info.shape[0]);
      return t;
    }
    const int64_t n = info.shape[info.shape.size() - 2], k = info.shape.back();
    const std::string first = expert_name(info, 0);
    if (config_.quantization.bits && info.linear && !binder_.has(first)) return load_awq(info, experts, n, k);

    // The router stays f32: a rounded logit would choose other experts.
    std::vector<Part> parts = find_parts(info, std::max<int64_t>(experts, 1), n, k);
    const bool rows = !packed_ || info.layer < 0;
    const bool keep = packed_ && (info.linear || info.layer < 0);
    const DType dtype = keep ? parts[0].dtype : DType::f32;
    const bool embedding = info.name == "model.embed_tokens.weight";
    Arena& where = rows && (!packed_ || embedding) ? arena_ : scratch_;
    Tensor t = experts ? where.make_uninitialized(dtype, {experts, n, k}) : where.make_uninitialized(dtype, {n, k});
    const size_t bytes = static_cast<size_t>(n * k) * dtype_bits(dtype) / 8;
    for (size_t e = 0; e < parts.size(); ++e) {
      char* const to = t.as<char>() + e * bytes;
      if (keep) {
        require(parts[e].dtype == dtype, binder_.folder(), ": the experts of ", info.name, " have different dtypes");
        std::memcpy(to, parts[e].data, bytes);
      } else {
        widen(parts[e].data, parts[e].dtype, reinterpret_cast<float*>(to), n * k);
      }
    }
    return packed_ && !embedding ? pack(t, arena_) : t;
  }

 private:
  struct Part {
    const char* data;
    DType dtype;
  };

  // Where each expert's matrix (or the only one) lies in the file: by itself, or in one tensor of all experts, in
  // which gate and up are joined (transformers 5 in memory).
  std::vector<Part> find_parts(const WeightInfo& info, int64_t experts, int64_t n, int64_t k) {
    std::vector<Part> parts;
    const size_t at = info.name.find("{}");
    if (at != std::string::npos && !binder_.has(expert_name(info, 0))) {
      const std::string prefix = info.name.substr(0, at);
      const bool down = info.name == cat(prefix, "{}.", architecture_of(config_).names.down, ".weight");
      const bool up = info.name == cat(prefix, "{}.", architecture_of(config_).names.up, ".weight");
      const std::string fused = prefix + (down ? "down_proj" : "gate_up_proj");
      if (binder_.has(fused)) {
        const StoredTensor& t = binder_.need_float(fused, {experts, down ? n : 2 * n, k});
        const size_t matrix = static_cast<size_t>(n * k) * dtype_bits(t.dtype) / 8;
        for (int64_t e = 0; e < experts; ++e)
          parts.push_back({t.data.data() + static_cast<size_t>(down ? e : 2 * e + up) * matrix, t.dtype});
        return parts;
      }
    }
    for (int64_t e = 0; e < experts; ++e) {
      const StoredTensor& t = binder_.need_float(expert_name(info, e), {n, k});
      parts.push_back({t.data.data(), t.dtype});
    }
    return parts;
  }

  Tensor load_awq(const WeightInfo& info, int64_t experts, int64_t n, int64_t k) {
    const int64_t group = config_.quantization.group_size == -1 ? k : config_.quantization.group_size;
    Tensor t;
    for (int64_t e = 0; e < std::max<int64_t>(experts, 1); ++e) {
      std::string module = expert_name(info, e);
      module.resize(module.size() - std::string_view(".weight").size());
      const AwqMatrix m = read_awq(binder_, module, n, k, group);
      if (packed_) {
        if (e == 0) t = make_quantized(arena_, experts, n, k, {DType::q4, group, DType::f16, true, false});
        set_quantized(experts ? item(t, e) : t, {m.q, m.scales, m.zeros, {}});
      } else {
        if (e == 0)
          t = experts ? arena_.make_uninitialized(DType::f32, {experts, n, k}) : arena_.make_uninitialized(DType::f32, {n, k});
        dequantize(m, t.f32() + e * n * k);
      }
    }
    return t;
  }

  Binder& binder_;
  const Config& config_;
  const bool packed_;
  Arena& arena_;
  Arena scratch_;
};

}  // namespace

Model load_model(const std::string& folder, const LoadOptions& options) {
  require(options.device == Device::cpu, "models run on the CPU so far: use --device cpu");
  require(std::filesystem::is_directory(folder), folder, " is not a model folder");
  Model model;
  model.config = load_config(folder);
  Binder binder(folder);
  Loader loader(binder, model.config, options.pack, model.arena);
  for_each_weight(model.config, model.weights, [&](const WeightInfo& info, Tensor& t) { t = loader.load(info); });
  binder.check_left_over(model.config);
  if (model.config.tie_word_embeddings)
    model.weights.lm_head = options.pack ? pack(model.weights.embed_tokens, model.arena) : model.weights.embed_tokens;
  if (options.pack) split_latent(model.config, model.weights, model.arena);
  model.metadata = binder.metadata();
  return model;
}

}  // namespace ds
