#include <charconv>
#include <cmath>

#include "io/json.h"

namespace ds {

void append_json_string(std::string& out, std::string_view text) {
  out.push_back('"');
  size_t plain = 0;  // what lies from here on has not been appended yet
  for (size_t i = 0; i < text.size(); ++i) {
    const unsigned char c = static_cast<unsigned char>(text[i]);
    if (c >= 0x20 && c != '"' && c != '\\') [[likely]]
      continue;
    out.append(text, plain, i - plain);
    plain = i + 1;
    out.push_back('\\');
    switch (c) {
      case '"':
      case '\\':
        out.push_back(static_cast<char>(c));
        break;
      case '\b':
        out.push_back('b');
        break;
      case '\f':
        out.push_back('f');
        break;
      case '\n':
        out.push_back('n');
        break;
      case '\r':
        out.push_back('r');
        break;
      case '\t':
        out.push_back('t');
        break;
      default:
        out.append("u00");
        out.push_back("0123456789abcdef"[c >> 4]);
        out.push_back("0123456789abcdef"[c & 15]);
    }
  }
  out.append(text, plain);
  out.push_back('"');
}

std::string json_string(std::string_view text) {
  std::string out;
  out.reserve(text.size() + 2);
  append_json_string(out, text);
  return out;
}

template <class Real>
static std::string shortest(Real value) {
  if (!std::isfinite(value)) return "null";
  char digits[32];
  const auto [end, error] = std::to_chars(digits, digits + sizeof digits, value);
  return {digits, end};
}
std::string json_number(double value) { return shortest(value); }
std::string json_number(float value) { return shortest(value); }

void JsonWriter::before_value() {
  if (after_key_) {
    after_key_ = false;
    return;
  }
  if (stack_.empty()) return;
  if (!first_) text += indent_ ? "," : ", ";
  if (indent_) text.append("\n").append(stack_.size() * static_cast<size_t>(indent_), ' ');
  first_ = false;
}

JsonWriter& JsonWriter::open(char bracket) {
  before_value();
  text.push_back(bracket);
  stack_.push_back(bracket);
  first_ = true;
  return *this;
}

JsonWriter& JsonWriter::open(char bracket, std::string_view name) { return key(name).open(bracket); }

JsonWriter& JsonWriter::close() {
  const char bracket = stack_.back();
  stack_.pop_back();
  if (indent_ && !first_) text.append("\n").append(stack_.size() * static_cast<size_t>(indent_), ' ');
  text.push_back(bracket == '{' ? '}' : ']');
  first_ = false;
  return *this;
}

JsonWriter& JsonWriter::key(std::string_view name) {
  before_value();
  append_json_string(text, name);
  text += ": ";
  after_key_ = true;
  return *this;
}

JsonWriter& JsonWriter::value(std::string_view string) {
  before_value();
  append_json_string(text, string);
  return *this;
}

JsonWriter& JsonWriter::raw(std::string_view json) {
  before_value();
  text += json;
  return *this;
}

JsonWriter& JsonWriter::value(bool boolean) { return raw(boolean ? "true" : "false"); }
JsonWriter& JsonWriter::value(double number) { return raw(json_number(number)); }
JsonWriter& JsonWriter::value(float number) { return raw(json_number(number)); }
JsonWriter& JsonWriter::value(int64_t number) { return raw(std::to_string(number)); }
JsonWriter& JsonWriter::value(uint64_t number) { return raw(std::to_string(number)); }
JsonWriter& JsonWriter::null() { return raw("null"); }

}  // namespace ds
