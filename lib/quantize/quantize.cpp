#include "quantize/quantize.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <numeric>

#include "base/log.h"
#include "base/rng.h"
#include "base/stop.h"
#include "io/input.h"
#include "io/json.h"
#include "io/jsonl.h"
#include "io/output.h"
#include "io/safetensors.h"
#include "quantize/awq.h"
#include "quantize/quantizer.h"
#include "text/tokenizer.h"

namespace ds {

namespace fs = std::filesystem;

namespace {

// One matrix of a checkpoint that is to be quantized: an expert's or a layer's.
struct Matrix {
  std::string name;              // without ".weight"
  Tensor w;                      // f32 [N, K] as it will be quantized
  std::vector<float> before;     // as it was, to measure rounding to nearest against
  double rtn_error = 0, error = 0;
  uint64_t bytes_bf16 = 0, bytes = 0;
};

}  // namespace

static std::string without_suffix(const std::string& name) {
  constexpr std::string_view suffix = ".weight";
  return name.ends_with(suffix) ? name.substr(0, name.size() - suffix.size()) : name;
}

// Calls visit(name, matrix or vector, whether it is quantized) in the checkpoint's order, experts one by one.
static void for_each_stored(Model& model, const std::function<void(const std::string&, const Tensor&, bool)>& visit) {
  for_each_weight(model.config, model.weights, [&](const WeightInfo& info, Tensor& t) {
    if (!t) return;
    if (t.rank == 3) {
      for (int64_t e = 0; e < t.shape[0]; ++e) visit(expert_name(info, e), item(t, e), info.linear);
    } else {
      visit(info.name, t, info.linear);
    }
  });
}

static std::vector<Matrix> matrices_of(Model& model, int64_t group_size) {
  require(model.config.gated_mlp, "a ", model.config.architecture, " cannot be quantized: only models with gated feed-forwards are supported");
  std::vector<Matrix> matrices;
  for_each_stored(model, [&](const std::string& name, const Tensor& t, bool linear) {
    if (!linear) return;
    require(t.cols() % group_size == 0, name, " has ", t.cols(), " inputs, which is no multiple of --group-size ", group_size);
    require(t.rows() % 8 == 0, name, " has ", t.rows(), " outputs; AutoAWQ's layout needs a multiple of 8");
    const auto groups = static_cast<uint64_t>(t.rows() * t.cols() / group_size);
    matrices.push_back({without_suffix(name), t, {t.f32(), t.f32() + t.elements()}, 0, 0,
                        static_cast<uint64_t>(t.elements()) * 2, static_cast<uint64_t>(t.elements()) / 2 + groups * 2 + groups / 2});
  });
  return matrices;
}

// Calibration text in rows of tokens: records in an order drawn by the seed, joined and cut.
static std::vector<std::vector<int32_t>> calibration_rows(const QuantizeOptions& options, const Model& model, Report& report) {
  const Tokenizer tokenizer(options.model);
  const int64_t length = std::min(options.calibration_length, model.config.max_position_embeddings);
  std::vector<std::string> texts;
  for_each_record(options.calibration, size_t{64} << 20, &report,
                  [&](Record&& record) { texts.push_back(record.required_string("text")); });
  std::vector<size_t> order(texts.size());
  std::iota(order.begin(), order.end(), size_t{0});
  const Rng rng{options.seed, hash64("calibration")};
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[rng.below(i, i)]);
  std::vector<std::vector<int32_t>> token_rows;
  std::vector<int32_t> row;
  for (const size_t i : order) {
    for (const int32_t token : tokenizer.encode(texts[i])) {
      row.push_back(token);
      if (static_cast<int64_t>(row.size()) == length) {
        token_rows.push_back(std::move(row));
        row.clear();
        if (static_cast<int64_t>(token_rows.size()) == options.calibration_samples) return token_rows;
      }
    }
  }
  if (row.size() > 1) token_rows.push_back(std::move(row));
  require(!token_rows.empty(), "the calibration files hold no text to calibrate on");
  return token_rows;
}

// ---- Writing ----

