// A stream of prompts through the scheduler: lines in, lines out, as many under way as it takes. An answer depends on its
// line and the options alone.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "io/jsonl.h"
#include "io/report.h"
#include "run/chat.h"
#include "run/params.h"
#include "run/policy.h"
#include "run/scheduler.h"

namespace ds {

struct BatchOptions {
  Parameters defaults;             // what records leave out
  Parameters openai_defaults;      // what the bodies of OpenAI's lines leave out
  std::string prompt_field = "prompt";
  std::string model_name;          // what bodies of OpenAI's lines call the model
  bool in_order = true;            // lines of the output in the order of the input, else as answers are finished
  bool resume = false;
  std::vector<std::pair<std::string, std::string>> identity;  // what else decides the bytes: names and JSON values
  SchedulerOptions scheduler;
  // --policy auto: for records (not OpenAI's lines) that say nothing themselves; none: no policy. What the options say comes first:
  const Classifier* intents = nullptr;
  bool policy_temperature = true, policy_constraint = true;  // whether the policy may set them
};

// Answers every line of the inputs; each comes out once, in the output, or where options.rejects names a file and something
// is wrong with it, there (as process_records writes them).
// A record has `tokens` (or a prompt that is an array of ids), `messages`, or a prompt as text; parameters_of() its
// fields. It gets "run": {"tokens", "text" (where the model has a tokenizer), "finish_reason"}, where n > 1
// {"answers": [those]}; where log-probabilities are asked for "logprob" (the sum) and "logprobs" (one a token), and
// "top_logprobs" (for each token [{"token": id, "logprob"}]) where alternatives are. Where the answer is
// that to an earlier prompt which is only near (SchedulerOptions::answer_cache_model) "cached": {"similarity": cosine}; with a policy "policy": policy_json(). A record
// with something wrong gets "run": {"error"}, a line that is none becomes {"line": N, "file", "run": {"error"}, "raw"} (as
// bad_line(): "raw_base64" where it is not UTF-8 or too long). A field that is nearly a parameter's name stays what it is, and
// is warned of once.
// A line of OpenAI's batches (custom_id, url, body) becomes one: {"id", "custom_id", "response": {"status_code",
// "request_id", "body"}, "error": null}; ids are hashes of the line.
// The number of lines with something wrong; the report gets what the scheduler counted. Where options.output is a file, an interrupted run leaves one beside it that
// `resume` goes on with (AnswerFile).
uint64_t run_batch(Engine& engine, const Chat& chat, const StreamOptions& stream, const BatchOptions& options, Report& report);

}  // namespace ds
