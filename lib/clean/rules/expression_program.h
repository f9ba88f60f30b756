// The compiled form of an expression: steps for a machine with a stack of values. Only expression*.cpp read this.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "clean/signals.h"
#include "text/regex.h"

namespace ds::expr {

enum class Op : uint8_t {
  // Push a value.
  number,   // numbers[at]
  text,     // texts[at]
  boolean,  // at != 0
  signal,   // the signal `at`
  lang,     // Signals::lang
  field,    // fields[at]
  // Replace the two on top by one.
  // clang-format off
  add, subtract, multiply, divide,
  equal, not_equal, less, less_equal, greater, greater_equal,
  in_array, contains, starts_with, ends_with,
  // Replace the one on top.
  negate, invert, has, length, lower, to_number,
  // clang-format on
  condition,  // true where it is true, false for all else
  matches,    // patterns[at]
  nowhere,    // false: the value that was in no list
  // Go on at step `at`, or not.
  and_then,  // a false on top stays and jumps, a true is popped
  or_else,   // a true on top stays and jumps, a false is popped
  in_item,   // [x, item]: where they are equal, one true stands for both and it jumps; else the item is popped
};

struct Step {
  Op op;
  uint32_t at = 0;
};

// One step into a value: the member of that key, or where there is none, the item.
struct PathPart {
  bool is_key = true;
  std::string key;
  int64_t item = 0;
  auto operator<=>(const PathPart&) const = default;
};
using Path = std::vector<PathPart>;  // the first part is a key of the record

// Values that can be on the stack at once: a level of nesting leaves at most four behind, a < b + c * f(d, ...).
constexpr size_t kStackSize = 1024;

struct Program {
  std::vector<Step> steps;
  std::vector<double> numbers;
  std::vector<std::string> texts;
  std::vector<Path> fields;
  std::vector<Regex> patterns;
  uint32_t groups = 0;
};

// How many bytes at the beginning are a number by JSON's grammar; 0 where there is none.
size_t number_length(std::string_view text);
// The value of such a number; nothing where a double cannot hold it (1e999, 1e-999).
std::optional<double> read_number(std::string_view number);

}  // namespace ds::expr
