// Inside the room: one answer under way, from its prompt to its end.
#pragma once
#include <optional>

#include "run/guesses.h"
#include "run/prefix_cache.h"
#include "run/scheduler.h"
#include "run/stop_strings.h"
#include "text/tokenizer.h"

namespace ds {

// What all answers of a model share.
struct AnswerRules {
  const Config& config;
  const Tokenizer* tokenizer;                  // null: answers are ids
  std::vector<int32_t> ends;                   // sorted
  std::shared_ptr<const TokenTrie> trie;       // made when the first constraint comes
  int64_t max_length;
};

// The answer number `number` of a request. It is a state of its own: rows of logits of many sequences are taken on all
// threads at once.
class Sequence {
 public:
  Sequence(std::shared_ptr<const GenerateRequest> request, uint64_t id, int64_t number, const AnswerRules& rules);

  // Takes the row of logits after its last token (and changes it): draws the next token, and appends it. It is over when
  // `answer.finish_reason` says so.
  int32_t take(std::span<float> logits, const AnswerRules& rules);
  // The same for a beam: notes the likeliest tokens, of which the search will choose. Appends what was chosen.
  void take_candidates(std::span<const float> logits, int64_t count);
  void branch(int32_t token);
  std::unique_ptr<Sequence> twin(const AnswerRules& rules) const;  // another beam with the same tokens, which has no place yet
  void finish(const std::string& reason);
  void fail(const std::string& what);          // it is over, with an error
  // The answer that these tokens are, all at once.
  static Answer answer_of(const std::vector<int32_t>& tokens, const std::string& reason, const AnswerRules& rules);
  // What is new since the last call.
  Delta news();
  // Keys of the first `blocks` blocks, all of whose tokens are there.
  std::span<const Hash128> keys(int64_t blocks, bool forms_matter);

  int64_t length() const { return static_cast<int64_t>(tokens.size()); }
  int64_t generated() const { return length() - given; }
  bool over() const { return !answer.finish_reason.empty(); }

  std::shared_ptr<const GenerateRequest> request;
  uint64_t id;                                 // of the request
  int64_t number;
  std::vector<int32_t> tokens;                 // prompt and answer
  int64_t given = 0;                           // tokens of the prompt
  int64_t place = -1;                          // its sequence in the cache; -1: none
  int64_t done = 0;                            // positions in the cache
  int64_t kept = 0;                            // blocks of it that the prefix cache was told of
  int64_t cached = 0;                          // positions that were there when it entered first
  uint64_t age = 0;                            // when it entered
  Answer answer;
  std::string error;
  std::vector<int32_t> guesses;                // rows behind its last token in this pass
  std::vector<TokenLogprob> candidates;        // of a beam: the likeliest next tokens, once they are known
  GuessPace pace{0};
  std::optional<PromptLookup> lookup;

 private:
  void append(int32_t token, const AnswerRules& rules);

  uint64_t stream_;
  TokenCounts counts_;
  bool counting_;
  std::optional<ConstraintState> constraint_;
  std::vector<uint64_t> allowed_;
  std::optional<StreamDecoder> text_;
  StopStrings stops_;
  std::vector<Hash128> keys_;
  size_t told_text_ = 0, told_tokens_ = 0;
};

}  // namespace ds
