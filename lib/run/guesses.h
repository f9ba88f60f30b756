// Speculative decoding: guesses of what comes next, which the model then judges in one pass, a row each. A guess that is what
// the model would have drawn anyway is a token for less; no guess ever changes an answer.
#pragma once
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "model/mtp.h"
#include "run/engine.h"

namespace ds {

// How many guesses a sequence is worth: twice as many after a success, fewer after a failure, and none for ever longer while
// all of them fail.
class GuessPace {
 public:
  explicit GuessPace(int64_t most) : most_(most), length_(std::min<int64_t>(4, most)) {}
  int64_t next();                          // for this pass
  void judge(int64_t right, int64_t guessed);

 private:
  int64_t most_, length_, pause_ = 0, failures_ = 0;
};

// Prompt look-up: after the last tokens of a sequence comes what came after them the last time.
class PromptLookup {
 public:
  // `match`: tokens that must be the same before what is guessed.
  explicit PromptLookup(size_t match) : match_(match) {}
  // At most `count` guesses for a sequence that only ever grows.
  std::vector<int32_t> guess(std::span<const int32_t> tokens, int64_t count);

 private:
  size_t match_, seen_ = 0;                       // tokens whose ends of match_ are in `after_`
  std::unordered_map<uint64_t, uint32_t> after_;  // hash of match_ tokens: the place after their last occurrence
};

// A sequence to continue by `count` tokens; `place` is its number in the cache.
struct GuessRequest {
  int64_t place;
  std::span<const int32_t> tokens;
  int64_t count;
  std::vector<int32_t> guesses;
};

// A smaller model of the same vocabulary, which says the likeliest tokens one after the other (Leviathan et al., "Fast
// Inference from Transformers via Speculative Decoding", 2023). It has a cache of its own, with the target's places.
class DraftModel {
 public:
  // `engine` outlives it. Error where its vocabulary is another one than `target`'s.
  DraftModel(Engine& engine, const Engine& target);
  // Those of a place that are in the cache are a beginning of its tokens.
  void guess(std::span<GuessRequest> requests);
  // The tokens of a place from `length` on are others now; all of them: 0.
  void forget(int64_t place, int64_t length);
  int64_t max_length() const { return engine_.max_length(); }

 private:
  Engine& engine_;
  KvCache cache_;
  std::vector<int64_t> done_;                     // positions of each place that are in the cache
};

// The model's own head for multi-token prediction (model/mtp.h). Its keys and values are one layer more of the model's cache,
// so that what shares, drops and takes pages there does it for the head too.
class MtpHead {
 public:
  // `engine` has a head, and `cache` is of its make_cache(); both outlive it.
  MtpHead(Engine& engine, KvCache& cache);
  // After a forward: rows of its final_normed whose tokens stand. `next` has the tokens that come after them, with their
  // sequences, positions and forms (TokenBatch::generated); ascending positions of a sequence follow each other.
  void follow(const TokenBatch& next, std::span<const int32_t> rows);
  // Continues sequences all of whose tokens but the last one were followed; others get no guess. Where there is no page
  // for a step there are fewer guesses.
  void guess(std::span<GuessRequest> requests);
  void forget(int64_t place);                     // another sequence will have the place

 private:
  void step(const TokenBatch& next, const Tensor& hidden);
  float* state(int64_t place) { return states_.data() + place * engine_.model.config.hidden_size; }

  Engine& engine_;
  KvCache& cache_;
  Activations activations_;
  Arena memory_;                                  // of one call
  std::vector<float> states_;                     // [places, H]: of the last token that the head went through,
  std::vector<int64_t> followed_;                 // and how many that were, guesses included
};

}  // namespace ds
