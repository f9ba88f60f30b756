#include "clean/pii/pii.h"

#include <algorithm>

#include "base/error.h"
#include "clean/pii/pii_find.h"
#include "text/unicode.h"

namespace ds {

using namespace pii;

static constexpr std::array<std::string_view, pii_kind_count> names = {"email", "phone", "ip", "iban", "card", "key"};
static constexpr std::array<std::string_view, pii_kind_count> tags = {"<EMAIL>", "<PHONE>", "<IP>",
                                                                      "<IBAN>",  "<CARD>",  "<KEY>"};

std::string_view pii_name(PiiKind kind) { return names[static_cast<size_t>(kind)]; }
std::string_view pii_replacement(PiiKind kind) { return tags[static_cast<size_t>(kind)]; }

uint32_t parse_pii_kinds(std::string_view option, std::string_view list) {
  if (list == "all") return all_pii_kinds;
  uint32_t kinds = 0;
  for (size_t at = 0; at <= list.size();) {
    const size_t end = std::min(list.find(',', at), list.size());
    const std::string_view name = list.substr(at, end - at);
    const auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end())
      throw UsageError(
          cat(option, " must be all, or of email, phone, ip, iban, card and key, joined by commas, not '", list, "'"));
    kinds |= uint32_t{1} << (found - names.begin());
    at = end + 1;
  }
  return kinds;
}

namespace pii {

bool joins(char32_t c) {
  if (c < 0x80) return is(static_cast<char>(c), word);
  static constexpr std::array<std::pair<char32_t, char32_t>, 16> unspaced = {{{0xE00, 0xEFF},
                                                                              {0x1000, 0x109F},
                                                                              {0x1100, 0x11FF},
                                                                              {0x1780, 0x17FF},
                                                                              {0x3005, 0x3007},
                                                                              {0x3021, 0x3029},
                                                                              {0x3031, 0x318F},
                                                                              {0x31A0, 0x31FF},
                                                                              {0x3400, 0x4DBF},
                                                                              {0x4E00, 0x9FFF},
                                                                              {0xA960, 0xA97F},
                                                                              {0xAC00, 0xD7FF},
                                                                              {0xF900, 0xFAFF},
                                                                              {0xFF66, 0xFFDC},
                                                                              {0x1B000, 0x1B16F},
                                                                              {0x20000, 0x3FFFF}}};
  for (const auto& [first, last] : unspaced)
    if (c >= first && c <= last) return false;
  return is_word(c) || is_mark(c);
}

size_t previous(std::string_view text, size_t at) {
  const size_t lowest = at > 4 ? at - 4 : 0;
  size_t begin = at - 1;
  while (begin > lowest && (text[begin] & 0xC0) == 0x80) --begin;
  size_t after = begin;
  decode_utf8(text, after);
  return after == at ? begin : at - 1;  // not UTF-8: the byte alone
}

bool joined_before(std::string_view text, size_t at) {
  if (at == 0) return false;
  if (!is(text[at - 1], beyond_ascii)) return is(text[at - 1], word);
  size_t begin = previous(text, at);
  return joins(decode_utf8(text, begin));
}

bool joined_after(std::string_view text, size_t at) {
  if (at >= text.size()) return false;
  if (!is(text[at], beyond_ascii)) return is(text[at], word);
  return joins(decode_utf8(text, at));
}

NearWords::NearWords(std::string_view text, size_t at) {
  const size_t lowest = at > bytes.size() ? at - bytes.size() : 0;
  for (std::string_view& found : words) {
    while (at > lowest && text[at - 1] != '\n' && !is(text[at - 1], word | beyond_ascii)) --at;
    const size_t end = at;
    while (at > lowest && is(text[at - 1], letter)) --at;
    if (at == end || joined_before(text, at)) return;
    for (size_t i = at; i < end; ++i) bytes[i - lowest] = static_cast<char>(text[i] | 0x20);
    found = {bytes.data() + (at - lowest), end - at};
  }
}

}  // namespace pii

