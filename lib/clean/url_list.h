// Lists of web addresses to leave out: domains, parts of sites, single pages.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ds {

// The parts of a web address that say which page it is, as browsers read one (url.spec.whatwg.org, section 4.4): the
// scheme may be missing; user name, port and fragment are dropped, the ASCII letters of the host are lowered and its
// final dot goes; . and .. in the path are resolved; \ is /. Punycode and percent signs are left as they are.
struct Url {
  std::string host;     // never empty
  std::string path;     // "" for "/", else it begins with /
  std::string query;    // with its ?, "" where there is none
  bool scheme = false;  // one was written
};
// Nothing for what has no host ("mailto:a@b.com", "/index.html", "").
std::optional<Url> parse_url(std::string_view text);

// A set of entries, one a line of its files (plain, gzip or zstd; # begins a comment at the start of a line or after a
// space; empty lines count for nothing):
//   example.com           the domain and all its subdomains
//   example.com/forum     what lies under that path of that very host: /forum, /forum/x, /forum?x, and not /forums
//   https://example.com/a?b=1   that page alone, with whatever scheme
// Hashes of 64 bits stand for the entries: 12 to 24 bytes an entry, and one address in 10^12 is taken for one of a list
// of ten million by mistake.
class UrlList {
 public:
  // Errors name file and line: what is no such entry, and files that cannot be read.
  explicit UrlList(const std::vector<std::string>& files);

  bool contains(std::string_view url) const;
  size_t size() const { return size_; }  // different entries

 private:
  void add(const Url& entry);
  void insert(uint64_t hash);
  bool has(uint64_t hash) const;

  std::vector<uint64_t> slots_ = std::vector<uint64_t>(16);  // open addressing, 0 is an empty one
  size_t size_ = 0;
  size_t most_labels_ = 0, most_segments_ = 0;  // of any entry: nothing longer is looked up
  bool has_pages_ = false;
};

}  // namespace ds
