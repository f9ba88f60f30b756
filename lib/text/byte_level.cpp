#include "text/byte_level.h"

#include "text/unicode.h"

namespace ds {
namespace {

bool prints_as_itself(int byte) {
  return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

}  // namespace

const std::array<char32_t, 256>& byte_level_alphabet() {
  static const std::array<char32_t, 256> alphabet = [] {
    std::array<char32_t, 256> codes{};
    char32_t next = 0x100;
    for (int byte = 0; byte < 256; ++byte)
      codes[byte] = prints_as_itself(byte) ? static_cast<char32_t>(byte) : next++;
    return codes;
  }();
  return alphabet;
}

std::string to_byte_level(std::string_view bytes) {
  const auto& alphabet = byte_level_alphabet();
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const char c : bytes) append_utf8(out, alphabet[static_cast<uint8_t>(c)]);
  return out;
}

std::optional<std::string> from_byte_level(std::string_view token) {
  static const std::array<int16_t, 0x144> bytes = [] {
    std::array<int16_t, 0x144> table;
    table.fill(-1);
    for (int byte = 0; byte < 256; ++byte) table[byte_level_alphabet()[byte]] = static_cast<int16_t>(byte);
    return table;
  }();
  std::string out;
  out.reserve(token.size());
  for (size_t at = 0; at < token.size();) {
    const char32_t code = decode_utf8(token, at);
    if (code >= bytes.size() || bytes[code] < 0) return std::nullopt;
    out += static_cast<char>(bytes[code]);
  }
  return out;
}

}  // namespace ds
