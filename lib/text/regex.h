// A regular expression that a user gives, searched by RE2 in time linear in the text whatever the pattern.
// RE2's syntax: no back references and no look-around; \d \s \w \b are ASCII (\pL is any letter); . is any character
// but a line end unless (?s); ^ and $ are the ends of the text unless (?m); (?i) ignores case.
#pragma once
#include <memory>
#include <string_view>

namespace ds {

// Immutable; search() may run on all threads at once.
class Regex {
 public:
  // A pattern that does not compile, or to more than 10000 instructions (the bound of the work per byte of text), is a
  // UsageError: "WHERE: the pattern 'a(' is wrong: missing ): a(".
  Regex(std::string_view pattern, std::string_view where);
  ~Regex();
  Regex(Regex&&) noexcept;
  Regex& operator=(Regex&&) noexcept;

  // Whether it matches anywhere in the text, which is valid UTF-8.
  bool search(std::string_view text) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ds
