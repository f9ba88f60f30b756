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

// Of a group of the suite's form. No constraint: no value meets the schema.
void expect_exactly_the_valid(const std::shared_ptr<const Constraint>& constraint, const Json& group) {
  for (const Json& test : group.find("tests")->items)
    for (const bool spaced : {false, true}) {
      const std::string text = written(*test.find("data"), spaced);
      const bool expected = test.find("valid")->boolean;
      EXPECT_EQ(constraint && matches(*constraint, text), expected) << text;
      EXPECT_EQ(constraint && matches(*constraint, escaped(text)), expected) << escaped(text);
    }
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
    expect_exactly_the_valid(constraint, group);
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

// Keywords that meet in ways the public suite does not show. What is valid was said by Python's jsonschema 4.26.0
// (Draft202012Validator.is_valid) of instances written by hand and drawn at random from the keys and values of each schema.
TEST(SchemaConstraint, UnusualGroups) {
  std::ifstream file(DS_SOURCE_DIR "/tests/run/constraint/data/unusual_groups.jsonl");
  int groups = 0, answers = 0, ended = 0;
  for (std::string line; std::getline(file, line); ++groups) {
    const Json group = parse_json(line, "groups");
    SCOPED_TRACE(group.find("description")->text + " " + written(*group.find("schema"), false));
    const auto constraint = compiled(Kind::json_schema, written(*group.find("schema"), false));
    expect_exactly_the_valid(constraint, group);
    // No spelling of an invalid one is an answer under construction either.
    for (const Json& test : group.find("tests")->items) {
      ConstraintState state(constraint, small_vocabulary());
      const std::string text = written(*test.find("data"), false);
      if (!test.find("valid")->boolean) EXPECT_FALSE(state.accept_bytes(text) && state.may_end()) << text;
    }
    for (uint64_t seed = 0; seed < 12; ++seed, ++answers) {
      const auto text = random_answer(constraint, seed, 30);
      if (!text) continue;
      ++ended;
      EXPECT_TRUE(matches(*constraint, *text)) << *text;
    }
  }
  EXPECT_GE(groups, 10);
  EXPECT_GE(ended, answers * 8 / 10);
}

// Forty kinds of object told apart by a property, as tools are called.
TEST(SchemaConstraint, OneOfManyKinds) {
  std::string list;
  for (int i = 0; i < 40; ++i)
    list += (i ? ",{" : "{") + std::string(R"("type":"object","properties":{"kind":{"const":"k)") + std::to_string(i) +
            R"("},"x":{"type":"string"},"y":{"type":["integer","null"]}},"required":["kind","x"],"additionalProperties":false})";
  const auto constraint = compiled(Kind::json_schema, "{\"oneOf\":[" + list + "]}");
  EXPECT_TRUE(matches(*constraint, R"({"x":"","kind":"k17","y":null})"));
  EXPECT_FALSE(matches(*constraint, R"({"x":"","kind":"k40","y":null})"));
  EXPECT_FALSE(matches(*constraint, R"({"kind":"k17","y":null})"));
  EXPECT_FALSE(matches(*constraint, R"({"x":"","x":"","kind":"k1"})"));
}

// In an answer numbers are spelt plainly and end; in a text that is given every spelling counts.
TEST(SchemaConstraint, Numbers) {
  const auto constraint = compiled(Kind::json_schema, R"({"type":"integer","minimum":95,"maximum":1200})");
  for (const char* text : {"95", "1200", "100.0", "1e2", "0.12e4", " 100\n"}) EXPECT_TRUE(matches(*constraint, text)) << text;
  for (const char* text : {"94", "1201", "-100", "100.5", "1e4", "0100", "1e", "96."}) EXPECT_FALSE(matches(*constraint, text)) << text;
  for (const char* prefix : {"1e", "100.", "1201", "13000", "-", "0", "2000"}) {
    ConstraintState state(constraint, small_vocabulary());
    EXPECT_FALSE(state.accept_bytes(prefix)) << prefix;
  }
  ConstraintState state(constraint, small_vocabulary());
  EXPECT_TRUE(state.accept_bytes("9"));
  EXPECT_FALSE(state.may_end());
  EXPECT_TRUE(state.accept_bytes("5"));
  EXPECT_TRUE(state.may_end());
}

