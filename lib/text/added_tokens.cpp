#include "text/added_tokens.h"

#include <algorithm>

#include "text/byte_level.h"
#include "text/unicode.h"
#include "text/unicode_versions.h"

namespace ds {
namespace {

size_t previous_start(std::string_view text, size_t at) {
  do --at;
  while (at > 0 && (static_cast<uint8_t>(text[at]) & 0xc0) == 0x80);
  return at;
}

char32_t code_at(std::string_view text, size_t at) { return decode_utf8(text, at); }

}  // namespace

AddedTokens::AddedTokens(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)), trie_(1) {
  std::erase_if(tokens_, [](const AddedToken& token) { return token.content.empty(); });
  for (size_t i = 0; i < tokens_.size(); ++i) {
    uint32_t node = 0;
    for (const char c : tokens_[i].content) {
      const auto edge = std::ranges::find(trie_[node].edges, c, &std::pair<char, uint32_t>::first);
      if (edge != trie_[node].edges.end()) {
        node = edge->second;
        continue;
      }
      const auto fresh = static_cast<uint32_t>(trie_.size());
      trie_[node].edges.emplace_back(c, fresh);
      trie_.emplace_back();
      node = fresh;
    }
    if (trie_[node].token < 0) trie_[node].token = static_cast<int32_t>(i);
    first_[static_cast<uint8_t>(tokens_[i].content[0])] = true;
    one_first_ = one_first_ && tokens_[i].content[0] == tokens_[0].content[0];
  }
}

size_t AddedTokens::next_candidate(std::string_view text, size_t at) const {
  if (tokens_.empty()) return text.size();
  if (one_first_) return std::min(text.find(tokens_[0].content[0], at), text.size());
  while (at < text.size() && !first_[static_cast<uint8_t>(text[at])]) ++at;
  return at;
}

const AddedToken* AddedTokens::longest_at(std::string_view text, size_t at, size_t& end) const {
  const AddedToken* found = nullptr;
  for (uint32_t node = 0; at < text.size(); ++at) {
    const auto& edges = trie_[node].edges;
    const auto edge = std::ranges::find(edges, text[at], &std::pair<char, uint32_t>::first);
    if (edge == edges.end()) break;
    node = edge->second;
    if (trie_[node].token >= 0) {
      found = &tokens_[static_cast<size_t>(trie_[node].token)];
      end = at + 1;
    }
  }
  return found;
}

void AddedTokens::split(std::string_view text, std::vector<Part>& parts) const {
  size_t done = 0;
  for (size_t at = 0; (at = next_candidate(text, at)) < text.size();) {
    size_t end = at;
    const AddedToken* token = longest_at(text, at, end);
    if (!token) {
      ++at;
      continue;
    }
    size_t begin = at;
    at = end;
    if (token->single_word && ((begin > 0 && is_word16(code_at(text, previous_start(text, begin)))) ||
                               (end < text.size() && is_word16(code_at(text, end)))))
      continue;
    if (token->lstrip) {
      while (begin > 0) {
        const size_t before = previous_start(text, begin);
        if (!is_space(code_at(text, before))) break;
        begin = before;
      }
      begin = std::min(std::max(begin, done), end);
    }
    if (token->rstrip)
      while (end < text.size() && is_space(code_at(text, end))) end += utf8_length(text[end]);
    // A token within what the one before stripped is found all the same, and the text goes on behind it.
    if (done < begin) parts.push_back({done, begin, -1});
    parts.push_back({begin, end, token->id});
    done = end;
  }
  if (done < text.size()) parts.push_back({done, text.size(), -1});
}

}  // namespace ds
