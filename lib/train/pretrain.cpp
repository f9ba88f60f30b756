#include "train/pretrain.h"

#include <cstdlib>
#include <filesystem>
#include <numeric>
#include <optional>

#include "base/error.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/sizes.h"
#include "io/json.h"
#include "io/output.h"
#include "text/tokenizer.h"
#include "train/checkpoint.h"
#include "train/data_stream.h"
#include "train/history.h"
#include "train/loop.h"
#include "train/output_folder.h"
#include "train/schedule.h"

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
  const SourceOptions& source = o.source;
  check_usage(!source.init.empty() + !source.model.empty() + !source.arch.empty() == 1, "give one of --arch NAME, --init CONFIG.json and --model DIR");
  check_usage(source.model.empty() || source.tokenizer.empty(), "--tokenizer goes with --arch or --init; --model DIR has its own");
  check_usage(source.model.empty() || source.set.empty(), "--set goes with --arch or --init; the weights of --model DIR are of its config.json");
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
  check_usage(o.router_aux_loss >= 0 && o.sequence_aux_loss >= 0 && o.router_bias_update_rate >= 0 && o.router_z_loss >= 0,
              "--router-aux-loss, --sequence-aux-loss, --router-z-loss and --router-bias-update-rate must not be negative");
  check_usage(o.router_load_decay >= 0 && o.router_load_decay < 1 && o.router_feedback_rate >= 0,
              "--router-load-decay must be in [0, 1), and --router-feedback-rate must not be negative");
  check_usage(o.muon_learning_rate >= 0 && o.muon_momentum >= 0 && o.muon_momentum < 1,
              "--muon-learning-rate must not be negative, --muon-momentum in [0, 1)");
  check_usage(o.dropout >= 0 && o.dropout < 1, "--dropout must be in [0, 1)");
  check_usage(o.spike_factor == 0 || o.spike_factor > 1, "--spike-factor must be 0 or above 1");
  check_usage(o.on_spike != "rollback" || o.checkpoint_every > 0, "--on-spike rollback needs checkpoints: --checkpoint-every is 0");
  check_usage(o.eval_every >= 0 && (o.eval_every == 0 || !o.eval_data.empty()), "--eval-every N needs --eval-data FILE");
  check_usage(o.weight_power >= 0 && o.weight_power <= 10 && o.final_weight_power <= 10,
              "--weight-power and --final-weight-power must be 0 to 10");
  check_usage(o.weight_use == "loss" || o.weight_use == "sampling", "--weight-use must be loss or sampling");
  check_usage(o.window_bytes >= 1, "--window must be at least one byte");
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
std::string history_entry(const PretrainOptions& o, const std::vector<LineReader::InputSummary>& inputs, const SourceFolder& source) {
  JsonWriter w;
  w.open('{').field("tool", "ds-train").field("version", DS_VERSION).field("verb", "pretrain");
  w.open('[', "data");
  for (const auto& input : inputs) w.value(hex(input.hash));
  w.close();
  w.open('{', "from");
  for (const auto& [name, hash] : source.hashes) w.field(name, hash);
  w.close();
  w.open('{', "options");
  w.field("steps", o.steps).field("batch-size", o.batch_size).field("micro-batch-size", o.micro_batch_size);
  w.field("sequence-length", o.sequence_length).field("shuffle", !o.no_shuffle).field("seed", o.seed);
  w.field("text-field", o.text_field).field("weight-field", o.weight_field).field("weight-use", o.weight_use);
  w.field("weight-power", o.weight_power).field("final-weight-power", o.final_weight_power);
  w.field("window", uint64_t{o.window_bytes}).open('[', "share");
  for (const std::string& share : o.shares) w.value(share);
  w.close();
  w.field("learning-rate", o.learning_rate).field("min-learning-rate-ratio", o.min_learning_rate_ratio);
  w.field("schedule", o.schedule).field("warmup-steps", o.warmup_steps).field("decay-steps", o.decay_steps);
  w.field("optimizer", o.optimizer).field("muon-learning-rate", o.muon_learning_rate).field("muon-momentum", o.muon_momentum);
  w.field("on-spike", o.on_spike).field("spike-factor", o.spike_factor);
  w.field("weight-decay", o.weight_decay).field("beta1", o.beta1).field("beta2", o.beta2);
  w.field("epsilon", o.epsilon).field("clip-norm", o.clip_norm).field("router-aux-loss", o.router_aux_loss);
  w.field("sequence-aux-loss", o.sequence_aux_loss).field("router-bias-update-rate", o.router_bias_update_rate);
  w.field("router-bias-decay", o.router_bias_decay).field("router-z-loss", o.router_z_loss);
  w.field("router-temperature", o.router_temperature).field("router-load-decay", o.router_load_decay);
  w.field("router-feedback-rate", o.router_feedback_rate);
  w.field("dropout", o.dropout).field("kv-cache-dtype", o.kv_cache_dtype).field("dtype", o.dtype);
  w.close().close();
  return w.text;
}

