#include "train/pretrain.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <optional>

#include "base/error.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/sizes.h"
#include "base/stop.h"
#include "io/json.h"
#include "io/output.h"
#include "io/safetensors.h"
#include "text/tokenizer.h"
#include "train/checkpoint.h"
#include "train/data.h"
#include "train/metrics.h"
#include "train/output_folder.h"
#include "train/schedule.h"
#include "train/step.h"

namespace ds {

namespace fs = std::filesystem;

namespace {

DType parse_dtype(const std::string& name) {
  for (const DType type : {DType::f32, DType::bf16, DType::f16}) {
    if (name == dtype_name(type)) return type;
  }
  throw UsageError(cat("--dtype ", name, ": expected f32, bf16 or f16"));
}

void check_usage(bool ok, const std::string& message) {
  if (!ok) throw UsageError(message);
}

void check_options(const PretrainOptions& o) {
  check_usage(o.init.empty() != o.model.empty(), "give either --init CONFIG.json or --model DIR");
  check_usage(o.model.empty() || o.tokenizer.empty(), "--tokenizer goes with --init; --model DIR has its own");
  check_usage(!o.output.empty() && o.output != "-", "-o OUT, the folder to write, is missing");
  check_usage(!o.data.empty(), "--data FILE.jsonl is missing");
  check_usage(o.steps >= 1, "--steps must be at least 1");
  check_usage(o.batch_size >= 1, "--batch-size must be at least 1");
  check_usage(o.micro_batch_size >= 0 && o.micro_batch_size <= o.batch_size, "--micro-batch-size must be 1 to --batch-size");
  check_usage(o.sequence_length >= 1, "--sequence-length must be at least 1");
  check_usage(o.warmup_steps >= 0, "--warmup-steps must not be negative");
  check_usage(o.decay_steps >= 0 && o.decay_steps <= o.steps, "--decay-steps must be 0 to --steps");
  check_usage(o.learning_rate >= 0 && o.weight_decay >= 0 && o.clip_norm >= 0 && o.epsilon > 0,
              "--learning-rate, --weight-decay and --clip-norm must not be negative, and --epsilon must be positive");
  check_usage(o.beta1 >= 0 && o.beta1 < 1 && o.beta2 >= 0 && o.beta2 < 1, "--beta1 and --beta2 must be in [0, 1)");
  check_usage(o.min_learning_rate_ratio >= 0 && o.min_learning_rate_ratio <= 1, "--min-learning-rate-ratio must be in [0, 1]");
  check_usage(o.router_aux_loss >= 0 && o.sequence_aux_loss >= 0 && o.router_bias_update_rate >= 0,
              "--router-aux-loss, --sequence-aux-loss and --router-bias-update-rate must not be negative");
  check_usage(o.checkpoint_every >= 0 && o.keep_checkpoints >= 1, "--checkpoint-every must be 0 or more, --keep-checkpoints 1 or more");
}

Schedule make_schedule(const PretrainOptions& o) {
  Schedule s;
  s.kind = parse_schedule(o.schedule);
  s.peak = o.learning_rate;
  s.steps = o.steps;
  s.warmup_steps = o.warmup_steps;
  s.decay_steps = o.decay_steps > 0 ? o.decay_steps : o.steps / 5;
  s.min_ratio = o.min_learning_rate_ratio;
  return s;
}

// What decides the bytes of the weights, as an entry of ds.history: never paths, threads or times.
std::string history_entry(const PretrainOptions& o, const Documents& documents, const SourceFolder& source) {
  JsonWriter w;
  w.open('{').field("tool", "ds-train").field("version", DS_VERSION).field("verb", "pretrain");
  w.open('[', "data");
  for (const auto& input : documents.inputs) w.value(hex(input.hash));
  w.close();
  w.open('{', "from");
  for (const auto& [name, hash] : source.hashes) w.field(name, hash);
  w.close();
  w.open('{', "options");
  w.field("steps", o.steps).field("batch-size", o.batch_size).field("micro-batch-size", o.micro_batch_size);
  w.field("sequence-length", o.sequence_length).field("shuffle", !o.no_shuffle).field("seed", o.seed);
  w.field("text-field", o.text_field).field("weight-field", o.weight_field);
  w.field("learning-rate", o.learning_rate).field("min-learning-rate-ratio", o.min_learning_rate_ratio);
  w.field("schedule", o.schedule).field("warmup-steps", o.warmup_steps).field("decay-steps", o.decay_steps);
  w.field("weight-decay", o.weight_decay).field("beta1", o.beta1).field("beta2", o.beta2);
  w.field("epsilon", o.epsilon).field("clip-norm", o.clip_norm).field("router-aux-loss", o.router_aux_loss);
  w.field("sequence-aux-loss", o.sequence_aux_loss).field("router-bias-update-rate", o.router_bias_update_rate);
  w.field("router-bias-decay", o.router_bias_decay);
  w.field("dtype", o.dtype);
  w.close().close();
  return w.text;
}

std::map<std::string, std::string> append_history(std::map<std::string, std::string> metadata, const std::string& entry) {
  std::string& chain = metadata["ds.history"];
  const size_t end = chain.rfind(']');
  chain = end == std::string::npos ? "[" + entry + "]" : chain.substr(0, end) + ", " + entry + "]";
  return metadata;
}

// The history of a model file, or nothing where there is no such file.
std::string stored_history(const std::string& path) {
  if (!fs::exists(path)) return "";
  const SafetensorsFile file(path);
  const auto found = file.metadata().find("ds.history");
  return found == file.metadata().end() ? "" : found->second;
}

// Names the first thing in which the runs differ.
[[noreturn]] void refuse_resume(const std::string& where, const std::string& stored, const std::string& wanted) {
  std::string what = "its provenance";
  const Json a = parse_json(stored.empty() ? "[]" : stored, where), b = parse_json(wanted, where);
  if (!a.items.empty() && !b.items.empty()) {
    const Json *old_options = a.items.back().find("options"), *new_options = b.items.back().find("options");
    const auto text = [](const Json& v) { return v.type == Json::Type::boolean ? (v.boolean ? "true" : "false") : v.text; };
    what = "the data, the model or the tokenizer it starts from";
    for (const auto& [key, value] : new_options->members) {
      const Json* old = old_options ? old_options->find(key) : nullptr;
      if (old && text(*old) == text(value)) continue;
      what = cat("--", key, " (", old ? text(*old) : "none", " there, ", text(value), " here)");
      break;
    }
  }
  fail(where, ": cannot resume, since it was trained with a different ", what,
       "; repeat its options, name another -o, or leave --resume out to start afresh");
}

// A run: everything that stays the same over its steps.
struct Run {
  const PretrainOptions& options;
  Schedule schedule;
  StepSpec spec;
  Documents documents;
  PackedRows packed;
  std::map<std::string, std::string> metadata;  // of the files it writes
  std::string checkpoints() const { return options.output + "/checkpoints"; }
};

StepSpec make_step_spec(const PretrainOptions& o) {
  StepSpec spec;
  spec.micro_batch_size = o.micro_batch_size > 0 ? o.micro_batch_size : o.batch_size;
  spec.clip_norm = o.clip_norm;
  spec.aux = {static_cast<float>(o.router_aux_loss), static_cast<float>(o.sequence_aux_loss)};
  spec.adamw.beta1 = static_cast<float>(o.beta1);
  spec.adamw.beta2 = static_cast<float>(o.beta2);
  spec.adamw.epsilon = static_cast<float>(o.epsilon);
  spec.adamw.weight_decay = static_cast<float>(o.weight_decay);
  return spec;
}

// Holds a folder for this process alone: two runs in one folder would spoil each other's files.
class FolderLock {
 public:
  explicit FolderLock(const std::string& folder) : file_(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
    const bool locked = file_ >= 0 && ::flock(file_, LOCK_EX | LOCK_NB) == 0;
    const int error = errno;
    if (!locked && file_ >= 0) ::close(file_);
    require(locked, folder, ": ", error == EWOULDBLOCK ? "another ds-train is at work in it" : std::strerror(error));
  }
  ~FolderLock() { ::close(file_); }
  FolderLock(const FolderLock&) = delete;

