#include "io/toml.h"

#include <toml++/toml.h>

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

Json parse_toml(std::string_view bytes, std::string_view where) {
  try {
    return to_json(toml::parse(bytes, where));
  } catch (const toml::parse_error& e) {
    fail(where, ":", e.source().begin.line, ": ", e.description());
  }
}

Json parse_toml_file(const std::string& path) { return parse_toml(read_file(path), path); }

}  // namespace ds
