// Drawing the next token from logits. Order and definitions of Hugging Face's generate: repetition penalty, then
// temperature, top_k, top_p, min_p.
#pragma once
#include <cstdint>
#include <span>

namespace ds {

struct Sampling {
  int64_t max_tokens = 128;
  double temperature = 0;          // 0: greedy
  int64_t top_k = 0;               // keeps the k highest logits and those equal to the k-th; 0: all
  double top_p = 1;                // keeps the likeliest tokens until their sum reaches it; at least one
  double min_p = 0;                // keeps tokens of at least this share of the likeliest one's probability
  double repetition_penalty = 1;   // of every token that the prompt or the answer has: a logit above 0 is divided by it,
                                   // one below multiplied
  bool ignore_eos = false;
};

// Penalises `seen`, distinct ids, in a row of logits.
void penalize_repetition(std::span<float> logits, std::span<const int32_t> seen, double penalty);

// Draws from a row of logits with the uniform number u in [0, 1). Among equals the lower id comes first.
int32_t sample(std::span<const float> logits, const Sampling& sampling, double u);

}  // namespace ds
