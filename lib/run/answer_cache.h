// Answers that were given before. The same request has the same answer, so giving it again changes no byte; the answer to a
// request that is only near (by the vectors that a model makes of the prompts) may be another one, and says so.
#pragma once
#include <cstdint>
#include <list>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/hash.h"
#include "run/embed.h"
#include "run/scheduler.h"

namespace ds {

// What decides an answer but the prompt and the stream of random numbers: sampling parameters, seed, adapter, constraint.
Hash128 parameters_key(const GenerateRequest& request);
// All that decides it.
Hash128 request_key(const GenerateRequest& request);

class AnswerCache {
 public:
  // Keeps up to `bytes` of answers, those that were asked for last. With `model` the answer to an earlier prompt with equal
  // parameters is given too, where the cosine of the two prompts' vectors is at least `threshold`; `tokenizer` makes the
  // prompts text again. At most kMostVectors prompts are kept then.
  AnswerCache(uint64_t bytes, Engine* model, double threshold, const Tokenizer* tokenizer);
  static constexpr size_t kMostVectors = 4096;

  struct Key {
    Hash128 request, parameters;
    std::vector<float> vector;     // of length 1; empty: none is needed, or there is no text
  };
  // The answer to a request, if there is one; `key` is for add() when there is none.
  std::optional<GenerateResult> find(const GenerateRequest& request, Key& key);
  void add(const Key& key, const GenerateResult& result);
  uint64_t bytes() const { return held_; }
  size_t size() const { return entries_.size(); }

 private:
  struct KeyHash {
    size_t operator()(const Hash128& key) const { return static_cast<size_t>(key.low); }
  };
  struct Entry {
    Key key;
    GenerateResult result;
    uint64_t bytes;
  };
  std::vector<float> vector_of(const GenerateRequest& request);

  const uint64_t most_;
  Engine* const model_;
  const double threshold_;
  const Tokenizer* const tokenizer_;
  Pooling pooling_;
  std::list<Entry> entries_;       // the one asked for last in front
  std::unordered_map<Hash128, std::list<Entry>::iterator, KeyHash> by_request_;
  uint64_t held_ = 0;
};

}  // namespace ds
