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

// The sizes of the exceptions by the five low bits of their first and last bytes, a bit for each size. Most words can
// be told to be none by it.
using ExceptionSizes = std::array<uint32_t, 1024>;
const ExceptionSizes& exception_sizes();
inline bool may_be_exception(const ExceptionSizes& sizes, std::string_view text) {
  return text.size() - 1 < longest_exception &&
         (sizes[(text.front() & 31) * 32 + (text.back() & 31)] >> text.size() & 1) != 0;
}

}  // namespace ds
