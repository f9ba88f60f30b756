// A checkpoint into memory.
#include <cstring>
#include <filesystem>

#include "base/error.h"
#include "base/parallel.h"
#include "model/decoder.h"
#include "model/load_gguf.h"
#include "model/lora.h"
#include "model/weight_source.h"

namespace ds {

namespace {

// On all threads: the memory is new, and the system clears each of its pages first.
void copy_bytes(char* to, const char* from, size_t count) {
  parallel_for(count, size_t{2} << 20, [&](size_t begin, size_t end) { std::memcpy(to + begin, from + begin, end - begin); });
}

// Reads the weights of one model in the form that the options ask for.
class Loader {
 public:
  Loader(WeightSource& source, const Config& config, const LoadOptions& options, Arena& arena)
      : source_(source), tied_(config.tie_word_embeddings), packed_(options.pack), rounding_(options.rounding), arena_(arena) {}

  Tensor load(const WeightInfo& info) {
    if (info.shape.size() == 1) {
      const Tensor t = arena_.make_uninitialized(DType::f32, {info.shape[0]});
      source_.read_vector(info, t.f32());
      return t;
    }
    const int64_t experts = info.shape.size() == 3 ? info.shape[0] : 0;
    Tensor t;
    for (int64_t e = 0; e < std::max<int64_t>(experts, 1); ++e) {
      matrix_.stored = {};
      source_.read_matrix(info, e, matrix_);
      if (e == 0) {
        first_ = matrix_.dtype;
        t = make(info, experts);
      }
      require(matrix_.dtype == first_, matrix_.name, " is ", dtype_name(matrix_.dtype), ", and the first expert is ", dtype_name(first_));
      try {
        fill(experts ? item(t, e) : t);
      } catch (const SystemError&) {
        throw;
      } catch (const Error& error) {
        fail(matrix_.name, ": ", error.what());
      }
      let_go(matrix_.stored);  // or the model would be in memory twice
    }
    return t;
  }

 private:
  // The router stays f32: a rounded logit would choose other experts. Rows of the embeddings are looked up, so they have
  // panels only where they are multiplied with too (a tied head), or are quantized, of which there are panels only.
  Tensor make(const WeightInfo& info, int64_t experts) {
    const StoredMatrix& m = matrix_;
    const bool router = info.layer >= 0 && !info.linear;
    if (packed_ && m.quantized() && !router) {
      Tensor t = make_quantized(arena_, experts, m.n, m.k, m.format);
      if (!m.k_order.empty())
        t.k_order = static_cast<int32_t*>(arena_.allocate(static_cast<size_t>(std::max<int64_t>(experts, 1) * m.k) * sizeof(int32_t)));
      const bool integers = m.dtype == DType::q4 || m.dtype == DType::q8;
      t.int8_activations = rounding_ == ActivationRounding::as_stored ? m.int8_activations
                                                                      : rounding_ == ActivationRounding::int8 && integers;
      return t;
    }
    const DType dtype = packed_ && !router ? m.dtype : DType::f32;
    const bool looked_up = info.name == "model.embed_positions.weight" || (!tied_ && info.name == "model.embed_tokens.weight");
    if (packed_ && !looked_up) return make_panels(arena_, dtype, experts, m.n, m.k);
    return experts ? arena_.make_uninitialized(dtype, {experts, m.n, m.k}) : arena_.make_uninitialized(dtype, {m.n, m.k});
  }

  void fill(const Tensor& t) {
    const StoredMatrix& m = matrix_;
    if (t.scales) {
      require(m.k_order.empty() == (t.k_order == nullptr), "some experts have their inputs in order, and some have not");
      set_quantized(t, {m.values, m.scales, m.zeros, m.mins});
      if (t.k_order) std::memcpy(const_cast<int32_t*>(t.k_order), m.k_order.data(), m.k_order.size() * sizeof(int32_t));
    } else if (t.layout == Layout::rows) {
      if (t.dtype == m.dtype) copy_bytes(t.as<char>(), m.data, static_cast<size_t>(m.n * m.k) * dtype_bits(t.dtype) / 8);
      else widen_rows(m, t.f32());
    } else if (t.dtype == m.dtype) {
      set_panels(t, m.data);
    } else {
      std::vector<float> rows(static_cast<size_t>(m.n * m.k));
      widen_rows(m, rows.data());
      set_panels(t, rows.data());
    }
  }

  WeightSource& source_;
  const bool tied_, packed_;
  const ActivationRounding rounding_;
  Arena& arena_;
  StoredMatrix matrix_;
  DType first_ = DType::f32;
};

}  // namespace

Model load_model(const std::string& path, const LoadOptions& options) {
  require(options.device == Device::cpu, "models run on the CPU so far: use --device cpu");
  const bool gguf = is_gguf(path);
  require(gguf || std::filesystem::is_directory(path), path, " is not a model folder, nor a .gguf file");
  Model model;
  model.config = load_config(path);
  std::unique_ptr<WeightSource> source = gguf ? open_gguf(path, model.config) : open_safetensors(path, model.config);
  if (!options.merge_adapter.empty())
    source = merge_adapter(std::move(source), load_adapter(options.merge_adapter, model.config, AdapterUse::merge), model.config);
  Loader loader(*source, model.config, options, model.arena);
  const auto load = [&](const WeightInfo& info, Tensor& t) {
    t = loader.load(info);
    model.int8_activations |= t.int8_activations;
  };
  for_each_weight(model.config, model.weights, load);
  if (options.mtp) {
    require(model.config.num_nextn_predict_layers > 0, path, ": the model has no head for multi-token prediction (num_nextn_predict_layers)");
    for_each_weight(model.config, model.mtp.emplace(), load);
  }
  source->check_left_over();
  require(model.int8_activations || options.rounding != ActivationRounding::int8, path,
          ": no weight is in 4-bit or 8-bit integers, and activations are rounded to 8 bits for those only (--activations int8)");
  if (options.pack) split_latent(model.config, model.weights.layers, model.arena);
  if (options.pack && model.mtp) split_latent(model.config, {&model.mtp->block, 1}, model.arena);
  model.metadata = source->metadata();
  return model;
}

}  // namespace ds
