// Answers to prompts, many at once, with a cache of keys and values.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "run/engine.h"
#include "run/sample.h"

namespace ds {

struct GenerateRequest {
  std::vector<int32_t> tokens;     // the prompt, at least one
  uint64_t stream = 0;             // its random numbers: XXH3 of the record's id or prompt
  int32_t adapter = -1;            // the number of its adapter (Engine::adapter); -1: none
};
struct GenerateResult {
  std::vector<int32_t> tokens;     // the generated ones only, without the end-of-sequence token
  std::string finish_reason;       // "stop": an end-of-sequence token; "length": max_tokens, or the model's positions
};
// One result a request, in order. Sequences enter as places become free, prompts in pieces beside the single rows of those
// under way. A prompt longer than max_length() is an Error.
std::vector<GenerateResult> generate(Engine& engine, std::span<const GenerateRequest> requests, const Sampling& sampling,
                                     uint64_t seed);

// The tokens that end an answer: all of config.json and generation_config.json, and the tokenizer's EOS.
std::vector<int32_t> end_tokens(const Engine& engine);

}  // namespace ds
