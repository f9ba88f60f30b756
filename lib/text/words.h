// Words: the maximal runs of `\w` (Unicode categories L*, N* and the underscore) of the text in lower case (unicode.h).
// So "don't" is two words, "x_1" is one, and a run of CJK characters is one word however long.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ds {

// The words of a text one after the other. A word lives until the next call; the text must outlive the reader.
class WordReader {
 public:
  explicit WordReader(std::string_view text) : text_(text) {}
  bool next(std::string_view& word);

 private:
  std::string_view text_;
  size_t at_ = 0;
  std::string word_;
};

// XXH3-64 of each word of the text, in order.
std::vector<uint64_t> word_hashes(std::string_view text);

}  // namespace ds
