// The verbs of ds-run over JSONL: every record passes through with its own results under "run", which
// take the place of a field of that name (with a warning).
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "io/jsonl.h"
#include "io/report.h"
#include "run/engine.h"
#include "run/params.h"
#include "run/sample.h"
#include "run/scheduler.h"

namespace ds {

struct RunOptions {
  std::string model;                          // a model folder or a .gguf; tokenize, detokenize: a tokenizer.json too
  std::string precision;                      // high, medium, low, or none: precision_folder()
  StreamOptions stream;
  std::string text_field = "text", prompt_field = "prompt", completion_field = "completion";
  std::string chat_template;                  // a file; empty: the model's own
  uint64_t seed = 0;
  EngineOptions engine;
  Sampling sampling;                          // generate: what records leave out,
  int64_t openai_max_tokens = kOpenAiMaxTokens;  // and, in place of these two, the bodies of OpenAI's lines
  double openai_temperature = kOpenAiTemperature;
  std::optional<ConstraintSpec> constraint;   // generate: the same
  std::string policy = "none";                // generate: none, auto
  std::string policy_model;                   // generate: a classifier in place of the built-in one; empty: that
  bool temperature_given = false;             // generate: sampling.temperature comes before the policy's
  std::string compat = "hf";                  // generate: hf, llama.cpp: the order of sampling
  std::string order = "input";                // generate: of the lines that come out: input, finished
  bool resume = false;                        // generate: go on with an unfinished output
  std::string model_name;                     // generate: what OpenAI's lines call the model; empty: the folder's name
  std::string kv_cache_dtype = "f32";         // generate: f32, int8
  SchedulerOptions scheduler;                 // generate, but for
  bool no_prefix_cache = false;
  std::string draft_model;                    // generate: SchedulerOptions::draft by its name; empty: none
  std::string answer_cache_model;             // generate: SchedulerOptions::answer_cache_model by its name; empty: none
  std::string activations = "auto";           // auto, f32, int8: EngineOptions::rounding by its name
  bool rolling = false;                       // score
  std::string pooling = "auto";               // embed: auto, mean, last, cls
  std::string normalize = "auto";             // embed: auto, yes, no
  bool no_special_tokens = false;             // tokenize
  bool add_generation_prompt = false;         // tokenize
  bool skip_special_tokens = false;           // detokenize
  bool hash_model = false;                    // the model's files go into the report's inputs
};

// A record with `tokens` (ids, used as they are), else `prompt` and `completion` (not with `rolling`), else `text` gets
// "run": {"logprobs": [...], "greedy": [...], "logprob": sum, "token_count": n}; with `rolling` the first token too is
// scored (after BOS, else EOS), and of texts "byte_count" and "word_count" are added. What is longer than the model's positions is
// scored in windows (rolling_windows); a completion is not.
void run_score(const RunOptions& options, Report& report);
// Answers prompts: what comes out of each line is said at run_batch(). The number of lines for which the exit status is 1: those
// with something wrong, where there is no file for them.
// In all three a record may choose an adapter ("adapter": its name).
uint64_t run_generate(const RunOptions& options, Report& report);
// `tokens` or `text` get "run": {"embedding": [...]}.
void run_embed(const RunOptions& options, Report& report);
// `text`, `messages` or `prompt` to "run": {"tokens": [...]}, and `tokens`, else those under "run", to
// "run": {"text": "..."}, or of several answers to {"answers": [{"text"}, ...]}. They need the tokenizer only.
void run_tokenize(const RunOptions& options, Report& report);
void run_detokenize(const RunOptions& options, Report& report);

}  // namespace ds
