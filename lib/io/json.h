// JSON: strict parsing (RFC 8259, UTF-8 checked, every token walked) into plain values, and writing.
// Numbers keep their digits: a value that passes through is the same bytes.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ds {

// A parsed value that owns its text. Objects keep their order; the last of two equal keys wins in find().
struct Json {
  Json();  // null; these six are defined in json.cpp, where the type is complete, as vectors of it need
  ~Json();
  Json(const Json&);
  Json(Json&&) noexcept;
  Json& operator=(const Json&);
  Json& operator=(Json&&) noexcept;

  enum class Type : uint8_t { null, boolean, number, string, array, object };
  Type type = Type::null;
  bool boolean = false;
  std::string text;                                   // number: its digits as written; string: unescaped UTF-8
  std::vector<Json> items;                            // array
  std::vector<std::pair<std::string, Json>> members;  // object

  const Json* find(std::string_view key) const;  // null where absent or not an object
  // The value as a type; `where` begins the message of the Error ("config.json: hidden_size").
  int64_t as_int(std::string_view where) const;
  double as_double(std::string_view where) const;
  bool as_bool(std::string_view where) const;
  const std::string& as_string(std::string_view where) const;
};

// Parses one document that fills `bytes` (white space around it allowed). `where` begins the message of an Error
// ("data.jsonl:7"). Nesting deeper than 512 is an Error; lone surrogate escapes are refused as the strings they make
// are not UTF-8.
Json parse_json(std::string_view bytes, std::string_view where);
Json parse_json_file(const std::string& path);
// The same of a file of a model's folder: read_regular_file.
Json parse_json_file(const std::string& path, size_t most);

// Appends `text` to `out` as a JSON string with quotes; UTF-8 is kept, controls are escaped.
void append_json_string(std::string& out, std::string_view text);
std::string json_string(std::string_view text);
// Shortest decimal that reads back as the same value; NaN and infinities are written as null.
std::string json_number(double value);
std::string json_number(float value);

// Builds JSON text in order: JsonWriter w; w.open('{').key("a").value(1).open('[', "b").value(2).close().close();
// w.text
class JsonWriter {
 public:
  explicit JsonWriter(int indent = 0) : indent_(indent) {}  // 0: one line, with ", " and ": "
  JsonWriter& open(char bracket);                           // '{' or '['
  JsonWriter& open(char bracket, std::string_view key);
  JsonWriter& close();
  JsonWriter& key(std::string_view name);
  JsonWriter& value(std::string_view text);
  JsonWriter& value(const char* text) { return value(std::string_view(text)); }
  JsonWriter& value(const std::string& text) { return value(std::string_view(text)); }
  JsonWriter& value(bool boolean);
  JsonWriter& value(double number);
  JsonWriter& value(float number);
  JsonWriter& value(int64_t number);
  JsonWriter& value(uint64_t number);
  JsonWriter& value(int number) { return value(static_cast<int64_t>(number)); }
  JsonWriter& null();
  JsonWriter& raw(std::string_view json);  // a value that is JSON already
  template <class T>
  JsonWriter& field(std::string_view name, const T& v) {
    return key(name).value(v);
  }
  std::string text;

 private:
  void before_value();
  std::string stack_;  // open brackets
  bool first_ = true, after_key_ = false;
  int indent_;
};

}  // namespace ds
