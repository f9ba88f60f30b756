// The alphabet of byte-level BPE: each byte is written as one printable character (Radford et al., GPT-2, 2019).
// Bytes that print as themselves in Latin-1 stay; the other 68 become U+0100, U+0101, ... in order.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ds {

// The code point of each byte.
const std::array<char32_t, 256>& byte_level_alphabet();

// Bytes as a token is written in tokenizer.json, and back; nothing where a character is not of the alphabet.
std::string to_byte_level(std::string_view bytes);
std::optional<std::string> from_byte_level(std::string_view token);

// Length in bytes of the character that begins with `lead` (in valid UTF-8).
inline size_t utf8_length(char lead) {
  const auto byte = static_cast<uint8_t>(lead);
  return byte < 0x80 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
}

}  // namespace ds
