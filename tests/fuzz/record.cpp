// An accepted line has fields that are valid values, and is still a record after an edit of each.
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>

#include "base/error.h"
#include "io/json.h"
#include "io/record.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string line(reinterpret_cast<const char*>(data), size);
  std::optional<ds::Record> record;
  try {
    record.emplace(line, "fuzz", 1);
  } catch (const ds::Error&) {
    return 0;
  }
  if (record->raw() != line) std::abort();
  for (const auto& field : record->fields()) {
    const ds::Json value = ds::parse_json(record->raw_value(field.key), "field");
    const auto text = record->string(field.key);
    if (text.has_value() != (value.type == ds::Json::Type::string) || (text && *text != value.text)) std::abort();
    if (record->integers(field.key) && value.type != ds::Json::Type::array) std::abort();
    try {
      record->number(field.key);  // 1e999 is an Error
    } catch (const ds::Error&) {
    }
  }
  ds::Record edited = *record;
  for (const auto& field : record->fields()) edited.set(field.key, "[\"edited\"]");
  edited.set("a new key", "{}");
  const ds::Record again(edited.raw(), "fuzz", 2);
  if (again.fields().size() != edited.fields().size()) std::abort();
  for (const auto& field : record->fields())
    if (again.raw_value(field.key) != "[\"edited\"]" && field.key != "a new key") std::abort();
  if (again.raw_value("a new key") != "{}") std::abort();
  return 0;
}