// White space and digits of an answer end; a text that is given may have any number of both.
TEST(SchemaConstraint, AnswersDoNotGoOnForEver) {
  const auto any = compiled(Kind::json, "");
  const auto integer = compiled(Kind::json_schema, R"({"type":"integer"})"), positive = compiled(Kind::json_schema, R"({"type":"number","minimum":0})");
  const auto takes = [](const std::shared_ptr<const Constraint>& constraint, const std::string& text) {
    return ConstraintState(constraint, small_vocabulary()).accept_bytes(text);
  };
  const auto digits = [](size_t n) { return std::string(n, '7'); };
  for (const auto& constraint : {any, integer, positive}) {
    EXPECT_TRUE(takes(constraint, digits(20)));
    EXPECT_FALSE(takes(constraint, digits(21)));
    EXPECT_TRUE(matches(*constraint, digits(500)));
  }
  EXPECT_TRUE(takes(any, "-" + digits(20) + "." + digits(20) + "e-" + digits(3)));
  EXPECT_FALSE(takes(any, "-" + digits(21)));
  EXPECT_FALSE(takes(any, "0." + digits(21)));
  EXPECT_FALSE(takes(any, "1e" + digits(4)));
  EXPECT_FALSE(takes(any, "1.5E+" + digits(4)));
  EXPECT_TRUE(matches(*any, "1e" + digits(9)));
  EXPECT_FALSE(takes(any, "07"));
  EXPECT_FALSE(takes(any, "1e5.0"));
  // At the limit the number may end, and what comes after it may follow.
  EXPECT_TRUE(takes(any, "[" + digits(20) + ", " + digits(3) + "]"));
  EXPECT_TRUE(takes(any, "[\n" + std::string(64, ' ') + "1"));
  EXPECT_FALSE(takes(any, "[\n" + std::string(65, ' ')));
  EXPECT_FALSE(takes(any, "[  "));
  EXPECT_FALSE(takes(any, "[ \n"));
  EXPECT_FALSE(takes(any, " "));
  EXPECT_FALSE(takes(any, "1 "));
  EXPECT_TRUE(matches(*any, " [ \t\n\n 1 ]  "));
}

TEST(SchemaConstraint, RefusesByKeyword) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"properties":{"a":{"maxLenght":3}}})", "schema: #/properties/a: the keyword \"maxLenght\" is not supported"},
      {R"({"uniqueItems":true})", "schema: #: uniqueItems is not supported for arrays of more than one item"},
      {R"({"$dynamicRef":"#a"})", "schema: #: the keyword \"$dynamicRef\" is not supported"},
      {R"({"$schema":"http://json-schema.org/draft-07/schema#"})",
       "schema: #: $schema \"http://json-schema.org/draft-07/schema\" is not supported, only https://json-schema.org/draft/2020-12/schema is"},
      {R"({"type":"integer","minimum":3,"maximum":2})", "schema: no value meets it"},
      {R"({"$ref":"#/$defs/a","$defs":{"a":{"type":"object","properties":{"n":{"$ref":"#/$defs/a"}},"required":["n"]}}})", "schema: no value meets it"},
      {R"x({"pattern":"a(?!b)"})x", "schema: #/pattern: the pattern:1:2: look-around is not supported"}};
  for (const auto& [schema, error] : cases) EXPECT_EQ(error_of(Kind::json_schema, schema), error);
  EXPECT_NE(error_of(Kind::json_schema, R"({"$ref":"#"})").find("leads back to itself"), std::string::npos);
  EXPECT_NE(error_of(Kind::json_schema, R"({"pattern":"(a|b)*a(a|b){20}c"})").find("too large"), std::string::npos);
  EXPECT_NE(error_of(Kind::json_schema, std::string(300, '[')).find("schema"), std::string::npos);
}

}  // namespace
}  // namespace ds
