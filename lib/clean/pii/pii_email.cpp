// E-mail addresses: the dot-atom form of RFC 5322, section 3.4.1, less its rare signs, with the letters of RFC 6531.
//
// Local part: 1 to 64 bytes of letters, digits and . _ + - (and ' between letters), no dot at an end, no two in a row.
// Domain: two or more labels of letters, digits and hyphens (RFC 1035), at most 253 bytes, the last one a country code
// of two letters or at least three letters that are no usual ending of file or unit names ("logo@2x.png",
// "getty@tty1.service"). A sign of a variable before the local part ("$USER@host.com", "%s@host.com") makes it no
// address. Letters of scripts written without spaces end an address, so that Chinese text around it stays.
#include <algorithm>

#include "clean/pii/pii_find.h"
#include "text/unicode.h"

namespace ds::pii {

constexpr size_t longest_local = 64, longest_label = 63, longest_domain = 253;

// Codes of countries in the domain name system, and eu. Sorted.
static constexpr std::string_view countries =
    "ac ad ae af ag ai al am ao aq ar as at au aw ax az ba bb bd be bf bg bh bi bj bm bn bo br bs bt bv bw by bz ca cc "
    "cd "
    "cf cg ch ci ck cl cm cn co cr cu cv cw cx cy cz de dj dk dm do dz ec ee eg er es et eu fi fj fk fm fo fr ga gb gd "
    "ge "
    "gf gg gh gi gl gm gn gp gq gr gs gt gu gw gy hk hm hn hr ht hu id ie il im in io iq ir is it je jm jo jp ke kg kh "
    "ki "
    "km kn kp kr kw ky kz la lb lc li lk lr ls lt lu lv ly ma mc md me mg mh mk ml mm mn mo mp mq mr ms mt mu mv mw mx "
    "my "
    "mz na nc ne nf ng ni nl no np nr nu nz om pa pe pf pg ph pk pl pm pn pr ps pt pw py qa re ro rs ru rw sa sb sc sd "
    "se "
    "sg sh si sj sk sl sm sn so sr ss st su sv sx sy sz tc td tf tg th tj tk tl tm tn to tr tt tv tw tz ua ug uk us uy "
    "uz "
    "va vc ve vg vi vn vu wf ws ye yt za zm zw ";

static constexpr std::array<std::string_view, 52> no_domains = {
    "automount", "bak",    "bash",  "bat",     "bmp",   "cfg",    "class", "conf", "cpp", "css",    "csv",
    "deb",       "device", "dll",   "doc",     "docx",  "exe",    "gif",   "hpp",  "htm", "html",   "ini",
    "jar",       "jpeg",   "jpg",   "json",    "log",   "mount",  "path",  "pdf",  "php", "png",    "ppt",
    "rpm",       "rst",    "scope", "service", "slice", "socket", "svg",   "swap", "tar", "target", "tgz",
    "timer",     "toml",   "txt",   "wav",     "webp",  "xls",    "xml",   "yaml"};

static bool is_top_level(std::string_view label) {
  if (label.size() < 2 || label.size() > 24) return label.size() <= longest_label && label.starts_with("xn--");
  if (label.starts_with("xn--")) return true;
  std::array<char, 24> lowered;
  bool ascii = true;
  for (size_t i = 0; i < label.size(); ++i) {
    if (!is(label[i], letter | beyond_ascii)) return false;
    ascii = ascii && is(label[i], letter);
    lowered[i] = static_cast<char>(is(label[i], letter) ? label[i] | 0x20 : label[i]);
  }
  const std::string_view name(lowered.data(), label.size());
  if (!ascii) return true;
  if (name.size() == 2) {
    for (size_t at = 0; at < countries.size(); at += 3)
      if (countries.substr(at, 2) == name) return true;
    return false;
  }
  return std::find(no_domains.begin(), no_domains.end(), name) == no_domains.end();
}

// Where the character of an address ends that begins at `at`; `at` itself where none does.
static size_t after_label_character(std::string_view text, size_t at) {
  const char c = byte_at(text, at);
  if (is(c, alnum) || c == '-') return at + 1;
  if (!is(c, beyond_ascii)) return at;
  size_t after = at;
  return joins(decode_utf8(text, after)) ? after : at;
}

// The end of the domain name at `begin`; `begin` where there is none.
static size_t domain_end(std::string_view text, size_t begin) {
  size_t end = begin;
  size_t labels = 0;
  for (size_t at = begin; at - begin <= longest_domain;) {
    size_t after = at;
    for (size_t next = after; after - at <= longest_label; after = next)
      if ((next = after_label_character(text, after)) == after) break;
    const std::string_view label = text.substr(at, after - at);
    if (label.empty() || label.front() == '-') break;
    const bool sound = label.size() <= longest_label && label.back() != '-' && after - begin <= longest_domain;
    ++labels;
    // A name whose last label is none ("host.com.2", "example.conf") is not cut short to one that would do.
    end = sound && labels >= 2 && byte_at(text, after) != '_' && is_top_level(label) ? after : begin;
    if (byte_at(text, after) != '.' || !sound) break;
    at = after + 1;
  }
  return end;
}

std::optional<Span> email_at(std::string_view text, size_t at_sign) {
  size_t begin = at_sign;
  while (begin > 0 && at_sign - begin <= longest_local) {
    const char c = text[begin - 1];
    if (is(c, word) || c == '.' || c == '+' || c == '-') {
      --begin;
    } else if (c == '\'' && is(byte_at(text, begin), letter) && begin >= 2 && is(text[begin - 2], letter)) {
      --begin;
    } else if (is(c, beyond_ascii)) {
      size_t after = previous(text, begin);
      const size_t character = after;
      if (!joins(decode_utf8(text, after))) break;
      begin = character;
    } else {
      break;
    }
  }
  if (begin == at_sign || at_sign - begin > longest_local || text[at_sign - 1] == '.') return std::nullopt;
  const char before = byte_before(text, begin);
  if (before == '$' || before == '%' || before == '@') return std::nullopt;
  const size_t dots = text.substr(begin, at_sign - begin).rfind("..");
  if (dots != std::string_view::npos) begin += dots + 2;
  while (begin < at_sign && !is(text[begin], word | beyond_ascii)) ++begin;
  if (begin == at_sign) return std::nullopt;
  const size_t end = domain_end(text, at_sign + 1);
  if (end == at_sign + 1 || byte_at(text, end) == '@') return std::nullopt;
  return Span{begin, end};
}

}  // namespace ds::pii