// Which kinds a byte may be the anchor of. Digits are anchors of five, but only the first of a run is looked at.
static constexpr std::array<uint8_t, 256> anchors = [] {
  std::array<uint8_t, 256> sets{};
  sets['@'] = pii_bit(PiiKind::email);
  for (int c = '0'; c <= '9'; ++c)
    sets[c] = pii_bit(PiiKind::phone) | pii_bit(PiiKind::ip) | pii_bit(PiiKind::iban) | pii_bit(PiiKind::card);
  for (const unsigned char c : std::string_view("KSz_-J=:")) sets[c] = pii_bit(PiiKind::key);
  return sets;
}();

// Adds a find; those that it overlaps become one with it. Finds come in the order of their anchors, so only the last
// ones can overlap.
static void add(std::vector<PiiMatch>& matches, PiiKind kind, Span span) {
  PiiMatch match{kind, span.begin, span.end};
  size_t longest = match.end - match.begin;
  while (!matches.empty() && matches.back().end > match.begin) {
    const PiiMatch& last = matches.back();
    if (last.end - last.begin >= longest) {
      match.kind = last.kind;
      longest = last.end - last.begin;
    }
    match.begin = std::min(match.begin, last.begin);
    match.end = std::max(match.end, last.end);
    matches.pop_back();
  }
  matches.push_back(match);
}

// The kinds that begin at the first digit of a run. Returns where the scan goes on.
static size_t find_numbers(std::string_view text, uint32_t kinds, size_t first, std::vector<PiiMatch>& matches) {
  size_t end = first + 1;
  while (end < text.size() && is(text[end], digit)) ++end;
  const size_t length = end - first;
  const char next = byte_at(text, end), before = byte_before(text, first);
  const auto look = [&](PiiKind kind, auto finder) {
    if (!(kinds & pii_bit(kind))) return;
    if (const auto span = finder(text, first)) {
      add(matches, kind, *span);
      end = std::max(end, span->end);
    }
  };
  if (length <= 4 && (text[first] == '2' || text[first] == '3') && byte_at(text, first + 4) == ':')
    look(PiiKind::ip, ipv6_at);
  if (length <= 3 && next == '.' && is(byte_at(text, end + 1), digit)) look(PiiKind::ip, ipv4_at);
  if (length >= 2 && is(before, upper)) look(PiiKind::iban, iban_at);
  if (length >= 13 || (length == 4 && (next == ' ' || next == '-'))) look(PiiKind::card, card_at);
  // A lone short number is no telephone number, and most numbers are such.
  const bool more =
      next == '-' || next == ')' || next == '/' || is(next, beyond_ascii) ||
      ((next == ' ' || next == '.') && (is(byte_at(text, end + 1), digit) || byte_at(text, end + 1) == '('));
  if (more || length >= 7) look(PiiKind::phone, phone_at);
  return end;
}

void find_pii(std::string_view text, uint32_t kinds, std::vector<PiiMatch>& matches) {
  matches.clear();
  const auto wanted = static_cast<uint8_t>(kinds & all_pii_kinds);
  for (size_t at = 0; at < text.size();) {
    if (!(anchors[static_cast<unsigned char>(text[at])] & wanted)) {
      ++at;
      continue;
    }
    if (is(text[at], digit)) {
      at = find_numbers(text, wanted, at, matches);
      continue;
    }
    const PiiKind kind = text[at] == '@' ? PiiKind::email : PiiKind::key;
    if (const auto span = kind == PiiKind::email ? email_at(text, at) : key_at(text, at)) {
      add(matches, kind, *span);
      at = std::max(at + 1, span->end);
    } else if (text[at] == '-') {
      while (at < text.size() && text[at] == '-') ++at;  // a key block is looked for at the first dash only
    } else {
      ++at;
    }
  }
}

std::string redact_pii(std::string_view text, std::span<const PiiMatch> matches) {
  std::string redacted;
  redacted.reserve(text.size());
  size_t at = 0;
  for (const PiiMatch& match : matches) {
    redacted += text.substr(at, match.begin - at);
    redacted += pii_replacement(match.kind);
    at = match.end;
  }
  redacted += text.substr(at);
  return redacted;
}

}  // namespace ds
