#include "run/records.h"

#include "base/hash.h"
#include "base/stop.h"
#include "io/json.h"
#include "io/jsonl.h"

namespace ds {

// Reads records, hands them over in groups, writes them in order. A group bounds memory; its size changes no byte.
static void for_each_group(const RunOptions& options, Report& report,
                           const std::function<void(std::vector<Record>&)>& work) {
  constexpr size_t kGroup = 1024;
  const std::vector<std::string> inputs = options.inputs.empty() ? std::vector<std::string>{"-"} : options.inputs;
  OutputFile out(options.output);
  std::vector<Record> group;
  uint64_t done = 0;
  const auto flush = [&] {
    if (group.empty()) return;
    work(group);
    for (const Record& record : group) {
      out.write(record.raw());
      out.write("\n");
    }
    done += group.size();
    progress({.label = "run", .unit = "records", .done = done, .total = 0, .detail = ""});
    group.clear();
  };
  for_each_record(inputs, options.max_record_bytes, &report, [&](Record&& record) {
    throw_if_stopped();
    group.push_back(std::move(record));
    if (group.size() == kGroup) flush();
  });
  flush();
  out.commit();
  report.kept = done;
  report.outputs.push_back({out.path(), out.bytes(), done, out.hash()});
}

static std::vector<int32_t> ids_of(const Record& record, std::string_view key) {
  const auto values = record.integers(key);
  require(values.has_value(), record.where(), ": \"", key, "\" is not an array of token ids");
  std::vector<int32_t> ids;
  for (const int64_t value : *values) {
    require(value >= 0 && value <= INT32_MAX, record.where(), ": ", value, " is not a token id");
    ids.push_back(static_cast<int32_t>(value));
  }
  return ids;
}

static std::string join(std::span<const int32_t> ids) {
  std::string text = "[";
  for (size_t i = 0; i < ids.size(); ++i) text += (i ? ", " : "") + std::to_string(ids[i]);
  return text + "]";
}

// Runs `make` for a record and adds its place to an Error that does not name one.
template <class F>
static auto at_record(const Record& record, F make) {
  try {
    return make();
  } catch (const UsageError&) {
    throw;
  } catch (const Error& error) {
    const std::string what = error.what();
    if (what.starts_with(record.where())) throw;
    fail(record.where(), ": ", what);
  }
}

static ScoreRequest score_request(const Engine& engine, const Record& record) {
  ScoreRequest request;
  if (record.has("tokens")) {
    request.tokens = ids_of(record, "tokens");
  } else if (record.has("completion")) {
    return continuation_request(engine, record.required_string("prompt"), record.required_string("completion"));
  } else {
    require(record.has("text"), record.where(), ": a record to score has \"tokens\", \"text\", or \"prompt\" and \"completion\"; found none of them");
    request.tokens = engine.tokenizer.encode(record.required_string("text"));
  }
  require(static_cast<int64_t>(request.tokens.size()) <= engine.max_length() + 1, "it has ", request.tokens.size(),
          " tokens and the model only ", engine.max_length(), " positions: cut it into pieces");
  for (const int32_t token : request.tokens)
    require(token < engine.model.config.vocab_size, "token id ", token, " is not in the vocabulary of ",
            engine.model.config.vocab_size);
  return request;
}

void run_score(const RunOptions& options, Report& report) {
  Engine engine(options.model, options.engine);
  for_each_group(options, report, [&](std::vector<Record>& group) {
    std::vector<ScoreRequest> requests;
    for (const Record& record : group) requests.push_back(at_record(record, [&] { return score_request(engine, record); }));
    const auto results = score(engine, requests);
    for (size_t i = 0; i < group.size(); ++i) {
      JsonWriter w;
      w.open('{').open('[', "logprobs");
      for (const float logprob : results[i].logprobs) w.value(logprob);
      w.close().open('[', "greedy");
      for (const bool greedy : results[i].greedy) w.value(greedy);
      w.close().field("logprob", results[i].logprob).close();
      group[i].set("run", w.text);
    }
  });
}

static GenerateRequest generate_request(const Engine& engine, const Record& record, std::string& stream_key) {
  GenerateRequest request;
  const bool ids_in_prompt = record.raw_value("prompt").starts_with('[');
  if (record.has("tokens") || ids_in_prompt) {
    request.tokens = ids_of(record, record.has("tokens") ? "tokens" : "prompt");
    stream_key = join(request.tokens);
  } else {
    stream_key = record.required_string("prompt");
    request.tokens = engine.tokenizer.encode(stream_key);
    if (request.tokens.empty() && engine.tokenizer.bos_id()) request.tokens.push_back(*engine.tokenizer.bos_id());
  }
  require(!request.tokens.empty(), "the prompt is empty, and the tokenizer has no BOS token to begin with");
  require(static_cast<int64_t>(request.tokens.size()) <= engine.max_length(), "the prompt has ", request.tokens.size(),
          " tokens and the model only ", engine.max_length(), " positions");
  for (const int32_t token : request.tokens)
    require(token < engine.model.config.vocab_size, "token id ", token, " is not in the vocabulary of ",
            engine.model.config.vocab_size);
  if (record.has("id")) stream_key = std::string(record.raw_value("id"));
  request.stream = hash64(stream_key);
  return request;
}

void run_generate(const RunOptions& options, Report& report) {
  Engine engine(options.model, options.engine);
  for_each_group(options, report, [&](std::vector<Record>& group) {
    std::vector<GenerateRequest> requests;
    for (const Record& record : group) {
      std::string stream_key;
      requests.push_back(at_record(record, [&] { return generate_request(engine, record, stream_key); }));
    }
    const auto results = generate(engine, requests, options.sampling, options.seed);
    for (size_t i = 0; i < group.size(); ++i) {
      JsonWriter w;
      w.open('{').key("tokens").raw(join(results[i].tokens));
      w.field("text", engine.tokenizer.decode(results[i].tokens)).field("finish_reason", results[i].finish_reason).close();
      group[i].set("run", w.text);
    }
  });
}

void run_tokenize(const RunOptions& options, Report& report) {
  const Tokenizer tokenizer(options.model);
  for_each_group(options, report, [&](std::vector<Record>& group) {
    for (Record& record : group) {
      const std::string text = record.required_string(record.has("text") || !record.has("prompt") ? "text" : "prompt");
      record.set("run", "{\"tokens\": " + join(tokenizer.encode(text)) + "}");
    }
  });
}

void run_detokenize(const RunOptions& options, Report& report) {
  const Tokenizer tokenizer(options.model);
  for_each_group(options, report, [&](std::vector<Record>& group) {
    for (Record& record : group) {
      const std::string text = at_record(record, [&] { return tokenizer.decode(ids_of(record, "tokens"), false); });
      record.set("run", "{\"text\": " + json_string(text) + "}");
    }
  });
}

}  // namespace ds
