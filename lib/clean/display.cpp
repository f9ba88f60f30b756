#include "clean/display.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "text/unicode.h"

namespace ds {

static constexpr char32_t non_joiner = 0x200C, joiner = 0x200D;

static bool is_shown(char32_t c) {
  if (c >= 0x20 && c < 0x7F) return true;
  if (is_letter(c) || is_mark(c) || is_number(c) || is_punctuation(c) || is_symbol(c)) return true;
  const bool line_end = c < 0xA0 || c == 0x2028 || c == 0x2029;
  return (is_space(c) && !line_end) || c == non_joiner || c == joiner;
}

// East Asian Width W and F (Unicode Standard Annex 11), and the blocks of emoji.
static bool is_wide(char32_t c) {
  static constexpr std::array<std::pair<char32_t, char32_t>, 20> ranges = {{
      {0x1100, 0x115F},   {0x231A, 0x231B},   {0x2E80, 0x303E},   {0x3041, 0x3247},   {0x3250, 0x4DBF},
      {0x4E00, 0xA4C6},   {0xA960, 0xA97C},   {0xAC00, 0xD7A3},   {0xF900, 0xFAFF},   {0xFE10, 0xFE19},
      {0xFE30, 0xFE6B},   {0xFF01, 0xFF60},   {0xFFE0, 0xFFE6},   {0x16FE0, 0x18CFF}, {0x1AFF0, 0x1B2FB},
      {0x1F300, 0x1F64F}, {0x1F680, 0x1F6FC}, {0x1F7E0, 0x1F7F0}, {0x1F90C, 0x1FAFF}, {0x20000, 0x3FFFD},
  }};
  const auto* const after = std::ranges::upper_bound(ranges, c, {}, &std::pair<char32_t, char32_t>::first);
  return after != ranges.begin() && c <= after[-1].second;
}

static size_t width_of(char32_t c) {
  if (c < 0x300) return 1;
  if (c == non_joiner || c == joiner || is_mark(c)) return 0;
  return is_wide(c) ? 2 : 1;
}

std::string safe_line(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const char32_t c = decode_utf8(text, at);
    if (is_shown(c)) {
      append_utf8(out, c);
    } else if (c == '\t') {
      out += "    ";
    } else {
      char code[16];
      std::snprintf(code, sizeof code, "<U+%04X>", static_cast<unsigned>(c));
      out += code;
    }
  }
  return out;
}

size_t columns(std::string_view safe) {
  size_t sum = 0;
  for (size_t at = 0; at < safe.size();) sum += width_of(decode_utf8(safe, at));
  return sum;
}

std::string cut(std::string_view safe, size_t most) {
  size_t taken = 0, fits = 0;  // columns; bytes that leave room for the ellipsis
  for (size_t at = 0; at < safe.size();) {
    taken += width_of(decode_utf8(safe, at));
    if (taken < most) fits = at;
    if (taken > most) return std::string(safe.substr(0, fits)) + "…";
  }
  return std::string(safe);
}

std::string wrapped(std::string_view safe, size_t indent, size_t width) {
  const size_t room = width - indent;
  const std::string margin(indent, ' ');
  std::string out;
  const auto put = [&](std::string_view line) {
    while (line.ends_with(' ')) line.remove_suffix(1);
    if (!line.empty()) out.append(margin).append(line);
    out += '\n';
  };
  size_t begin = 0, used = 0;        // of the line being filled: its first byte, its columns
  size_t after_space = 0, kept = 0;  // behind its last space that follows a word, and its columns up to there
  bool word = false;                 // it has more than spaces
  for (size_t at = 0; at < safe.size();) {
    const size_t here = at;
    const char32_t c = decode_utf8(safe, at);
    const size_t more = width_of(c);
    if (c != ' ' && used + more > room) {  // spaces may hang over the edge: they are not shown
      const bool at_space = after_space > begin;
      const size_t end = at_space ? after_space : here;
      put(safe.substr(begin, end - begin));
      used -= at_space ? kept : used;
      begin = end;
    }
    used += more;
    word = c != ' ' || (word && begin < here);
    if (c == ' ' && word) after_space = at, kept = used;
  }
  put(safe.substr(begin));
  return out;
}

std::string grouped(uint64_t number) {
  std::string digits = std::to_string(number);
  for (size_t at = digits.size(); at > 3; at -= 3) digits.insert(at - 3, 1, ',');
  return digits;
}

}  // namespace ds
