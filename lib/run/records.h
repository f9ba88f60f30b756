// The verbs of ds-run over JSONL: every record passes through with its own results under "run", which
// take the place of a field of that name (with a warning).
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "io/jsonl.h"
#include "io/report.h"
#include "run/engine.h"
#include "run/sample.h"

namespace ds {

struct RunOptions {
  std::string model;                          // a model folder or a .gguf; tokenize, detokenize: a tokenizer.json too
  StreamOptions stream;
  std::string text_field = "text", prompt_field = "prompt", completion_field = "completion";
  std::string chat_template;                  // a file; empty: the model's own
  uint64_t seed = 0;
  EngineOptions engine;
  Sampling sampling;                          // generate
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
// `tokens` (or a `prompt` that is an array of ids), `messages`, or `prompt` as text get
// "run": {"tokens": [...], "text": "...", "finish_reason": "..."}; no "text" where the model has no tokenizer.
// In all three a record may choose an adapter ("adapter": its name).
void run_generate(const RunOptions& options, Report& report);
// `tokens` or `text` get "run": {"embedding": [...]}.
void run_embed(const RunOptions& options, Report& report);
// `text`, `messages` or `prompt` to "run": {"tokens": [...]}, and `tokens`, else those under "run", to
// "run": {"text": "..."}. They need the tokenizer only.
void run_tokenize(const RunOptions& options, Report& report);
void run_detokenize(const RunOptions& options, Report& report);

}  // namespace ds
