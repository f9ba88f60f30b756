// An accepted line has fields that are valid values, and is still a record after an edit of each.
#include "io/record.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "io/json.h"

// Edits cut from the text itself by a seed: the spliced record has the text that plain strings give.
static void splice(const ds::Record& record, const std::string& key, size_t seed) {
  const std::string text = *record.string(key);
  std::string expected;
  std::vector<ds::TextEdit> edits;
  size_t last = 0;
  for (size_t i = 0; i <= text.size(); ++i) {
    const auto border = [&](size_t at) { return at == text.size() || (text[at] & 0xc0) != 0x80; };
    if (!border(i) || (seed = seed * 6364136223846793005 + 1442695040888963407) >> 61 != 0) continue;
    size_t end = std::min(text.size(), i + (seed >> 40 & 7));
    while (!border(end)) ++end;
    edits.push_back({i, end, text.substr(i, end - i) + "\"\n"});
    expected += text.substr(last, end - last) + "\"\n";
    last = i = end;
  }
  ds::Record edited = record;
  edited.splice(key, edits);
  if (edited.required_string(key) != expected + text.substr(last)) std::abort();
  const ds::Record again(std::string(edited.raw()), "fuzz", 3);
  if (again.string(key) != edited.string(key) || again.fields().size() != record.fields().size()) std::abort();
}

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
    std::string scratch;
    if (text && record->text_view(field.key, scratch) != *text) std::abort();
    if (text.has_value() != (value.type == ds::Json::Type::string) || (text && *text != value.text)) std::abort();
    if (record->integers(field.key) && value.type != ds::Json::Type::array) std::abort();
    try {
      record->number(field.key);  // 1e999 is an Error
    } catch (const ds::Error&) {
    }
  }
  for (const auto& field : record->fields())
    if (record->string(field.key)) splice(*record, field.key, size);
  ds::Record edited = *record;
  for (const auto& field : record->fields()) edited.set(field.key, "[\"edited\"]");
  edited.set("a new key", "{}");
  const ds::Record again(std::string(edited.raw()), "fuzz", 2);
  if (again.fields().size() != edited.fields().size()) std::abort();
  for (const auto& field : record->fields())
    if (again.raw_value(field.key) != "[\"edited\"]" && field.key != "a new key") std::abort();
  if (again.raw_value("a new key") != "{}") std::abort();
  return 0;
}