namespace {

// The tensors of the output in order; `bytes` keeps the one that is being written.
struct Writer {
  std::vector<TensorToWrite> tensors;
  std::shared_ptr<std::vector<char>> bytes = std::make_shared<std::vector<char>>();

  template <class T>
  void add(const std::string& name, DType dtype, std::vector<int64_t> shape, std::function<std::vector<T>()> make) {
    tensors.push_back({name, dtype, std::move(shape), [bytes = bytes, make = std::move(make)]() -> std::string_view {
                         const std::vector<T> values = make();
                         const char* const data = reinterpret_cast<const char*>(values.data());
                         bytes->assign(data, data + values.size() * sizeof(T));
                         return {bytes->data(), bytes->size()};
                       }});
  }
};

}  // namespace

static std::vector<uint16_t> to_f16(const Tensor& t, const std::string& name) {
  std::vector<uint16_t> out(static_cast<size_t>(t.elements()));
  for (size_t i = 0; i < out.size(); ++i) {
    out[i] = f32_to_f16(t.f32()[i]);
    require((out[i] & 0x7c00) != 0x7c00, name, " holds ", t.f32()[i], ", which half precision cannot: AutoAWQ's format stores it in f16");
  }
  return out;
}

static void write_weights(Model& model, const QuantizeOptions& options, const std::string& folder) {
  Writer writer;
  for_each_stored(model, [&](const std::string& name, const Tensor& t, bool linear) {
    const std::vector<int64_t> shape(t.shape.begin(), t.shape.begin() + t.rank);
    if (linear) {
      const std::string base = without_suffix(name);
      const int64_t n = t.rows(), k = t.cols(), groups = k / options.group_size;
      // The three tensors of a matrix stand together; each is derived when it is written, so memory stays at one.
      const auto layout = [t, g = options.group_size] { return awq_layout(quantize_4bit(t, g)); };
      writer.add<uint32_t>(base + ".qweight", DType::i32, {k, n / 8}, [layout] { return layout().qweight; });
      writer.add<uint32_t>(base + ".qzeros", DType::i32, {groups, n / 8}, [layout] { return layout().qzeros; });
      writer.add<uint16_t>(base + ".scales", DType::f16, {groups, n}, [layout] { return layout().scales; });
    } else if (name.ends_with("e_score_correction_bias")) {
      writer.add<float>(name, DType::f32, shape, [t] { return std::vector<float>(t.f32(), t.f32() + t.elements()); });
    } else {
      writer.add<uint16_t>(name, DType::f16, shape, [t, name] { return to_f16(t, name); });
    }
  });
  std::map<std::string, std::string> metadata = model.metadata;
  JsonWriter history;
  history.open('{').field("tool", "ds-quantize").field("version", DS_VERSION).field("method", options.method);
  history.field("bits", options.bits).field("group_size", options.group_size);
  if (options.method == "awq")
    history.field("calibration_samples", options.calibration_samples).field("calibration_length", options.calibration_length).field("seed", options.seed);
  history.close();
  std::string& chain = metadata["ds.history"];
  chain = chain.empty() ? "[" + history.text + "]" : chain.substr(0, chain.rfind(']')) + ", " + history.text + "]";
  write_safetensors(folder + "/model.safetensors", writer.tensors, metadata);
}

static void write_config(const Model& model, const QuantizeOptions& options, const std::string& folder) {
  Config written = model.config;
  written.quantization = {};  // of the weights that were read; those that are written have one of their own
  written.num_nextn_predict_layers = 0;
  Record config(config_json(written, DType::f16), "config.json", 1);
  JsonWriter w;
  w.open('{').field("quant_method", "awq").field("bits", options.bits).field("group_size", options.group_size);
  w.field("zero_point", true).field("version", "gemm").key("modules_to_not_convert").null().close();
  config.set("quantization_config", w.text);
  write_file(folder + "/config.json", config.raw());
  for (const char* const name : {"tokenizer.json", "tokenizer_config.json", "generation_config.json", "special_tokens_map.json"})
    if (fs::exists(fs::path(options.model) / name))
      write_file(folder + "/" + name, read_regular_file(options.model + "/" + name, kMaxTokenizerBytes));
}

// ---- Report ----

