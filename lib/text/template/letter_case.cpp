// Case of text, and the predicates of str. Tables from the Unicode Character Database (SpecialCasing.txt, PropList.txt,
// extracted/DerivedNumericType.txt).
#include <utf8proc.h>

#include <algorithm>
#include <functional>
#include <iterator>

#include "text/template/strings.h"
#include "text/unicode.h"

namespace ds::jinja {
namespace {

struct SpecialCase {
  char32_t code;
  std::string_view upper, title;
};
constexpr SpecialCase special_cases[] = {
    {0xdf, "SS", "Ss"}, {0x149, "\u02bcN", "\u02bcN"}, {0x1f0, "J\u030c", "J\u030c"},
    {0x390, "\u0399\u0308\u0301", "\u0399\u0308\u0301"}, {0x3b0, "\u03a5\u0308\u0301", "\u03a5\u0308\u0301"},
    {0x587, "\u0535\u0552", "\u0535\u0582"}, {0x1e96, "H\u0331", "H\u0331"}, {0x1e97, "T\u0308", "T\u0308"},
    {0x1e98, "W\u030a", "W\u030a"}, {0x1e99, "Y\u030a", "Y\u030a"}, {0x1e9a, "A\u02be", "A\u02be"},
    {0x1f50, "\u03a5\u0313", "\u03a5\u0313"}, {0x1f52, "\u03a5\u0313\u0300", "\u03a5\u0313\u0300"},
    {0x1f54, "\u03a5\u0313\u0301", "\u03a5\u0313\u0301"}, {0x1f56, "\u03a5\u0313\u0342", "\u03a5\u0313\u0342"},
    {0x1f80, "\u1f08\u0399", "\u1f88"}, {0x1f81, "\u1f09\u0399", "\u1f89"}, {0x1f82, "\u1f0a\u0399", "\u1f8a"},
    {0x1f83, "\u1f0b\u0399", "\u1f8b"}, {0x1f84, "\u1f0c\u0399", "\u1f8c"}, {0x1f85, "\u1f0d\u0399", "\u1f8d"},
    {0x1f86, "\u1f0e\u0399", "\u1f8e"}, {0x1f87, "\u1f0f\u0399", "\u1f8f"}, {0x1f88, "\u1f08\u0399", "\u1f88"},
    {0x1f89, "\u1f09\u0399", "\u1f89"}, {0x1f8a, "\u1f0a\u0399", "\u1f8a"}, {0x1f8b, "\u1f0b\u0399", "\u1f8b"},
    {0x1f8c, "\u1f0c\u0399", "\u1f8c"}, {0x1f8d, "\u1f0d\u0399", "\u1f8d"}, {0x1f8e, "\u1f0e\u0399", "\u1f8e"},
    {0x1f8f, "\u1f0f\u0399", "\u1f8f"}, {0x1f90, "\u1f28\u0399", "\u1f98"}, {0x1f91, "\u1f29\u0399", "\u1f99"},
    {0x1f92, "\u1f2a\u0399", "\u1f9a"}, {0x1f93, "\u1f2b\u0399", "\u1f9b"}, {0x1f94, "\u1f2c\u0399", "\u1f9c"},
    {0x1f95, "\u1f2d\u0399", "\u1f9d"}, {0x1f96, "\u1f2e\u0399", "\u1f9e"}, {0x1f97, "\u1f2f\u0399", "\u1f9f"},
    {0x1f98, "\u1f28\u0399", "\u1f98"}, {0x1f99, "\u1f29\u0399", "\u1f99"}, {0x1f9a, "\u1f2a\u0399", "\u1f9a"},
    {0x1f9b, "\u1f2b\u0399", "\u1f9b"}, {0x1f9c, "\u1f2c\u0399", "\u1f9c"}, {0x1f9d, "\u1f2d\u0399", "\u1f9d"},
    {0x1f9e, "\u1f2e\u0399", "\u1f9e"}, {0x1f9f, "\u1f2f\u0399", "\u1f9f"}, {0x1fa0, "\u1f68\u0399", "\u1fa8"},
    {0x1fa1, "\u1f69\u0399", "\u1fa9"}, {0x1fa2, "\u1f6a\u0399", "\u1faa"}, {0x1fa3, "\u1f6b\u0399", "\u1fab"},
    {0x1fa4, "\u1f6c\u0399", "\u1fac"}, {0x1fa5, "\u1f6d\u0399", "\u1fad"}, {0x1fa6, "\u1f6e\u0399", "\u1fae"},
    {0x1fa7, "\u1f6f\u0399", "\u1faf"}, {0x1fa8, "\u1f68\u0399", "\u1fa8"}, {0x1fa9, "\u1f69\u0399", "\u1fa9"},
    {0x1faa, "\u1f6a\u0399", "\u1faa"}, {0x1fab, "\u1f6b\u0399", "\u1fab"}, {0x1fac, "\u1f6c\u0399", "\u1fac"},
    {0x1fad, "\u1f6d\u0399", "\u1fad"}, {0x1fae, "\u1f6e\u0399", "\u1fae"}, {0x1faf, "\u1f6f\u0399", "\u1faf"},
    {0x1fb2, "\u1fba\u0399", "\u1fba\u0345"}, {0x1fb3, "\u0391\u0399", "\u1fbc"},
    {0x1fb4, "\u0386\u0399", "\u0386\u0345"}, {0x1fb6, "\u0391\u0342", "\u0391\u0342"},
    {0x1fb7, "\u0391\u0342\u0399", "\u0391\u0342\u0345"}, {0x1fbc, "\u0391\u0399", "\u1fbc"},
    {0x1fc2, "\u1fca\u0399", "\u1fca\u0345"}, {0x1fc3, "\u0397\u0399", "\u1fcc"},
    {0x1fc4, "\u0389\u0399", "\u0389\u0345"}, {0x1fc6, "\u0397\u0342", "\u0397\u0342"},
    {0x1fc7, "\u0397\u0342\u0399", "\u0397\u0342\u0345"}, {0x1fcc, "\u0397\u0399", "\u1fcc"},
    {0x1fd2, "\u0399\u0308\u0300", "\u0399\u0308\u0300"}, {0x1fd3, "\u0399\u0308\u0301", "\u0399\u0308\u0301"},
    {0x1fd6, "\u0399\u0342", "\u0399\u0342"}, {0x1fd7, "\u0399\u0308\u0342", "\u0399\u0308\u0342"},
    {0x1fe2, "\u03a5\u0308\u0300", "\u03a5\u0308\u0300"}, {0x1fe3, "\u03a5\u0308\u0301", "\u03a5\u0308\u0301"},
    {0x1fe4, "\u03a1\u0313", "\u03a1\u0313"}, {0x1fe6, "\u03a5\u0342", "\u03a5\u0342"},
    {0x1fe7, "\u03a5\u0308\u0342", "\u03a5\u0308\u0342"}, {0x1ff2, "\u1ffa\u0399", "\u1ffa\u0345"},
    {0x1ff3, "\u03a9\u0399", "\u1ffc"}, {0x1ff4, "\u038f\u0399", "\u038f\u0345"},
    {0x1ff6, "\u03a9\u0342", "\u03a9\u0342"}, {0x1ff7, "\u03a9\u0342\u0399", "\u03a9\u0342\u0345"},
    {0x1ffc, "\u03a9\u0399", "\u1ffc"}, {0xfb00, "FF", "Ff"}, {0xfb01, "FI", "Fi"}, {0xfb02, "FL", "Fl"},
    {0xfb03, "FFI", "Ffi"}, {0xfb04, "FFL", "Ffl"}, {0xfb05, "ST", "St"}, {0xfb06, "ST", "St"},
    {0xfb13, "\u0544\u0546", "\u0544\u0576"}, {0xfb14, "\u0544\u0535", "\u0544\u0565"},
    {0xfb15, "\u0544\u053b", "\u0544\u056b"}, {0xfb16, "\u054e\u0546", "\u054e\u0576"},
    {0xfb17, "\u0544\u053d", "\u0544\u056d"},
};

struct Range {
  char32_t first, last;
};
constexpr Range other_lowercase[] = {
    {0xaa, 0xaa}, {0xba, 0xba}, {0x2b0, 0x2b8}, {0x2c0, 0x2c1}, {0x2e0, 0x2e4}, {0x345, 0x345}, {0x37a, 0x37a},
    {0x1d2c, 0x1d6a}, {0x1d78, 0x1d78}, {0x1d9b, 0x1dbf}, {0x2071, 0x2071}, {0x207f, 0x207f}, {0x2090, 0x209c},
    {0x2170, 0x217f}, {0x24d0, 0x24e9}, {0x2c7c, 0x2c7d}, {0xa69c, 0xa69d}, {0xa770, 0xa770}, {0xa7f8, 0xa7f9},
    {0xab5c, 0xab5f}, {0x10780, 0x10780}, {0x10783, 0x10785}, {0x10787, 0x107b0}, {0x107b2, 0x107ba}};
constexpr Range other_uppercase[] = {
    {0x2160, 0x216f}, {0x24b6, 0x24cf}, {0x1f130, 0x1f149}, {0x1f150, 0x1f169}, {0x1f170, 0x1f189}};
constexpr Range other_digits[] = {{0xb2, 0xb3},       {0xb9, 0xb9},       {0x1369, 0x1371},   {0x19da, 0x19da},
                                  {0x2070, 0x2070},   {0x2074, 0x2079},   {0x2080, 0x2089},   {0x2460, 0x2468},
                                  {0x2474, 0x247c},   {0x2488, 0x2490},   {0x24ea, 0x24ea},   {0x24f5, 0x24fd},
                                  {0x24ff, 0x24ff},   {0x2776, 0x277e},   {0x2780, 0x2788},   {0x278a, 0x2792},
                                  {0x10a40, 0x10a43}, {0x10e60, 0x10e68}, {0x11052, 0x1105a}, {0x1f100, 0x1f10a}};

template <size_t n>
bool is_within(const Range (&ranges)[n], char32_t code) {
  return std::ranges::any_of(ranges, [code](const Range& range) { return code >= range.first && code <= range.last; });
}

utf8proc_category_t category(char32_t code) { return utf8proc_category(static_cast<utf8proc_int32_t>(code)); }
bool is_lower_code(char32_t c) {
  if (c < 0x80) return c >= 'a' && c <= 'z';
  return category(c) == UTF8PROC_CATEGORY_LL || is_within(other_lowercase, c);
}
bool is_upper_code(char32_t c) {
  if (c < 0x80) return c >= 'A' && c <= 'Z';
  return category(c) == UTF8PROC_CATEGORY_LU || is_within(other_uppercase, c);
}
bool is_title_code(char32_t c) { return category(c) == UTF8PROC_CATEGORY_LT; }
bool is_cased(char32_t c) { return is_lower_code(c) || is_upper_code(c) || is_title_code(c); }

const SpecialCase* special_case(char32_t code) {
  const auto* const found = std::ranges::lower_bound(special_cases, code, {}, &SpecialCase::code);
  return found != std::end(special_cases) && found->code == code ? found : nullptr;
}

void append_upper(std::string& out, char32_t code) {
  if (code < 0x80) {
    out += static_cast<char>(code >= 'a' && code <= 'z' ? code - 32 : code);
    return;
  }
  if (const SpecialCase* const special = special_case(code)) out += special->upper;
  else append_utf8(out, to_upper(code));
}

void append_title(std::string& out, char32_t code) {
  if (const SpecialCase* const special = special_case(code)) out += special->title;
  else append_utf8(out, static_cast<char32_t>(utf8proc_totitle(static_cast<utf8proc_int32_t>(code))));
}

bool all_of(std::string_view text, const std::function<bool(char32_t)>& holds) {
  if (text.empty()) return false;
  for (size_t at = 0; at < text.size();)
    if (!holds(decode_utf8(text, at))) return false;
  return true;
}

bool is_decimal_code(char32_t code) { return category(code) == UTF8PROC_CATEGORY_ND; }
bool is_digit_code(char32_t code) { return is_decimal_code(code) || is_within(other_digits, code); }

}  // namespace

std::string upper(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size();) append_upper(out, decode_utf8(text, at));
  return out;
}

