// Bank accounts and payment cards: numbers with a check digit.
//
// IBAN (ISO 13616): the country's length of the SWIFT registry and the remainder 1 modulo 97; upper case, compact or in
// groups of four with a space between.
// Card (ISO/IEC 7812): a prefix and length in use, Luhn's check digit; the digits together, or in the groups that are
// printed on cards with a space or hyphen between. Not part of a longer number or of a row of groups of four.
#include <algorithm>
#include <initializer_list>

#include "clean/pii/pii_find.h"

namespace ds::pii {

bool luhn(std::string_view digits) {
  unsigned sum = 0;
  for (size_t i = 0; i < digits.size(); ++i) {
    const auto value = static_cast<unsigned>(digits[digits.size() - 1 - i] - '0');
    sum += i % 2 == 0 ? value : value < 5 ? 2 * value : 2 * value - 9;
  }
  return !digits.empty() && sum % 10 == 0;
}

bool mod97(std::string_view iban) {
  if (iban.size() < 5) return false;
  unsigned remainder = 0;
  for (size_t i = 0; i < iban.size(); ++i) {
    const char c = iban[(i + 4) % iban.size()];
    if (is(c, digit))
      remainder = (remainder * 10 + static_cast<unsigned>(c - '0')) % 97;
    else if (is(c, upper))
      remainder = (remainder * 100 + static_cast<unsigned>(c - 'A') + 10) % 97;
    else
      return false;
  }
  return remainder == 1;
}

// The characters of a country's IBANs; 0 where it has none.
static size_t iban_length(std::string_view country) {
  static constexpr std::string_view lengths =
      "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 "
      "ES24 "
      "FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 "
      "LC32 "
      "LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 "
      "RO24 "
      "RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30 ";
  for (size_t at = 0; at < lengths.size(); at += 5)
    if (lengths.substr(at, 2) == country)
      return static_cast<size_t>((lengths[at + 2] - '0') * 10 + lengths[at + 3] - '0');
  return 0;
}

std::optional<Span> iban_at(std::string_view text, size_t first) {
  if (first < 2 || !is(text[first - 1], upper) || !is(text[first - 2], upper)) return std::nullopt;
  const size_t begin = first - 2;
  const size_t length = iban_length(text.substr(begin, 2));
  if (length == 0 || joined_before(text, begin)) return std::nullopt;
  std::array<char, 34> compact;
  size_t count = 0, at = begin;
  const bool spaced = byte_at(text, begin + 4) == ' ';
  for (; count < length; ++at) {
    if (spaced && count > 0 && count % 4 == 0 && byte_at(text, at) == ' ') ++at;
    if (!is(byte_at(text, at), upper | digit)) return std::nullopt;
    if (spaced && count > 0 && count % 4 == 0 && text[at - 1] != ' ') return std::nullopt;
    compact[count++] = text[at];
  }
  if (joined_after(text, at) || !mod97({compact.data(), length})) return std::nullopt;
  return Span{begin, at};
}

// Whether cards of that number of digits begin so: the ranges of the networks. `prefix` holds the first six digits.
static bool is_card_prefix(unsigned prefix, size_t length) {
  const unsigned two = prefix / 10000, three = prefix / 1000, four = prefix / 100;
  if (prefix / 100000 == 4) return length == 13 || length == 16 || length == 19;                   // Visa
  if ((two >= 51 && two <= 55) || (four >= 2221 && four <= 2720)) return length == 16;             // Mastercard
  if (two == 34 || two == 37) return length == 15;                                                 // American Express
  if ((three >= 300 && three <= 305) || two == 36 || two == 38 || two == 39) return length == 14;  // Diners Club
  if (four == 6011 || (three >= 644 && three <= 649) || two == 65) return length == 16;            // Discover
  if (two == 62) return length >= 16;                                                              // UnionPay
  if (four >= 3528 && four <= 3589) return length == 16;                                           // JCB
  if (four >= 2200 && four <= 2204) return length == 16;                                           // Mir
  if (two == 60 || two == 81 || two == 82 || three == 508) return length == 16;                    // RuPay
  if (four == 5018 || four == 5020 || four == 5038 || four == 5893 || four == 6304 || four == 6759 ||
      (four >= 6761 && four <= 6763))
    return length == 16 || length == 18 || length == 19;  // Maestro
  return false;
}

// Up to 19 digits in up to five groups with one kind of separator between.
struct CardDigits {
  std::array<char, 19> digits;
  std::array<size_t, 5> sizes{}, ends{};  // of each group; places in the text
  size_t count = 0, groups = 0;
  char separator = '\0';
  bool more = false;  // another group of four follows
};

static CardDigits read_card(std::string_view text, size_t at) {
  CardDigits card;
  for (;;) {
    const size_t begin = at;
    while (at - begin < 20 && is(byte_at(text, at), digit)) ++at;
    const size_t size = at - begin;
    if (card.groups == 5 || card.count + size > 19) {
      card.more = size == 4;
      return card;
    }
    for (size_t i = begin; i < at; ++i) card.digits[card.count++] = text[i];
    card.sizes[card.groups] = size;
    card.ends[card.groups++] = at;
    const char next = byte_at(text, at);
    if ((next != ' ' && next != '-') || !is(byte_at(text, at + 1), digit)) return card;
    if (card.groups == 1) {
      card.separator = next;
      if (size > 4) return card;  // a whole number, and another one after it
    } else if (next != card.separator) {
      return card;
    }
    ++at;
  }
}

static bool is_digits(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return is(c, digit); });
}

// Whether nothing beside [begin, end) says that it is part of something longer.
static bool stands_alone(std::string_view text, size_t begin, size_t end) {
  if (joined_before(text, begin) || joined_after(text, end)) return false;
  const char before = byte_before(text, begin), next = byte_at(text, end);
  if (before == '.' || before == '-' || before == '/' || before == '+' || before == '$') return false;
  if ((before == ',' || before == ':') && begin >= 2 && is(text[begin - 2], digit)) return false;
  const bool binds = next == '.' || next == '-' || next == ',' || next == ':' || next == '/';
  return !(binds && is(byte_at(text, end + 1), alnum));
}

std::optional<Span> card_at(std::string_view text, size_t first) {
  const CardDigits card = read_card(text, first);
  const auto printed = [&](size_t groups, std::initializer_list<size_t> sizes) {
    return groups == sizes.size() && std::equal(sizes.begin(), sizes.end(), card.sizes.begin());
  };
  // What follows a number after a space may be its date or check code, so that fewer groups are tried too.
  for (size_t groups = card.groups, count = card.count; groups > 0; count -= card.sizes[--groups]) {
    if (count < 13) break;
    if (groups > 1) {
      if (!printed(groups, {4, 4, 4, 4}) && !printed(groups, {4, 6, 5}) && !printed(groups, {4, 6, 4}) &&
          !printed(groups, {4, 4, 4, 4, 3}))
        continue;
      // A row of more groups of four is a table or a dump.
      if (groups < card.groups ? card.sizes[groups] == 4 : card.more) break;
      if (byte_before(text, first) == card.separator && first >= 5 && is_digits(text.substr(first - 5, 4))) break;
    }
    if (!stands_alone(text, first, card.ends[groups - 1])) continue;
    unsigned prefix = 0;
    for (size_t i = 0; i < 6; ++i) prefix = prefix * 10 + static_cast<unsigned>(card.digits[i] - '0');
    if (is_card_prefix(prefix, count) && luhn({card.digits.data(), count})) return Span{first, card.ends[groups - 1]};
  }
  return std::nullopt;
}

}  // namespace ds::pii
