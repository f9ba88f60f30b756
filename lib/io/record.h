// A record: one JSON object on one line, checked in full, its fields as views into the raw bytes. What a tool does not
// own passes through byte for byte; edits are spliced into the raw line.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/input.h"
#include "io/text_edit.h"

namespace ds {

// One record. It owns its bytes, but for one that refer() made; a copy always owns them. Views into raw() live as long
// as those bytes and are invalid after an edit.
class Record {
 public:
  Record() = default;  // of no line yet: refer() comes first
  // Parses and checks a line: strict JSON, an object, valid UTF-8. Error: "FILE:LINE: what is wrong".
  explicit Record(const Line& line);
  Record(std::string raw, std::string file, uint64_t number);
  Record(const Record& other);
  Record(Record&&) noexcept = default;
  Record& operator=(const Record& other) { return *this = Record(other); }
  Record& operator=(Record&&) noexcept = default;
  // Becomes the record of `line` without a copy: the line's bytes and file name must outlive it. After an Error it is
  // of no use until the next refer(). With `utf8` the caller has checked that the line is valid UTF-8.
  void refer(const Line& line, bool utf8 = false);

  std::string_view raw() const { return owns() ? std::string_view(own_) : line_; }
  bool owns() const { return line_.data() == nullptr; }  // false: raw() is the line given to refer(), not edited since
  const std::string& file() const { return file_ ? *file_ : own_file_; }
  uint64_t line() const { return number_; }
  std::string where() const;  // "FILE:LINE"

  struct Field {
    std::string key;    // unescaped
    size_t begin, end;  // the value's bytes in raw()
  };
  const std::vector<Field>& fields() const { return fields_; }
  bool has(std::string_view key) const;
  std::string_view raw_value(std::string_view key) const;         // "" where absent
  std::optional<std::string> string(std::string_view key) const;  // unescaped; empty where absent or no string
  std::string required_string(std::string_view key) const;        // Error that names file, line, key and what was found
  // required_string() for speed: a view into raw() where nothing is escaped, else into `scratch`, which is kept from
  // call to call, only grows, and whose size says nothing.
  std::string_view text_view(std::string_view key, std::string& scratch) const;
  void require_string(std::string_view key) const;  // only the check, for a text that is not looked at
  std::optional<double> number(std::string_view key) const;
  std::optional<std::vector<int64_t>> integers(std::string_view key) const;  // an array of integers

  // Sets a field to JSON text: replaces the value where the key exists, else appends it as the last field.
  void set(std::string_view key, std::string_view json);
  // Edits a string field: `edits` are disjoint and ascending, in bytes of its unescaped text. Outside of them the line
  // keeps its bytes, escapes too. Errors: no string; an edit out of order, past the end or with a border inside a
  // character; a replacement that is not UTF-8.
  void splice(std::string_view key, std::span<const TextEdit> edits);
  // The same for every string inside a field, however deep, but for the keys of objects: `edits_of` gets the text of
  // each. Whether there were edits.
  bool splice_strings(std::string_view key,
                      const std::function<std::vector<TextEdit>(std::string_view text)>& edits_of);

 private:
  void parse(bool utf8);
  void replace(size_t begin, size_t end, std::string_view bytes);
  const Field* find(std::string_view key) const;
  std::string_view required_json(std::string_view key) const;
  std::string_view line_;  // refers to another's bytes; null where `own_` holds them
  std::string own_;
  const std::string* file_ = nullptr;  // another's; null where `own_file_` is the name
  std::string own_file_;
  uint64_t number_ = 0;
  std::vector<Field> fields_;
};

}  // namespace ds
