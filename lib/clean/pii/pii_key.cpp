// Keys, tokens and passwords of services.
//
// By their form: access keys of AWS, tokens of GitHub, GitLab, Slack, Stripe, Hugging Face, npm and SendGrid, API keys
// of Google, OpenAI and Anthropic, JSON Web Tokens (RFC 7519, the compact form of RFC 7515) and private keys in PEM
// (RFC 7468), each as its service documents it, not part of a longer word.
// By their name: what follows a name that ends in password, secret, token, api_key and the like and an = or a colon,
// where it looks random: 10 to 200 signs that change at least three times between letters and digits, among them eight
// different ones. A variable, call, path or placeholder ("$PASS", "os.environ[...]", "your-api-key-123") is none.
#include <algorithm>

#include "clean/pii/pii_find.h"

namespace ds::pii {

// How far the bytes of these kinds go on from `at`.
static size_t run_end(std::string_view text, size_t at, unsigned kinds, size_t most) {
  const size_t limit = std::min(text.size(), at + most);
  while (at < limit && is(text[at], kinds)) ++at;
  return at;
}

struct Variety {
  size_t digits = 0, uppers = 0, lowers = 0, changes = 0, different = 0;  // changes between letter and digit
};

static Variety variety_of(std::string_view text) {
  Variety found;
  std::array<bool, 256> seen{};
  char kind = '\0';
  for (const char c : text) {
    bool& known = seen[static_cast<unsigned char>(c)];
    found.different += !known;
    known = true;
    found.digits += is(c, digit);
    found.uppers += is(c, upper);
    found.lowers += is(c, lower);
    const char now = is(c, digit) ? 'd' : is(c, letter) ? 'l' : '\0';
    if (now == '\0') continue;
    found.changes += kind != '\0' && now != kind;
    kind = now;
  }
  return found;
}

struct Form {
  std::string_view prefix;
  size_t anchor;   // the place of its anchor in the prefix
  unsigned kinds;  // of the bytes that follow
  size_t least, most;
  bool random;  // they must have digits and both cases of letters
};

static constexpr std::array<Form, 25> forms = {{
    {"AKIA", 1, upper | digit, 16, 16, false}, {"ASIA", 1, upper | digit, 16, 16, false},
    {"AIza", 2, base64url, 35, 35, false},     {"ghp_", 3, alnum, 36, 255, false},
    {"gho_", 3, alnum, 36, 255, false},        {"ghu_", 3, alnum, 36, 255, false},
    {"ghs_", 3, alnum, 36, 255, false},        {"ghr_", 3, alnum, 36, 255, false},
    {"github_pat_", 6, word, 22, 255, true},   {"glpat-", 5, base64url, 20, 255, false},
    {"xoxb-", 4, base64url, 20, 255, false},   {"xoxp-", 4, base64url, 20, 255, false},
    {"xoxa-", 4, base64url, 20, 255, false},   {"xoxr-", 4, base64url, 20, 255, false},
    {"xoxs-", 4, base64url, 20, 255, false},   {"xapp-", 4, base64url, 20, 255, false},
    {"sk_live_", 2, alnum, 16, 255, false},    {"sk_test_", 2, alnum, 16, 255, false},
    {"rk_live_", 2, alnum, 16, 255, false},    {"rk_test_", 2, alnum, 16, 255, false},
    {"hf_", 2, alnum, 30, 64, false},          {"npm_", 3, alnum, 36, 36, false},
    {"sk-", 2, base64url, 20, 255, true},      {"SG.", 0, base64url, 22, 22, false},
    {"sk-ant-", 2, base64url, 20, 255, true},
}};

static std::optional<Span> known_form_at(std::string_view text, size_t anchor) {
  for (const Form& form : forms) {
    if (form.prefix[form.anchor] != text[anchor] || anchor < form.anchor) continue;
    const size_t begin = anchor - form.anchor, value = begin + form.prefix.size();
    if (text.substr(begin, form.prefix.size()) != form.prefix || joined_before(text, begin)) continue;
    if (byte_before(text, begin) == '-') continue;
    size_t end = run_end(text, value, form.kinds, form.most + 1);
    if (end - value < form.least || end - value > form.most || joined_after(text, end)) continue;
    if (form.prefix == "SG.") {  // a second part, of 43
      const size_t second = end + 1;
      if (byte_at(text, end) != '.') continue;
      end = run_end(text, second, base64url, 44);
      if (end - second != 43) continue;
    }
    const Variety variety = variety_of(text.substr(value, end - value));
    if (variety.different < 8 || (form.random && (variety.digits == 0 || variety.uppers == 0 || variety.lowers == 0)))
      continue;
    if (form.kinds == base64url && variety.digits == 0) continue;
    return Span{begin, end};
  }
  return std::nullopt;
}

// eyJ begins the Base64 of {" : header and payload are JSON objects, then the signature.
static std::optional<Span> web_token_at(std::string_view text, size_t anchor) {
  if (anchor < 2 || text.substr(anchor - 2, 3) != "eyJ" || joined_before(text, anchor - 2) ||
      byte_before(text, anchor - 2) == '-')
    return std::nullopt;
  const auto part_end = [&](size_t begin) { return run_end(text, begin, base64url, text.size()); };
  const size_t header = part_end(anchor + 1);
  if (header - anchor < 12 || byte_at(text, header) != '.' || text.substr(header + 1, 3) != "eyJ") return std::nullopt;
  const size_t payload = part_end(header + 1);
  if (payload - header < 12 || byte_at(text, payload) != '.') return std::nullopt;
  const size_t signature = part_end(payload + 1);
  if (signature - payload < 17) return std::nullopt;
  return Span{anchor - 2, signature};
}

// From the first dash of "-----BEGIN ... PRIVATE KEY-----" to the end of its END line; where that is missing, to the
// last line of Base64.
static std::optional<Span> private_key_at(std::string_view text, size_t dash) {
  constexpr std::string_view dashes = "-----", opening = "-----BEGIN ", closing = "-----END ";
  if (text.substr(dash, opening.size()) != opening) return std::nullopt;
  size_t at = dash + opening.size();
  const size_t label = at;
  while (at < text.size() && at - label < 40 && (is(text[at], upper | digit) || text[at] == ' ')) ++at;
  const std::string_view name = text.substr(label, at - label);
  if (!name.ends_with("PRIVATE KEY") && !name.ends_with("PRIVATE KEY BLOCK")) return std::nullopt;
  if (text.substr(at, dashes.size()) != dashes) return std::nullopt;
  at += dashes.size();
  size_t base64 = 0, end = at;
  // Headers ("Proc-Type: 4,ENCRYPTED"), quotes and the backslashes of escaped line ends may stand between.
  for (; at < text.size(); ++at) {
    const char c = text[at];
    if (is(c, alnum) || c == '+' || c == '/' || c == '=') {
      ++base64;
      end = at + 1;
    } else if (c == '-' && text.substr(at, dashes.size()) == dashes) {
      break;
    } else if (std::string_view(" \t\r\n\\\"'>,:-.()").find(c) == std::string_view::npos) {
      break;
    }
  }
  if (base64 < 64) return std::nullopt;
  if (text.substr(at, closing.size()) == closing) {
    const size_t label_end = text.substr(0, std::min(text.size(), at + 64)).find(dashes, at + closing.size());
    if (label_end != std::string_view::npos) end = label_end + dashes.size();
  }
  return Span{dash, end};
}

// Whether the name before the = or : at `anchor` is that of a secret.
static bool names_a_secret(std::string_view text, size_t anchor) {
  size_t end = anchor;
  for (int most = 2; most > 0 && byte_before(text, end) == ' '; --most) --end;
  const char quote = byte_before(text, end);
  if (quote == '"' || quote == '\'' || quote == '`') --end;
  const char last = static_cast<char>(byte_before(text, end) | 0x20);
  if (last != 'd' && last != 't' && last != 'n' && last != 'y') return false;  // most names end here
  std::array<char, 16> lowered;
  size_t size = 0;
  for (size_t at = end; at > 0 && size < lowered.size(); --at) {
    const char c = text[at - 1];
    if (is(c, letter))
      lowered[lowered.size() - ++size] = static_cast<char>(c | 0x20);
    else if (c != '_' && c != '-')
      break;
  }
  const std::string_view name(lowered.data() + lowered.size() - size, size);
  static constexpr std::array<std::string_view, 14> secrets = {
      "password",   "passwd", "pwd",     "secret",     "apikey",    "accesskey",  "secretkey",
      "privatekey", "token",  "authkey", "accountkey", "sharedkey", "signingkey", "encryptionkey"};
  return std::any_of(secrets.begin(), secrets.end(), [&](std::string_view secret) { return name.ends_with(secret); });
}

static bool is_placeholder(std::string_view value) {
  std::array<char, 200> lowered;
  for (size_t i = 0; i < value.size(); ++i)
    lowered[i] = is(value[i], upper) ? static_cast<char>(value[i] | 0x20) : value[i];
  const std::string_view text(lowered.data(), value.size());
  static constexpr std::array<std::string_view, 9> marks = {"example", "your",  "xxx",  "changeme", "password",
                                                            "secret",  "token", "1234", "abcd"};
  return std::any_of(marks.begin(), marks.end(),
                     [&](std::string_view mark) { return text.find(mark) != std::string_view::npos; });
}

static std::optional<Span> named_secret_at(std::string_view text, size_t anchor) {
  if (!names_a_secret(text, anchor)) return std::nullopt;
  size_t begin = anchor + 1;
  if (byte_at(text, begin) == '>' || byte_at(text, begin) == '=') ++begin;
  for (int most = 4; most > 0 && byte_at(text, begin) == ' '; --most) ++begin;
  const char quote = byte_at(text, begin);
  const bool quoted = quote == '"' || quote == '\'' || quote == '`';
  if (quoted) ++begin;
  if (!is(byte_at(text, begin), alnum) && !quoted) return std::nullopt;  // a variable, a path, an option
  constexpr size_t least = 10, most = 200;
  size_t end = begin;
  while (end < text.size() && end - begin <= most &&
         (is(text[end], word) || std::string_view("-+/=!@#$%^&*~").find(text[end]) != std::string_view::npos))
    ++end;
  const char next = byte_at(text, end), after = byte_at(text, end + 1);
  if (quoted ? next != quote
             : !(end == text.size() || next == ' ' || next == '\n' || next == '\r' || next == '\t' ||
                 ((next == ',' || next == ';' || next == '.') && !is(after, word)) || next == '<' || next == ')' ||
                 next == '"' || next == '\''))
    return std::nullopt;
  while (!quoted && end > begin && (text[end - 1] == '&' || text[end - 1] == '!')) --end;
  if (!quoted) end = begin + std::min(end - begin, text.substr(begin, end - begin).find('&'));  // of a URL's query
  if (end - begin < least || end - begin > most) return std::nullopt;
  const std::string_view value = text.substr(begin, end - begin);
  const Variety variety = variety_of(value);
  if (variety.changes < 3 || variety.different < 8 || variety.lowers + variety.uppers < 3 || is_placeholder(value))
    return std::nullopt;
  return Span{begin, end};
}

std::optional<Span> key_at(std::string_view text, size_t anchor) {
  switch (text[anchor]) {
    case '=':
    case ':':
      return named_secret_at(text, anchor);
    case 'J':
      return web_token_at(text, anchor);
    case '-':
      if (byte_at(text, anchor + 1) == '-') return private_key_at(text, anchor);
      break;
    default:
      break;
  }
  return known_form_at(text, anchor);
}

}  // namespace ds::pii
