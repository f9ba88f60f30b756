// Tokens in, scores and tokens out: a loaded model, and the batches that run through it. What a request gets never
// depends on the requests beside it.
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "model/decoder.h"
#include "text/tokenizer.h"

namespace ds {

struct EngineOptions {
  int64_t batch_tokens = 2048;     // rows of one forward pass at most
  int64_t batch_sequences = 64;    // sequences under way at once at most
};

// A model folder, loaded for inference. One caller at a time; its work is spread over all threads.
struct Engine {
  explicit Engine(const std::string& folder, const EngineOptions& options = {});
  Model model;
  Tokenizer tokenizer;
  EngineOptions options;
  Activations activations;         // after_layer may be set to watch (expert load)
  int64_t max_length() const { return model.config.max_position_embeddings; }
};

// ---- Scoring ----

struct ScoreRequest {
  std::vector<int32_t> tokens;
  int64_t first = 1;               // scores tokens[first..]; at least 1: the first token has nothing before it
};
struct ScoreResult {
  std::vector<float> logprobs;     // log p(tokens[i] | tokens[..i]), natural logarithm
  std::vector<bool> greedy;        // whether that token is the model's first choice
  double logprob = 0;              // their sum, in order
};
// One result a request, in order. Requests longer than max_length() are an Error.
std::vector<ScoreResult> score(Engine& engine, std::span<const ScoreRequest> requests);

// The tokens of a continuation after a context as lm-evaluation-harness splits them: the context's trailing white space
// moves to the continuation; both are encoded together; an empty context becomes one BOS (else EOS) token. Contexts
// that do not fit lose tokens at their beginning; a continuation that does not fit even alone is an Error.
ScoreRequest continuation_request(const Engine& engine, const std::string& context, const std::string& continuation);

// ---- Generation ----

// Order and definitions of Hugging Face's generate: temperature, top_k (ties with the k-th kept), top_p.
struct Sampling {
  int64_t max_tokens = 128;
  double temperature = 0;          // 0: greedy
  int64_t top_k = 0;               // 0: all
  double top_p = 1;
  bool ignore_eos = false;
};
struct GenerateRequest {
  std::vector<int32_t> tokens;     // the prompt, at least one
  uint64_t stream = 0;             // its random numbers: XXH3 of the record's id or prompt
};
struct GenerateResult {
  std::vector<int32_t> tokens;     // the generated ones only, without the end-of-sequence token
  std::string finish_reason;       // "stop" or "length"
};
std::vector<GenerateResult> generate(Engine& engine, std::span<const GenerateRequest> requests, const Sampling& sampling,
                                     uint64_t seed);

// Draws from one row of logits with the uniform number u in [0, 1).
int32_t sample(std::span<const float> logits, const Sampling& sampling, double u);

}  // namespace ds
