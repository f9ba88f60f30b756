// Whether an answer breaks off: the rules of answer.h.
#include <algorithm>
#include <array>
#include <string_view>

#include "clean/answers/answer.h"
#include "text/unicode.h"

namespace ds {

static bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

// The last character of a text that is not empty; `begin` is its place.
static char32_t last_character(std::string_view text, size_t& begin) {
  begin = text.size() - 1;
  while (begin > 0 && text.size() - begin < 4 && (text[begin] & 0xC0) == 0x80) --begin;
  size_t at = begin;
  return decode_utf8(text, at);
}

static bool any_of(char32_t c, std::u32string_view set) { return set.find(c) != std::u32string_view::npos; }

constexpr std::u32string_view terminal = U".!?\u2026\u3002\uFF01\uFF1F\uFF61\uFF0E\u061F\u0964\u203D";
constexpr std::u32string_view closing = U"\"')]}*_`\u201D\u2019\u00BB\u300D\u300F\uFF09\u3011\u300B\u3009";
constexpr std::u32string_view leading_on = U",:-([{\uFF0C\u3001\uFF1A\u2010\u2013\u2014\uFF08\u3010\u300C\u300A\u201C";

// Whether the number of lines that begin a fence is odd.
static bool has_open_fence(std::string_view text) {
  bool open = false;
  for (size_t at = 0; at < text.size();) {
    std::string_view line = text.substr(at, text.find('\n', at) - at);
    at += line.size() + 1;
    while (line.starts_with(' ') || line.starts_with('\t')) line.remove_prefix(1);
    open ^= line.starts_with("```") || line.starts_with("~~~");
  }
  return open;
}

// Whether a line leaves a bracket or quotation mark open. A mark after a digit is that of inches, a bracket after an
// eye that of a face.
static bool has_open_bracket(std::string_view line) {
  int round = 0, square = 0, curly = 0, curved = 0, corner = 0;
  bool straight = false;
  for (size_t at = 0; at < line.size();) {
    const char before = at > 0 ? line[at - 1] : ' ';
    const auto count = [](int& depth, int change) { depth = std::max(0, depth + change); };
    switch (decode_utf8(line, at)) {
      case '(':
        if (before != ':' && before != ';') count(round, 1);
        break;
      case 0xFF08:
        count(round, 1);
        break;
      case ')':
      case 0xFF09:
        count(round, -1);
        break;
      case '[':
      case 0x3010:
        count(square, 1);
        break;
      case ']':
      case 0x3011:
        count(square, -1);
        break;
      case '{':
        count(curly, 1);
        break;
      case '}':
        count(curly, -1);
        break;
      case 0x201C:
        count(curved, 1);
        break;
      case 0x201D:
        count(curved, -1);
        break;
      case 0x300C:
      case 0x300E:
        count(corner, 1);
        break;
      case 0x300D:
      case 0x300F:
        count(corner, -1);
        break;
      case '"':
        if (straight || before < '0' || before > '9') straight = !straight;
        break;
      default:
        break;
    }
  }
  return round + square + curly + curved + corner > 0 || straight;
}

// Words that no sentence ends in.
static bool ends_in_joining_word(std::string_view text) {
  static constexpr std::array<std::string_view, 22> words = {
      "and", "or",    "nor",   "but",   "the", "a",    "an", "because", "although", "unless", "whereas",
      "if",  "while", "whose", "their", "our", "your", "my", "every",   "than",     "e.g",    "i.e"};
  static constexpr std::array<std::string_view, 8> chinese = {"\u56E0\u4E3A", "\u4F46\u662F", "\u4EE5\u53CA",
                                                              "\u6216\u8005", "\u800C\u4E14", "\u5982\u679C",
                                                              "\u5E76\u4E14", "\u6240\u4EE5"};
  if (std::any_of(chinese.begin(), chinese.end(),
                  [&](std::string_view word) { return text != word && text.ends_with(word); }))
    return true;
  const size_t space = text.find_last_of(" \t\n");
  if (space == std::string_view::npos) return false;  // one word
  return std::find(words.begin(), words.end(), text.substr(space + 1)) != words.end();
}

// Whether a last line without a mark of its end is no prose: code, a formula, a table, an item, an address, a number.
static bool is_no_prose(std::string_view line) {
  if (line.starts_with(' ') || line.starts_with('\t')) return true;
  if (line.starts_with("- ") || line.starts_with("* ") || line.starts_with("+ ") || line.starts_with("#") ||
      line.starts_with("\u2022") || line.starts_with(">"))
    return true;
  size_t label = 0;  // "1.", "2)", "(a)", "b."
  while (label < line.size() && label < 4 && ((line[label] >= '0' && line[label] <= '9') || line[label] == '('))
    ++label;
  if (label == 0 || line[label - 1] == '(') ++label;
  if (label + 1 < line.size() && (line[label] == '.' || line[label] == ')') && is_blank(line[label + 1])) return true;
  // A formula or code that the line only has in its middle is part of a sentence.
  size_t tail = line.size();
  for (int words = 0; words < 3 && tail > 0; ++words) {
    const size_t blank = line.find_last_of(" \t", tail - 1);
    tail = blank == std::string_view::npos ? 0 : blank;
  }
  const std::string_view end = line.substr(tail);
  if (end.find_first_of("=<>{}|\\^_`$@;+*") != std::string_view::npos || end.find("://") != std::string_view::npos)
    return true;
  const std::string_view last = line.substr(line.find_last_of(" \t") + 1);  // npos + 1 is 0
  return last.find_first_of("0123456789(") != std::string_view::npos;
}

// Whether the mark c that ends at `at` ends a sentence: a dot inside a word, after an initial ("U.S. law") and any mark
// before a small letter does not.
static bool ends_sentence(std::string_view line, size_t at, char32_t c) {
  if (c < 0x80 ? c != '.' && c != '!' && c != '?' : !any_of(c, terminal)) return false;
  if (c >= 0x80 || at == line.size()) return true;
  if (!is_blank(line[at]) && std::string_view("\"')]").find(line[at]) == std::string_view::npos) return false;
  const auto is_capital = [](char letter) { return letter >= 'A' && letter <= 'Z'; };
  if (c == '.' && at >= 2 && is_capital(line[at - 2]) && (at == 2 || line[at - 3] == '.' || line[at - 3] == ' '))
    return false;
  while (at < line.size() && is_blank(line[at])) ++at;
  return at == line.size() || line[at] < 'a' || line[at] > 'z';
}

// Words since the last mark of an ended sentence or the start of the line, where Chinese characters count as words; and
// whether such a mark stands anywhere in the text before.
static size_t words_of_last_sentence(std::string_view line, bool& ended) {
  size_t words = 0;
  bool inside = false;
  for (size_t at = 0; at < line.size();) {
    const char32_t c = decode_utf8(line, at);
    const bool letter = (c >= 'a' && c <= 'z') || (c != ' ' && is_word(c));
    const bool alone = c >= 0x3040 && c <= 0xFAFF && letter;
    const bool now = letter || c == '\'' || c == 0x2019 || c == '-';
    words += alone || (now && !inside);
    inside = now && !alone;
    if (!now && ends_sentence(line, at, c)) words = 0, ended = true;
  }
  return words;
}

bool breaks_off(std::string_view answer) {
  const std::string_view text = trimmed(answer);
  if (text.empty()) return false;
  if (has_open_fence(text)) return true;
  const std::string_view line = text.substr(text.rfind('\n') + 1);  // npos + 1 is 0
  if (line.starts_with("```") || line.starts_with("~~~")) return false;
  size_t begin = 0;
  char32_t last = last_character(text, begin);
  const bool face = last == '(' && begin > 0 && (text[begin - 1] == ':' || text[begin - 1] == ';');
  if (any_of(last, leading_on) && !face && begin > 0) return true;
  if (has_open_bracket(line)) return true;
  std::string_view core = text;
  while (!core.empty() && any_of(last = last_character(core, begin), closing)) core = trimmed(core.substr(0, begin));
  if (core.empty() || any_of(last, terminal) || face) return false;
  if (ends_in_joining_word(text)) return true;
  if (is_no_prose(line)) return false;
  bool ended = false;
  words_of_last_sentence(text.substr(0, text.size() - line.size()), ended);
  const size_t words = words_of_last_sentence(line, ended);
  return words > 40 || (ended && words >= 4);
}

}  // namespace ds
