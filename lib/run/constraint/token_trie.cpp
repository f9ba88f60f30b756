#include <algorithm>
#include <atomic>
#include <numeric>

#include "base/error.h"
#include "run/constraint/constraint.h"
#include "text/tokenizer.h"

namespace ds {

TokenTrie::TokenTrie(std::span<const std::string> bytes, std::span<const int32_t> end)
    : bytes_(bytes.begin(), bytes.end()), end_(end.begin(), end.end()) {
  build();
}

TokenTrie::TokenTrie(const Tokenizer& tokenizer, std::span<const int32_t> end) : end_(end.begin(), end.end()) {
  bytes_.resize(static_cast<size_t>(tokenizer.vocab_size()));
  for (int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
    if (!tokenizer.has(id)) continue;
    // A token that skip_special_tokens takes away is empty where the token itself is not; a part of a character, which
    // cannot be decoded alone, is not special.
    const int32_t one[] = {id};
    if (!tokenizer.decode(one, true).empty() || tokenizer.decode(one, false).empty())
      bytes_[static_cast<size_t>(id)] = tokenizer.token_bytes(id);
  }
  build();
}

void TokenTrie::build() {
  static std::atomic<uint64_t> serials{0};
  serial_ = ++serials;
  require(bytes_.size() <= size_t{1} << 20, "a vocabulary of ", bytes_.size(), " tokens is too large for a constraint");
  for (const int32_t id : end_) {
    require(id >= 0 && static_cast<size_t>(id) < bytes_.size(), "the end token ", id, " is not in the vocabulary");
    bytes_[static_cast<size_t>(id)].clear();
  }
  for (size_t id = 0; id < bytes_.size(); ++id) {
    // A token longer than this is nothing that an answer needs.
    if (bytes_[id].size() > 4096) bytes_[id].clear();
    if (!bytes_[id].empty()) ids_.push_back(static_cast<int32_t>(id));
  }
  std::stable_sort(ids_.begin(), ids_.end(), [&](int32_t a, int32_t b) { return bytes(a) < bytes(b); });
  nodes_.push_back({0, 0, 0, 0, 0});
  std::vector<uint32_t> path = {0};  // the nodes from the root to the last token
  const auto close = [&](size_t depth) {
    for (; path.size() > depth + 1; path.pop_back()) nodes_[path.back()].subtree_end = static_cast<uint32_t>(nodes_.size());
  };
  std::string_view last;
  for (uint32_t i = 0; i < ids_.size(); ++i) {
    const std::string_view text = bytes(ids_[i]);
    const size_t shared = static_cast<size_t>(std::mismatch(text.begin(), text.end(), last.begin(), last.end()).first - text.begin());
    close(shared);
    for (size_t d = shared; d < text.size(); ++d) {
      path.push_back(static_cast<uint32_t>(nodes_.size()));
      nodes_.push_back({0, i, i, static_cast<uint16_t>(d + 1), static_cast<uint8_t>(text[d])});
    }
    nodes_[path.back()].tokens_end = i + 1;
    last = text;
  }
  close(0);
  nodes_[0].subtree_end = static_cast<uint32_t>(nodes_.size());
}

}  // namespace ds