 private:
  int file_;
};

struct Summary {
  double first_loss = 0, last_loss = 0;
};

Summary run_steps(Run& run, TrainState& state) {
  const PretrainOptions& o = run.options;
  MetricsFile metrics(o.output + "/metrics.jsonl", state.step);
  RowOrder order(run.packed.count(), o.seed, !o.no_shuffle);
  std::vector<size_t> rows(static_cast<size_t>(o.batch_size));
  Summary summary;
  const auto start = std::chrono::steady_clock::now();
  auto before = start;
  const uint64_t tokens_at_start = state.tokens;
  while (state.step < o.steps) {
    for (size_t i = 0; i < rows.size(); ++i) rows[i] = order.at(state.rows + i);
    const double rate = learning_rate(run.schedule, state.step);
    run.spec.adamw.learning_rate = static_cast<float>(rate);
    run.spec.adamw.step = state.step + 1;
    // Balance is sought at full speed from the start, warm-up included, and settles as the weights do.
    const bool decays = o.router_bias_decay && state.step >= o.warmup_steps && o.learning_rate > 0;
    run.spec.router_bias_update_rate = o.router_bias_update_rate * (decays ? rate / o.learning_rate : 1.0);
    const StepResult result = train_step(state, run.documents, run.packed, rows, run.spec);
    if (state.step == 1) summary.first_loss = result.loss;
    summary.last_loss = result.loss;

    const auto now = std::chrono::steady_clock::now();
    const auto per_second = [&](uint64_t tokens, auto since) {
      return std::round(static_cast<double>(tokens) / std::max(1e-9, std::chrono::duration<double>(now - since).count()));
    };
    metrics.append(metrics_line(state.step, result, rate, per_second(result.tokens, before)));
    before = now;
    char detail[96];
    std::snprintf(detail, sizeof detail, "loss %.4f, %.0f tokens/s", result.loss, per_second(state.tokens - tokens_at_start, start));
    progress({"train", "steps", static_cast<uint64_t>(state.step), static_cast<uint64_t>(o.steps), detail});

    const bool scheduled = o.checkpoint_every > 0 && state.step % o.checkpoint_every == 0;
    if (state.step < o.steps && (scheduled || stop_requested())) {
      metrics.sync();
      save_checkpoint(run.checkpoints(), state, run.metadata);
      if (scheduled) prune_checkpoints(run.checkpoints(), static_cast<size_t>(o.keep_checkpoints), o.checkpoint_every);
      throw_if_stopped();
    }
  }
  metrics.sync();
  return summary;
}

// The state to begin with: the newest checkpoint's, the given model's, or fresh weights.
TrainState begin(const Run& run, SourceFolder& source) {
  const PretrainOptions& o = run.options;
  const std::string newest = o.resume ? newest_checkpoint(run.checkpoints()) : "";
  if (!newest.empty()) {
    const std::string stored = stored_history(newest + "/model.safetensors"), &wanted = run.metadata.at("ds.history");
    if (stored != wanted) refuse_resume(newest, stored, wanted);
    info("going on from ", newest);
    return load_checkpoint(newest);
  }
  prune_checkpoints(run.checkpoints(), 0, 0);
  if (!o.model.empty()) return make_state(std::move(source.model));
  Model& model = source.model;
  model.weights = make_weights(model.config, model.arena);
  initialize(model.config, model.weights, o.seed);
  return make_state(std::move(model));
}

std::string plan_json(const Run& run, const Config& config) {
  int64_t parameters = 0;
  Weights names;
  for_each_weight(config, names, [&](const WeightInfo& info, Tensor&) { parameters += checked_elements(info.shape, info.name); });
  const auto& o = run.options;
  JsonWriter w(2);
  w.open('{').field("parameters", parameters).field("documents", uint64_t{run.documents.count()});
  w.field("tokens", uint64_t{run.documents.ids.size()}).field("text_bytes", run.documents.text_bytes);
  w.field("rows", uint64_t{run.packed.count()}).field("targets_per_epoch", run.packed.targets);
  w.field("steps", o.steps).field("rows_per_step", o.batch_size);
  w.field("epochs", static_cast<double>(o.steps) * static_cast<double>(o.batch_size) / static_cast<double>(run.packed.count()));
  w.close();
  return w.text;
}

}  // namespace

void pretrain(const PretrainOptions& options, bool dry_run, Report& report) {
  check_options(options);
  const DType dtype = parse_dtype(options.dtype);
  SourceFolder source = open_source(options.init, options.model, options.tokenizer);
  const Config config = source.model.config;
  check_usage(options.sequence_length <= config.max_position_embeddings || config.max_position_embeddings == 0,
              cat("--sequence-length ", options.sequence_length, " is beyond the model's ", config.max_position_embeddings, " positions"));

  Run run{options, make_schedule(options), make_step_spec(options), Documents(config.vocab_size), {}, {}};
  {
    const auto stage = report.stage("tokenize");
    DataOptions data{options.data, options.text_field, options.weight_field, options.max_record_bytes,
                     source.bos_id, source.eos_id};
    run.documents = load_documents(data, source.tokenizer.get(), config.vocab_size);
    run.packed = pack_rows(run.documents, options.sequence_length);
  }
  for (const auto& input : run.documents.inputs) {
    report.inputs.push_back({input.file, input.bytes, input.lines, input.hash});
    report.read += input.lines;
  }
  report.kept = report.read;
  report.results.emplace_back("plan", plan_json(run, config));
  if (dry_run) {
    OutputFile plan("-");
    plan.write(plan_json(run, config) + "\n");
    plan.commit();
    return;
  }

  run.metadata = append_history(source.model.metadata, history_entry(options, run.documents, source));
  const std::string model_file = options.output + "/model.safetensors";
  if (options.resume && fs::exists(model_file)) {
    const std::string stored = stored_history(model_file), &wanted = run.metadata.at("ds.history");
    if (stored != wanted) refuse_resume(options.output, stored, wanted);
    info(options.output, " is finished");
    return;
  }
  fs::create_directories(run.checkpoints());
  const FolderLock lock(options.output);
  fs::remove(model_file);
  TrainState state = begin(run, source);
  Summary summary;
  {
    const auto stage = report.stage("train");
    summary = run_steps(run, state);
  }
  prune_checkpoints(run.checkpoints(), static_cast<size_t>(options.keep_checkpoints), options.checkpoint_every);
  write_companions(source, options.output);
  save_model(config, state.model.weights, options.output, dtype, run.metadata, true);
  JsonWriter w;
  w.open('{').field("steps", state.step).field("tokens", state.tokens).field("loss", summary.last_loss).close();
  report.results.emplace_back("training", w.text);
}

}  // namespace ds
