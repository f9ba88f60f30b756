#include "run/batch.h"

#include <algorithm>
#include <list>

#include "base/error.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/parallel.h"
#include "base/stop.h"
#include "io/base64.h"
#include "io/json_scan.h"
#include "run/answer_file.h"
#include "run/groups.h"
#include "run/openai.h"

namespace ds {

// ---- One line ----

namespace {

// A line of the input on its way to one of the output.
struct Item {
  uint64_t index = 0, hash = 0, number = 0;
  std::string file, raw;
  std::optional<Record> record;               // none where the line is no record
  bool openai = false;
  openai::Body body;                          // OpenAI's lines; of others its requests only
  std::string policy;                         // policy_json(), "" without
  std::vector<GenerateResult> results;        // of each request
  size_t open = 0;                            // requests under way
  size_t held = 0;                            // bytes that count as held in memory
  std::string line;                           // what comes out, once it is done
  std::string doubtful;                       // a field that is nearly a parameter, and what it was meant to be
  LineKind kind = LineKind::answer;
  bool done = false;

  std::string where() const { return cat(file, ":", number); }
};

}  // namespace

static void write_answer(JsonWriter& w, const Answer& answer, const Sampling& sampling, bool with_text) {
  w.open('{').key("tokens").raw(ids_json(answer.tokens));
  if (with_text) w.field("text", answer.text);
  w.field("finish_reason", answer.finish_reason);
  if (sampling.logprobs >= 0) {
    w.field("logprob", answer.logprob).open('[', "logprobs");
    for (const TokenLogprobs& l : answer.logprobs) w.value(l.logprob);
    w.close();
  }
  if (sampling.logprobs > 0) {
    w.open('[', "top_logprobs");
    for (const TokenLogprobs& l : answer.logprobs) {
      w.open('[');
      for (const TokenLogprob& top : l.top) w.open('{').field("token", int64_t{top.id}).field("logprob", top.logprob).close();
      w.close();
    }
    w.close();
  }
  w.close();
}

static std::string run_json(const GenerateResult& result, const Sampling& sampling, bool with_text, const std::string& policy) {
  JsonWriter w;
  if (sampling.n == 1) {
    write_answer(w, result.answers.at(0), sampling, with_text);
  } else {
    w.open('{').open('[', "answers");
    for (const Answer& answer : result.answers) write_answer(w, answer, sampling, with_text);
    w.close().close();
  }
  const auto add = [&](const std::string& member) {
    w.text.pop_back();
    w.text += ", " + member + "}";
  };
  if (result.similarity) add("\"cached\": {\"similarity\": " + json_number(*result.similarity) + "}");  // the answer to another prompt
  if (!policy.empty()) add("\"policy\": " + policy);
  return w.text;
}

// The beginning of what stands in the output for a line that is no record: its "raw" follows.
static std::string begin_no_record(const std::string& file, uint64_t number, const std::string& error) {
  JsonWriter w;
  w.open('{').field("line", number).field("file", file).open('{', "run").field("error", error).close();
  return w.text + ", ";
}

static std::string no_record(const std::string& file, uint64_t number, const std::string& error, std::string_view text) {
  const std::string begin = begin_no_record(file, number, error);
  if (valid_utf8(text)) return begin + "\"raw\": " + json_string(text) + "}";
  std::string base64;
  append_base64(base64, text);
  return begin + "\"raw_base64\": \"" + base64 + "\"}";
}

// "top-p is no parameter": the first field that is nearly one.
static std::string doubtful_field(const Record& record, const BatchOptions& options) {
  for (const Record::Field& field : record.fields()) {
    if (field.key == options.prompt_field) continue;
    if (const std::string_view meant = parameter_meant_by(field.key); !meant.empty())
      return cat(record.where(), ": the field ", json_string(field.key), " is no parameter and changes nothing; did you mean \"", meant, "\"?");
  }
  return "";
}

static bool is_openai_line(const Record& record) { return record.has("custom_id") && record.has("url") && record.has("body"); }

static std::string openai_line(const Item& item, int status, std::string_view body) {
  const std::string hash = hex(hash128(item.raw));
  JsonWriter w;
  w.open('{').field("id", "batch_req_" + hash).key("custom_id").raw(item.record->raw_value("custom_id"));
  w.open('{', "response").field("status_code", status).field("request_id", "req_" + hash).key("body").raw(body).close();
  return w.key("error").null().close().text;
}

// ---- Requests ----

// Chooses what the options leave to the policy, for the prompt of a record as text. Its JSON.
static std::string choose(const BatchOptions& options, const Record& record, const std::string& prompt, Parameters& parameters) {
  Policy policy = policy_of(*options.intents, prompt);
  if (!options.policy_temperature) policy.temperature.reset();
  if (!options.policy_constraint) policy.constraint.reset();
  apply(policy, record, parameters);
  return policy_json(policy);
}

static GenerateRequest record_request(const Engine& engine, const Chat& chat, const BatchOptions& options, ConstraintCache& constraints, const Record& record,
                                      std::string& policy) {
  Parameters parameters = parameters_of(record, options.defaults);
  GenerateRequest request;
  request.adapter = adapter_of(engine, record);
  std::string stream_key;
  const bool ids_in_prompt = record.raw_value(options.prompt_field).starts_with('[');
  if (record.has("tokens") || ids_in_prompt) {
    request.tokens = ids_of(record, record.has("tokens") ? "tokens" : options.prompt_field);
    stream_key = ids_json(request.tokens);
    check_ids(engine.model.config, request.tokens);
  } else if (record.has("messages")) {
    stream_key = chat.render(record, engine.tokenizer(), true);
    request.tokens = engine.tokenizer().encode(stream_key, false);  // the template writes the special tokens
    check_ids(engine.model.config, request.tokens);
  } else {
    require(record.has(options.prompt_field), record.where(), ": a record to answer has \"", options.prompt_field,
            "\", \"messages\" or \"tokens\"; found none of them");
    stream_key = record.required_string(options.prompt_field);
    request.tokens = encode(engine, stream_key);
    if (request.tokens.empty() && engine.tokenizer().bos_id()) request.tokens.push_back(*engine.tokenizer().bos_id());
  }
  if (record.has("tokens") || ids_in_prompt) {
    require(!request.tokens.empty(), json_string(record.has("tokens") ? "tokens" : options.prompt_field),
            " is empty: ids are used as they are, no BOS token is added");
  }
  require(!request.tokens.empty(), "the prompt is empty, and there is no BOS token to begin with");
  require(static_cast<int64_t>(request.tokens.size()) <= engine.max_length(), "the prompt has ", request.tokens.size(),
          " tokens and the model only ", engine.max_length(), " positions");
  if (options.intents) {
    const std::string prompt = record.has("tokens") || ids_in_prompt ? engine.tokenizer().decode(request.tokens, true)
                               : record.has("messages") ? last_user_text(parse_json(record.raw_value("messages"), record.where() + ": messages"))
                                                        : stream_key;
    policy = choose(options, record, prompt, parameters);
  }
  request.sampling = parameters.sampling;
  request.seed = parameters.seed;
  if (record.has("id")) stream_key = std::string(record.raw_value("id"));
  request.stream = hash64(stream_key);
  if (parameters.constraint) request.constraint = constraints.get(*parameters.constraint);
  return request;
}

static openai::Body openai_request(const Record& record, const openai::Context& context) {
  record.require_string("custom_id");
  const std::string url = record.required_string("url"), where = record.where() + ": body";
  const auto endpoint = openai::endpoint_of(url);
  if (record.has("method") && record.string("method") != "POST") throw openai::BadRequest("method: expected \"POST\", found " + std::string(record.raw_value("method")), "method");
  if (endpoint == openai::Endpoint::embeddings) throw openai::BadRequest("url: vectors are made by `ds-run embed`, not by generate", "url");
  if (!endpoint) throw openai::BadRequest("url: expected /v1/completions or /v1/chat/completions, found " + url, "url", "", 404);
  openai::Body body = openai::parse(*endpoint, parse_json(record.raw_value("body"), where), context);
  if (body.stream) throw openai::BadRequest("a line of a batch cannot be streamed", "stream");
  return body;
}

// ---- The batch ----

namespace {

class BatchRun {
 public:
  BatchRun(Engine& engine, const Chat& chat, const StreamOptions& stream, const BatchOptions& options)
      : engine_(engine), chat_(chat), stream_(stream), options_(options),
        context_{engine, chat, constraints_, options.openai_defaults, options.model_name}, scheduler_(engine, options.scheduler),
        answers_(stream, options.identity, options.resume, options.in_order), reader_(stream.inputs, stream.max_record_bytes),
        with_text_(engine.has_tokenizer()) {}

