#include "run/records.h"

#include <algorithm>
#include <atomic>
#include <filesystem>

#include "base/error.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/math.h"
#include "io/input.h"
#include "io/json.h"
#include "io/json_scan.h"
#include "run/answer_file.h"
#include "run/batch.h"
#include "run/beam.h"
#include "run/chat.h"
#include "run/embed.h"
#include "run/finished_output.h"
#include "run/groups.h"
#include "run/policy.h"
#include "run/precision.h"
#include "run/score.h"

namespace ds {

Engine load_engine(const RunOptions& options, Report& report) {
  report_model(options, report);
  EngineOptions engine_options = options.engine;
  if (options.activations == "f32") engine_options.rounding = ActivationRounding::none;
  if (options.activations == "int8") engine_options.rounding = ActivationRounding::int8;
  if (options.kv_cache_dtype == "int8") engine_options.kv_cache_dtype = DType::i8;
  const auto stage = report.stage("load");
  return Engine(options.model, engine_options);
}

std::unique_ptr<Engine> load_draft(RunOptions& options) {
  if (options.engine.mtp && !options.draft_model.empty()) throw UsageError("--mtp and --draft-model: one of them guesses");
  if (options.engine.mtp && options.scheduler.guesses == 0) options.scheduler.guesses = 2;
  if (options.draft_model.empty()) return nullptr;
  auto draft = std::make_unique<Engine>(options.draft_model, EngineOptions{.batch_tokens = options.engine.batch_tokens});
  options.scheduler.draft = draft.get();
  if (options.scheduler.guesses == 0) options.scheduler.guesses = 4;
  return draft;
}

// Gives records their results under "run". A field of that name is replaced, and those are counted for one warning; where
// it holds what the verb read, its place is taken without one.
class Results {
 public:
  void set(Record& record, std::string_view json, bool read = false) {
    if (!read && record.has("run")) ++replaced_;
    record.set("run", json);
  }
  void warn_replaced() const {
    if (replaced_) warn("records whose own field \"run\" was replaced by the result: ", replaced_.load());
  }

 private:
  std::atomic<uint64_t> replaced_ = 0;
};

// ---- Scoring ----

namespace {

struct ScoreJob {
  std::vector<ScoreRequest> windows;
  uint64_t bytes = 0, words = 0;
  bool has_text = false;
  int32_t adapter = -1;
};

// What all records together come to.
struct ScoreTotals {
  uint64_t tokens = 0, greedy = 0, bytes = 0, words = 0;
  double logprob = 0;
  bool all_text = true;

