// Units: the words of words.h, but each character of Chinese, Japanese and Korean (CJK) is a unit of its own, since
// those scripts do not mark where a word ends (Korean marks it, but glues endings to its words). So "ABC 你好x" has the
// units abc, 你, 好, x. Texts without such characters have the same units as words.
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

#include "text/words.h"

namespace ds {

// Han, Hiragana, Katakana, Bopomofo and Hangul, by Unicode block.
bool is_cjk(char32_t character);
// False only where the text surely has no CJK character: no byte that begins one.
bool may_have_cjk(std::string_view text);

// The units of a text one after the other. A unit lives until the next call; the text must outlive the reader.
class UnitReader {
 public:
  explicit UnitReader(std::string_view text) : words_(text) {}
  bool next(std::string_view& unit);

 private:
  WordReader words_;
  std::string_view rest_;  // of the current word
};

// XXH3-64 of each unit, in order.
std::vector<uint64_t> unit_hashes(std::string_view text);

}  // namespace ds
