// Inside the room: the text of a regular expression or grammar and the place that its parser has reached.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "run/constraint/pattern_tree.h"

namespace ds::constrain {

class PatternScanner {
 protected:
  // `name` begins messages.
  PatternScanner(std::string_view text, std::string_view name) : text_(text), name_(name) {}

  // Error "NAME:LINE:COLUMN: what", for the place reached.
  [[noreturn]] void wrong(std::string_view what) const;
  bool done() const { return at_ >= text_.size(); }
  char peek(size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }
  bool take(std::string_view what);
  // A decimal number, 99999 at most; nothing where there is no digit.
  std::optional<uint32_t> digits();
  // From `least` to `most` hexadecimal digits.
  char32_t hex(size_t least, size_t most);
  // The value of an escape, which must be a character.
  char32_t checked(char32_t c) const;
  static Tree one(CharacterSet set);  // one character of the set

  std::string_view text_, name_;
  size_t at_ = 0;
};

}  // namespace ds::constrain
