// Log-likelihoods, with the semantics of lm-evaluation-harness 0.4.13.
#pragma once
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "run/engine.h"

namespace ds {

struct ScoreRequest {
  std::vector<int32_t> tokens;
  int64_t first = 1;               // scores tokens[first..]; at least 1: the first token has nothing before it
  int32_t adapter = -1;            // the number of its adapter (Engine::adapter); -1: none
};
struct ScoreResult {
  std::vector<float> logprobs;     // log p(tokens[i] | tokens[..i]), natural logarithm
  std::vector<bool> greedy;        // whether that token is the model's first choice, the lowest id among equals
  double logprob = 0;              // their sum, in order
};
// One result a request, in order. A request of more than max_length() + 1 tokens (the last one is only predicted) is an
// Error.
std::vector<ScoreResult> score(Engine& engine, std::span<const ScoreRequest> requests);

// The windows that score every token of `tokens` once after `prefix`, whatever their number: the first one sees the prefix
// and its own max_length tokens; later ones are disjoint and see one token before theirs; the last one reaches back to
// the left for a full window. (lm_eval/utils.py: get_rolling_token_windows with context_len 1, and make_disjoint_window)
std::vector<ScoreRequest> rolling_windows(std::span<const int32_t> tokens, int32_t prefix, int64_t max_length);

// The tokens of a continuation after a context: trailing white space of the context (as Python's str.rstrip sees it) moves
// to the continuation; both are encoded together, and the context's tokens are as many as it has alone. An empty context
// becomes prefix_token(), and the continuation then gets no special tokens; one that begins with that token is not scored
// there. Of a context that does not fit the last tokens stay; a continuation that does not fit even alone, or of which no
// token is left to score (an empty one), is an Error, as it is there.
ScoreRequest continuation_request(const Engine& engine, std::string_view context, std::string_view continuation);

// The words of a text as word perplexity counts them: the pieces that Python's re.split(r"\s+") gives.
uint64_t count_words(std::string_view text);

}  // namespace ds
