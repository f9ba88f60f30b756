#include "text/template/strings.h"

#include <algorithm>
#include <cstring>

#include "text/unicode.h"

namespace ds::jinja {
namespace {

constexpr size_t npos = std::string_view::npos;


size_t previous(std::string_view text, size_t at) {
  do --at;
  while (at > 0 && (static_cast<uint8_t>(text[at]) & 0xc0) == 0x80);
  return at;
}

char32_t code_at(std::string_view text, size_t at) { return decode_utf8(text, at); }

// A set of characters; white space where none is given.
class CharacterSet {
 public:
  explicit CharacterSet(std::optional<std::string_view> chars) : is_given_(chars.has_value()) {
    for (size_t at = 0; chars && at < chars->size();) codes_ += decode_utf8(*chars, at);
    std::ranges::sort(codes_);
  }
  bool has(char32_t code) const { return is_given_ ? std::ranges::binary_search(codes_, code) : is_python_space(code); }

 private:
  bool is_given_;
  std::u32string codes_;
};

bool is_printable(char32_t code) {
  if (code < 0x80) return code >= ' ' && code < 0x7f;
  return is_letter(code) || is_mark(code) || is_number(code) || is_punctuation(code) || is_symbol(code);
}

}  // namespace

size_t count_characters(std::string_view text) {
  return static_cast<size_t>(
      std::ranges::count_if(text, [](char c) { return (static_cast<uint8_t>(c) & 0xc0) != 0x80; }));
}

bool is_python_space(char32_t code) { return is_space(code) || (code >= 0x1c && code <= 0x1f); }

bool is_identifier(std::string_view text) {
  bool first = true;
  for (size_t at = 0; at < text.size(); first = false) {
    const size_t begin = at;
    const char32_t code = decode_utf8(text, at);
    if (code != '_' && !is_letter(code) && (first || !(is_decimal(text.substr(begin, at - begin)) || is_mark(code))))
      return false;
  }
  return !first;
}

std::vector<size_t> slice_places(size_t size, std::optional<int64_t> start, std::optional<int64_t> stop, int64_t step) {
  const auto n = static_cast<int64_t>(size);
  const int64_t low = step > 0 ? 0 : -1, high = step > 0 ? n : n - 1;
  const auto place = [&](std::optional<int64_t> at, int64_t otherwise) {
    return at ? std::clamp(*at < 0 ? *at + n : *at, low, high) : otherwise;
  };
  const int64_t from = place(start, step > 0 ? 0 : n - 1), to = place(stop, step > 0 ? n : -1);
  std::vector<size_t> out;
  if (step > 0)
    for (int64_t i = from; i < to; i = i > to - step ? to : i + step) out.push_back(static_cast<size_t>(i));
  else
    for (int64_t i = from; i > to; i = step < to - i ? to : i + step) out.push_back(static_cast<size_t>(i));
  return out;
}

size_t byte_of(std::string_view text, size_t character) {
  for (size_t at = 0; at < text.size(); ++at)
    if ((static_cast<uint8_t>(text[at]) & 0xc0) != 0x80 && character-- == 0) return at;
  return text.size();
}

std::string slice(std::string_view text, std::optional<int64_t> start, std::optional<int64_t> stop, int64_t step) {
  const size_t characters = count_characters(text);
  if (step == 1) {
    const auto n = static_cast<int64_t>(characters);
    const auto place = [&](std::optional<int64_t> at, int64_t otherwise) {
      return static_cast<size_t>(at ? std::clamp<int64_t>(*at < 0 ? *at + n : *at, 0, n) : otherwise);
    };
    const size_t from = place(start, 0), to = place(stop, n);
    if (from >= to) return "";
    const size_t begin = byte_of(text, from);
    return std::string(text.substr(begin, byte_of(text.substr(begin), to - from)));
  }
  std::vector<size_t> begins;
  for (size_t at = 0; at < text.size(); ++at)
    if ((static_cast<uint8_t>(text[at]) & 0xc0) != 0x80) begins.push_back(at);
  begins.push_back(text.size());
  std::string out;
  for (const size_t i : slice_places(characters, start, stop, step))
    out += text.substr(begins[i], begins[i + 1] - begins[i]);
  return out;
}

size_t find_first(std::string_view text, std::string_view needle, size_t from) {
  if (from > text.size()) return npos;
  if (needle.empty()) return from;
  if (text.empty()) return npos;
  const void* const found = memmem(text.data() + from, text.size() - from, needle.data(), needle.size());
  return found == nullptr ? npos : static_cast<size_t>(static_cast<const char*>(found) - text.data());
}

size_t find_last(std::string_view text, std::string_view needle) {
  if (needle.empty()) return text.size();
  const std::string back(text.rbegin(), text.rend()), reversed(needle.rbegin(), needle.rend());
  const size_t found = find_first(back, reversed);
  return found == npos ? npos : text.size() - found - needle.size();
}

size_t count_of(std::string_view text, std::string_view needle) {
  if (needle.empty()) return count_characters(text) + 1;
  size_t count = 0;
  for (size_t at = 0; (at = find_first(text, needle, at)) != npos; at += needle.size()) ++count;
  return count;
}

std::string_view strip(std::string_view text, std::optional<std::string_view> chars, bool left, bool right) {
  const CharacterSet set(chars);
  size_t begin = 0, end = text.size();
  while (left && begin < end) {
    size_t after = begin;
    if (!set.has(decode_utf8(text, after))) break;
    begin = after;
  }
  while (right && end > begin) {
    const size_t before = previous(text, end);
    if (!set.has(code_at(text, before))) break;
    end = before;
  }
  return text.substr(begin, end - begin);
}

std::vector<std::string_view> split(std::string_view text, std::optional<std::string_view> separator, int64_t limit) {
  std::vector<std::string_view> parts;
  const auto more = [&] { return limit < 0 || static_cast<int64_t>(parts.size()) < limit; };
  size_t at = 0;
  if (separator) {
    while (more()) {
      const size_t found = find_first(text, *separator, at);
      if (found == npos) break;
      parts.push_back(text.substr(at, found - at));
      at = found + separator->size();
    }
    parts.push_back(text.substr(at));
    return parts;
  }
  for (text = strip(text, {}, true, false); !text.empty() && more(); text = strip(text.substr(at), {}, true, false)) {
    for (at = 0; at < text.size();) {
      size_t after = at;
      if (is_python_space(decode_utf8(text, after))) break;
      at = after;
    }
    parts.push_back(text.substr(0, at));
  }
  if (!text.empty()) parts.push_back(text);
  return parts;
}

std::vector<std::string_view> split_from_right(std::string_view text, std::optional<std::string_view> separator,
                                               int64_t limit) {
  std::vector<std::string_view> parts;
  const auto more = [&] { return limit < 0 || static_cast<int64_t>(parts.size()) < limit; };
  if (separator) {
    const std::string back(text.rbegin(), text.rend()), reversed(separator->rbegin(), separator->rend());
    for (size_t at = 0; more();) {
      const size_t found = find_first(back, reversed, at);
      if (found == npos) break;
      parts.push_back(text.substr(back.size() - found, found - at));
      at = found + reversed.size();
      text = text.substr(0, back.size() - at);
    }
    parts.push_back(text);
  } else {
    for (text = strip(text, {}, false, true); !text.empty() && more(); text = strip(text, {}, false, true)) {
      size_t at = text.size();
      while (at > 0 && !is_python_space(code_at(text, previous(text, at)))) at = previous(text, at);
      parts.push_back(text.substr(at));
      text = text.substr(0, at);
    }
    if (!text.empty()) parts.push_back(text);
  }
  std::ranges::reverse(parts);
  return parts;
}

std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends) {
  std::vector<std::string_view> lines;
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = at;
    const char32_t code = decode_utf8(text, at);
    const bool breaks = (code >= 0xa && code <= 0xd) || (code >= 0x1c && code <= 0x1e) || code == 0x85 ||
                        code == 0x2028 || code == 0x2029;
    if (!breaks) continue;
    if (code == '\r' && at < text.size() && text[at] == '\n') ++at;
    lines.push_back(text.substr(begin, (keep_ends ? at : end) - begin));
    begin = at;
  }
  if (begin < text.size()) lines.push_back(text.substr(begin));
  return lines;
}

std::string quoted_repr(std::string_view text) {
  const char quote = text.find('\'') != npos && text.find('"') == npos ? '"' : '\'';
  std::string out(1, quote);
  const auto hex = [&](char32_t code, char letter, int digits) {
    out += '\\';
    out += letter;
    for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4) out += "0123456789abcdef"[(code >> shift) & 15];
  };
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    const char32_t code = decode_utf8(text, at);
    if (code == static_cast<char32_t>(quote) || code == '\\') (out += '\\') += static_cast<char>(code);
    else if (code == '\n') out += "\\n";
    else if (code == '\r') out += "\\r";
    else if (code == '\t') out += "\\t";
    else if (is_printable(code)) out += text.substr(begin, at - begin);
    else if (code < 0x100) hex(code, 'x', 2);
    else if (code < 0x10000) hex(code, 'u', 4);
    else hex(code, 'U', 8);
  }
  return out + quote;
}

std::string escape_html(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '&') out += "&amp;";
    else if (c == '<') out += "&lt;";
    else if (c == '>') out += "&gt;";
    else if (c == '\'') out += "&#39;";
    else if (c == '"') out += "&#34;";
    else out += c;
  }
  return out;
}

}  // namespace ds::jinja
