// A regular expression of a tokenizer.json, matched by PCRE2 within a number of steps. The files are written for Oniguruma;
// text/pattern_translate.h says what differs. Characters have the categories of Unicode 14: see as_unicode14 in
// text/unicode_versions.h.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace ds {

// The steps that matching the patterns of a tokenizer may take in one text: the length pays for them, and a constant, so
// that a pattern that backtracks without end costs about a second. The usual patterns take a tenth at most.
struct MatchSteps {
  static constexpr uint64_t of_byte = 50;
  explicit MatchSteps(size_t text_bytes) : left(20'000'000 + of_byte * text_bytes) {}
  bool take(uint64_t steps) {
    const bool enough = steps <= left;
    left -= enough ? steps : left;
    return enough;
  }
  uint64_t left;
};

// Immutable; find() may run on all threads at once.
class Pattern {
 public:
  // `where` begins the message of the Error for a pattern that does not compile.
  Pattern(std::string_view pattern, std::string_view where);
  ~Pattern();
  Pattern(Pattern&&) noexcept;
  Pattern& operator=(Pattern&&) noexcept;

  // The first match that begins at or after `from`; false where there is none. `text` is valid UTF-8. Takes
  // its steps from `steps`; an Error that names the pattern where none are left.
  bool find(std::string_view text, size_t from, MatchSteps& steps, size_t& begin, size_t& end) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ds
