#include "text/byte_level.h"

#include <cstring>

namespace ds {
namespace {

bool prints_as_itself(int byte) {
  return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

// Bytes of a well-formed character at `at`, or 0; then `bad` is the length of the maximal ill-formed part.
size_t well_formed(std::string_view bytes, size_t at, size_t& bad) {
  const auto byte = [&](size_t i) { return at + i < bytes.size() ? static_cast<uint8_t>(bytes[at + i]) : 0; };
  const uint8_t lead = byte(0);
  bad = 1;
  if (lead < 0x80) return 1;
  if (lead < 0xc2 || lead > 0xf4) return 0;
  const size_t length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  uint8_t low = 0x80, high = 0xbf;  // of the second byte
  if (lead == 0xe0) low = 0xa0;
  if (lead == 0xed) high = 0x9f;
  if (lead == 0xf0) low = 0x90;
  if (lead == 0xf4) high = 0x8f;
  for (size_t i = 1; i < length; ++i) {
    if (at + i >= bytes.size() || byte(i) < low || byte(i) > high) {
      bad = i;
      return 0;
    }
    low = 0x80, high = 0xbf;
  }
  return length;
}

// The number of ASCII bytes from `at` on, counted in words.
size_t skip_ascii(std::string_view bytes, size_t at) {
  for (uint64_t word; at + 8 <= bytes.size(); at += 8) {
    std::memcpy(&word, bytes.data() + at, 8);
    if (word & 0x8080808080808080u) break;
  }
  while (at < bytes.size() && static_cast<uint8_t>(bytes[at]) < 0x80) ++at;
  return at;
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

void append_utf8(std::string& out, char32_t code) {
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xc0 | code >> 6);
    out += static_cast<char>(0x80 | (code & 0x3f));
  } else if (code < 0x10000) {
    out += static_cast<char>(0xe0 | code >> 12);
    out += static_cast<char>(0x80 | (code >> 6 & 0x3f));
    out += static_cast<char>(0x80 | (code & 0x3f));
  } else {
    out += static_cast<char>(0xf0 | code >> 18);
    out += static_cast<char>(0x80 | (code >> 12 & 0x3f));
    out += static_cast<char>(0x80 | (code >> 6 & 0x3f));
    out += static_cast<char>(0x80 | (code & 0x3f));
  }
}

char32_t next_code_point(std::string_view text, size_t& at) {
  const auto byte = [&](size_t i) { return static_cast<char32_t>(static_cast<uint8_t>(text[at + i])); };
  const size_t length = utf8_length(text[at]);
  char32_t code = byte(0);
  if (length == 2) code = (code & 0x1f) << 6 | (byte(1) & 0x3f);
  if (length == 3) code = (code & 0x0f) << 12 | (byte(1) & 0x3f) << 6 | (byte(2) & 0x3f);
  if (length == 4) code = (code & 0x07) << 18 | (byte(1) & 0x3f) << 12 | (byte(2) & 0x3f) << 6 | (byte(3) & 0x3f);
  at += length;
  return code;
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
    const char32_t code = next_code_point(token, at);
    if (code >= bytes.size() || bytes[code] < 0) return std::nullopt;
    out += static_cast<char>(bytes[code]);
  }
  return out;
}

bool is_utf8(std::string_view bytes) {
  size_t bad;
  for (size_t at = skip_ascii(bytes, 0); at < bytes.size(); at = skip_ascii(bytes, at)) {
    const size_t length = well_formed(bytes, at, bad);
    if (!length) return false;
    at += length;
  }
  return true;
}

std::string replace_invalid_utf8(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  size_t bad;
  for (size_t at = 0; at < bytes.size();) {
    if (const size_t length = well_formed(bytes, at, bad)) {
      out.append(bytes, at, length);
      at += length;
    } else {
      out += "\xef\xbf\xbd";
      at += bad;
    }
  }
  return out;
}

}  // namespace ds
