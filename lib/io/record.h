// A record: one JSON object on one line, checked in full, its fields as views into the raw bytes. What a tool does not
// own passes through byte for byte; edits are spliced into the raw line.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/input.h"
#include "io/text_edit.h"

namespace ds {

// One record that owns its line. Views into `raw` live as long as the record and are invalid after set().
class Record {
 public:
  // Parses and checks a line: strict JSON, an object, valid UTF-8. Error: "FILE:LINE: what is wrong".
  explicit Record(const Line& line);
  Record(std::string raw, std::string file, uint64_t number);

  const std::string& raw() const { return raw_; }
  const std::string& file() const { return file_; }
  uint64_t line() const { return number_; }
  std::string where() const;  // "FILE:LINE"

  struct Field {
    std::string key;          // unescaped
    size_t begin, end;        // the value's bytes in raw()
  };
  const std::vector<Field>& fields() const { return fields_; }
  bool has(std::string_view key) const;
  std::string_view raw_value(std::string_view key) const;        // "" where absent
  std::optional<std::string> string(std::string_view key) const; // unescaped; empty where absent or no string
  std::string required_string(std::string_view key) const;       // Error that names file, line, key and what was found
  std::optional<double> number(std::string_view key) const;
  std::optional<std::vector<int64_t>> integers(std::string_view key) const;  // an array of integers

  // Sets a field to JSON text: replaces the value where the key exists, else appends it as the last field.
  void set(std::string_view key, std::string_view json);
  // Edits a string field: `edits` are disjoint and ascending, in bytes of its unescaped text. Outside of them the line
  // keeps its bytes, escapes too. Errors: no string; an edit out of order, past the end or with a border inside a
  // character; a replacement that is not UTF-8.
  void splice(std::string_view key, std::span<const TextEdit> edits);

 private:
  void parse();
  const Field* find(std::string_view key) const;
  [[noreturn]] void no_string(std::string_view key, std::string_view value) const;
  std::string raw_;
  std::string file_;
  uint64_t number_ = 0;
  std::vector<Field> fields_;
};

}  // namespace ds