  uint64_t run(Report& report) {
    try {
      for (;;) {
        throw_if_stopped();
        fill();
        write_done();
        if (window_.empty() && ended_) break;
        scheduler_.step();
      }
    } catch (const Stopped&) {
      write_done();
      if (!answers_.partial().empty() && answers_.lines() > 0) warn("stopped; what was answered is in ", answers_.partial(), ", and --resume goes on with it");
      throw;
    }
    const auto inputs = reader_.inputs();
    answers_.commit(options_.identity, inputs, report);
    report.bad_bytes = bad_bytes_;
    report_scheduler(report);
    for (const auto& input : inputs) report.inputs.push_back({input.file, input.bytes, input.lines, input.hash});
    if (doubtful_ > 1) warn("records with a field that is nearly a parameter's name: ", doubtful_);
    if (replaced_) warn("records whose own field \"run\" was replaced by the result: ", replaced_);
    return report.bad;
  }

 private:
  void report_scheduler(Report& report) const {
    const SchedulerStats s = scheduler_.stats();
    JsonWriter w;
    w.open('{').field("passes", s.steps).field("prompt_tokens", s.prompt_tokens).field("cached_tokens", s.cached_tokens);
    w.field("generated_tokens", s.generated_tokens).field("guessed_tokens", s.guessed_tokens).field("accepted_tokens", s.accepted_tokens);
    w.field("preempted", s.preempted).close();
    report.results.emplace_back("scheduler", w.text);
    if (options_.scheduler.answer_cache)
      report.results.emplace_back("answer_cache", cat("{\"equal\": ", s.cached_answers, ", \"near\": ", s.similar_answers, "}"));
  }

