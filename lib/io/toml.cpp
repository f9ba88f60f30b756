#include "io/toml.h"

#include <toml++/toml.h>

#include <algorithm>
#include <cmath>
#include <sstream>

#include "base/error.h"
#include "io/input.h"

namespace ds {

static Json to_json(const toml::node& node) {
  Json json;
  if (const toml::table* table = node.as_table()) {
    json.type = Json::Type::object;
    for (const auto& [key, value] : *table) json.members.emplace_back(std::string(key.str()), to_json(value));
  } else if (const toml::array* array = node.as_array()) {
    json.type = Json::Type::array;
    for (const toml::node& item : *array) json.items.push_back(to_json(item));
  } else if (const auto* text = node.as_string()) {
    json.type = Json::Type::string;
    json.text = text->get();
  } else if (const auto* boolean = node.as_boolean()) {
    json.type = Json::Type::boolean;
    json.boolean = boolean->get();
  } else if (const auto* integer = node.as_integer()) {
    json.type = Json::Type::number;
    json.text = std::to_string(integer->get());
  } else if (const auto* real = node.as_floating_point()) {
    if (!std::isfinite(real->get())) return json;
    json.type = Json::Type::number;
    json.text = json_number(real->get());
    if (json.text.find_first_of(".e") == std::string::npos) json.text += ".0";
  } else {  // a date or time
    std::ostringstream out;
    node.visit([&](const auto& value) {
      if constexpr (toml::is_date<decltype(value)> || toml::is_time<decltype(value)> ||
                    toml::is_date_time<decltype(value)>)
        out << value.get();
    });
    json.type = Json::Type::string;
    json.text = out.str();
  }
  return json;
}

// The library follows a.a.a... down the call stack without a limit, so a long one is refused before. Up to the first
// error of the file this reads strings and comments as it does, and behind that nothing matters.
static void check_dotted_keys(std::string_view bytes, std::string_view where) {
  constexpr size_t most = 32;
  size_t parts = 1, line = 1;
  for (size_t at = 0; at < bytes.size(); ++at) {
    const char c = bytes[at];
    if (c == '\n') ++line;
    if (c == '#') {
      at = std::min(bytes.find('\n', at), bytes.size()) - 1;
    } else if (c == '"' || c == '\'') {
      const bool triple = bytes.substr(at, 3) == std::string(3, c);
      const std::string_view quotes = bytes.substr(at, triple ? 3 : 1);
      for (at += quotes.size(); at < bytes.size() && bytes.substr(at, quotes.size()) != quotes; ++at) {
        if (c == '"' && bytes[at] == '\\') ++at;
        if (at < bytes.size() && bytes[at] == '\n') ++line;
      }
      at += quotes.size() - 1;
      if (triple)  // up to two more quotes belong to the text
        for (int more = 0; more < 2 && at + 1 < bytes.size() && bytes[at + 1] == c; ++more) ++at;
    } else if (c == '.') {
      require(++parts <= most, where, ":", line, ": a key of more than ", most, " parts");
    } else if (std::string_view("\n=,[]{}").find(c) != std::string_view::npos) {
      parts = 1;
    }
  }
}

Json parse_toml(std::string_view bytes, std::string_view where) {
  check_dotted_keys(bytes, where);
  try {
    return to_json(toml::parse(bytes, where));
  } catch (const toml::parse_error& e) {
    fail(where, ":", e.source().begin.line, ": ", e.description());
  }
}

Json parse_toml_file(const std::string& path) { return parse_toml(read_file(path), path); }

}  // namespace ds
