// Many answers at once: continuous batching over one paged cache. Sequences enter as places and pages become free, prompts
// are computed in pieces beside the single rows of those under way, blocks of tokens that were computed before are used
// again, and the youngest sequence gives way (to be computed again later) when pages run out. Nothing of this changes a
// byte of an answer.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "run/constraint/constraint.h"
#include "run/engine.h"
#include "run/sample.h"

namespace ds {

struct GenerateRequest {
  std::vector<int32_t> tokens;     // the prompt, at least one
  Sampling sampling;
  uint64_t seed = 0;
  uint64_t stream = 0;             // its random numbers: XXH3 of the record's id or prompt
  int32_t adapter = -1;            // the number of its adapter (Engine::adapter); -1: none
  std::shared_ptr<const Constraint> constraint;
};

// One answer of a request.
struct Answer {
  std::vector<int32_t> tokens;     // the generated ones only, without the end-of-sequence token
  std::string text;                // empty where the model has no tokenizer; ends before a stop string
  std::vector<TokenLogprobs> logprobs;  // one a token, where they were asked for
  double logprob = 0;              // the sum over the tokens, as the model gave them (kept where logprobs, best_of or beams ask)
  std::string finish_reason;       // "stop": an end-of-sequence token or stop string; "length": max_tokens, or the model's
                                   // positions; "cancelled"; "error"
};
struct GenerateResult {
  std::vector<Answer> answers;     // n of them
  std::string error;               // not empty: nothing was answered, and why
  int64_t cached_tokens = 0;       // of the prompt, that were there already
  std::optional<double> similarity;  // the answers are those to an earlier prompt, and this is the cosine of the two
  double first_token_seconds = 0, seconds = 0;  // since it was submitted
};
// What is new of an answer. Text comes in whole characters, and never any that may belong to a stop string; together the
// pieces are the answer's text.
struct Delta {
  int64_t answer = 0;              // its number among the request's n
  std::string text;
  std::vector<int32_t> tokens;
  std::vector<TokenLogprobs> logprobs;
};

// Called by the thread that calls step(). They may submit and cancel.
struct Listener {
  std::function<void(const Delta&)> on_delta;            // may be empty
  std::function<void(GenerateResult&&)> on_done;         // exactly once
};

struct SchedulerOptions {
  bool prefix_cache = true;        // keep the blocks of finished sequences while there is room
  int64_t guesses = 0;             // tokens guessed for a sequence in a pass at most; 0: none. By the draft model, where there
  Engine* draft = nullptr;         // is one, else by the model's head for multi-token prediction, where that is loaded
                                   // (EngineOptions::mtp), else by prompt look-up,
  size_t lookup_match = 3;         // after so many tokens that were there before
  uint64_t answer_cache = 0;       // bytes of answers kept, to be given to equal requests; 0: none
  Engine* answer_cache_model = nullptr;     // embeds prompts, so that near ones get the answer too (which may change answers),
  double answer_cache_threshold = 0.95;     // those of at least this cosine
};

// For metrics and reports. Counters only grow; gauges are of now.
struct SchedulerStats {
  uint64_t submitted = 0, finished = 0, failed = 0, cancelled = 0, preempted = 0, steps = 0;
  uint64_t prompt_tokens = 0, cached_tokens = 0, generated_tokens = 0, guessed_tokens = 0, accepted_tokens = 0;
  uint64_t cached_answers = 0, similar_answers = 0;              // requests answered from the answer cache: equal ones, near ones
  int64_t waiting = 0, running = 0, pages = 0, pages_used = 0;   // pages that only the prefix cache holds count as free
};

// One thread calls all of it.
class Scheduler {
 public:
  Scheduler(Engine& engine, const SchedulerOptions& options = {});
  ~Scheduler();
  // Takes a request; nothing is computed yet. What is wrong with it (an id outside the vocabulary, a prompt that is too long,
  // parameters out of range) is an Error.
  uint64_t submit(GenerateRequest request, Listener listener);
  void cancel(uint64_t id);        // its answers so far are finished with "cancelled"; does nothing where it is done
  // One forward pass and what follows from it. False: there was nothing to do.
  bool step();
  bool idle() const;
  SchedulerStats stats() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// All requests through a scheduler; one result each, in order.
std::vector<GenerateResult> generate(Engine& engine, std::vector<GenerateRequest> requests, const SchedulerOptions& options = {});

}  // namespace ds
