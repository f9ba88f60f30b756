#include "text/units.h"

#include <algorithm>

#include "base/hash.h"
#include "text/unicode.h"

namespace ds {

bool is_cjk(char32_t c) {
  if (c < 0x1100) return false;
  return c <= 0x11FF ||                                  // Hangul letters
         (c >= 0x3005 && c <= 0x3007) ||                 // 々〆〇
         (c >= 0x3021 && c <= 0x303B) ||                 // Hangzhou numerals, kana repeat marks
         (c >= 0x3041 && c <= 0x31BF && c != 0x30FB) ||  // Hiragana, Katakana (no middle dot), Bopomofo, Hangul
         (c >= 0x31F0 && c <= 0x31FF) ||                 // small Katakana
         (c >= 0x3400 && c <= 0x4DBF) ||                 // Han, extension A
         (c >= 0x4E00 && c <= 0x9FFF) ||                 // Han
         (c >= 0xA960 && c <= 0xA97F) ||                 // Hangul letters
         (c >= 0xAC00 && c <= 0xD7FF) ||                 // Hangul syllables and letters
         (c >= 0xF900 && c <= 0xFAFF) ||                 // Han, compatibility
         (c >= 0xFF66 && c <= 0xFFDC) ||                 // half-width Katakana and Hangul
         (c >= 0x1AFF0 && c <= 0x1B16F) ||               // historic and small kana
         (c >= 0x20000 && c <= 0x3FFFF);                 // Han, extensions B and later
}

bool may_have_cjk(std::string_view text) {
  // U+1100 begins with E1. E2 begins no CJK character: dashes and curly quotes are there, so it is worth telling apart.
  return std::any_of(text.begin(), text.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte >= 0xE1 && byte != 0xE2;
  });
}

bool UnitReader::next(std::string_view& unit) {
  if (rest_.empty() && !words_.next(rest_)) return false;
  size_t end = 0;
  if (!may_have_cjk(rest_)) {
    end = rest_.size();
  } else {
    for (size_t after = 0; end < rest_.size(); end = after) {
      after = end;
      if (!is_cjk(decode_utf8(rest_, after))) continue;
      if (end == 0) end = after;
      break;
    }
  }
  unit = rest_.substr(0, end);
  rest_.remove_prefix(end);
  return true;
}

std::vector<uint64_t> unit_hashes(std::string_view text) {
  if (!may_have_cjk(text)) return word_hashes(text);
  std::vector<uint64_t> hashes;
  hashes.reserve(text.size() / 4);
  UnitReader reader(text);
  for (std::string_view unit; reader.next(unit);) hashes.push_back(hash64(unit));
  return hashes;
}

}  // namespace ds
