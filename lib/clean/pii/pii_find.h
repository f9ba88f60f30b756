// The finders behind pii.h, one a kind, each given the place of its anchor; for .cpp files of this room only. None
// looks further from its anchor than a constant number of bytes or the bytes that it returns, so a pass is linear.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace ds::pii {

struct Span {
  size_t begin, end;
};

// Kinds of bytes, as bits.
enum : uint8_t { digit = 1, upper = 2, lower = 4, underscore = 8, hex = 16, beyond_ascii = 32, base64url = 64 };
inline constexpr std::array<uint8_t, 256> byte_kinds = [] {
  std::array<uint8_t, 256> kinds{};
  for (int c = '0'; c <= '9'; ++c) kinds[c] = digit | hex | base64url;
  for (int c = 'A'; c <= 'Z'; ++c) kinds[c] = upper | base64url | (c <= 'F' ? hex : 0);
  for (int c = 'a'; c <= 'z'; ++c) kinds[c] = lower | base64url | (c <= 'f' ? hex : 0);
  kinds['_'] = underscore | base64url;
  kinds['-'] = base64url;
  for (int c = 0x80; c < 0x100; ++c) kinds[c] = beyond_ascii;
  return kinds;
}();
constexpr bool is(char c, unsigned kinds) { return (byte_kinds[static_cast<unsigned char>(c)] & kinds) != 0; }
inline constexpr unsigned letter = upper | lower, alnum = letter | digit, word = alnum | underscore;

// The byte at a place, 0 beyond the ends.
inline char byte_at(std::string_view text, size_t at) { return at < text.size() ? text[at] : '\0'; }
inline char byte_before(std::string_view text, size_t at) { return at > 0 ? text[at - 1] : '\0'; }

// Whether the character belongs to the word beside it: a letter, mark, number or underscore, but not of a script that
// is written without spaces or glues its particles to numbers (Han, Kana, Hangul, Thai, Lao, Khmer, Burmese).
bool joins(char32_t c);
// Whether such a character ends before `at`, or begins there.
bool joined_before(std::string_view text, size_t at);
bool joined_after(std::string_view text, size_t at);
// Where the character that ends before `at` (> 0) begins.
size_t previous(std::string_view text, size_t at);

// The ASCII words (letters only) on the same line before `at`, nearest first, in lower case: what a number is called.
// Found within 40 bytes; empty where there are fewer.
struct NearWords {
  std::array<char, 40> bytes;
  std::array<std::string_view, 3> words;
  NearWords(std::string_view text, size_t at);
  NearWords(const NearWords&) = delete;
  template <class List>
  bool any_of(const List& list) const {
    for (const std::string_view word : words)
      for (const std::string_view name : list)
        if (!word.empty() && word == name) return true;
    return false;
  }
};

std::optional<Span> email_at(std::string_view text, size_t at_sign);
// The others of the first digit of a run of digits.
std::optional<Span> ipv4_at(std::string_view text, size_t first);
std::optional<Span> ipv6_at(std::string_view text, size_t first);
std::optional<Span> iban_at(std::string_view text, size_t first);
std::optional<Span> card_at(std::string_view text, size_t first);
std::optional<Span> phone_at(std::string_view text, size_t first);
// A key with a known prefix, whose anchor is one of K S z _ - J; a private key block at the first of its dashes; what
// follows a name of a secret and the = or : at the anchor.
std::optional<Span> key_at(std::string_view text, size_t anchor);

// A decimal number's check digit by Luhn's rule (ISO/IEC 7812-1, annex B); digits only.
bool luhn(std::string_view digits);
// The check of ISO 13616 (by ISO 7064 MOD 97-10) of an IBAN in its compact form: letters and digits, upper case.
bool mod97(std::string_view iban);

}  // namespace ds::pii