  // Lines under way or waiting for one before them, and their bytes: the most that is held, whatever the input's length.
  size_t most_items() const { return 1024 + 4 * static_cast<size_t>(engine_.options.batch_sequences); }
  static constexpr size_t kMostBytes = size_t{64} << 20;

  // Reads on while too few requests wait for a place, and what is held allows.
  void fill() {
    const auto enough = static_cast<size_t>(engine_.options.batch_sequences);
    while (!ended_ && window_.size() < most_items() && held_ < kMostBytes &&
           static_cast<size_t>(scheduler_.stats().waiting) < enough) {
      const auto last = window_.empty() ? window_.end() : std::prev(window_.end());
      const bool none_before = window_.empty();
      read(std::max<size_t>(32, enough));
      std::vector<Item*> fresh;
      for (auto i = none_before ? window_.begin() : std::next(last); i != window_.end(); ++i) fresh.push_back(&*i);
      parallel_for(fresh.size(), 1, [&](size_t begin, size_t end) {
        for (size_t i = begin; i < end; ++i) prepare(*fresh[i]);
      });
      for (Item* const item : fresh) submit(*item);
      progress({"read", "bytes", reader_.bytes_read(), reader_.bytes_total(), ""});
      if (long_line_) drain_for_long_line();
    }
  }

