// Words: the maximal runs of `\w` (Unicode categories L*, N* and the underscore) of the text in lower case (unicode.h).
// So "don't" is two words, "x_1" is one, and a run of CJK characters is one word however long (units.h divides it).
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ds {

// The words of a text one after the other; a word lives as long as the reader.
class WordReader {
 public:
  explicit WordReader(std::string_view text);
  bool next(std::string_view& word);

 private:
  std::string folded_;  // the words, with zero bytes between them and eight or more at the end
  size_t at_ = 0, end_ = 0;
};

// XXH3-64 of each word of the text, in order.
std::vector<uint64_t> word_hashes(std::string_view text);

}  // namespace ds
