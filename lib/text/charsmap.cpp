#include "text/charsmap.h"

#include <utf8proc.h>

#include <algorithm>

#include "base/error.h"
#include "text/byte_level.h"
#include "text/unicode.h"

namespace ds {
namespace {

uint32_t little_endian(std::string_view bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 4; i-- > 0;) value = value << 8 | static_cast<uint8_t>(bytes[at + i]);
  return value;
}

// Units of Darts-clone's double array: a label or a value, an offset to the children, and whether a value hangs on it.
bool has_leaf(uint32_t unit) { return unit >> 8 & 1; }
uint32_t value_of(uint32_t unit) { return unit & 0x7fffffff; }
uint32_t label_of(uint32_t unit) { return unit & 0x800000ff; }
uint32_t offset_of(uint32_t unit) { return (unit >> 10) << ((unit & 1u << 9) >> 6); }

}  // namespace

Charsmap::Charsmap(std::string_view bytes, const std::string& where) {
  require(bytes.size() >= 4, where, ": a charsmap of ", bytes.size(), " bytes");
  const uint32_t size = little_endian(bytes, 0);
  require(size % 4 == 0 && size >= 4 && size <= bytes.size() - 4, where, ": a charsmap's trie of ", size, " bytes in ",
          bytes.size());
  units_.reserve(size / 4);
  for (size_t i = 0; i < size; i += 4) units_.push_back(little_endian(bytes, 4 + i));
  replacements_ = bytes.substr(4 + size);
  require(is_valid_utf8(replacements_), where, ": a charsmap's replacements are not UTF-8");
}

// The replacement of the shortest beginning of `text` that has one.
std::optional<std::string_view> Charsmap::find(std::string_view text) const {
  size_t node = offset_of(units_[0]);
  for (const char c : text) {
    const auto byte = static_cast<uint8_t>(c);
    if (byte == 0) break;
    node ^= byte;
    if (node >= units_.size() || label_of(units_[node]) != byte) break;
    const uint32_t unit = units_[node];
    node ^= offset_of(unit);
    if (!has_leaf(unit)) continue;
    if (node >= units_.size()) break;
    const size_t begin = value_of(units_[node]);
    if (begin >= replacements_.size() || (static_cast<uint8_t>(replacements_[begin]) & 0xc0) == 0x80)
      break;  // a broken map
    const size_t end = std::min(replacements_.find('\0', begin), replacements_.size());
    return std::string_view(replacements_).substr(begin, end - begin);
  }
  return std::nullopt;
}

std::string Charsmap::apply(std::string_view text) const {
  std::string out;
  out.reserve(text.size());
  for (size_t begin = 0; begin < text.size();) {
    size_t end = begin;
    auto previous = static_cast<utf8proc_int32_t>(decode_utf8(text, end));
    utf8proc_int32_t state = 0;
    const auto ascii = [&](size_t at) { return static_cast<uint8_t>(text[at]) < 0x80; };
    while (end < text.size() && !(ascii(begin) && ascii(end) && text[begin] != '\r')) {
      size_t next = end;
      const auto c = static_cast<utf8proc_int32_t>(decode_utf8(text, next));
      if (utf8proc_grapheme_break_stateful(previous, c, &state)) break;
      previous = c;
      end = next;
    }
    const std::string_view cluster = text.substr(begin, end - begin);
    begin = end;
    if (cluster.size() < 6)
      if (const auto found = find(cluster)) {
        out += *found;
        continue;
      }
    for (size_t at = 0; at < cluster.size();) {
      const std::string_view character = cluster.substr(at, utf8_length(cluster[at]));
      out += find(character).value_or(character);
      at += character.size();
    }
  }
  return out;
}

std::string decode_base64(std::string_view text, const std::string& where) {
  require(text.size() % 4 == 0, where, ": base64 of ", text.size(), " characters");
  std::string out;
  out.reserve(text.size() / 4 * 3);
  const size_t padding = text.ends_with("==") ? 2 : text.ends_with("=") ? 1 : 0;
  uint32_t bits = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const int digit = c >= 'A' && c <= 'Z'                     ? c - 'A'
                      : c >= 'a' && c <= 'z'                   ? c - 'a' + 26
                      : c >= '0' && c <= '9'                   ? c - '0' + 52
                      : c == '+'                               ? 62
                      : c == '/'                               ? 63
                      : c == '=' && i + padding >= text.size() ? 0
                                                               : -1;
    require(digit >= 0, where, ": not base64 at character ", i);
    bits = bits << 6 | static_cast<uint32_t>(digit);
    if (i % 4 == 3)
      for (int shift = 16; shift >= 0; shift -= 8) out += static_cast<char>(bits >> shift & 0xff);
  }
  out.resize(out.size() - padding);
  return out;
}

}  // namespace ds
