#include "text/character_classes.h"

#include <map>

#include "text/unicode.h"
#include "text/unicode_versions.h"

namespace ds {

CharacterClasses::CharacterClasses() {
  std::map<std::array<uint8_t, 256>, uint16_t> known;
  for (char32_t page = 0; page < index_.size(); ++page) {
    std::array<uint8_t, 256> classes;
    for (char32_t low = 0; low < 256; ++low) {
      const char32_t c = page * 256 + low;
      const Category k = category16(c);
      classes[low] =
          static_cast<uint8_t>((is_letter(k) ? letter : 0) | (is_mark(k) ? mark : 0) | (is_number(k) ? number : 0) |
                               (is_punctuation(k) || is_symbol(k) ? punctuation : 0) | (is_space(c) ? space : 0) |
                               (c == '\r' || c == '\n' ? newline : 0));
      if ((c >= 0x4e00 && c <= 0x9fa5) || (c >= 0x3040 && c <= 0x30ff)) classes[low] |= ideograph;
      if (is_punctuation8(c)) classes[low] |= bert_mark;
    }
    const auto [entry, is_new] = known.emplace(classes, static_cast<uint16_t>(known.size()));
    if (is_new) pages_.insert(pages_.end(), classes.begin(), classes.end());
    index_[page] = entry->second;
  }
}

const CharacterClasses& CharacterClasses::table() {
  static const CharacterClasses classes;
  return classes;
}

}  // namespace ds