std::string lower(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    const char32_t code = decode_utf8(text, at);
    if (code < 0x80) out += static_cast<char>(code >= 'A' && code <= 'Z' ? code + 32 : code);
    else append_lower(out, code, text, begin, at);
  }
  return out;
}

std::string title(std::string_view text) {
  std::string out;
  bool within = false;
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    const char32_t code = decode_utf8(text, at);
    if (within) append_lower(out, code, text, begin, at);
    else append_title(out, code);
    within = is_cased(code);
  }
  return out;
}

std::string capitalize(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    const char32_t code = decode_utf8(text, at);
    if (begin == 0) append_title(out, code);
    else append_lower(out, code, text, begin, at);
  }
  return out;
}

std::string swap_case(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    const char32_t code = decode_utf8(text, at);
    if (is_upper_code(code)) append_lower(out, code, text, begin, at);
    else if (is_lower_code(code)) append_upper(out, code);
    else append_utf8(out, code);
  }
  return out;
}

bool is_alpha(std::string_view text) { return all_of(text, is_letter); }
bool is_digit(std::string_view text) { return all_of(text, is_digit_code); }
bool is_decimal(std::string_view text) { return all_of(text, is_decimal_code); }
bool is_alnum(std::string_view text) {
  return all_of(text, [](char32_t code) { return is_letter(code) || is_number(code); });
}
bool is_blank(std::string_view text) { return all_of(text, is_python_space); }

bool is_lower(std::string_view text) {
  bool cased = false;
  for (size_t at = 0; at < text.size();) {
    const char32_t code = decode_utf8(text, at);
    if (is_upper_code(code) || is_title_code(code)) return false;
    cased = cased || is_lower_code(code);
  }
  return cased;
}

bool is_upper(std::string_view text) {
  bool cased = false;
  for (size_t at = 0; at < text.size();) {
    const char32_t code = decode_utf8(text, at);
    if (is_lower_code(code) || is_title_code(code)) return false;
    cased = cased || is_upper_code(code);
  }
  return cased;
}

}  // namespace ds::jinja
