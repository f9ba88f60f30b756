// What the patterns of byte-level tokenizers ask of a character, one byte a character, in a table (Unicode 16).
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace ds {

class CharacterClasses {
 public:
  enum : uint8_t {
    letter = 1,       // \p{L}
    mark = 2,         // \p{M}
    number = 4,       // \p{N}
    punctuation = 8,  // \p{P} or \p{S}
    space = 16,       // \s
    newline = 32,     // [\r\n], a space too
    ideograph = 64,   // [\u4e00-\u9fa5\u3040-\u30ff], DeepSeek's
    bert_mark = 128,  // P* of Unicode 8 or punctuation of ASCII, BERT's
  };
  // Made at the first call, in a few milliseconds.
  static const CharacterClasses& table();

  uint8_t ascii(uint8_t byte) const { return pages_[byte]; }  // byte < 0x80
  uint8_t of(char32_t c) const { return pages_[size_t{index_[c >> 8]} * 256 + (c & 255)]; }

 private:
  CharacterClasses();
  std::array<uint16_t, 0x1100> index_;
  std::vector<uint8_t> pages_;  // equal pages are stored once; the first is that of ASCII
};

}  // namespace ds