static void report_layers(const std::vector<Matrix>& matrices, Report& report) {
  uint64_t bytes = 0, bytes_bf16 = 0;
  double error_sum = 0;
  JsonWriter w;
  w.open('[');
  for (const Matrix& m : matrices) {
    bytes += m.bytes, bytes_bf16 += m.bytes_bf16, error_sum += m.error;
    w.open('{').field("name", m.name).open('[', "shape").value(m.w.rows()).value(m.w.cols()).close();
    w.field("bytes", m.bytes).field("bytes_bf16", m.bytes_bf16);
    w.field("output_error_rtn", m.rtn_error).field("output_error", m.error).close();
  }
  w.close();
  report.results.emplace_back("layers", w.text);
  JsonWriter total;
  total.open('{').field("matrices", static_cast<uint64_t>(matrices.size())).field("bytes", bytes).field("bytes_bf16", bytes_bf16);
  total.field("ratio", static_cast<double>(bytes) / static_cast<double>(std::max<uint64_t>(bytes_bf16, 1)));
  total.field("mean_output_error", error_sum / static_cast<double>(std::max<size_t>(matrices.size(), 1))).close();
  report.results.emplace_back("quantized", total.text);
  info("quantized ", matrices.size(), " matrices: ", bytes, " bytes, ", static_cast<double>(bytes) / static_cast<double>(bytes_bf16), " of bf16");
}

static void check_options(const QuantizeOptions& options) {
  if (options.bits != 4) throw UsageError(cat("--bits ", options.bits, ": the AWQ layout holds 4 bits"));
  if (options.group_size <= 0) throw UsageError("--group-size must be positive");
  if (options.calibration_samples <= 0 || options.calibration_length < 2)
    throw UsageError("--calibration-samples must be positive and --calibration-length at least 2");
  if (options.method == "awq" && options.calibration.empty())
    throw UsageError("--method awq measures activations: give --calibration FILE.jsonl (records with \"text\"), or use --method rtn");
  require(!fs::exists(options.output), options.output, " exists: remove it or name another folder");
}

void quantize(const QuantizeOptions& options, Report& report) {
  check_options(options);
  Model model = load_model(options.model);
  std::vector<Matrix> matrices = matrices_of(model, options.group_size);
  require(!matrices.empty(), options.model, ": no matrix to quantize");
  Calibration calibration;
  if (!options.calibration.empty()) {
    const auto stage = report.stage("calibrate");
    calibration = calibrate(model, calibration_rows(options, model, report));
    Arena scratch;
    for (Matrix& m : matrices) {
      scratch.reset();
      const Tensor rounded = scratch.make_uninitialized(DType::f32, {m.w.rows(), m.w.cols()});
      fake_quantize(m.w, options.group_size, rounded);
      m.rtn_error = relative_output_error(m.w, rounded, *calibration.inputs.at(m.w.data));
    }
  }
  if (options.method == "awq") {
    const auto stage = report.stage("awq");
    awq_scale(model, calibration, options.group_size);
    // From here on the error is measured against the scaled weights, whose outputs are the original ones.
    for (Matrix& m : matrices) m.before.assign(m.w.f32(), m.w.f32() + m.w.elements());
    awq_clip(model, calibration, options.group_size);
  }
  if (!options.calibration.empty()) {
    Arena scratch;
    for (Matrix& m : matrices) {
      scratch.reset();
      const Tensor rounded = scratch.make_uninitialized(DType::f32, {m.w.rows(), m.w.cols()});
      fake_quantize(m.w, options.group_size, rounded);
      const Tensor before = make_tensor(m.before.data(), DType::f32, {m.w.rows(), m.w.cols()});
      m.error = relative_output_error(before, rounded, *calibration.inputs.at(m.w.data));
    }
  }
  const auto stage = report.stage("write");
  const std::string temporary = options.output + ".tmp";
  fs::remove_all(temporary);
  fs::create_directories(temporary);
  try {
    write_config(model, options, temporary);
    write_weights(model, options, temporary);
    publish_folder(temporary, options.output);
  } catch (...) {
    fs::remove_all(temporary);
    throw;
  }
  report_layers(matrices, report);
}

}  // namespace ds
