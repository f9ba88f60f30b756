#include "run/prompt_lookup.h"

#include <algorithm>

#include "base/hash.h"

namespace ds {

static uint64_t key_of(std::span<const int32_t> tokens) {
  return hash64({reinterpret_cast<const char*>(tokens.data()), tokens.size_bytes()});
}

std::vector<int32_t> PromptLookup::guess(std::span<const int32_t> tokens, int64_t room) {
  // The place after the last match_ tokens is entered only once something stands there.
  for (seen_ = std::max(seen_, match_); seen_ < tokens.size(); ++seen_)
    after_[key_of(tokens.subspan(seen_ - match_, match_))] = static_cast<uint32_t>(seen_);
  if (pause_ > 0) {
    --pause_;
    return {};
  }
  if (tokens.size() < match_ || room <= 0) return {};
  const auto last = tokens.last(match_);
  const auto found = after_.find(key_of(last));
  if (found == after_.end()) return {};
  const size_t begin = found->second;
  if (!std::equal(last.begin(), last.end(), tokens.begin() + static_cast<std::ptrdiff_t>(begin - match_))) return {};
  const auto count = std::min({static_cast<size_t>(std::min({most_, room, length_})), tokens.size() - begin});
  const auto guesses = tokens.subspan(begin, count);
  return {guesses.begin(), guesses.end()};
}

void PromptLookup::judge(int64_t right, int64_t guessed) {
  if (guessed == 0) return;
  if (right == guessed) {
    length_ = std::min(most_, length_ * 2);
    failures_ = 0;
  } else if (2 * right >= guessed) {
    failures_ = 0;
  } else {
    length_ = std::max<int64_t>(2, std::min(length_, right + 1));
    if (right == 0) pause_ = int64_t{1} << std::min<int64_t>(++failures_, 6);
  }
}

}  // namespace ds
