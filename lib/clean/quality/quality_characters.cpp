#include "clean/quality/quality_characters.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <iterator>
#include <span>

namespace ds {

namespace {

struct Range {
  char32_t first, last;
};

// Sorted. What ends a sentence in any script; these are the Sentence_Terminal characters that spaCy's sentencizer
// knows.
constexpr Range sentence_ends[] = {
    {'!', '!'},         {'.', '.'},         {'?', '?'},         {0x589, 0x589},     {0x61F, 0x61F},
    {0x6D4, 0x6D4},     {0x700, 0x702},     {0x7F9, 0x7F9},     {0x964, 0x965},     {0x104A, 0x104B},
    {0x1362, 0x1362},   {0x1367, 0x1368},   {0x166E, 0x166E},   {0x1735, 0x1736},   {0x1803, 0x1803},
    {0x1809, 0x1809},   {0x1944, 0x1945},   {0x1AA8, 0x1AAB},   {0x1B5A, 0x1B5B},   {0x1B5E, 0x1B5F},
    {0x1C3B, 0x1C3C},   {0x1C7E, 0x1C7F},   {0x203C, 0x203D},   {0x2047, 0x2049},   {0x2E2E, 0x2E2E},
    {0x2E3C, 0x2E3C},   {0x3002, 0x3002},   {0xA4FF, 0xA4FF},   {0xA60E, 0xA60F},   {0xA6F3, 0xA6F3},
    {0xA6F7, 0xA6F7},   {0xA876, 0xA877},   {0xA8CE, 0xA8CF},   {0xA92F, 0xA92F},   {0xA9C8, 0xA9C9},
    {0xAA5D, 0xAA5F},   {0xAAF0, 0xAAF1},   {0xABEB, 0xABEB},   {0xFE52, 0xFE52},   {0xFE56, 0xFE57},
    {0xFF01, 0xFF01},   {0xFF0E, 0xFF0E},   {0xFF1F, 0xFF1F},   {0xFF61, 0xFF61},   {0x10A56, 0x10A57},
    {0x11047, 0x11048}, {0x110BE, 0x110C1}, {0x11141, 0x11143}, {0x111C5, 0x111C6}, {0x111CD, 0x111CD},
    {0x111DE, 0x111DF}, {0x11238, 0x11239}, {0x1123B, 0x1123C}, {0x112A9, 0x112A9}, {0x1144B, 0x1144C},
    {0x115C2, 0x115C3}, {0x115C9, 0x115D7}, {0x11641, 0x11642}, {0x1173C, 0x1173E}, {0x11A42, 0x11A43},
    {0x11A9B, 0x11A9C}, {0x11C41, 0x11C42}, {0x16A6E, 0x16A6F}, {0x16AF5, 0x16AF5}, {0x16B37, 0x16B38},
    {0x16B44, 0x16B44}, {0x1BC9F, 0x1BC9F}, {0x1DA88, 0x1DA88},
};
// What FineWeb's filter adds to them.
constexpr Range more_line_stops[] = {
    {0x61D, 0x61E},     {0x837, 0x837},     {0x839, 0x839},     {0x83D, 0x83E},     {0x17D4, 0x17D6},
    {0x17D9, 0x17DA},   {0x1B7D, 0x1B7E},   {0x2E53, 0x2E54},   {0x10F55, 0x10F59}, {0x10F86, 0x10F89},
    {0x11944, 0x11944}, {0x11946, 0x11946}, {0x11EF7, 0x11EF8}, {0x11F43, 0x11F44}, {0x16E98, 0x16E98},
};
// The stretches of S* beyond ASCII that are Sc, Sk or Sm, not So.
constexpr Range not_icons[] = {
    {0xA2, 0xA5},     {0xA8, 0xA8},     {0xAC, 0xAC},     {0xAF, 0xAF},       {0xB1, 0x3F6},      {0x58F, 0x60B},
    {0x7FE, 0x9F3},   {0x9FB, 0xAF1},   {0xBF9, 0xBF9},   {0xE3F, 0xE3F},     {0x17DB, 0x17DB},   {0x1FBD, 0x20C0},
    {0x2118, 0x2118}, {0x2140, 0x2144}, {0x214B, 0x214B}, {0x2190, 0x2194},   {0x219A, 0x219B},   {0x21A0, 0x21A0},
    {0x21A3, 0x21A3}, {0x21A6, 0x21A6}, {0x21AE, 0x21AE}, {0x21CE, 0x21CF},   {0x21D2, 0x21D2},   {0x21D4, 0x21D4},
    {0x21F4, 0x22FF}, {0x2320, 0x2321}, {0x237C, 0x237C}, {0x239B, 0x23B3},   {0x23DC, 0x23E1},   {0x25B7, 0x25B7},
    {0x25C1, 0x25C1}, {0x25F8, 0x25FF}, {0x266F, 0x266F}, {0x27C0, 0x27FF},   {0x2900, 0x2AFF},   {0x2B30, 0x2B44},
    {0x2B47, 0x2B4C}, {0x309B, 0x309C}, {0xA700, 0xA78A}, {0xA838, 0xA838},   {0xAB5B, 0xFBC2},   {0xFDFC, 0xFDFC},
    {0xFE62, 0xFFE3}, {0xFFE5, 0xFFE6}, {0xFFE9, 0xFFEC}, {0x11FDD, 0x11FE0}, {0x1D6C1, 0x1D7C3}, {0x1F3FB, 0x1F3FF},
};

constexpr bool in(std::span<const Range> ranges, char32_t c) {
  const auto after = std::upper_bound(ranges.begin(), ranges.end(), c, [](char32_t x, Range r) { return x < r.first; });
  return after != ranges.begin() && c <= std::prev(after)->last;
}
constexpr bool in(std::u32string_view set, char32_t c) { return set.find(c) != std::u32string_view::npos; }

constexpr std::u32string_view quotes =
    U"'\"`,\u00AB\u00B4\u00BB\u2018\u2019\u201A\u201C\u201D\u201E\u2329\u232A\u27E6\u27E7\u3008\u3009\u300A\u300B\u300C"
    U"\u300D\u300E\u300F\u3010\u3011\u3014\u3015\uFF08\uFF09";
// Other punctuation that splits off both ends.
constexpr std::u32string_view stops =
    U"!#&()*:;<>?[]_{}\u00A1\u00B7\u00BF\u060C\u061B\u061F\u066A\u06D4\u0964\u2026\u3001\u3002\uFF01\uFF0C\uFF1A\uFF1B"
    U"\uFF1F\uFF5E";
constexpr std::u32string_view dashes = U"\u2013\u2014";
constexpr std::u32string_view plain_signs =
    U"\u00AB\u00B4\u00BB\u2013\u2014\u2019\u201C\u201D\u201E\u2026\u2236\u2501\u25BA\u3001\u3002\u3008\u3009\u300A"
    U"\u300B"
    U"\u300C\u300D\u3010\u3011\uFF01\uFF05\uFF08\uFF09\uFF0C\uFF0E\uFF11\uFF1A\uFF1B\uFF1F\uFF5E";

constexpr bool is_currency(char32_t c) {
  return c == '$' || c == 0xA3 || c == 0xA5 || c == 0xE3F || (c >= 0x20A0 && c <= 0x20BF) || c == 0xFDFC;
}

// The kinds that follow from the lists above, and from a character's kinds so far.
constexpr uint32_t listed_kinds(char32_t c, uint32_t kinds) {
  if (c >= '0' && c <= '9') kinds |= kind_digit;
  if (in(sentence_ends, c)) kinds |= kind_sentence_end | kind_line_stop | kind_plain_sign;
  if (in(more_line_stops, c)) kinds |= kind_line_stop | kind_plain_sign;
  if (in(quotes, c)) kinds |= kind_quote;
  if (in(quotes, c) || in(stops, c)) kinds |= kind_opening | kind_closing | kind_before_dot;
  if (in(dashes, c)) kinds |= kind_opening | kind_closing;
  if (c == '%' || c == '=' || c == 0xA7) kinds |= kind_opening;
  if (in(U"%-+|\u00B2", c) || (kinds & (kind_digit | kind_lower))) kinds |= kind_before_dot;
  if (is_currency(c)) kinds |= kind_currency | kind_opening;
  return kinds;
}

constexpr uint32_t find_ascii_kinds(char32_t c) {
  if (c == '\t' || c == '\n') return kind_blank;
  if (c == ' ') return kind_blank;
  if (c < ' ') return kind_plain_sign | ((c >= '\v' && c <= '\r') || c >= 0x1C ? kind_blank : 0u);
  if (c >= 'a' && c <= 'z') return listed_kinds(c, kind_letter | kind_lower);
  if (c >= 'A' && c <= 'Z') return listed_kinds(c, kind_letter | kind_upper);
  if (c >= '0' && c <= '9') return listed_kinds(c, 0);
  return listed_kinds(c, kind_plain_sign | (in(U"$+<=>^`|~\x7F", c) ? 0u : kind_punctuation));
}

uint32_t find_wide_kinds(char32_t c) {
  uint32_t kinds = 0;
  if (is_space(c)) kinds |= kind_blank;
  if (is_letter(c)) {
    kinds |= kind_letter;
    const bool is_sign = c == 0xAA || c == 0xB5 || c == 0xBA;  // no letter to words: ordinals and the micro sign
    if (!is_sign && to_lower(c) == c) kinds |= kind_lower;
    if (!is_sign && to_upper(c) == c) kinds |= kind_upper;
  }
  if (is_punctuation(c)) kinds |= kind_punctuation;
  if (c < 0xA0 || in(plain_signs, c)) kinds |= kind_plain_sign;
  if (is_symbol(c) && !in(not_icons, c)) kinds |= kind_icon | kind_opening | kind_closing;
  return listed_kinds(c, kinds);
}

constexpr char32_t table_size = 0x3100;  // to the end of kana

}  // namespace

constexpr std::array<uint32_t, 128> ascii_kinds = [] {
  std::array<uint32_t, 128> kinds{};
  for (char32_t c = 0; c < kinds.size(); ++c) kinds[c] = find_ascii_kinds(c);
  return kinds;
}();

uint32_t wide_character_kinds(char32_t c) {
  static const auto table = [] {
    std::array<uint32_t, table_size> kinds{};
    for (char32_t c = 0x80; c < table_size; ++c) kinds[c] = find_wide_kinds(c);
    return kinds;
  }();
  if (c < table_size) return table[c];
  // Most of CJK needs no search.
  if ((c >= 0x4E00 && c <= 0x9FEF) || (c >= 0xAC00 && c <= 0xD7A3))
    return kind_letter | kind_lower | kind_upper | kind_before_dot;
  return find_wide_kinds(c);
}

std::string_view strip_left(std::string_view text) {
  size_t at = 0;
  for (size_t next = 0; next < text.size(); at = next)
    if (!(character_kinds(decode_character(text, next)) & kind_blank)) break;
  return text.substr(at);
}

static size_t begin_of_last(std::string_view text) {
  size_t begin = text.size() - 1;
  while (begin > 0 && (text[begin] & 0xC0) == 0x80) --begin;
  return begin;
}

char32_t last_character(std::string_view text) {
  size_t at = begin_of_last(text);
  return decode_character(text, at);
}

std::string_view strip_right(std::string_view text) {
  while (!text.empty() && (character_kinds(last_character(text)) & kind_blank))
    text = text.substr(0, begin_of_last(text));
  return text;
}

std::string_view next_line(std::string_view text, size_t& at) {
  const size_t begin = at;
  for (; at < text.size(); ++at) {
    // Eight bytes at once where none of them is a control character, C2 or E2.
    for (uint64_t bytes; at + sizeof bytes <= text.size(); at += sizeof bytes) {
      static_assert(std::endian::native == std::endian::little);
      std::memcpy(&bytes, text.data() + at, sizeof bytes);
      constexpr uint64_t ones = 0x0101010101010101;
      const uint64_t lead = (bytes | 0x20 * ones) ^ 0xE2 * ones;
      const uint64_t found = (((bytes - 0x20 * ones) & ~bytes) | ((lead - ones) & ~lead)) & 0x80 * ones;
      if (found == 0) continue;
      at += static_cast<size_t>(std::countr_zero(found)) / 8;  // the lowest one is no carry's
      break;
    }
    if (at == text.size()) break;
    const auto c = static_cast<unsigned char>(text[at]);
    if (c >= 0x20 && c != 0xC2 && c != 0xE2) continue;
    size_t size = 0;  // of a line's end
    if (c == '\r')
      size = text.substr(at, 2) == "\r\n" ? 2 : 1;
    else if ((c >= '\n' && c <= '\f') || (c >= 0x1C && c <= 0x1E))
      size = 1;
    else if (text.substr(at, 2) == "\xC2\x85")
      size = 2;
    else if (text.substr(at, 3) == "\xE2\x80\xA8" || text.substr(at, 3) == "\xE2\x80\xA9")
      size = 3;
    if (size == 0) continue;
    const auto line = text.substr(begin, at - begin);
    at += size;
    return line;
  }
  return text.substr(begin);
}

size_t count_characters(std::string_view text) {
  size_t count = 0;
  for (const char c : text) count += (c & 0xC0) != 0x80;
  return count;
}

}  // namespace ds