// "NAME=FILE" where a share has that NAME, else the whole is a file of the domain "".
std::pair<std::string, std::string> domain_of(const std::string& data, const std::vector<Domain>& domains) {
  const size_t equals = data.find('=');
  if (equals != std::string::npos) {
    const std::string name = data.substr(0, equals);
    for (const Domain& d : domains)
      if (!name.empty() && d.name == name) return {name, data.substr(equals + 1)};
  }
  return {"", data};
}

std::vector<Domain> make_domains(const PretrainOptions& o, const SourceFolder& source) {
  std::vector<Domain> domains;
  double rest = 1;
  for (const std::string& text : o.shares) {
    const size_t equals = text.find('=');
    Domain domain;
    domain.name = text.substr(0, equals);
    char* end = nullptr;
    domain.share = equals == std::string::npos ? 0 : std::strtod(text.c_str() + equals + 1, &end);
    check_usage(!domain.name.empty() && end && *end == 0 && domain.share > 0 && domain.share <= 1,
                cat("--share ", text, ": expected NAME=X with X above 0 and at most 1"));
    for (const Domain& d : domains) check_usage(d.name != domain.name, cat("--share ", text, ": the share of ", d.name, " is given already"));
    rest -= domain.share;
    domains.push_back(domain);
  }
  check_usage(rest > -1e-9, "the shares of --share add up to more than 1");
  domains.push_back({"", rest, {}});
  for (const std::string& text : o.data) {
    const auto [name, file] = domain_of(text, domains);
    for (Domain& d : domains)
      if (d.name == name) d.data.files.push_back(file);
  }
  if (domains.back().data.files.empty()) {
    check_usage(rest < 1e-9, cat("the shares of --share add up to ", 1 - rest, ", and no --data FILE without a name has the rest"));
    domains.pop_back();
  }
  for (Domain& d : domains) {
    check_usage(!d.data.files.empty(), cat("--share ", d.name, ": no --data ", d.name, "=FILE"));
    check_usage(d.share > 1e-9, "the shares of --share leave nothing for the files without a name");
    d.data = {d.data.files, o.text_field, o.weight_field, o.max_record_bytes, source.bos_id, source.eos_id};
  }
  return domains;
}

DataStreamSpec make_stream_spec(const PretrainOptions& o, const SourceFolder& source) {
  DataStreamSpec spec;
  spec.domains = make_domains(o, source);
  spec.sequence_length = o.sequence_length;
  spec.rows_per_step = o.batch_size;
  spec.micro_batch_size = o.micro_batch_size > 0 ? o.micro_batch_size : o.batch_size;
  spec.steps = o.steps;
  spec.window_bytes = o.window_bytes;
  spec.seed = o.seed;
  spec.shuffle = !o.no_shuffle;
  spec.weight_use = o.weight_use == "loss" ? DataStreamSpec::WeightUse::loss : DataStreamSpec::WeightUse::sampling;
  spec.weight_power_begin = o.weight_power;
  spec.weight_power_end = o.final_weight_power < 0 ? o.weight_power : o.final_weight_power;
  return spec;
}

// An adaptive router's temperature at the first step and at the last, with a line between; zeros: the model's own.
std::pair<double, double> parse_temperature(const PretrainOptions& o, const Config& config) {
  const bool adaptive = config.router.kind == RouterSpec::Kind::adaptive;
  check_usage(adaptive || o.router_temperature.empty(), "--router-temperature is for a model with \"router_type\": \"adaptive\"");
  if (!adaptive || (o.router_temperature.empty() && !o.source.model.empty())) return {0, 0};
  const std::string text = o.router_temperature.empty() ? "2:0.5" : o.router_temperature;
  char* end = nullptr;
  const double first = std::strtod(text.c_str(), &end);
  const double last = *end == ':' ? std::strtod(end + 1, &end) : first;
  check_usage(*end == 0 && first >= 1e-3 && last >= 1e-3 && first <= 1e3 && last <= 1e3,
              cat("--router-temperature ", text, ": expected FIRST:LAST, or one number, from 0.001 to 1000"));
  return {first, last};
}

