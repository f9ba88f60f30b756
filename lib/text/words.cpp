#include "text/words.h"

#include <array>

#include "base/hash.h"
#include "text/unicode.h"

namespace ds {

// What a byte means in a word: 0 no part of one, 0x80 look at the whole character, else its lower case.
constexpr unsigned char beyond_ascii = 0x80;
static constexpr std::array<unsigned char, 256> byte_table = [] {
  std::array<unsigned char, 256> table{};
  for (int c = 0; c < 256; ++c) {
    if (c >= 0x80)
      table[c] = beyond_ascii;
    else if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_')
      table[c] = static_cast<unsigned char>(c);
    else if (c >= 'A' && c <= 'Z')
      table[c] = static_cast<unsigned char>(c - 'A' + 'a');
  }
  return table;
}();

bool WordReader::next(std::string_view& word) {
  word_.clear();
  while (at_ < text_.size()) {
    const unsigned char known = byte_table[static_cast<unsigned char>(text_[at_])];
    if (known == beyond_ascii) {
      size_t after = at_;
      const char32_t c = decode_utf8(text_, after);
      if (c == 0x130) {  // its lower case is "i" and a combining dot, which is no part of a word
        word_ += 'i';
        at_ = after;
        break;
      }
      if (is_word(c)) {
        append_lower(word_, c, text_, at_, after);
      } else if (!word_.empty()) {
        break;
      }
      at_ = after;
    } else if (known != 0) {
      word_ += static_cast<char>(known);
      ++at_;
    } else if (word_.empty()) {
      ++at_;
    } else {
      break;
    }
  }
  word = word_;
  return !word_.empty();
}

std::vector<uint64_t> word_hashes(std::string_view text) {
  std::vector<uint64_t> hashes;
  hashes.reserve(text.size() / 6);
  WordReader reader(text);
  for (std::string_view word; reader.next(word);) hashes.push_back(hash64(word));
  return hashes;
}

}  // namespace ds
