// Thousands of random schemas against a validator that is written as the specification reads, keyword by keyword.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <map>

#include "base/error.h"
#include "io/json.h"
#include "run/constraint/vocabulary.h"
#include "text/regex.h"

namespace ds {
namespace {

using Kind = ConstraintSpec::Kind;
using Type = Json::Type;

std::string text_of(const Json& json) {
  std::string out;
  switch (json.type) {
    case Type::null: return "null";
    case Type::boolean: return json.boolean ? "true" : "false";
    case Type::number: return json.text;
    case Type::string: return json_string(json.text);
    case Type::array:
      for (const Json& item : json.items) out += (out.empty() ? "" : ",") + text_of(item);
      return "[" + out + "]";
    case Type::object:
      for (const auto& [key, value] : json.members) out += (out.empty() ? "" : ",") + json_string(key) + ":" + text_of(value);
      return "{" + out + "}";
  }
  return out;
}

double number(const Json& json) { return std::strtod(json.text.c_str(), nullptr); }

bool equal(const Json& a, const Json& b) {
  if (a.type != b.type) return false;
  if (a.type == Type::number) return number(a) == number(b);
  if (a.type == Type::boolean) return a.boolean == b.boolean;
  if (a.type == Type::string) return a.text == b.text;
  if (a.items.size() != b.items.size() || a.members.size() != b.members.size()) return false;
  for (size_t i = 0; i < a.items.size(); ++i)
    if (!equal(a.items[i], b.items[i])) return false;
  for (const auto& [key, value] : a.members)
    if (const Json* other = b.find(key); !other || !equal(value, *other)) return false;
  return true;
}

class Validator {
 public:
  explicit Validator(const Json& root) : root_(root) {}

  bool valid(const Json& schema, const Json& value) const {
    if (schema.type == Type::boolean) return schema.boolean;
    for (const auto& [key, k] : schema.members)
      if (!meets(schema, key, k, value)) return false;
    return true;
  }