StepSpec step_spec(const PretrainOptions& o, const Schedule& schedule, std::pair<double, double> temperature, int64_t step) {
  const double rate = learning_rate(schedule, step);
  StepSpec spec;
  spec.clip_norm = o.clip_norm;
  spec.dropout = static_cast<float>(o.dropout);
  spec.seed = o.seed;
  spec.aux = {static_cast<float>(o.router_aux_loss), static_cast<float>(o.sequence_aux_loss), static_cast<float>(o.router_z_loss)};
  const double part = step + 1 < o.steps ? static_cast<double>(step) / static_cast<double>(o.steps - 1) : 1.0;
  spec.router_temperature = temperature.first + (temperature.second - temperature.first) * part;
  spec.router_load_decay = o.router_load_decay;
  spec.router_feedback_rate = o.router_feedback_rate;
  spec.learning_rate = rate;
  spec.optimizer.adamw.beta1 = static_cast<float>(o.beta1);
  spec.optimizer.adamw.beta2 = static_cast<float>(o.beta2);
  spec.optimizer.adamw.epsilon = static_cast<float>(o.epsilon);
  spec.optimizer.adamw.weight_decay = static_cast<float>(o.weight_decay);
  spec.optimizer.muon_momentum = static_cast<float>(o.muon_momentum);
  spec.muon_learning_rate = o.learning_rate > 0 ? o.muon_learning_rate * (rate / o.learning_rate) : 0;
  // Balance is sought at full speed from the start, warm-up included, and settles as the weights do.
  const bool decays = o.router_bias_decay && step >= o.warmup_steps && o.learning_rate > 0;
  spec.router_bias_update_rate = o.router_bias_update_rate * (decays ? rate / o.learning_rate : 1.0);
  return spec;
}

LoopSpec make_loop(const PretrainOptions& o, const Config& config) {
  LoopSpec loop;
  loop.output = o.output;
  loop.steps = o.steps;
  loop.checkpoint_every = o.checkpoint_every;
  loop.keep_checkpoints = o.keep_checkpoints;
  loop.state = {parse_dtype(o.dtype), parse_optimizer(o.optimizer), o.kv_cache_dtype == "int8", o.recompute};
  loop.on_spike = parse_on_spike(o.on_spike);
  loop.spike_factor = o.spike_factor;
  loop.eval_every = o.eval_every;
  const Schedule schedule = make_schedule(o);
  const auto temperature = parse_temperature(o, config);
  loop.step_spec = [&o, schedule, temperature](int64_t step) { return step_spec(o, schedule, temperature, step); };
  return loop;
}

// The state to begin with: the newest checkpoint's, the given model's, or fresh weights.
TrainState begin(const PretrainOptions& o, const StateOptions& state, const std::string& newest, SourceFolder& source) {
  if (!newest.empty()) {
    info("going on from ", newest);
    return load_checkpoint(newest, state);
  }
  if (!o.source.model.empty()) return make_state(std::move(source.model), state);
  Model& model = source.model;
  model.weights = make_weights(model.config, model.arena);
  initialize(model.config, model.weights, o.seed);
  return make_state(std::move(model), state);
}

std::string plan_json(const PretrainOptions& o, const DataCounts& counts, const Config& config) {
  int64_t parameters = 0;
  Weights names;
  for_each_weight(config, names, [&](const WeightInfo& info, Tensor&) { parameters += checked_elements(info.shape, info.name); });
  JsonWriter w(2);
  w.open('{').field("parameters", parameters).field("documents", counts.documents);
  w.field("tokens", counts.tokens).field("text_bytes", counts.text_bytes);
  w.field("rows", counts.rows).field("targets_per_epoch", counts.targets);
  w.field("steps", o.steps).field("rows_per_step", o.batch_size);
  w.field("epochs", static_cast<double>(o.steps) * static_cast<double>(o.batch_size) / static_cast<double>(counts.rows));
  w.close();
  return w.text;
}

