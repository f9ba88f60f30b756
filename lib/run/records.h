// The verbs of ds-run over JSONL: every record passes through with its own results under "run".
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "io/report.h"
#include "run/engine.h"

namespace ds {

struct RunOptions {
  std::string model;                          // a model folder
  std::vector<std::string> inputs;            // none: standard input
  std::string output = "-";
  size_t max_record_bytes = size_t{64} << 20;
  uint64_t seed = 0;
  EngineOptions engine;
  Sampling sampling;
};

// Records with `tokens` (ids, used as they are), `text`, or `prompt` and `completion` get
// "run": {"logprobs": [...], "greedy": [...], "logprob": sum}.
void run_score(const RunOptions& options, Report& report);
// Records with `tokens` (or a `prompt` that is an array of ids), or `prompt` text, get
// "run": {"tokens": [...], "text": "...", "finish_reason": "..."}.
void run_generate(const RunOptions& options, Report& report);
// `text` (or `prompt`) to "run": {"tokens": [...]}, and `tokens` to "run": {"text": "..."}. They need the tokenizer only.
void run_tokenize(const RunOptions& options, Report& report);
void run_detokenize(const RunOptions& options, Report& report);

}  // namespace ds
