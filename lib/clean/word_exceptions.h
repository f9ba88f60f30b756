// Spellings that the word splitter of quality_words.h does not split by its rules: abbreviations, emoticons, and
// contractions, which split at fixed places. They are those for which spaCy's English tokens have exceptions.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ds {

struct WordException {
  std::string text;
  std::array<uint8_t, 3> sizes;  // bytes of its words, one after the other; 0 where there are fewer
};
constexpr size_t longest_exception = 18;  // bytes; a test checks it

const std::vector<WordException>& word_exceptions();
// The exception of that spelling, or null.
const WordException* find_exception(std::string_view text);

}  // namespace ds