  void read(size_t count) {
    Line line;
    while (count > 0 && held_ < kMostBytes) {
      const LineReader::Part part = reader_.next_part(line);
      if (part == LineReader::Part::end) {
        ended_ = true;
        return;
      }
      if (part != LineReader::Part::line) {
        begin_long_line(line, part);
        return;
      }
      const uint64_t index = next_index_++, hash = hash64(line.text);
      if (const auto kind = answers_.dealt_with(index, hash)) {
        if (*kind != LineKind::answer) bad_bytes_ += line.text.size() + 1;
        throw_if_stopped();
        continue;
      }
      --count;
      Item item;
      item.index = index, item.hash = hash, item.number = line.number, item.file = *line.file, item.raw = line.text;
      held_ += item.held = item.raw.size();
      window_.push_back(std::move(item));
    }
  }

  // Makes requests of a line. On all threads.
  void prepare(Item& item) {
    try {
      item.record.emplace(item.raw, item.file, item.number);
    } catch (const SystemError&) {
      throw;
    } catch (const Error& error) {
      return wrong(item, error.what());
    }
    try {
      item.openai = is_openai_line(*item.record);
      if (item.openai) {
        item.body = openai_request(*item.record, context_);
      } else {
        item.doubtful = doubtful_field(*item.record, options_);
        item.body.requests.push_back(at_record(*item.record, [&] { return record_request(engine_, chat_, options_, constraints_, *item.record, item.policy); }));
      }
    } catch (const openai::BadRequest& bad) {
      wrong_request(item, bad.what(), bad.status, openai::error(bad));
    } catch (const UsageError&) {
      throw;
    } catch (const SystemError&) {
      throw;
    } catch (const Error& error) {
      wrong_request(item, error.what(), 400, openai::error(error.what(), "invalid_request_error"));
    }
  }

  // The line is no record, or the run puts what is wrong aside.
  void wrong(Item& item, const std::string& what) {
    const std::string where = item.where() + ": ", error = what.starts_with(where) ? what : where + what;
    item.kind = stream_.rejects.empty() ? LineKind::error : LineKind::reject;
    item.line = stream_.rejects.empty() ? no_record(item.file, item.number, error, item.raw) : bad_line(item.file, item.number, error, item.raw);
    item.done = true;
  }

  void wrong_request(Item& item, const std::string& what, int status, const std::string& error_body) {
    if (!stream_.rejects.empty()) return wrong(item, what);
    const std::string where = item.where() + ": ";
    item.kind = LineKind::error;
    if (item.openai && item.record->string("custom_id")) {
      item.line = openai_line(item, status, error_body);
    } else {
      set_run(item, "{\"error\": " + json_string(what.starts_with(where) ? what : where + what) + "}");
    }
    item.done = true;
  }

  void set_run(Item& item, const std::string& json) {
    item.record->set("run", json);
    item.line = item.record->raw();
  }

  void submit(Item& item) {
    if (!item.doubtful.empty() && doubtful_++ == 0) warn(item.doubtful);
    if (item.done) return;
    const size_t count = item.body.requests.size();
    item.results.resize(count);
    item.open = count;
    std::vector<uint64_t> submitted;
    for (size_t i = 0; i < count; ++i) try {
        submitted.push_back(scheduler_.submit(item.body.requests[i], {{}, [this, &item, i](GenerateResult&& result) { take(item, i, std::move(result)); }}));
      } catch (const UsageError&) {
        throw;
      } catch (const SystemError&) {
        throw;
      } catch (const Error& error) {
        take(item, i, {{}, error.what()});
      }
  }

  void take(Item& item, size_t number, GenerateResult&& result) {
    item.results[number] = std::move(result);
    if (--item.open == 0) finish(item);
  }

