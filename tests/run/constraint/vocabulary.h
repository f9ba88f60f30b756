// Vocabularies for tests of constraints, and answers drawn at random from masks.
#pragma once
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/rng.h"
#include "run/constraint/constraint.h"

namespace ds {

inline constexpr int32_t kEnd = 256;

// Every byte, an end token, and pieces that cross the borders of what automata see as one thing.
inline std::shared_ptr<const TokenTrie> small_vocabulary() {
  static const auto trie = [] {
    std::vector<std::string> bytes;
    for (int b = 0; b < 256; ++b) bytes.emplace_back(1, static_cast<char>(b));
    bytes.emplace_back("<end>");
    for (const char* piece : {"\",", "\":", "{\"", "\"}", "},", "}]", "[]", "{}", ", \"", "\": ", "\": \"", "true", "false", "null",
                              "12", "100", "1.5", ".0", "e1", "-1", "foo", "ba", "bar", "\"foo\":", "\\u00", "\\\"", "\xc3\xa9", "\xf0\x9f",
                              "ab", "abc", "  ", "\n  ", "],[", "\"]", "\xe4\xbd\xa0\xe5\xa5\xbd", "\"a\"", "0", "99", "():", ":\n"})
      bytes.emplace_back(piece);
    const int32_t end[] = {kEnd};
    return std::make_shared<const TokenTrie>(bytes, end);
  }();
  return trie;
}

inline std::shared_ptr<const Constraint> compiled(ConstraintSpec::Kind kind, std::string_view source) {
  return compile_constraint({kind, std::string(source)});
}
inline std::string error_of(ConstraintSpec::Kind kind, std::string_view source) {
  try {
    compiled(kind, source);
    return "";
  } catch (const std::exception& error) {
    return error.what();
  }
}

// Draws tokens from the masks until the answer ends; after `steps` it ends as soon as it may, and prefers
// what closes: the first of `closing` mostly, or any of them.
// Nothing where it found no end by chance (a pattern's word has to be spelt); a failure of the test where a mask is empty or
// a token of it is refused.
inline std::optional<std::string> random_answer(const std::shared_ptr<const Constraint>& constraint, uint64_t seed, int steps,
                                 std::string_view closing = "\"}])0123456789eE\n", bool in_order = true) {
  const auto trie = small_vocabulary();
  ConstraintState state(constraint, trie);
  std::vector<uint64_t> bits(trie->words());
  std::string text;
  const Rng rng{seed, 7};
  for (int i = 0; i < steps + 1500; ++i) {
    state.mask(bits);
    const auto has = [&](int32_t id) { return bits[static_cast<size_t>(id) / 64] >> (id % 64) & 1; };
    EXPECT_EQ(has(kEnd), state.may_end()) << text;
    if (has(kEnd) && (i >= steps || rng.below(3 * i, 4) == 0)) return text;
    std::vector<int32_t> choices;
    for (int32_t id = 0; id < static_cast<int32_t>(trie->vocab_size()); ++id)
      if (id != kEnd && has(id)) choices.push_back(id);
    if (choices.empty()) {
      EXPECT_TRUE(has(kEnd)) << "a dead end after " << text;
      return text;
    }
    int32_t token = choices[rng.below(3 * i + 1, choices.size())];
    if (i >= steps) {
      // Closing bytes first, then anything by turns, so that counted things get on.
      size_t best = closing.size();
      if (!in_order) {
        std::erase_if(choices, [&](int32_t id) { return id >= 256 || closing.find(static_cast<char>(id)) == closing.npos; });
        if (!choices.empty()) token = choices[rng.below(3 * i + 2, choices.size())], choices.clear();
      }
      for (const int32_t id : choices)
        if (const size_t at = closing.find(static_cast<char>(id)); id < 256 && at < best && rng.below(3 * i + 2, 4) != 0) best = at, token = id;
    }
    if (!state.accept(token)) {
      ADD_FAILURE() << "token " << token << " is in the mask and refused after " << text;
      return text;
    }
    text += trie->bytes(token);
  }
  return std::nullopt;
}

}  // namespace ds
