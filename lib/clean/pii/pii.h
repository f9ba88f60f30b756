// Personal data in text: e-mail addresses, telephone numbers, public IP addresses, bank accounts, payment cards, and
// the keys and passwords of services. Precision comes before recall: what looks like a date, a version, a section
// number or an id stays. One pass in linear time; the rules of each kind stand at the head of pii_*.cpp.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ds {

enum class PiiKind : uint8_t { email, phone, ip, iban, card, key };
inline constexpr size_t pii_kind_count = 6;

constexpr uint32_t pii_bit(PiiKind kind) { return uint32_t{1} << static_cast<uint32_t>(kind); }
inline constexpr uint32_t all_pii_kinds = (uint32_t{1} << pii_kind_count) - 1;

std::string_view pii_name(PiiKind kind);         // "email"
std::string_view pii_replacement(PiiKind kind);  // "<EMAIL>"
// "all", or names joined by commas ("email,ip"), as a set of pii_bit. Anything else is a UsageError that begins with
// `option` ("--pii").
uint32_t parse_pii_kinds(std::string_view option, std::string_view list);

struct PiiMatch {
  PiiKind kind;
  size_t begin, end;  // bytes of the text, whole UTF-8 characters
  bool operator==(const PiiMatch&) const = default;
};

// Replaces `matches` by what the text holds of the kinds in the set: disjoint, ascending, none empty. Finds that
// overlap are joined to one match, of the kind of the longer. The text need not be valid UTF-8.
void find_pii(std::string_view text, uint32_t kinds, std::vector<PiiMatch>& matches);

// The text with each match replaced by its kind's tag.
std::string redact_pii(std::string_view text, std::span<const PiiMatch> matches);

}  // namespace ds
