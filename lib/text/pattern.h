// A regular expression of a tokenizer.json, matched by PCRE2 with JIT and a match limit.
// The files are written for Oniguruma (Ruby syntax); where PCRE2 means something else, the pattern is translated
// (\s is Unicode White_Space, ^ and $ match at lines) or refused (\h, nested classes, &&).
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

// The pattern that matches a text literally.
std::string quote_pattern(std::string_view text);

}  // namespace ds
