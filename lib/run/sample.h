// From a row of logits to a token: penalties, constraint, temperature, and the filters of likely tokens, in the order of
// Hugging Face's generate, or in llama.cpp's. One row at a time, by one thread; the same bytes wherever it runs.
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

namespace ds {

// hugging_face: repetition_penalty over prompt and answer; frequency_ and presence_penalty over the answer; temperature,
// top_k (ties with the k-th stay), top_p, min_p.
// llama_cpp: the three penalties over the last 64 tokens of prompt and answer; top_k (exactly k, the lower id among equals),
// top_p, min_p, temperature last.
enum class SamplingOrder : uint8_t { hugging_face, llama_cpp };

struct Sampling {
  int64_t max_tokens = 128;
  int64_t min_tokens = 0;          // before so many no end-of-sequence token is drawn
  double temperature = 0;          // 0: greedy, the lower id among equals
  int64_t top_k = 0;               // 0: all
  double top_p = 1;                // the likeliest tokens until their sum reaches it; at least one
  double min_p = 0;                // tokens of at least this share of the likeliest one's probability
  double repetition_penalty = 1;   // of every distinct token seen: a logit above 0 is divided by it, one below multiplied
  double frequency_penalty = 0;    // subtracted for each time that a token was seen,
  double presence_penalty = 0;     // and once if it was at all
  SamplingOrder order = SamplingOrder::hugging_face;
  bool ignore_eos = false;
  std::vector<std::string> stop;   // the answer ends before the first of these; the text is cut there
  int64_t logprobs = -1;           // alternatives reported for each token, 0 to 20; -1: no log-probabilities
  int64_t n = 1;                   // answers to a prompt; the n best of best_of by mean log-probability (0: as n)
  int64_t best_of = 0;
  int64_t beams = 1;               // beam search; temperature and filters do not apply
  double length_penalty = 1;       // beams: sum of log-probabilities / length^length_penalty
};
// What is wrong with one, as an Error naming the parameter ("temperature is -1: it is 0 or more").
void check(const Sampling& sampling);

// Whether any penalty changes a logit; where none does, there is no need to count tokens.
bool has_penalties(const Sampling& sampling);

// The tokens that a sequence has, as far as penalties ask. Kept up to date by its owner: see() for each token in order.
class TokenCounts {
 public:
  void see(int32_t id, bool generated);
  // Changes a row of logits. An id outside of it is an Error.
  void penalize(std::span<float> logits, const Sampling& sampling) const;

 private:
  struct Count {
    int64_t all = 0, answer = 0;
  };
  std::unordered_map<int32_t, Count> counts_;  // each changes its own logit only: their order is of no matter
  std::array<int32_t, 64> recent_{};           // llama.cpp's: the last ones, at index (number of the token) % 64
  uint64_t seen_ = 0;
};

// Draws from a row of logits with the uniform number u in [0, 1). `allowed` are the tokens that a constraint permits, a bit
// each from the lowest of the first word on; empty: all; of a token past its end: not. NaN or plus infinity among the
// logits, and no token that is allowed with a logit above minus infinity, are Errors. A token of less than e^-45 of the
// likeliest one's probability is never drawn.
int32_t sample(std::span<const float> logits, const Sampling& sampling, std::span<const uint64_t> allowed, double u);

// Log-probabilities of a row as the model gave it (before penalties): that of `token`, and the `count` likeliest tokens in
// falling order, the lower id first among equals.
struct TokenLogprob {
  int32_t id = 0;
  float logprob = 0;
};
struct TokenLogprobs {
  float logprob = 0;
  std::vector<TokenLogprob> top;
};
TokenLogprobs logprobs_of(std::span<const float> logits, int32_t token, int64_t count);

}  // namespace ds
