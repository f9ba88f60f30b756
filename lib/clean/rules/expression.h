// Boolean expressions over the signals and fields of a record, for policies (policy.h):
//   repetition > 0.8 or (lang == 'en' and stopwords < 2)
//
// Values are numbers (double), strings, booleans, and null for what a record does not have or what was not measured.
//   name                 the signal of that name (signals.h; lang is the language code); of other names, the field
//   clean.repetition, messages[-1].content, meta["odd name"]   inside a field: a member, an item from 0 or from the end
//   record.words, record["odd name"]                           a field, whatever its name
//   0.5  -1e3  true  false  'as it stands'  "with \" \\ \n \t \r \u00e9"
// Operators, the loosest first:
//   or ||    and &&    not !
//   == != < <= > >=    x in ['a', 'b']    'a' in tags    x matches 'regex' (text/regex.h; finds it anywhere)
//   + -    * /    -x
// `not in` and `not matches` too; comparisons do not chain; # begins a comment up to the end of the line.
// Functions: has(x) is false for null; length(x) of a string in characters, of an array or object in items; lower(x);
// number(x) reads a string of digits; contains(x, 'part'), startswith(x, 'part'), endswith(x, 'part').
//
// Messy data never stops a run. A comparison with null, or of values of two types, is false (so != is true), and `not`
// turns that into true; a condition that is not true itself counts as false; arithmetic with anything but numbers is
// null, and so is a result that is not finite (1 / 0). Strings compare by code point; arrays and objects equal nothing.
// Where the types can be told from the expression itself, a senseless combination is refused: words < 'x', lang + 1.
#pragma once
#include <cstdint>
#include <memory>
#include <string_view>

#include "clean/signals.h"
#include "io/record.h"

namespace ds {

namespace expr {
struct Program;  // expression_program.h
}

// Immutable and cheap to copy; evaluate() may run on all threads at once.
class Expression {
 public:
  static constexpr size_t most_bytes = 1 << 16;  // of its text
  static constexpr size_t most_depth = 200;      // of parentheses, calls, not and signs in each other

  // A UsageError begins with `where` and names the place: "policy.toml: rule 'short': at column 14: expected a value
  // after '>'". Columns are characters, from 1; a text of several lines has "at line 2, column 5".
  static Expression parse(std::string_view text, std::string_view where);

  // The groups of the signals that it reads: what is to be measured first.
  uint32_t groups() const;
  bool evaluate(const Signals& signals, const Record& record) const;

 private:
  explicit Expression(std::shared_ptr<const expr::Program> program) : program_(std::move(program)) {}
  std::shared_ptr<const expr::Program> program_;
};

}  // namespace ds