// All rows of the held-out files, in order. Their hashes are not in the provenance: they decide no weight.
std::vector<TrainingBatch> load_eval_batches(const PretrainOptions& o, const DataStreamSpec& data, const SourceFolder& source,
                                             const Config& config) {
  DataOptions from = data.domains.front().data;
  from.files = o.eval_data;
  from.weight_field.clear();
  const Documents documents = load_documents(from, source.tokenizer.get(), config.vocab_size);
  const PackedRows packed = pack_rows(documents, o.sequence_length);
  std::vector<size_t> rows(packed.count());
  std::iota(rows.begin(), rows.end(), size_t{0});
  return make_batches(documents, packed, rows, data.micro_batch_size);
}

// The position that a checkpoint's JSON holds.
DataPosition position_of(const std::string& json) {
  const std::string where = "data_position.json";
  return json == "{}" ? DataPosition{} : parse_position(parse_json(json, where), where);
}

}  // namespace

void pretrain(const PretrainOptions& options, bool dry_run, Report& report) {
  check_options(options);
  SourceFolder source = open_source(options.source);
  const Config config = source.model.config;
  check_usage(options.sequence_length <= config.max_position_embeddings || config.max_position_embeddings == 0,
              cat("--sequence-length ", options.sequence_length, " is beyond the model's ", config.max_position_embeddings, " positions"));

  const DataStreamSpec data = make_stream_spec(options, source);
  if (dry_run) {
    OutputFile plan("-");
    plan.write(plan_json(options, count_data(data, source.tokenizer.get(), config.vocab_size), config) + "\n");
    plan.commit();
    return;
  }
  const std::string newest = options.resume ? newest_checkpoint(options.output + "/checkpoints") : "";
  const std::string model_file = options.output + "/model.safetensors";
  LoopSpec loop = make_loop(options, config);
  // Whether there is nothing left to do. A run that differs is refused; what it is made of must be known for that.
  const auto finished = [&](const std::vector<LineReader::InputSummary>& inputs) {
    loop.metadata = append_history(source.model.metadata, history_entry(options, inputs, source));
    const std::string& wanted = loop.metadata.at("ds.history");
    const bool done = options.resume && fs::exists(model_file);
    const std::string before = done ? options.output : newest;
    if (before.empty()) return false;
    if (const std::string stored = stored_history(before + "/model.safetensors"); stored != wanted) refuse_resume(before, stored, wanted);
    if (done) info(options.output, " is finished");
    return done;
  };
  const auto hashed = hash_inputs(data);
  if (hashed && finished(*hashed)) return;
  std::optional<DataStream> stream;
  {
    const auto stage = report.stage("tokenize");
    stream.emplace(data, source.tokenizer.get(), config.vocab_size, position_of(newest.empty() ? "{}" : stored_position(newest)));
  }
  if (!hashed && finished(stream->inputs())) return;
  for (const auto& input : stream->inputs()) {
    report.inputs.push_back({input.file, input.bytes, input.lines, input.hash});
    report.read += input.lines;
  }
  report.kept = report.read;
  if (stream->counts().whole) report.results.emplace_back("plan", plan_json(options, stream->counts(), config));
  loop.next_batches = [&stream] {
    DataStream::Step step = stream->next();
    return LoopSpec::Batches{std::move(step.batches), position_json(step.after)};
  };

  if (!options.eval_data.empty()) loop.eval_batches = load_eval_batches(options, data, source, config);
  fs::create_directories(loop.checkpoints());
  const FolderLock lock(options.output);
  fs::remove(model_file);
  TrainState state = begin(options, loop.state, newest, source);
  if (newest.empty()) prune_checkpoints(loop.checkpoints(), 0, 0);
  LoopSummary summary;
  {
    const auto stage = report.stage("train");
    summary = run_steps(loop, state);
  }
  prune_checkpoints(loop.checkpoints(), static_cast<size_t>(options.keep_checkpoints), options.checkpoint_every);
  write_companions(source, options.output);
  save_model(state.model.config, state.masters, options.output, state.dtype, loop.metadata, true);
  JsonWriter w;
  w.open('{').field("steps", state.step).field("tokens", state.tokens).field("loss", summary.loss);
  if (!loop.eval_batches.empty()) w.field("eval_loss", summary.eval_loss);
  if (state.loss_scale.skipped > 0) w.field("skipped_steps", state.loss_scale.skipped);
  w.field("seconds_waiting", stream->seconds_waited()).close();
  report.results.emplace_back("training", w.text);
}

}  // namespace ds
