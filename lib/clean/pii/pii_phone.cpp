// Telephone numbers, by their shape: groups of digits with a separator between, - . / or a space, one group perhaps in
// parentheses. A number is one where it has
// - a plus sign, an assigned country code (ITU-T E.164) and as many digits after it as that country's numbers have;
// - the shape of a national number: (ddd) ddd-dddd, ddd-ddd-dddd or ddd.ddd.dddd of North America, also after a 1; the
//   mobile numbers of China, 1[3-9] and nine digits (together only in Chinese or after a word of contact); a trunk 0
//   and the groups in which Britain, France, Japan, Korea, Australia and China write theirs; an area code in
//   parentheses as in Brazil; or
// - 7 to 15 digits after a word such as "phone", "fax" or U+7535 U+8BDD.
// It stands alone: no letter, digit or sign that binds on either side. So dates, versions, ISBNs, ids, amounts, ranges
// of years and rows of a table are none.
#include <algorithm>
#include <initializer_list>

#include "clean/pii/pii_find.h"

namespace ds::pii {

struct Group {
  size_t begin, end;  // in the text; end is after the closing parenthesis
  size_t size;        // digits
  char separator;     // before it: - . / or a space, 0 for none
  bool parenthesis;
};

struct Number {
  size_t begin = 0;  // with plus sign and parenthesis
  bool plus = false;
  std::array<char, 20> digits;
  std::array<Group, 8> groups;
  size_t count = 0, size = 0;  // digits, groups
};

// A separator at `at`: its sign, 0 where there is none, and its bytes. The no-break space and Unicode's hyphens and
// dashes (U+2010 to U+2013) count as their ASCII forms.
static char separator_at(std::string_view text, size_t at, size_t& bytes) {
  const char c = byte_at(text, at);
  bytes = 1;
  if (c == ' ' || c == '-' || c == '.' || c == '/') return c;
  if (c == '\xC2' && byte_at(text, at + 1) == '\xA0') return bytes = 2, ' ';
  if (c == '\xE2' && byte_at(text, at + 1) == '\x80' && at + 2 < text.size() &&
      static_cast<unsigned char>(text[at + 2]) >= 0x90 && static_cast<unsigned char>(text[at + 2]) <= 0x93)
    return bytes = 3, '-';
  bytes = 0;
  return '\0';
}

// The bytes of an opening (`open`) or closing parenthesis at `at`, ASCII or full width; 0 where there is none.
static size_t parenthesis_at(std::string_view text, size_t at, bool open) {
  if (byte_at(text, at) == (open ? '(' : ')')) return 1;
  return at <= text.size() && text.substr(at, 3) == (open ? "\xEF\xBC\x88" : "\xEF\xBC\x89") ? 3 : 0;
}

// The longest chain of groups that begins with the digit `first`. Longer ones than 20 digits or 8 groups are cut; no
// shape is that long.
static Number read_number(std::string_view text, size_t first) {
  Number number;
  number.begin = first;
  bool open = byte_before(text, first) == '(' || (first >= 3 && parenthesis_at(text, first - 3, true) == 3);
  if (open) number.begin -= byte_before(text, first) == '(' ? 1 : 3;
  if (byte_before(text, number.begin) == '+') {
    number.plus = true;
    --number.begin;
    if (!open && byte_before(text, number.begin) == '(') open = true, --number.begin;
  }
  char separator = '\0';
  for (size_t at = first; number.size < number.groups.size();) {
    Group group{at, at, 0, separator, open};
    for (; is(byte_at(text, at), digit) && number.count < number.digits.size(); ++at)
      number.digits[number.count++] = text[at];
    group.size = at - group.begin;
    if (open) {
      const size_t closing = parenthesis_at(text, at, false);
      if (closing == 0) {
        if (number.size > 0) {
          number.count -= group.size;
          return number;
        }
        group.parenthesis = false;  // it opens more than this group
        number.plus = byte_before(text, first) == '+';
        number.begin = number.plus ? first - 1 : first;
      }
      at += closing;
    }
    group.end = at;
    number.groups[number.size++] = group;
    size_t bytes = 0;
    separator = separator_at(text, at, bytes);
    const size_t opening = parenthesis_at(text, at + bytes, true);
    open = opening > 0;
    if ((separator == '\0' && !open && !group.parenthesis) || !is(byte_at(text, at + bytes + opening), digit)) break;
    at += bytes + opening;
  }
  return number;
}

// How many digits may follow the country code at the start of `digits`, and how long it is; 0 for a code that is not
// assigned. From the national numbering plans; the widest range where a plan has many lengths.
struct Country {
  size_t code = 0, least = 0, most = 0;
};

static Country country_of(std::string_view digits) {
  const int two = (digits[0] - '0') * 10 + digits[1] - '0', third = digits[2] - '0';
  switch (two / 10) {
    case 1:
      return digits[1] >= '2' ? Country{1, 10, 10} : Country{};
    case 7:
      return Country{1, 10, 10};
    default:
      break;
  }
  switch (two) {
    case 20:
      return {2, 8, 10};
    case 27:
    case 30:
    case 31:
    case 33:
    case 34:
    case 41:
    case 44:
    case 48:
    case 56:
    case 61:
    case 66:
      return {2, 9, 10};
    case 32:
    case 36:
    case 51:
    case 58:
    case 64:
    case 65:
    case 82:
    case 84:
    case 95:
      return {2, 8, 10};
    case 39:
    case 43:
    case 60:
    case 62:
    case 63:
    case 81:
      return {2, 8, 11};
    case 40:
    case 93:
    case 94:
    case 47:
    case 45:
      return {2, 8, 9};
    case 46:
      return {2, 7, 9};
    case 49:
      return {2, 7, 12};
    case 52:
    case 54:
    case 55:
    case 57:
    case 86:
      return {2, 10, 11};
    case 53:
      return {2, 8, 8};
    case 90:
    case 91:
    case 92:
    case 98:
      return {2, 9, 10};
    default:
      break;
  }
  static constexpr std::string_view thirds[] = {
      "21:12368",      "22:0123456789", "23:0123456789", "24:0123456789", "25:0123456789", "26:0123456789",
      "29:01789",      "35:012345678",  "37:012345678",  "38:01235679",   "42:013",        "50:0123456789",
      "59:0123456789", "67:02345678",   "68:0123568",    "69:012",        "80:08",         "85:02356",
      "87:08",         "88:06",         "96:012345678",  "97:01234567",   "99:234568"};
  for (const std::string_view row : thirds)
    if ((row[0] - '0') * 10 + row[1] - '0' == two &&
        row.find(static_cast<char>('0' + third), 3) != std::string_view::npos)
      return {3, two == 67 || two == 68 || two == 69 || two == 29 || two == 50 ? size_t{5} : size_t{6}, 12};
  return {};
}

// Whether the first n groups have these sizes.
static bool sized(const Number& number, size_t n, std::initializer_list<size_t> sizes) {
  return n == sizes.size() && std::equal(sizes.begin(), sizes.end(), number.groups.begin(),
                                         [](size_t size, const Group& group) { return size == group.size; });
}

// Whether one separator stands between the first n groups; beside a parenthesis it may also be missing or a space.
static bool one_separator(const Number& number, size_t n, std::string_view allowed) {
  char seen = '\0';
  for (size_t i = 1; i < n; ++i) {
    const Group& group = number.groups[i];
    if (number.groups[i - 1].parenthesis || group.parenthesis) {
      if (group.separator != '\0' && group.separator != ' ' && group.separator != '-') return false;
      continue;
    }
    if (allowed.find(group.separator) == std::string_view::npos || (seen != '\0' && seen != group.separator))
      return false;
    seen = group.separator;
  }
  return true;
}

static bool is_international(const Number& number, size_t n) {
  std::array<char, 20> digits;
  size_t count = 0;
  const char* next = number.digits.data();
  for (size_t i = 0; i < n; next += number.groups[i++].size) {
    const Group& group = number.groups[i];
    if (i > 0 && group.parenthesis && group.size == 1 && *next == '0') continue;  // +44 (0)20: the 0 is not dialled
    count = static_cast<size_t>(std::copy_n(next, group.size, digits.data() + count) - digits.data());
  }
  if (count < 8 || count > 15) return false;
  const Country country = country_of({digits.data(), count});
  if (country.code == 0 || count < country.code + country.least || count > country.code + country.most) return false;
  return n > 1 || count >= 10;
}

static bool is_north_american(const Number& number, size_t n, bool named) {
  const bool trunk = n == 4 && number.groups[0].size == 1 && number.digits[0] == '1';
  if (!sized(number, n, {3, 3, 4}) && !(trunk && sized(number, n, {1, 3, 3, 4}))) return false;
  const char* area = number.digits.data() + (trunk ? 1 : 0);
  if (area[0] < '2' || area[3] < '2' || (area[1] == '1' && area[2] == '1')) return false;
  const bool parenthesis = number.groups[trunk ? 1 : 0].parenthesis;
  if (number.groups[trunk ? 2 : 1].parenthesis || number.groups[n - 1].parenthesis) return false;
  if (parenthesis) return one_separator(number, n, "-. ");
  return one_separator(number, n, "-.") || (named && one_separator(number, n, " "));
}

// In groups; for its eleven digits together see is_lone_mobile.
static bool is_chinese_mobile(const Number& number, size_t n) {
  if (number.digits[0] != '1' || number.digits[1] < '3') return false;
  if (number.groups[0].parenthesis) return false;
  return sized(number, n, {3, 4, 4}) && one_separator(number, n, "- ");
}

static bool is_year(const char* digits) {
  return (digits[0] == '1' && digits[1] == '9') || (digits[0] == '2' && digits[1] == '0');
}

// Numbers with a trunk 0 and those with an area code in parentheses.
static bool is_national(const Number& number, size_t n) {
  const char* digits = number.digits.data();
  const bool parenthesis = number.groups[0].parenthesis;
  if (parenthesis && one_separator(number, n, "- ") && digits[0] != '0' &&
      (sized(number, n, {2, 5, 4}) || sized(number, n, {2, 4, 4})))
    return !(is_year(digits + 2) && is_year(digits + 6));
  if (digits[0] != '0' || digits[1] == '0') return false;
  if (sized(number, n, {2, 2, 2, 2, 2})) {  // a row of numbers one apart is a list
    bool list = true;
    for (size_t i = 2; i < 10; i += 2)
      list = list && digits[i] * 10 + digits[i + 1] == digits[i - 2] * 10 + digits[i - 1] + 1;
    return !list && one_separator(number, n, " .-");
  }
  if (sized(number, n, {2, 4, 4}))
    return (parenthesis || digits[1] == '3' || digits[1] == '6') && one_separator(number, n, "- ");
  if (sized(number, n, {2, 3, 4})) return digits[1] == '2' && one_separator(number, n, "-");
  if (sized(number, n, {3, 4, 4}) || sized(number, n, {3, 3, 4}) || sized(number, n, {4, 3, 3}) ||
      sized(number, n, {4, 3, 4}) || sized(number, n, {5, 3, 3}))
    return one_separator(number, n, "- ");
  if (sized(number, n, {5, 6})) return one_separator(number, n, "- ");
  if (sized(number, n, {3, 8}) || sized(number, n, {4, 7}) || sized(number, n, {4, 8}) || sized(number, n, {3, 7}))
    return one_separator(number, n, "-");
  return false;
}

// Any number of a plausible length, where it is called one.
static bool is_named_number(const Number& number, size_t n, size_t count) {
  if (count < 7 || count > 15 || n > 6) return false;
  if (sized(number, n, {4, 4}) && is_year(number.digits.data()) && is_year(number.digits.data() + 4)) return false;
  if (n == 2 && number.groups[0].size > 4 && number.digits[0] != '0') return false;  // 10800-2500 is a difference
  return !sized(number, n, {4, 2, 2}) && !sized(number, n, {2, 2, 4});
}

// Whether there is a character of Chinese within 24 bytes on either side: the first bytes of U+4000 to U+9FFF.
static bool is_in_chinese(std::string_view text, size_t begin, size_t end) {
  const auto has = [](std::string_view part) {
    return std::any_of(part.begin(), part.end(), [](char c) { return c >= '\xE4' && c <= '\xE9'; });
  };
  const size_t start = begin > 24 ? begin - 24 : 0;
  return has(text.substr(start, begin - start)) || has(text.substr(end, 24));
}

static bool is_named(std::string_view text, size_t begin) {
  static constexpr std::array<std::string_view, 22> ascii = {
      "tel",     "phone",    "phones",   "telephone", "telephones", "telefon",  "telefono", "telefax",
      "fax",     "mobile",   "mob",      "cell",      "cellphone",  "cellular", "handy",    "whatsapp",
      "hotline", "landline", "telefoon", "telefone",  "tlf",        "msisdn"};
  if (NearWords(text, begin).any_of(ascii)) return true;
  // telephone (simplified and traditional), mobile, contact, hot line
  static constexpr std::array<std::string_view, 6> chinese = {"\u7535\u8BDD", "\u96FB\u8A71", "\u624B\u673A",
                                                              "\u624B\u6A5F", "\u8054\u7CFB", "\u70ED\u7EBF"};
  const std::string_view near = text.substr(begin > 24 ? begin - 24 : 0, std::min<size_t>(begin, 24));
  const size_t line = near.rfind('\n') + 1;
  return std::any_of(chinese.begin(), chinese.end(),
                     [&](std::string_view name) { return near.find(name, line) != std::string_view::npos; });
}

// The eleven digits of a Chinese mobile number together, in Chinese text or after a word of contact: else they are as
// often an id or a size.
static bool is_lone_mobile(std::string_view text, const Number& number, size_t n) {
  if (!sized(number, n, {11}) || number.digits[0] != '1' || number.digits[1] < '3') return false;
  static constexpr std::array<std::string_view, 9> contact = {"call", "calls",  "dial",  "contact", "sms",
                                                              "text", "wechat", "reach", "number"};
  return is_in_chinese(text, number.begin, number.groups[0].end) || NearWords(text, number.begin).any_of(contact);
}

static bool begins_well(std::string_view text, const Number& number) {
  if (joined_before(text, number.begin)) return false;
  const char before = byte_before(text, number.begin), second = number.begin >= 2 ? text[number.begin - 2] : '\0';
  if (std::string_view("+.-\\#$@&%^~)]}").find(before) != std::string_view::npos && before != '\0') return false;
  if (number.plus) return true;
  if (before == '/') return false;
  return !((before == ',' || before == ':') && is(second, digit));
}

// Whether the first n groups are not part of something longer.
static bool ends_well(std::string_view text, const Number& number, size_t n) {
  const size_t end = number.groups[n - 1].end;
  if (n < number.size) return number.groups[n].separator == ' ';
  if (joined_after(text, end)) return byte_at(text, end) == 'x' && is(byte_at(text, end + 1), digit);
  const char next = byte_at(text, end), after = byte_at(text, end + 1);
  if (next == '%' || next == '@' || next == '=') return false;
  const bool binds = next == '.' || next == '-' || next == ',' || next == ':' || next == '/' || next == '+';
  return !(binds && is(after, alnum));
}

// The end of an extension after `end` ("x123", " ext. 12"), or `end`.
static size_t extension_end(std::string_view text, size_t end) {
  size_t at = end;
  if (byte_at(text, at) == ',') ++at;
  if (byte_at(text, at) == ' ') ++at;
  const std::string_view rest = text.substr(std::min(at, text.size()), 12);
  if (rest.starts_with("ext"))
    at += rest.starts_with("extension") ? 9 : 3;
  else if (rest.starts_with("x"))
    ++at;
  else
    return end;
  if (byte_at(text, at) == '.') ++at;
  if (byte_at(text, at) == ' ') ++at;
  const size_t digits = at;
  while (at - digits < 7 && is(byte_at(text, at), digit)) ++at;
  return at == digits || joined_after(text, at) ? end : at;
}

std::optional<Span> phone_at(std::string_view text, size_t first) {
  const Number number = read_number(text, first);
  if (number.count < 7 || !begins_well(text, number)) return std::nullopt;
  const bool named = !number.plus && is_named(text, number.begin);
  // Groups of digits with spaces only are a number of a table where another number stands before or after them.
  size_t before = number.begin;
  while (before > 0 && first - before < 8 && text[before - 1] == ' ') --before;
  const bool row_before = is(byte_before(text, before), digit);
  size_t count = number.count;
  for (size_t n = number.size; n > 0; count -= number.groups[--n].size) {
    if (!ends_well(text, number, n)) continue;
    bool found = false;
    if (number.plus) {
      found = is_international(number, n);
    } else {
      const bool spaced = n > 1 && number.groups[n - 1].separator == ' ' && !number.groups[0].parenthesis;
      if (spaced && !named && (row_before || n < number.size)) continue;
      if (byte_before(text, number.begin) == '=' && !named) continue;
      found = is_north_american(number, n, named) || is_chinese_mobile(number, n) || is_national(number, n) ||
              (named && is_named_number(number, n, count)) || is_lone_mobile(text, number, n);
    }
    if (found) return Span{number.begin, extension_end(text, number.groups[n - 1].end)};
  }
  return std::nullopt;
}

}  // namespace ds::pii
