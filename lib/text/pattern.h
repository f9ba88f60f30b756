// A regular expression of a tokenizer.json, matched by PCRE2 within a limit of steps. The files are written for Oniguruma;
// text/pattern_translate.h says what differs. Characters have the categories of Unicode 14: see as_unicode14 in
// text/unicode_versions.h.
#pragma once
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace ds {

// Immutable; find() may run on all threads at once.
class Pattern {
 public:
  // `where` begins the message of the Error for a pattern that does not compile.
  Pattern(std::string_view pattern, std::string_view where);
  ~Pattern();
  Pattern(Pattern&&) noexcept;
  Pattern& operator=(Pattern&&) noexcept;

  // The first match that begins at or after `from`; false where there is none. `text` is valid UTF-8. A text that
  // takes more than the limit of steps at one position is an Error.
  bool find(std::string_view text, size_t from, size_t& begin, size_t& end) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ds
