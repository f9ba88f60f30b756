// Unicode characters: UTF-8, general categories, lower case, NFC. Categories are those of the utf8proc library.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>

namespace ds {

constexpr char32_t replacement_character = 0xFFFD;

// The character at text[position] (position < text.size()); moves position past it. Bytes that are not UTF-8
// (surrogates and overlong forms too) give U+FFFD, one for each maximal part as the Unicode Standard recommends
// (chapter 3.9, as decoders on the web do).
char32_t decode_utf8(std::string_view text, size_t& position);
// The character at text[position] of valid UTF-8, and moves position past it: nothing is checked.
inline char32_t next_character(std::string_view text, size_t& position) {
  const auto byte = [&](size_t at) { return static_cast<char32_t>(static_cast<unsigned char>(text[at])); };
  const auto more = [&] { return byte(position++) & 0x3f; };
  char32_t c = byte(position++);
  if (c < 0x80) return c;
  if (c < 0xe0) return (c & 0x1f) << 6 | more();
  c = c < 0xf0 ? c & 0x0f : (c & 0x07) << 6 | more();
  c = c << 6 | more();
  return c << 6 | more();
}
// Appends a character as UTF-8; what is no character (a surrogate, above 10FFFF) as U+FFFD.
void append_utf8(std::string& out, char32_t character);
bool is_valid_utf8(std::string_view text);

// General categories, by their first letter: L*, M*, N*.
bool is_letter(char32_t character);
bool is_mark(char32_t character);
bool is_number(char32_t character);
// P* (is_punctuation) and S* (is_symbol).
bool is_punctuation(char32_t character);
bool is_symbol(char32_t character);
// The property White_Space.
bool is_space(char32_t character);
// `\w`: L*, N* and the underscore.
bool is_word(char32_t character);

// The simple (one character to one) lower-case and upper-case mappings.
char32_t to_lower(char32_t character);
char32_t to_upper(char32_t character);

// Appends the full lower case of the character c that stands at text[begin, after): as to_lower, but the Turkish
// capital dotted I gives "i" and a combining dot, and a capital sigma at the end of a word the final small sigma
// (SpecialCasing.txt and section 3.13 of the Unicode Standard; what Python's str.lower does).
void append_lower(std::string& out, char32_t c, std::string_view text, size_t begin, size_t after);

// Normalization Form C. ASCII comes back as it is; bytes that are not UTF-8 are an Error.
std::string nfc(std::string_view text);

}  // namespace ds
