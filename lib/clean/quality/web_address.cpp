#include "clean/quality/web_address.h"

#include <algorithm>

#include "clean/quality/quality_characters.h"

namespace ds {

namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Port and path up to the end of the text.
bool is_rest(std::string_view text) {
  if (text.starts_with(':')) {
    size_t digits = 0;
    while (digits < 5 && digits + 1 < text.size() && is_digit(text[digits + 1])) ++digits;
    if (digits < 2) return false;
    text.remove_prefix(digits + 1);
  }
  return text.empty() || text[0] == '/' || text[0] == '?' || text[0] == '#';
}

// Four numbers from 0 to 255 (the first and the last from 1, the first below 224, the last below 255, both without
// leading zeros), none of the private networks.
bool begins_with_public_ip(std::string_view text) {
  unsigned parts[4];
  size_t at = 0;
  for (int i = 0; i < 4; ++i) {
    if (i > 0 && (at >= text.size() || text[at++] != '.')) return false;
    const size_t begin = at;
    unsigned value = 0;
    while (at < text.size() && is_digit(text[at]) && at - begin < 3) value = value * 10 + unsigned(text[at++] - '0');
    if (at == begin || value > 255 || ((i == 0 || i == 3) && text[begin] == '0')) return false;
    parts[i] = value;
  }
  if (parts[0] >= 224 || parts[3] == 255) return false;
  if (parts[0] == 10 || parts[0] == 127 || (parts[0] == 169 && parts[1] == 254)) return false;
  if ((parts[0] == 192 && parts[1] == 168) || (parts[0] == 172 && parts[1] >= 16 && parts[1] <= 31)) return false;
  return is_rest(text.substr(at));
}

bool is_label_character(char32_t c) {
  return c < 0x80 ? (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z')
                  : c > 0xA0 && c <= 0xFFFF;
}

// Labels of at most 64 characters, each followed by a dot, then 2 to 63 letters of lower case.
bool begins_with_host_name(std::string_view text) {
  size_t labels = 0;
  for (size_t at = 0;;) {
    size_t size = 0;
    bool lower = true;
    size_t end = at;
    while (end < text.size()) {
      size_t after = end;
      const char32_t c = decode_utf8(text, after);
      const bool inner = size > 0 && (c == '-' || c == '_');  // may not begin or end a label
      if (!is_label_character(c) && !inner) break;
      lower &= (character_kinds(c) & kind_lower) != 0;
      ++size;
      end = after;
    }
    if (size == 0) return false;
    if (end == text.size() || text[end] != '.')
      return labels > 0 && lower && size >= 2 && size <= 63 && is_rest(text.substr(end));
    if (text[end - 1] == '-' || text[end - 1] == '_' || size > 64) return false;
    ++labels;
    at = end + 1;
  }
}

bool begins_with_host(std::string_view text) { return begins_with_public_ip(text) || begins_with_host_name(text); }

}  // namespace

bool is_web_address(std::string_view text) {
  if (text.find('.') == std::string_view::npos) return false;
  if (begins_with_host(text)) return true;
  const size_t colon = text.find(':');
  if (colon != std::string_view::npos && colon >= 2 && text.substr(colon).starts_with("://")) {
    const bool scheme = std::all_of(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(colon), [](char c) {
      return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '+' || c == '-' ||
             c == '.';
    });
    if (scheme && begins_with_host(text.substr(colon + 3))) return true;
  }
  // Anything may be the user; a text with more than a few @ is no address.
  constexpr int most = 4;
  size_t at = 0;
  for (int i = 0; i < most && (at = text.find('@', at + 1)) != std::string_view::npos; ++i)
    if (begins_with_host(text.substr(at + 1))) return true;
  return false;
}

}  // namespace ds
