#include "io/json.h"

#include <charconv>
#include <cmath>
#include <cstdlib>

#include "base/error.h"
#include "io/input.h"
#include "io/json_scan.h"

namespace ds {

Json::Json() = default;
Json::~Json() = default;
Json::Json(const Json&) = default;
Json::Json(Json&&) noexcept = default;
Json& Json::operator=(const Json&) = default;
Json& Json::operator=(Json&&) noexcept = default;

static const char* type_name(Json::Type type) {
  switch (type) {
    case Json::Type::null:
      return "null";
    case Json::Type::boolean:
      return "a boolean";
    case Json::Type::number:
      return "a number";
    case Json::Type::string:
      return "a string";
    case Json::Type::array:
      return "an array";
    default:
      return "an object";
  }
}

const Json* Json::find(std::string_view key) const {
  for (auto it = members.rbegin(); it != members.rend(); ++it)
    if (it->first == key) return &it->second;
  return nullptr;
}

double Json::as_double(std::string_view where) const {
  require(type == Type::number, where, ": expected a number, found ", type_name(type));
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc()) return value;
  value = std::strtod(text.c_str(), nullptr);  // out of range: too small is zero, too large is refused
  require(std::isfinite(value), where, ": ", text, " is too large for a double");
  return value;
}

int64_t Json::as_int(std::string_view where) const {
  require(type == Type::number, where, ": expected an integer, found ", type_name(type));
  int64_t value = 0;
  const char* last = text.data() + text.size();
  const auto [end, error] = std::from_chars(text.data(), last, value);
  if (error == std::errc() && end == last) return value;
  // "1e6" and "4096.0" are integers too, as long as a double holds them exactly.
  const double real = as_double(where);
  require(error == std::errc() && real == std::floor(real) && std::fabs(real) <= 0x1p53, where,
          ": expected an integer of 64 bits, found ", text);
  return static_cast<int64_t>(real);
}

bool Json::as_bool(std::string_view where) const {
  require(type == Type::boolean, where, ": expected true or false, found ", type_name(type));
  return boolean;
}

const std::string& Json::as_string(std::string_view where) const {
  require(type == Type::string, where, ": expected a string, found ", type_name(type));
  return text;
}

// Builds the tree with a stack of the containers that are open; a finished value moves into the one below it.
static Json build(JsonScanner& scan) {
  struct Open {
    Json container;
    std::string key;  // of the member being read
  };
  std::vector<Open> open;
  const auto read_key = [&] {
    if (scan.peek() != '"') scan.fault("expected a key in double quotes");
    open.back().key = scan.string().unescaped();
    scan.expect(':', "expected ':' after the key");
  };
  for (;;) {
    Json value;
    const char c = scan.peek();
    bool opened = false;
    switch (c) {
      case '{':
      case '[':
        if (open.size() >= kMaxJsonDepth) scan.fault("nesting deeper than 512");
        scan.advance();
        value.type = c == '{' ? Json::Type::object : Json::Type::array;
        if (scan.peek() == (c == '{' ? '}' : ']')) {
          scan.advance();
          break;
        }
        open.push_back({std::move(value), {}});
        if (c == '{') read_key();
        opened = true;
        break;
      case '"':
        value.type = Json::Type::string;
        value.text = scan.string().unescaped();
        break;
      case 't':
      case 'f':
        scan.literal(c == 't' ? "true" : "false");
        value.type = Json::Type::boolean;
        value.boolean = c == 't';
        break;
      case 'n':
        scan.literal("null");
        break;
      default:
        if (c != '-' && (c < '0' || c > '9')) scan.fault("expected a value");
        value.type = Json::Type::number;
        value.text = scan.number();
    }
    if (opened) continue;
    for (;;) {
      if (open.empty()) return value;
      Json& parent = open.back().container;
      const bool object = parent.type == Json::Type::object;
      if (object)
        parent.members.emplace_back(std::move(open.back().key), std::move(value));
      else
        parent.items.push_back(std::move(value));
      const char next = scan.peek();
      if (next != ',' && next != (object ? '}' : ']'))
        scan.fault(object ? "expected ',' or '}'" : "expected ',' or ']'");
      scan.advance();
      if (next == ',') {
        if (object) read_key();
        break;
      }
      value = std::move(parent);
      open.pop_back();
    }
  }
}

Json parse_json(std::string_view bytes, std::string_view where) {
  require(!bytes.starts_with("\xef\xbb\xbf"), where, ": begins with a byte order mark; save it as UTF-8 without one");
  require(valid_utf8(bytes), where, ": not valid UTF-8");
  try {
    JsonScanner scan(bytes);
    Json value = build(scan);
    scan.expect_end();
    return value;
  } catch (const JsonFault& fault) {
    throw Error(describe(fault, bytes, where));
  }
}

Json parse_json_file(const std::string& path, size_t most) { return parse_json(read_regular_file(path, most), path); }
Json parse_json_file(const std::string& path) { return parse_json(read_file(path), path); }

}  // namespace ds
