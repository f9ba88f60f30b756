#include "clean/url_list.h"

#include <algorithm>

#include "base/error.h"
#include "base/hash.h"
#include "clean/display.h"
#include "io/input.h"

namespace ds {

static bool is_alpha(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; }

// What browsers do first: blanks and controls at the ends go, tabs and line ends inside; \ is / before the query.
static std::string tidy(std::string_view text) {
  const auto blank = [](char c) { return static_cast<unsigned char>(c) <= ' '; };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  std::string tidied;
  tidied.reserve(text.size());
  bool before_query = true;
  for (const char c : text) {
    if (c == '\t' || c == '\n' || c == '\r') continue;
    before_query = before_query && c != '?' && c != '#';
    tidied += c == '\\' && before_query ? '/' : c;
  }
  return tidied;
}

// Takes a scheme off the front of `rest`, and the slashes after it. False where what follows has no host.
static bool take_scheme(std::string_view& rest, bool& scheme) {
  const size_t end = std::min(rest.find_first_of(":/?#@"), rest.size());
  if (rest.starts_with("//")) {
    rest.remove_prefix(2);
    return true;
  }
  if (end == rest.size() || rest[end] != ':') return true;
  std::string name(rest.substr(0, end));
  std::transform(name.begin(), name.end(), name.begin(), lower);
  std::string_view after = rest.substr(end + 1);
  if (name == "http" || name == "https" || name == "ftp") {
    scheme = true;
    rest = after.substr(std::min(after.find_first_not_of('/'), after.size()));
    return true;
  }
  if (after.starts_with("//")) {
    scheme = true;
    rest = after.substr(2);
    return !name.empty() && is_alpha(name[0]) && name != "file";
  }
  // host:port, or a scheme without a host ("mailto:a@b.com").
  const size_t digits = std::min(after.find_first_of("/?#"), after.size());
  return std::all_of(after.begin(), after.begin() + static_cast<ptrdiff_t>(digits), is_digit);
}

// The host of an authority, without user name, port and final dot; empty where it is none.
static std::string host_of(std::string_view authority) {
  authority.remove_prefix(authority.rfind('@') + 1);  // npos + 1 is 0
  if (authority.starts_with('[')) {
    const size_t end = authority.find(']');
    if (end == std::string_view::npos) return "";
    authority = authority.substr(0, end + 1);
  } else {
    authority = authority.substr(0, authority.find(':'));
  }
  std::string host(authority);
  std::transform(host.begin(), host.end(), host.begin(), lower);
  if (host.ends_with('.')) host.pop_back();
  // What cannot stand in a host name; all bytes beyond ASCII may.
  const bool sound = host.find_first_of(std::string_view(" \"#%*,/<>\\^`{|}\x7f\0", 18)) == std::string::npos;
  return sound && !host.starts_with('.') ? host : "";
}

// The path with . and .. resolved.
static std::string resolved(std::string_view path) {
  if (path.find("/.") == std::string_view::npos) return std::string(path == "/" ? "" : path);
  std::string result;
  for (size_t at = 0; at < path.size();) {  // path[at] is a /
    const size_t end = std::min(path.find('/', at + 1), path.size());
    const std::string_view segment = path.substr(at + 1, end - at - 1);
    if (segment == "..") result.resize(std::min(result.rfind('/'), result.size()));
    if (segment != "." && segment != "..")
      (result += '/') += segment;
    else if (end == path.size())
      result += '/';
    at = end;
  }
  if (result == "/") result.clear();
  return result;
}

std::optional<Url> parse_url(std::string_view text) {
  const std::string tidied = tidy(text);
  std::string_view rest = tidied;
  rest = rest.substr(0, rest.find('#'));
  Url url;
  if (!take_scheme(rest, url.scheme)) return std::nullopt;
  const size_t authority = std::min(rest.find_first_of("/?"), rest.size());
  if (authority == 0) return std::nullopt;
  url.host = host_of(rest.substr(0, authority));
  if (url.host.empty()) return std::nullopt;
  rest.remove_prefix(authority);
  const size_t query = std::min(rest.find('?'), rest.size());
  url.path = resolved(rest.substr(0, query));
  url.query = rest.substr(query);
  if (url.query == "?") url.query.clear();
  return url;
}

// Kinds of entries are apart by the hash's seed.
enum : uint64_t { domain = 1, prefix = 2, page = 3 };

UrlList::UrlList(const std::vector<std::string>& files) {
  if (files.empty()) return;
  LineReader lines(files, size_t{1} << 20);
  for (Line line; lines.next(line);) {
    std::string_view text = line.text.substr(0, std::min(line.text.find(" #"), line.text.find("\t#")));
    while (!text.empty() && static_cast<unsigned char>(text.back()) <= ' ') text.remove_suffix(1);
    if (text.empty() || text.front() == '#') continue;
    const std::optional<Url> entry =
        text.find_first_of(" \t") == std::string_view::npos ? parse_url(text) : std::nullopt;
    if (!entry)
      fail(*line.file, ":", line.number,
           ": an entry is a domain, a host with a path or an address with its scheme, not '",
           safe_line(text.substr(0, 80)), "'");
    add(*entry);
  }
}

void UrlList::add(const Url& entry) {
  if (entry.scheme) {
    insert(hash64(entry.host + entry.path + entry.query, page));
    has_pages_ = true;
    return;
  }
  std::string path = entry.path + entry.query;
  while (path.ends_with('/')) path.pop_back();
  if (path.empty()) {
    insert(hash64(entry.host, domain));
    const auto dots = static_cast<size_t>(std::count(entry.host.begin(), entry.host.end(), '.'));
    most_labels_ = std::max(most_labels_, dots + 1);
    return;
  }
  insert(hash64(entry.host + path, prefix));
  const auto segments = std::count_if(path.begin(), path.end(), [](char c) { return c == '/' || c == '?'; });
  most_segments_ = std::max(most_segments_, static_cast<size_t>(segments));
}

bool UrlList::contains(std::string_view text) const {
  if (size_ == 0) return false;
  const std::optional<Url> url = parse_url(text);
  if (!url) return false;
  size_t labels = 0;
  for (size_t at = url->host.size(); at > 0 && labels < most_labels_; ++labels) {
    const size_t dot = url->host.rfind('.', at - 1);
    at = dot == std::string::npos ? 0 : dot;
    const size_t begin = dot == std::string::npos ? 0 : dot + 1;
    if (has(hash64(std::string_view(url->host).substr(begin), domain))) return true;
  }
  const std::string whole = url->host + url->path + url->query;
  if (has_pages_ && has(hash64(whole, page))) return true;
  size_t at = url->host.size();
  for (size_t segments = 0; segments < most_segments_ && at < whole.size(); ++segments) {
    at = std::min(whole.find_first_of("/?", at + 1), whole.size());
    if (has(hash64(std::string_view(whole).substr(0, at), prefix))) return true;
  }
  return false;
}

// The hash 0 shares the place of another value: the entry is found, and so is one address in 2^64.
static uint64_t slot_value(uint64_t hash) { return hash == 0 ? 1 : hash; }

bool UrlList::has(uint64_t hash) const {
  const uint64_t value = slot_value(hash);
  const size_t mask = slots_.size() - 1;
  for (size_t slot = value & mask;; slot = (slot + 1) & mask) {
    if (slots_[slot] == value) return true;
    if (slots_[slot] == 0) return false;
  }
}

void UrlList::insert(uint64_t hash) {
  const auto place = [](std::vector<uint64_t>& slots, uint64_t value) {
    const size_t mask = slots.size() - 1;
    size_t slot = value & mask;
    while (slots[slot] != 0 && slots[slot] != value) slot = (slot + 1) & mask;
    const bool added = slots[slot] == 0;
    slots[slot] = value;
    return added;
  };
  if ((size_ + 1) * 3 > slots_.size() * 2) {
    std::vector<uint64_t> larger(slots_.size() * 2);
    for (const uint64_t value : slots_)
      if (value != 0) place(larger, value);
    slots_ = std::move(larger);
  }
  size_ += place(slots_, slot_value(hash));
}

}  // namespace ds
