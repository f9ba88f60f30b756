// Guesses of what comes next, from what was said before: after the last tokens of a sequence comes what came after them the
// last time (prompt look-up decoding). A guess costs a row of a forward pass and never changes an answer.
#pragma once
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

namespace ds {

class PromptLookup {
 public:
  // `match`: tokens that must be the same before what is guessed.
  explicit PromptLookup(int64_t most, size_t match = 3) : most_(most), match_(match) {}
  // Guesses for a sequence that only ever grows; at most min(most, room) of them. How many depends on how the last ones did:
  // twice as many after a success, and after failures none for ever longer.
  std::vector<int32_t> guess(std::span<const int32_t> tokens, int64_t room);
  // How many of the last guesses were right.
  void judge(int64_t right, int64_t guessed);

 private:
  int64_t most_;
  size_t match_;
  int64_t length_ = 4, pause_ = 0, failures_ = 0;
  size_t seen_ = 0;                       // tokens whose ends of match_ are in `after_`
  std::unordered_map<uint64_t, uint32_t> after_;  // hash of match_ tokens: the place after their last occurrence
};

}  // namespace ds
