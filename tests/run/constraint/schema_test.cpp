// Constraints by JSON schemas. The public test suite of JSON Schema is the reference, where it is.
#include <gtest/gtest.h>

#include <fstream>
#include <iostream>
#include <map>

#include "base/error.h"
#include "io/json.h"
#include "run/constraint/vocabulary.h"
#include "run/fixtures.h"

namespace ds {
namespace {

using Kind = ConstraintSpec::Kind;

// A value as text, compact or with blanks.
std::string written(const Json& json, bool spaced) {
  const std::string comma = spaced ? ", " : ",", colon = spaced ? ": " : ":";
  std::string out;
  switch (json.type) {
    case Json::Type::null: return "null";
    case Json::Type::boolean: return json.boolean ? "true" : "false";
    case Json::Type::number: return json.text;
    case Json::Type::string: return json_string(json.text);
    case Json::Type::array:
      for (const Json& item : json.items) out += (out.empty() ? "" : comma) + written(item, spaced);
      return "[" + out + "]";
    case Json::Type::object:
      for (const auto& [key, value] : json.members) out += (out.empty() ? "" : comma) + json_string(key) + colon + written(value, spaced);
      return "{" + out + "}";
  }
  return out;
}

// Characters beyond ASCII as escapes, surrogate pairs where they are needed; what Python's json.dumps writes.
std::string escaped(const std::string& json) {
  std::u32string text;
  std::string out;
  for (size_t i = 0; i < json.size();) {
    const auto c = static_cast<uint8_t>(json[i]);
    const size_t length = c < 0x80 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
    char32_t value = length == 1 ? c : c & (0x7F >> length);
    for (size_t k = 1; k < length; ++k) value = value << 6 | (static_cast<uint8_t>(json[i + k]) & 0x3F);
    i += length;
    char buffer[16];
    if (value < 0x80) out += static_cast<char>(value);
    else if (value < 0x10000) std::snprintf(buffer, sizeof buffer, "\\u%04x", static_cast<unsigned>(value)), out += buffer;
    else
      std::snprintf(buffer, sizeof buffer, "\\u%04x\\u%04x", static_cast<unsigned>(0xD800 + ((value - 0x10000) >> 10)),
                    static_cast<unsigned>(0xDC00 + (value & 0x3FF))), out += buffer;
  }
  return out;
}

TEST(SchemaConstraint, PublicSuite) {
  NEEDS_SHARED("data/json/schema-2020-12.jsonl");
  std::ifstream file(shared("data/json/schema-2020-12.jsonl"));
  std::map<std::string, int> errors;
  int groups = 0, supported = 0, answers = 0, ended = 0;
  for (std::string line; std::getline(file, line);) {
    const Json group = parse_json(line, "suite");
    const std::string name = group.find("file")->text + ": " + group.find("description")->text;
    SCOPED_TRACE(name + " " + written(*group.find("schema"), false));
    ++groups;
    std::shared_ptr<const Constraint> constraint;
    try {
      constraint = compiled(Kind::json_schema, written(*group.find("schema"), false));
    } catch (const Error& error) {
      if (std::string(error.what()) != "schema: no value meets it") {
        if (std::getenv("DS_LIST")) std::cout << name << " | " << error.what() << "\n";
        ++errors[error.what()];
        continue;
      }
    }
    ++supported;
    for (const Json& test : group.find("tests")->items)
      for (const bool spaced : {false, true}) {
        const std::string text = written(*test.find("data"), spaced);
        const bool expected = test.find("valid")->boolean;
        EXPECT_EQ(constraint && matches(*constraint, text), expected) << text;
        EXPECT_EQ(constraint && matches(*constraint, escaped(text)), expected) << escaped(text);
      }
    for (uint64_t seed = 0; constraint && seed < 6; ++seed, ++answers) {
      const auto text = random_answer(constraint, seed, 30);
      if (!text) continue;
      ++ended;
      EXPECT_TRUE(matches(*constraint, *text)) << *text;
      EXPECT_NO_THROW(parse_json(*text, "answer")) << *text;
    }
  }
  std::cout << supported << " of " << groups << " groups are supported\n";
  EXPECT_GE(supported, 175);
  EXPECT_GE(ended, answers * 9 / 10);
}

}  // namespace
}  // namespace ds
