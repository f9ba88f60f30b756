#include "text/words.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/hash.h"
#include "base/rng.h"
#include "text/unicode.h"

namespace ds {
namespace {

// The words by the definition, a character at a time.
std::vector<std::string> plain_words(const std::string& text) {
  std::vector<std::string> words;
  bool inside = false;
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    const char32_t c = decode_utf8(text, at);
    std::string lower;
    append_lower(lower, c, text, begin, at);
    for (size_t i = 0; i < lower.size();) {
      const size_t first = i;
      const bool word = is_word(decode_utf8(lower, i));
      if (word && !inside) words.emplace_back();
      if (word) words.back().append(lower, first, i - first);
      inside = word;
    }
  }
  return words;
}

std::vector<std::string> read_words(const std::string& text) {
  std::vector<std::string> words;
  WordReader reader(text);
  for (std::string_view word; reader.next(word);) words.emplace_back(word);
  return words;
}

void expect_words(const std::string& text) {
  const auto words = plain_words(text);
  ASSERT_EQ(read_words(text), words) << text;
  std::vector<uint64_t> hashes;
  for (const std::string& word : words) hashes.push_back(hash64(word));
  ASSERT_EQ(word_hashes(text), hashes) << text;
}

TEST(Words, OfEveryLengthHashAsTheirBytes) {
  for (size_t size = 0; size <= 70; ++size) {
    std::string word;
    for (size_t i = 0; i < size; ++i) word += static_cast<char>('a' + (i * 7 + size) % 26);
    expect_words(word);
    expect_words("a " + word + "-" + word + "_9 Z");
  }
}

TEST(Words, EveryByteStandsInOrBetweenWords) {
  for (int c = 0; c < 128; ++c)
    for (const size_t before : {0u, 1u, 7u, 15u, 31u, 40u})
      expect_words(std::string(before, 'x') + static_cast<char>(c) + "Yz" + std::string(40, static_cast<char>(c)) +
                   "b");
}

TEST(Words, AreThoseOfTheDefinitionInRandomTexts) {
  static const std::string pieces[] = {
      "a",      "Z", "0",   "_", " ", "\n",   ".",      "-",          std::string(1, '\0'),
      "@",      "[", "`",   "{", "/", ":",    "the",    "WORDS ",     "internationalization",
      "é",      "É", "ß",   "İ", "Σ", "中文", "\u3000", "\U0001F600", "\U00010400",
      "\u0301", "ﬁ", "\x7F"};
  const Rng rng{7, 0};
  uint64_t draw = 0;
  for (size_t size = 0; size < 400; ++size) {
    std::string text;
    const uint64_t kinds = size % 3 == 0 ? 18 : std::size(pieces);  // a third are ASCII
    for (size_t i = 0; i < size; ++i) text += pieces[rng.below(draw++, kinds)];
    expect_words(text);
  }
}

}  // namespace
}  // namespace ds
