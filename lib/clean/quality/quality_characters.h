// Kinds of characters, as the published text filters and the word splitter of quality_words.h tell them apart.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "text/unicode.h"

namespace ds {

// A character's kinds are the OR of these.
enum CharacterKind : uint32_t {
  kind_blank = 1 << 0,         // white space as Python's str.isspace has it: White_Space and U+001C to U+001F
  kind_letter = 1 << 1,        // L*
  kind_lower = 1 << 2,         // a letter that is lower case or has no case
  kind_upper = 1 << 3,         // a letter that is upper case or has no case
  kind_digit = 1 << 4,         // 0 to 9
  kind_punctuation = 1 << 5,   // P*
  kind_plain_sign = 1 << 6,    // what makes no word in Gopher's count: common punctuation and control characters
  kind_sentence_end = 1 << 7,  // a sentence ends with this word
  kind_line_stop = 1 << 8,     // FineWeb's terminal punctuation
  kind_opening = 1 << 9,       // splits off the front of a word
  kind_closing = 1 << 10,      // splits off the end of a word
  kind_before_dot = 1 << 11,   // a full stop behind it splits off the end of a word
  kind_quote = 1 << 12,
  kind_icon = 1 << 13,      // So: splits words wherever it stands
  kind_currency = 1 << 14,  // splits off the front, and off the end behind a digit
};
extern const std::array<uint32_t, 128> ascii_kinds;
uint32_t wide_character_kinds(char32_t character);  // beyond ASCII
inline uint32_t character_kinds(char32_t character) {
  return character < ascii_kinds.size() ? ascii_kinds[character] : wide_character_kinds(character);
}
// decode_utf8 of unicode.h without a call for ASCII.
inline char32_t decode_character(std::string_view text, size_t& at) {
  const auto byte = static_cast<unsigned char>(text[at]);
  if (byte >= 0x80) return decode_utf8(text, at);
  ++at;
  return byte;
}

// Python's str.strip, lstrip and rstrip.
std::string_view strip_left(std::string_view text);
std::string_view strip_right(std::string_view text);
inline std::string_view strip(std::string_view text) { return strip_right(strip_left(text)); }

// The next line of Python's str.splitlines at text[at] (at < text.size()), without its end; moves `at` past both.
std::string_view next_line(std::string_view text, size_t& at);

// The last character of a text that is not empty.
char32_t last_character(std::string_view text);
// How many characters stand in valid UTF-8.
size_t count_characters(std::string_view text);

}  // namespace ds