 private:
  bool meets(const Json& schema, const std::string& key, const Json& k, const Json& v) const {
    const auto sub = [&](const Json& s) { return valid(s, v); };
    const auto count = [](const Json& n) { return static_cast<size_t>(number(n)); };
    if (key == "$ref") return valid(*root_.find("$defs")->find(k.text.substr(8)), v);
    if (key == "type") {
      if (k.type == Type::array) return std::any_of(k.items.begin(), k.items.end(), [&](const Json& t) { return is(t.text, v); });
      return is(k.text, v);
    }
    if (key == "const") return equal(k, v);
    if (key == "enum") return std::any_of(k.items.begin(), k.items.end(), [&](const Json& e) { return equal(e, v); });
    if (key == "allOf") return std::all_of(k.items.begin(), k.items.end(), sub);
    if (key == "anyOf") return std::any_of(k.items.begin(), k.items.end(), sub);
    if (key == "oneOf") return std::count_if(k.items.begin(), k.items.end(), sub) == 1;
    if (key == "not") return !sub(k);
    if (key == "if") {
      const Json* branch = schema.find(sub(k) ? "then" : "else");
      return !branch || sub(*branch);
    }
    if (v.type == Type::number) {
      const double x = number(v), n = k.type == Type::number ? number(k) : 0;
      if (key == "minimum") return x >= n;
      if (key == "maximum") return x <= n;
      if (key == "exclusiveMinimum") return x > n;
      if (key == "exclusiveMaximum") return x < n;
      if (key == "multipleOf") return std::fmod(x, n) == 0;
    }
    if (v.type == Type::string) {
      const auto length = static_cast<size_t>(std::count_if(v.text.begin(), v.text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
      if (key == "minLength") return length >= count(k);
      if (key == "maxLength") return length <= count(k);
      if (key == "pattern") return Regex(k.text, "test").search(v.text);
    }
    if (v.type == Type::array) {
      const Json* prefix = schema.find("prefixItems");
      if (key == "minItems") return v.items.size() >= count(k);
      if (key == "maxItems") return v.items.size() <= count(k);
      if (key == "prefixItems") {
        for (size_t i = 0; i < std::min(k.items.size(), v.items.size()); ++i)
          if (!valid(k.items[i], v.items[i])) return false;
      }
      if (key == "items")
        for (size_t i = prefix ? prefix->items.size() : 0; i < v.items.size(); ++i)
          if (!valid(k, v.items[i])) return false;
      if (key == "contains") {
        const auto n = static_cast<size_t>(std::count_if(v.items.begin(), v.items.end(), [&](const Json& item) { return valid(k, item); }));
        const Json *least = schema.find("minContains"), *most = schema.find("maxContains");
        return n >= (least ? count(*least) : 1) && (!most || n <= count(*most));
      }
    }
    if (v.type == Type::object) return meets_object(schema, key, k, v);
    return true;
  }

  bool meets_object(const Json& schema, const std::string& key, const Json& k, const Json& v) const {
    const auto count = [](const Json& n) { return static_cast<size_t>(number(n)); };
    if (key == "minProperties") return v.members.size() >= count(k);
    if (key == "maxProperties") return v.members.size() <= count(k);
    if (key == "required")
      for (const Json& name : k.items)
        if (!v.find(name.text)) return false;
    if (key == "dependentRequired")
      for (const auto& [name, list] : k.members)
        for (const Json& other : list.items)
          if (v.find(name) && !v.find(other.text)) return false;
    if (key == "dependentSchemas")
      for (const auto& [name, s] : k.members)
        if (v.find(name) && !valid(s, v)) return false;
    for (const auto& [name, member] : v.members) {
      if (key == "propertyNames") {
        Json text;
        text.type = Type::string;
        text.text = name;
        if (!valid(k, text)) return false;
      }
      if (key == "properties")
        if (const Json* s = k.find(name); s && !valid(*s, member)) return false;
      if (key == "patternProperties")
        for (const auto& [pattern, s] : k.members)
          if (Regex(pattern, "test").search(name) && !valid(s, member)) return false;
      if (key == "additionalProperties") {
        bool known = schema.find("properties") && schema.find("properties")->find(name);
        if (const Json* patterns = schema.find("patternProperties"))
          for (const auto& [pattern, s] : patterns->members) known |= Regex(pattern, "test").search(name);
        if (!known && !valid(k, member)) return false;
      }
    }
    return true;
  }

  static bool is(const std::string& type, const Json& v) {
    switch (v.type) {
      case Type::null: return type == "null";
      case Type::boolean: return type == "boolean";
      case Type::number: return type == "number" || (type == "integer" && std::floor(number(v)) == number(v));
      case Type::string: return type == "string";
      case Type::array: return type == "array";
      default: return type == "object";
    }
  }

  const Json& root_;
};

// Random values and schemas as text.
class Maker {
 public:
  explicit Maker(uint64_t seed) : rng_{seed, 11} {}

  uint64_t below(uint64_t n) { return rng_.below(at_++, n); }
  std::string pick(std::initializer_list<const char*> list) { return list.begin()[below(list.size())]; }
  std::string name() { return "\"" + pick({"a", "b", "ab", "abc", "é"}) + "\""; }
  std::string scalar() { return pick({"null", "true", "false", "0", "1", "2", "-1", "1.5", "3", "2.0", "\"a\"", "\"ab\"", "\"\"", "\"é\""}); }

  std::string value(int depth) {
    const uint64_t kind = depth > 0 ? below(4) : 0;
    std::string out;
    if (kind == 2) {
      for (uint64_t n = below(4); n > 0; --n) out += (out.empty() ? "" : ",") + value(depth - 1);
      return "[" + out + "]";
    }
    if (kind == 3) {
      for (const char* key : {"a", "b", "ab", "abc", "é"})
        if (below(3) == 0) out += (out.empty() ? "\"" : ",\"") + std::string(key) + "\":" + value(depth - 1);
      return "{" + out + "}";
    }
    return scalar();
  }

  std::string schema(int depth, bool root = false) {
    if (!root && below(8) == 0) return pick({"true", "false", "{}", "true", "{\"$ref\":\"#/$defs/x\"}", "{\"$ref\":\"#/$defs/y\"}"});
    std::string out;
    std::vector<std::string> used;
    for (uint64_t n = 1 + below(3); n > 0; --n) {
      const std::string made = keyword(depth), key = made.substr(0, made.find(':'));
      if (made.empty() || std::find(used.begin(), used.end(), key) != used.end()) continue;
      used.push_back(key);
      out += (out.empty() ? "" : ",") + made;
    }
    if (root) out += (out.empty() ? "" : ",") + std::string("\"$defs\":{\"x\":") + schema(0) + ",\"y\":" + defined() + "}";
    return "{" + out + "}";
  }

 private:
  // A recursive one.
  std::string defined() {
    return pick({R"({"type":"array","items":{"$ref":"#/$defs/y"}})", R"({"properties":{"a":{"$ref":"#/$defs/y"}},"required":["b"],"type":"object"})",
                 R"({"anyOf":[{"type":"integer"},{"type":"array","items":{"$ref":"#/$defs/y"},"maxItems":2}]})", "true"});
  }
  std::string list(int depth) {
    std::string out;
    for (uint64_t n = 1 + below(3); n > 0; --n) out += (out.empty() ? "" : ",") + schema(depth - 1);
    return "[" + out + "]";
  }
  std::string map(int depth, std::initializer_list<const char*> keys) {
    std::string out;
    for (const char* key : keys)
      if (below(2)) out += (out.empty() ? "\"" : ",\"") + std::string(key) + "\":" + schema(depth - 1);
    return "{" + out + "}";
  }

  std::string keyword(int depth) {
    const std::string n = std::to_string(below(4));
    switch (below(depth > 0 ? 28 : 14)) {
      case 0: case 1: return "\"type\":" + pick({"\"null\"", "\"boolean\"", "\"number\"", "\"integer\"", "\"string\"", "\"array\"", "\"object\"",
                                         "[\"string\",\"null\"]", "[\"integer\",\"array\"]", "[\"object\",\"boolean\"]"});
      case 2: return "\"enum\":[" + value(1) + "," + value(1) + "," + scalar() + "]";
      case 3: return "\"const\":" + value(1);
      case 4: return "\"" + pick({"minimum", "exclusiveMinimum"}) + "\":" + pick({"0", "1", "-1.5", "2.5"});
      case 5: return "\"" + pick({"maximum", "exclusiveMaximum"}) + "\":" + pick({"0", "1", "3", "2.5", "1e1"});
      case 6: return "\"multipleOf\":" + pick({"1", "2", "0.5", "3"});
      case 7: return "\"minLength\":" + n;
      case 8: return "\"maxLength\":" + n;
      case 9: return "\"pattern\":" + pick({"\"^a\"", "\"b$\"", "\"a|é\"", "\"^[a-c]*$\""});
      case 10: return "\"" + pick({"minItems", "minProperties"}) + "\":" + n;
      case 11: return "\"" + pick({"maxItems", "maxProperties"}) + "\":" + n;
      case 12: return "\"required\":[" + name() + "]";
      case 13: return "\"dependentRequired\":{" + name() + ":[" + name() + "]}";
      case 14: return "\"items\":" + schema(depth - 1);
      case 15: return "\"prefixItems\":" + list(depth);
      case 16: return "\"contains\":" + schema(depth - 1) + (below(2) ? "" : ",\"minContains\":" + n + ",\"maxContains\":" + std::to_string(below(4)));
      case 17: case 18: return "\"properties\":" + map(depth, {"a", "b", "ab"});
      case 19: return "\"patternProperties\":" + map(depth, {"^a", "b$"});
      case 20: return "\"additionalProperties\":" + schema(depth - 1);
      case 21: return "\"propertyNames\":" + schema(0);
      case 22: return "\"allOf\":" + list(depth);
      case 23: return "\"anyOf\":" + list(depth);
      case 24: return "\"oneOf\":" + list(depth);
      case 25: return "\"not\":" + schema(depth - 1);
      case 26: return "\"if\":" + schema(depth - 1) + ",\"then\":" + schema(depth - 1) + ",\"else\":" + schema(depth - 1);
      default: return "\"dependentSchemas\":{" + name() + ":" + schema(depth - 1) + "}";
    }
  }

  Rng rng_;
  uint64_t at_ = 0;
};

// Doubles, as the validator computes with them, are exact for numbers so short.
bool has_short_numbers(const std::string& text) {
  size_t run = 0;
  for (const char c : text) {
    run = (c >= '0' && c <= '9') ? run + 1 : (c == '.' ? run : 0);
    if (run > 12 || c == 'e' || c == 'E') return false;
  }
  return true;
}

TEST(RandomSchemas, AcceptAndMakeWhatIsValid) {
  // DS_SCHEMAS=3000 takes a minute.
  const uint64_t schemas = std::getenv("DS_SCHEMAS") ? std::strtoull(std::getenv("DS_SCHEMAS"), nullptr, 10) : 300;
  uint64_t compiled_ones = 0, impossible = 0, answers = 0, ended = 0, accepted = 0;
  std::map<std::string, int> errors;
  for (uint64_t seed = 0; seed < schemas; ++seed) {
    Maker maker(seed);
    const std::string schema_text = maker.schema(2, true);
    SCOPED_TRACE(schema_text);
    const Json schema = parse_json(schema_text, "schema");
    const Validator validator(schema);
    std::shared_ptr<const Constraint> constraint;
    try {
      constraint = compiled(Kind::json_schema, schema_text);
      ++compiled_ones;
    } catch (const Error& error) {
      const std::string what = error.what();
      if (what != "schema: no value meets it") {
        ++errors[what.substr(what.find(": ", 9) == what.npos ? 0 : what.find(": ", 9))];
        continue;
      }
      ++impossible;
    }
    for (int i = 0; i < 40; ++i) {
      const std::string value = maker.value(2);
      const bool expected = validator.valid(schema, parse_json(value, "value"));
      accepted += expected;
      ASSERT_EQ(constraint && matches(*constraint, value), expected) << value;
    }
    for (uint64_t k = 0; constraint && k < 3; ++k, ++answers) {
      const auto text = random_answer(constraint, seed * 10 + k, 15);
      if (HasFailure()) return;
      if (!text) continue;
      ++ended;
      ASSERT_TRUE(matches(*constraint, *text)) << *text;
      const Json value = parse_json(*text, "answer");
      if (has_short_numbers(*text)) ASSERT_TRUE(validator.valid(schema, value)) << *text;
    }
  }
  std::cout << compiled_ones << " compiled, " << impossible << " that no value meets, " << accepted << " values accepted, " << ended << " of "
            << answers << " answers ended\n";
  for (const auto& [what, n] : errors) std::cout << n << " refused" << what << "\n";
  EXPECT_GE(compiled_ones + impossible, schemas * 9 / 10);
  EXPECT_GE(ended, answers * 9 / 10);
}

// Of every mask on the way, each token is in it exactly if it is accepted.
TEST(RandomSchemas, MasksAreThoseTokensThatAreAccepted) {
  const auto trie = small_vocabulary();
  std::vector<uint64_t> bits(trie->words());
  for (uint64_t seed = 0; seed < 150; ++seed) {
    std::string schema = Maker(seed).schema(2, true);
    if (seed % 3 == 0) schema = seed % 2 ? "{\"type\":\"object\"}" : R"({"type":"object","properties":{"foo":{"maxLength":3},"bar":{}},"required":["ba"]})";
    std::shared_ptr<const Constraint> constraint;
    try {
      constraint = compiled(Kind::json_schema, schema);
    } catch (const Error&) {
      continue;
    }
    ConstraintState state(constraint, trie);
    const Rng rng{seed, 3};
    std::string text;
    for (uint64_t i = 0; i < 25; ++i) {
      state.mask(bits);
      std::vector<int32_t> allowed;
      for (int32_t id = 0; id < static_cast<int32_t>(trie->vocab_size()); ++id) {
        ConstraintState copy = state;
        const bool in_mask = bits[static_cast<size_t>(id) / 64] >> (id % 64) & 1;
        ASSERT_EQ(copy.accept(id), in_mask) << schema << " after " << text << " token " << (id == kEnd ? "end" : trie->bytes(id));
        if (in_mask && id != kEnd && (trie->bytes(id)[0] < 0x7F && trie->bytes(id)[0] > 0x20)) allowed.push_back(id);
      }
      if (allowed.empty()) break;
      // Often what repeats keys.
      int32_t token = allowed[rng.below(2 * i, allowed.size())];
      for (const int32_t id : allowed)
        if (rng.below(2 * i + 1, 3) == 0 && (id == 'a' || id == '"' || id == ':' || id == '1' || id == ',')) token = id;
      text += trie->bytes(token);
      ASSERT_TRUE(state.accept(token));
    }
  }
}

}  // namespace
}  // namespace ds