  void finish(Item& item) {
    for (const GenerateResult& result : item.results)
      if (!result.error.empty()) return wrong_request(item, result.error, 500, openai::error(result.error, "server_error"));
    if (item.openai) {
      const bool chat = item.body.endpoint == openai::Endpoint::chat_completions;
      const std::string id = (chat ? "chatcmpl-" : "cmpl-") + hex(hash128(item.raw));
      item.line = openai_line(item, 200, openai::completion(item.body, id, -1, item.results, context_));
    } else {
      replaced_ += item.record->has("run");
      set_run(item, run_json(item.results[0], item.body.requests[0].sampling, with_text_, item.policy));
    }
    item.done = true;
    item.body = {};
    item.results.clear();
    item.record.reset();
    item.held += item.line.size(), held_ += item.line.size();
  }

  // Writes what is done, in order up to the first line that is not.
  void write_done() {
    bool any = false;
    for (auto i = window_.begin(); i != window_.end();) {
      if (!i->done) {
        if (options_.in_order) break;
        ++i;
        continue;
      }
      answers_.write(i->line, i->kind);
      answers_.end_line(i->index, i->hash, i->kind);
      if (i->kind != LineKind::answer) bad_bytes_ += i->raw.size() + 1;
      held_ -= i->held;
      i = window_.erase(i);
      any = true;
    }
    if (any) answers_.flush();
  }

  // ---- A line that is longer than any may be ----

  // It is not held in memory: what comes before it is finished first, and then it goes through in parts.
  void begin_long_line(const Line& line, LineReader::Part part) {
    Item item;
    item.index = next_index_++, item.number = line.number, item.file = *line.file;
    item.raw = line.text;
    long_line_.emplace(std::move(item));
    long_part_ = part;
  }

  void drain_for_long_line() {
    while (!window_.empty()) {
      throw_if_stopped();
      write_done();
      if (!window_.empty()) scheduler_.step();
    }
    Item& item = *long_line_;
    const LineKind kind = stream_.rejects.empty() ? LineKind::error : LineKind::reject;
    const std::string error = cat(item.where(), ": the line is longer than ", stream_.max_record_bytes, " bytes");
    // Whether it was dealt with shows in its index; its hash is that of its beginning.
    item.hash = hash64(item.raw);
    const bool skip = answers_.dealt_with(item.index, item.hash).has_value();
    const std::string begin = stream_.rejects.empty() ? begin_no_record(item.file, item.number, error) + "\"raw_base64\": \"" : begin_long_bad_line(item.file, item.number, error);
    if (!skip) answers_.write(begin, kind);
    Base64Encoder base64;
    Line line{item.raw, &item.file, item.number};
    for (LineReader::Part part = long_part_;; part = reader_.next_part(line)) {
      throw_if_stopped();
      std::string text;
      base64.add(text, line.text);
      bad_bytes_ += line.text.size() + (part == LineReader::Part::last);
      if (part == LineReader::Part::last) base64.finish(text), text += "\"}";
      if (!skip) answers_.write(text, kind);
      if (part == LineReader::Part::last) break;
    }
    if (!skip) answers_.end_line(item.index, item.hash, kind);
    answers_.flush();
    long_line_.reset();
  }

  Engine& engine_;
  const Chat& chat_;
  const StreamOptions& stream_;
  const BatchOptions& options_;
  ConstraintCache constraints_;
  openai::Context context_;
  Scheduler scheduler_;
  AnswerFile answers_;
  LineReader reader_;
  const bool with_text_;
  std::list<Item> window_;         // read and not written; an item stays where it is
  size_t held_ = 0;
  uint64_t next_index_ = 0, bad_bytes_ = 0, replaced_ = 0, doubtful_ = 0;
  bool ended_ = false;
  std::optional<Item> long_line_;
  LineReader::Part long_part_ = LineReader::Part::last;
};

}  // namespace

uint64_t run_batch(Engine& engine, const Chat& chat, const StreamOptions& stream, const BatchOptions& options, Report& report) {
  if (!engine.has_tokenizer()) warn(engine.path, ": the model has no tokenizer: answers are token ids without text");
  return BatchRun(engine, chat, stream, options).run(report);
}

}  // namespace ds
