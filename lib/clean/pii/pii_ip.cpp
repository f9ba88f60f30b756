// IP addresses, the public ones: an address that many networks use, or none, tells nothing of a person.
//
// Left alone are this network, private, shared, loopback, link-local, documentation, benchmarking, multicast and
// reserved addresses (the registries of RFC 6890), so for IPv6 all but 2000::/3.
//
// IPv4: four decimal numbers to 255 without leading zeros; neither part of a longer dotted name nor joined by a sign to
// a file name or version ("1.2.3.4.5", "v1.2.3.4", "foo-1.2.3.4.tar", "1.2.3.4-1"), nor after a word or sign that says
// that it is a version or section ("version", "release", "section", ">="). Where its numbers are all below 64, or
// one is not and the first is below 16, as in one address of 80, it looks like a version or section number itself, and
// is an address only where something says so: a quote, bracket, = or // before it, a port or prefix length after it, a
// word such as "address" or "server" before it, or that it is one of the public name servers 8.8.4.4 and four times a
// number (8.8.8.8) that does not begin a heading.
//
// IPv6: RFC 4291, section 2.2, with its :: form; an IPv4 tail is found as IPv4.
#include <algorithm>

#include "clean/pii/pii_find.h"

namespace ds::pii {

using Octets = std::array<unsigned, 4>;

static bool is_public(const Octets& ip) {
  const auto [a, b, c, d] = ip;
  if (a == 0 || a == 10 || a == 127 || a >= 224) return false;
  if (a == 100 && b >= 64 && b < 128) return false;
  if (a == 169 && b == 254) return false;
  if (a == 172 && b >= 16 && b < 32) return false;
  if (a == 192 && (b == 168 || (b == 0 && (c == 0 || c == 2)))) return false;
  if (a == 198 && (b == 18 || b == 19 || (b == 51 && c == 100))) return false;
  if (a == 203 && b == 0 && c == 113) return false;
  return d < 256;
}

// The end of four numbers joined by dots; 0 where there are none.
static size_t parse_ipv4(std::string_view text, size_t at, Octets& ip) {
  for (size_t part = 0; part < 4; ++part) {
    if (part > 0 && byte_at(text, at++) != '.') return 0;
    const size_t begin = at;
    unsigned value = 0;
    for (; at - begin < 3 && is(byte_at(text, at), digit); ++at)
      value = value * 10 + static_cast<unsigned>(text[at] - '0');
    if (at == begin || value > 255 || (at - begin > 1 && text[begin] == '0') || is(byte_at(text, at), digit)) return 0;
    ip[part] = value;
  }
  return at;
}

static bool is_version_word(const NearWords& near) {
  static constexpr std::array<std::string_view, 39> versions = {
      "v",        "ver",     "vers",       "version",  "versions", "rel",       "release",   "releases",
      "released", "rev",     "revision",   "build",    "firmware", "kernel",    "patch",     "upgrade",
      "upgraded", "update",  "updated",    "snapshot", "upstream", "section",   "sections",  "sect",
      "sec",      "chapter", "appendix",   "clause",   "clauses",  "paragraph", "since",     "figure",
      "fig",      "table",   "subsection", "oid",      "step",     "item",      "paragraphs"};
  return near.any_of(versions);
}

// Where the run of spaces and tabs that ends at `at` begins.
static size_t skip_blanks_back(std::string_view text, size_t at) {
  for (int most = 64; most > 0 && (byte_before(text, at) == ' ' || byte_before(text, at) == '\t'); --most) --at;
  return at;
}

static bool looks_like_version(std::string_view text, size_t begin, const NearWords& near) {
  const size_t before = skip_blanks_back(text, begin);
  const char sign = byte_before(text, before), sign_before = before >= 2 ? text[before - 2] : '\0';
  // Relations of package versions, and the section sign.
  if (sign == '=' &&
      (sign_before == '>' || sign_before == '<' || sign_before == '=' || sign_before == '~' || sign_before == '!'))
    return true;
  if ((sign == '<' || sign == '>') && (before < begin || sign_before == sign)) return true;
  if (sign == '\xA7' && sign_before == '\xC2') return true;
  return is_version_word(near);
}

static bool looks_like_address(std::string_view text, size_t begin, size_t end, const Octets& ip,
                               const NearWords& near) {
  const auto large = std::count_if(ip.begin(), ip.end(), [](unsigned part) { return part >= 64; });
  if (large > 1 || (large == 1 && ip[0] >= 16)) return true;
  const size_t before = skip_blanks_back(text, begin);
  const char next = byte_at(text, end);
  const bool heads_a_line = (before == 0 || text[before - 1] == '\n') && (next == ' ' || next == '\t' || next == '.');
  if (!heads_a_line && ((ip[0] == ip[1] && ip[1] == ip[2] && ip[2] == ip[3]) || ip == Octets{8, 8, 4, 4})) return true;
  if (begin > 0 && std::string_view("'\"`[<=@/").find(text[begin - 1]) != std::string_view::npos) return true;
  if ((byte_at(text, end) == ':' || byte_at(text, end) == '/') && is(byte_at(text, end + 1), digit)) return true;
  static constexpr std::array<std::string_view, 25> machines = {
      "ip",          "ips",    "ipv",     "address", "addresses",  "addr",    "host",    "hosts",  "server",
      "servers",     "dns",    "ping",    "client",  "clients",    "gateway", "peer",    "router", "nameserver",
      "nameservers", "subnet", "netmask", "proxy",   "traceroute", "ssh",     "resolver"};
  return near.any_of(machines);
}

std::optional<Span> ipv4_at(std::string_view text, size_t first) {
  Octets ip;
  const size_t end = parse_ipv4(text, first, ip);
  if (end == 0 || !is_public(ip) || joined_before(text, first) || joined_after(text, end)) return std::nullopt;
  const char before = byte_before(text, first), next = byte_at(text, end), after_next = byte_at(text, end + 1);
  const char second = first >= 2 ? text[first - 2] : '\0';
  // A range of addresses has a hyphen after a digit, a URL two slashes.
  if (before == '.' || before == '+' || before == '~' || before == '\\' || before == '$' || before == '#')
    return std::nullopt;
  if (before == '-' && !is(second, digit)) return std::nullopt;
  if (before == '/' && second != '/') return std::nullopt;
  if (next == '.' && (is(after_next, word) || after_next == '*')) return std::nullopt;
  if (next == '-' && is(after_next, word)) {
    Octets other;
    if (parse_ipv4(text, end + 1, other) == 0) return std::nullopt;
  }
  if (next == '+' || next == '~') return std::nullopt;
  const NearWords near(text, first);
  if (looks_like_version(text, first, near) || !looks_like_address(text, first, end, ip, near)) return std::nullopt;
  return Span{first, end};
}

std::optional<Span> ipv6_at(std::string_view text, size_t first) {
  const char before = byte_before(text, first);
  if (before == ':' || before == '.' || before == '-' || joined_before(text, first)) return std::nullopt;
  size_t groups = 0, at = first, end = first;
  unsigned value[2] = {0, 0};
  bool gap = false;
  for (;;) {
    const size_t begin = at;
    unsigned group = 0;
    for (; at - begin < 4 && is(byte_at(text, at), hex); ++at) {
      const char c = text[at];
      group = group * 16 + static_cast<unsigned>(is(c, digit) ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    if (at == begin) break;  // the text ends in ::
    if (is(byte_at(text, at), hex)) return std::nullopt;
    if (groups == 0 || (groups == 1 && !gap)) value[groups] = group;
    if (++groups > 8) return std::nullopt;
    end = at;
    if (byte_at(text, at) != ':') break;
    if (byte_at(text, at + 1) == ':') {
      if (gap) return std::nullopt;
      gap = true;
      at += 2;
      end = at;
    } else if (is(byte_at(text, at + 1), hex)) {
      ++at;
    } else {
      break;
    }
  }
  const char next = byte_at(text, end);
  if (joined_after(text, end) || next == ':') return std::nullopt;
  if (next == '.' && is(byte_at(text, end + 1), alnum)) return std::nullopt;
  if (gap ? groups > 7 : groups != 8) return std::nullopt;
  if (value[0] >> 13 != 1) return std::nullopt;
  if (value[0] == 0x2001 && (value[1] < 0x200 || value[1] == 0xDB8)) return std::nullopt;
  if (value[0] == 0x3FFF && value[1] < 0x1000) return std::nullopt;
  return Span{first, end};
}

}  // namespace ds::pii