  void add(const ScoreJob& job, const ScoreResult& result) {
    tokens += result.logprobs.size();
    greedy += static_cast<uint64_t>(std::count(result.greedy.begin(), result.greedy.end(), true));
    logprob += result.logprob;
    bytes += job.bytes, words += job.words;
    all_text = all_text && job.has_text;
  }
  // Perplexities as lm-evaluation-harness names them: sums over the records first, then the division.
  std::string json(bool rolling) const {
    JsonWriter w;
    const auto perplexity = [&](const char* name, uint64_t count) {
      if (count) w.field(name, math::exp(-logprob / static_cast<double>(count)));
    };
    w.open('{').field("tokens", tokens).field("greedy", greedy).field("logprob", logprob);
    perplexity("token_perplexity", tokens);
    if (rolling && all_text) {
      w.field("words", words).field("bytes", bytes);
      perplexity("word_perplexity", words);
      perplexity("byte_perplexity", bytes);
      if (bytes) w.field("bits_per_byte", -logprob / (static_cast<double>(bytes) * 0.69314718055994530942));
    }
    return w.close().text;
  }
};

}  // namespace

static ScoreJob score_job(const Engine& engine, const RunOptions& options, const Record& record) {
  ScoreJob job;
  job.adapter = adapter_of(engine, record);
  std::vector<int32_t> tokens;
  if (record.has("tokens")) {
    tokens = ids_of(record, "tokens");
    check_ids(engine.model.config, tokens);
  } else if (record.has(options.completion_field) && !options.rolling) {
    job.windows = {continuation_request(engine, record.required_string(options.prompt_field),
                                        record.required_string(options.completion_field))};
    return job;
  } else {
    require(record.has(options.text_field), record.where(), ": a record to score has \"tokens\", \"", options.text_field, "\"",
            options.rolling ? "" : cat(", or \"", options.prompt_field, "\" and \"", options.completion_field, "\""), "; found none of them");
    const std::string text = record.required_string(options.text_field);
    tokens = encode(engine, text);
    job.bytes = text.size(), job.words = count_words(text), job.has_text = true;
  }
  if (options.rolling) job.windows = rolling_windows(tokens, prefix_token(engine), engine.max_length());
  else if (tokens.size() > 1) job.windows = rolling_windows(std::span(tokens).subspan(1), tokens[0], engine.max_length());
  return job;
}

static std::string score_json(const ScoreResult& result, const ScoreJob& job, bool rolling) {
  JsonWriter w;
  w.open('{').open('[', "logprobs");
  for (const float logprob : result.logprobs) w.value(logprob);
  w.close().open('[', "greedy");
  for (const bool greedy : result.greedy) w.value(greedy);
  w.close().field("logprob", result.logprob).field("token_count", uint64_t{result.logprobs.size()});
  if (rolling && job.has_text) w.field("byte_count", job.bytes).field("word_count", job.words);
  return w.close().text;
}

void run_score(const RunOptions& options, Report& report) {
  Engine engine = load_engine(options, report);
  ScoreTotals totals;
  Results results;
  run_groups<ScoreJob>(
      options, report, [&](const Record& record) { return score_job(engine, options, record); },
      [&](std::span<ScoreJob> jobs, std::span<Record* const> records) {
        std::vector<ScoreRequest> windows;
        for (ScoreJob& job : jobs)
          for (ScoreRequest& window : job.windows) {
            window.adapter = job.adapter;
            windows.push_back(std::move(window));
          }
        const auto scores = score(engine, windows);
        size_t next = 0;
        for (size_t i = 0; i < jobs.size(); ++i) {
          ScoreResult whole;
          for (const size_t end = next + jobs[i].windows.size(); next < end; ++next) {
            whole.logprobs.insert(whole.logprobs.end(), scores[next].logprobs.begin(), scores[next].logprobs.end());
            whole.greedy.insert(whole.greedy.end(), scores[next].greedy.begin(), scores[next].greedy.end());
          }
          for (const float logprob : whole.logprobs) whole.logprob += logprob;
          totals.add(jobs[i], whole);
          results.set(*records[i], score_json(whole, jobs[i], options.rolling));
        }
      });
  results.warn_replaced();
  report.results.emplace_back("score", totals.json(options.rolling));
  report_engine(engine, report);
  report_throughput(engine.throughput, report);
}

// ---- Generation ----

// What decides the bytes of answers, so that only an unfinished file of the same is gone on with: the model by the hashes of
// its files, the options by their names.
static Identity identity_of(const RunOptions& options) {
  std::vector<std::pair<std::string, std::string>> list;
  const auto add = [&](const char* name, const std::string& json) {
    list.emplace_back(name, valid_utf8(json) ? json : json_string(hex(hash128(json))));  // names of files may be any bytes
  };
  const Sampling& s = options.sampling;
  add("version", json_string(DS_VERSION));
  std::string model;
  for (const Report::File& file : model_files(options)) model += hex(file.hash);
  add("model", json_string(hex(hash128(model))));
  std::string inputs;
  for (const std::string& input : options.stream.inputs) inputs += json_string(input);
  add("names of inputs", json_string(inputs));
  add("rejects", options.stream.rejects.empty() ? "false" : "true");
  add("max-record-bytes", cat(options.stream.max_record_bytes));
  add("seed", cat(options.seed));
  add("context", cat(options.engine.context));
  add("activations", json_string(options.activations));
  add("kv-cache-dtype", json_string(options.kv_cache_dtype));
  add("prompt-field", json_string(options.prompt_field));
  add("model-name", json_string(options.model_name));
  add("chat-template", json_string(options.chat_template.empty() ? "" : hex(hash128(read_file(options.chat_template)))));
  std::string adapters;  // their files are the model's above
  for (const std::string& given : options.engine.adapters) adapters += json_string(adapter_path(given).name);
  add("adapter", json_string(adapters));
  add("order", json_string(options.order));
  add("compat", json_string(options.compat));
  add("policy", json_string(options.policy == "none" ? "none" : cat(options.temperature_given, ' ', hex(hash128(options.policy_model.empty() ? builtin_intents() : read_file(options.policy_model))))));
  add("constraint", json_string(options.constraint ? cat(static_cast<int>(options.constraint->kind), ' ', options.constraint->source) : ""));
  std::string stop;
  for (const std::string& one : s.stop) stop += json_string(one);
  add("stop", json_string(stop));
  for (const auto& [name, value] : {std::pair{"max-tokens", s.max_tokens}, {"min-tokens", s.min_tokens}, {"top-k", s.top_k}, {"logprobs", s.logprobs},
                                    {"n", s.n}, {"best-of", s.best_of}, {"beams", s.beams}, {"ignore-eos", int64_t{s.ignore_eos}}, {"max-tokens of OpenAI's lines", options.openai_max_tokens}})
    add(name, cat(value));
  for (const auto& [name, value] : {std::pair{"temperature", s.temperature}, {"top-p", s.top_p}, {"min-p", s.min_p}, {"repetition-penalty", s.repetition_penalty},
                                    {"frequency-penalty", s.frequency_penalty}, {"presence-penalty", s.presence_penalty}, {"length-penalty", s.length_penalty},
                                    {"temperature of OpenAI's lines", options.openai_temperature}})
    add(name, json_number(value));
  return list;
}

std::string base_name(const std::string& path) {
  const std::filesystem::path p = std::filesystem::weakly_canonical(std::filesystem::absolute(path));
  return p.filename().string();
}

uint64_t run_generate(const RunOptions& given, Report& report) {
  RunOptions options = given;
  options.sampling.order = options.compat == "llama.cpp" ? SamplingOrder::llama_cpp : SamplingOrder::hugging_face;
  if (options.model_name.empty()) options.model_name = base_name(options.model);
  std::optional<Classifier> intents;
  if (options.policy == "auto") intents.emplace(intent_classifier(options.policy_model));
  else if (!options.policy_model.empty()) throw UsageError("--policy-model needs --policy auto");
  try {
    check(options.sampling);
    if (options.constraint) compile_constraint(*options.constraint);
    if (options.sampling.beams > 1) {
      BeamSearch(options.sampling, 1, {});  // checks the rest
      require(!options.constraint, "beam search takes no constraint");
      require(options.sampling.beams <= options.engine.batch_sequences, options.sampling.beams, " beams do not fit into the ",
              options.engine.batch_sequences, " sequences that may be under way (--batch-sequences)");
    }
  } catch (const Error& error) {
    throw UsageError(error.what());
  }
  check_outputs(options.stream);
  options.model = precision_folder(options.model, options.precision);
  if (!options.answer_cache_model.empty()) {
    if (!options.scheduler.answer_cache) throw UsageError("--answer-cache-model needs --answer-cache BYTES");
    if (options.resume) throw UsageError("--answer-cache-model: what a near prompt gets depends on those answered before, so that a run with it cannot --resume");
  }
  const Identity identity = options.stream.output == "-" ? Identity{} : identity_of(options);
  const auto result = [&](uint64_t bad) {
    if (bad)
      warn(bad, " of ", report.read, " records could not be used: see ",
           options.stream.rejects.empty() ? "\"error\" in the output" : options.stream.rejects);
    return options.stream.rejects.empty() ? bad : 0;
  };
  if (options.resume && find_finished(options.stream, identity, report)) {
    info(options.stream.output, " is finished: there is nothing to do");
    return result(report.bad);
  }
  Engine engine = load_engine(options, report);
  if (intents && !engine.has_tokenizer()) throw UsageError("--policy auto reads prompts as text, and the model has no tokenizer");
  std::optional<Engine> near;
  if (!options.answer_cache_model.empty()) {
    near.emplace(options.answer_cache_model, EngineOptions{.batch_tokens = options.engine.batch_tokens});
    options.scheduler.answer_cache_model = &*near;
  }
  const std::unique_ptr<Engine> draft = load_draft(options);
  const Chat chat(options.model, options.chat_template);
  Sampling openai_sampling = options.sampling;
  openai_sampling.max_tokens = options.openai_max_tokens, openai_sampling.temperature = options.openai_temperature;
  const BatchOptions batch{.defaults = {options.sampling, options.seed, options.constraint},
                           .openai_defaults = {openai_sampling, options.seed, options.constraint}, .prompt_field = options.prompt_field,
                           .model_name = options.model_name, .in_order = options.order == "input", .resume = options.resume,
                           .identity = identity, .scheduler = options.scheduler,
                           .intents = intents ? &*intents : nullptr, .policy_temperature = !options.temperature_given,
                           .policy_constraint = !options.constraint};
  const uint64_t bad = run_batch(engine, chat, options.stream, batch, report);
  report_engine(engine, report);
  report_throughput(engine.throughput, report);
  return result(bad);
}

// ---- Embedding ----

Pooling pooling_of(const RunOptions& options) {
  Pooling pooling = options.pooling == "auto" || options.normalize == "auto" ? read_pooling(options.model) : Pooling{};
  if (options.pooling == "mean") pooling.kind = Pooling::Kind::mean;
  if (options.pooling == "last") pooling.kind = Pooling::Kind::last;
  if (options.pooling == "cls") pooling.kind = Pooling::Kind::cls;
  if (options.normalize != "auto") pooling.normalize = options.normalize == "yes";
  return pooling;
}

void run_embed(const RunOptions& options, Report& report) {
  const Pooling pooling = pooling_of(options);
  Engine engine = load_engine(options, report);
  const int64_t longest = pooling.max_length ? std::min(pooling.max_length, engine.max_length()) : engine.max_length();
  struct Job {
    std::vector<int32_t> tokens;
    bool cut = false;
    int32_t adapter = -1;
  };
  uint64_t cut = 0;
  Results results;
  run_groups<Job>(
      options, report,
      [&](const Record& record) {
        Job job;
        job.adapter = adapter_of(engine, record);
        if (record.has("tokens")) {
          job.tokens = ids_of(record, "tokens");
          check_ids(engine.model.config, job.tokens);
          require(static_cast<int64_t>(job.tokens.size()) <= engine.max_length(), "there are ", job.tokens.size(),
                  " tokens, and the model has only ", engine.max_length(), " positions");
        } else {
          require(record.has(options.text_field), record.where(), ": a record to embed has \"", options.text_field, "\" or \"tokens\"; found neither");
          job.tokens = encode_cut(engine, record.required_string(options.text_field), longest, job.cut);
        }
        require(!job.tokens.empty(), "the text is empty, and the tokenizer adds no special token");
        return job;
      },
      [&](std::span<Job> jobs, std::span<Record* const> records) {
        std::vector<std::vector<int32_t>> sequences;
        std::vector<int32_t> adapters;
        for (Job& job : jobs) cut += job.cut, sequences.push_back(std::move(job.tokens)), adapters.push_back(job.adapter);
        const auto vectors = embed(engine, sequences, pooling, adapters);
        for (size_t i = 0; i < records.size(); ++i) {
          JsonWriter w;
          w.open('{').open('[', "embedding");
          for (const float x : vectors[i]) w.value(x);
          w.close().close();
          results.set(*records[i], w.text);
        }
      });
  results.warn_replaced();
  if (cut) warn("texts of more than ", longest, " tokens, which were cut: ", cut);
  JsonWriter w;
  w.open('{').field("cut", cut).field("max_length", longest).field("normalized", pooling.normalize).close();
  report.results.emplace_back("embed", w.text);
  report_engine(engine, report);
  report_throughput(engine.throughput, report);
}

// ---- Tokens and text ----

void run_tokenize(const RunOptions& options, Report& report) {
  const Tokenizer tokenizer(options.model);
  const Chat chat(options.model, options.chat_template);
  Results results;
  process_records(options.stream, report,
                  [&](Record& record) {
                    const auto text_to_ids = [&] {
                      if (record.has("messages") && !record.has(options.text_field))
                        return tokenizer.encode(chat.render(record, tokenizer, options.add_generation_prompt), false);
                      thread_local std::string scratch;
                      const bool text = record.has(options.text_field) || !record.has(options.prompt_field);
                      return tokenizer.encode(record.text_view(text ? options.text_field : options.prompt_field, scratch),
                                              !options.no_special_tokens);
                    };
                    results.set(record, "{\"tokens\": " + ids_json(at_record(record, text_to_ids)) + "}");
                    return nullptr;
                  },
                  {});
  results.warn_replaced();
}

// The texts of a record's own "tokens", else of what tokenize or generate left under "run", as the "run" that takes its place.
static std::string texts_json(const Tokenizer& tokenizer, const Record& record, bool skip_special_tokens) {
  const auto inside = [&](std::string_view object) { return Record(std::string(object), record.file(), record.line()); };
  // An answer goes on where its prompt ended, so a space at its beginning is not that of a text.
  const auto text_of = [&](const Record& holder, bool answer) {
    const std::vector<int32_t> ids = ids_of(holder, "tokens");
    return "{\"text\": " + json_string(answer ? tokenizer.decode_continuation(ids, skip_special_tokens) : tokenizer.decode(ids, skip_special_tokens)) + "}";
  };
  if (record.has("tokens")) return text_of(record, false);
  require(record.has("run"), record.where(), ": a record to detokenize has \"tokens\", at its top or under \"run\"; found none");
  require(record.raw_value("run").starts_with('{'), record.where(), ": \"run\" is not an object, and there is no field \"tokens\" beside it");
  const Record run = inside(record.raw_value("run"));
  if (!run.has("answers")) return text_of(run, run.has("finish_reason"));
  const std::string where = record.where() + ": run.answers";
  const Json answers = parse_json(run.raw_value("answers"), where);
  require(answers.type == Json::Type::array, where, ": expected an array of answers");
  std::string list;
  for (const Json& answer : answers.items) {
    require(answer.type == Json::Type::object, where, ": expected objects with \"tokens\"");
    list += (list.empty() ? "" : ", ") + text_of(inside(json_text(answer)), true);
  }
  return "{\"answers\": [" + list + "]}";
}

void run_detokenize(const RunOptions& options, Report& report) {
  const Tokenizer tokenizer(options.model);
  Results results;
  process_records(options.stream, report,
                  [&](Record& record) {
                    const bool own = record.has("tokens");
                    results.set(record, at_record(record, [&] { return texts_json(tokenizer, record, options.skip_special_tokens); }), !own);
                    return nullptr;
                  },
                  {});
  results.warn_replaced();
}

}  // namespace ds
