#include "run/constraint/schema_shapes.h"

#include <algorithm>

#include "base/error.h"
#include "run/constraint/schema_algebra.h"

namespace ds::constrain {

constexpr size_t kMostWork = 300'000;
constexpr int kDeepestReference = 60;

namespace {

std::string key_of(const std::vector<std::string>& words) {
  std::string key;
  for (const std::string& word : words) key += std::to_string(word.size()) + ":" + word;
  return key;
}

Json text_json(std::string text) {
  Json out;
  out.type = Json::Type::string;
  out.text = std::move(text);
  return out;
}
Json number_json(size_t n) {
  Json out;
  out.type = Json::Type::number;
  out.text = std::to_string(n);
  return out;
}
Json false_json() {
  Json out;
  out.type = Json::Type::boolean;
  return out;
}

}  // namespace

Shapes::Shapes(std::string_view json) : document_(json) {
  dfas_.push_back(dfa_of_utf8());
  Json always = false_json();
  always.boolean = true;
  always_ = document_.number(document_.synthesize(std::move(always)));
}

Choice Shapes::choice(const Terms& terms) {
  Choice out = {Shape{}};
  for (const Term& term : terms) out = conjunction(out, expand(term, false, 0), document_.where(term.schema));
  return out;
}

Choice Shapes::expand(Term term, bool annotate, int depth) {
  require(depth < kDeepestReference, document_.where(term.schema), ": $ref leads back to itself without a value in between, or ",
          "combinations nest too deeply");
  require(++work_ < kMostWork, document_.where(term.schema), ": the schema is too large when its combinations are worked out");
  const Json& json = document_.schema(term.schema);
  if (json.type == Json::Type::boolean) return json.boolean != term.negated ? Choice{Shape{}} : Choice{};
  if (term.negated) return miss(term.schema, depth);
  const bool inside = annotate || json.find("unevaluatedProperties") || json.find("unevaluatedItems");
  Choice out = meet(term.schema, inside, depth);
  meet_unevaluated(term.schema, out);
  if (!annotate)
    for (Shape& shape : out) shape.evaluated = {};
  return out;
}

Choice Shapes::conjunction(const Choice& a, const Choice& b, const std::string& where) {
  Choice out;
  work_ += a.size() * b.size();
  require(work_ < kMostWork, where, ": the schema is too large when its combinations are worked out");
  for (const Shape& x : a)
    for (const Shape& y : b)
      if (Shape made = both(x, y); made.types) out.push_back(std::move(made));
  join(out, {});
  require(out.size() <= kMostShapes, where, ": more than ", kMostShapes, " alternatives when combinations are worked out");
  return out;
}

uint32_t Shapes::pattern_dfa(const std::string& pattern, const std::string& where) {
  const auto [at, is_new] = patterns_.try_emplace(pattern, static_cast<uint32_t>(dfas_.size()));
  if (is_new) {
    require(dfas_.size() < 500, where, ": more than 500 patterns and enumerations");
    dfas_.push_back(dfa_of_pattern(pattern, where + ": the pattern"));
  }
  return at->second;
}

uint32_t Shapes::words_dfa(const std::vector<std::string>& sorted) {
  const auto [at, is_new] = words_.try_emplace(key_of(sorted), static_cast<uint32_t>(dfas_.size()));
  if (is_new) {
    require(dfas_.size() < 500, "schema: more than 500 patterns and enumerations");
    dfas_.push_back(dfa_of_words(sorted));
  }
  return at->second;
}

const Json& Shapes::of_value(const Json& value) {
  const Json*& kept = values_[&value];
  if (kept) return *kept;
  Json schema, list, constant;
  schema.type = constant.type = Json::Type::object;
  if (value.type == Json::Type::array) {
    schema.members.emplace_back("type", text_json("array"));
    list.type = Json::Type::array;
    for (const Json& item : value.items) {
      constant.members = {{"const", item}};
      list.items.push_back(constant);
    }
    if (!list.items.empty()) schema.members.emplace_back("prefixItems", list);
    schema.members.emplace_back("minItems", number_json(value.items.size()));
    schema.members.emplace_back("maxItems", number_json(value.items.size()));
  } else if (value.type == Json::Type::object) {
    schema.members.emplace_back("type", text_json("object"));
    Json properties;
    list.type = Json::Type::array;
    properties.type = Json::Type::object;
    for (const auto& [name, member] : value.members) {
      constant.members = {{"const", member}};
      properties.members.emplace_back(name, constant);
      list.items.push_back(text_json(name));
    }
    schema.members.emplace_back("properties", properties);
    schema.members.emplace_back("required", list);
    schema.members.emplace_back("additionalProperties", false_json());
  }
  return *(kept = &document_.synthesize(std::move(schema)));
}

uint8_t Shapes::types_of(const Json& type, const std::string& where, bool& integer) const {
  uint8_t out = 0;
  integer = false;
  const auto add = [&](const Json& item) {
    const std::string& name = item.as_string(where + "/type");
    if (name == "null") out |= kNull;
    else if (name == "boolean") out |= kFalse | kTrue;
    else if (name == "number") out |= kNumber;
    else if (name == "integer") integer = true;
    else if (name == "string") out |= kString;
    else if (name == "array") out |= kArray;
    else if (name == "object") out |= kObject;
    else fail(where, "/type: ", json_string(name), " is no type");
  };
  if (type.type == Json::Type::array)
    for (const Json& item : type.items) add(item);
  else
    add(type);
  if (out & kNumber) integer = false;
  return out;
}

Modulus Shapes::modulus(const Json& value, const std::string& where) const {
  require(value.type == Json::Type::number, where, "/multipleOf: a number is expected");
  const Decimal x = Decimal::parse(value.text);
  require(!x.negative && !x.digits.empty(), where, "/multipleOf: a number above 0 is expected");
  require(x.digits.size() <= 18 && std::abs(x.exponent) <= 400, where, "/multipleOf: ", value.text, " has more than 18 digits");
  return {std::stoull(x.digits), x.exponent};
}

uint64_t Shapes::count(const Json& value, const std::string& where) const {
  require(value.type == Json::Type::number, where, ": a whole number is expected");
  const Decimal x = Decimal::parse(value.text);
  require(!x.negative && x.exponent >= 0 && x.magnitude() <= 9, where, ": a whole number from 0 to 999999999 is expected, not ", value.text);
  return x.digits.empty() ? 0 : std::stoull(x.digits + std::string(static_cast<size_t>(x.exponent), '0'));
}

Decimal Shapes::bound(const Json& value, const std::string& where) const {
  require(value.type == Json::Type::number, where, ": a number is expected");
  const Decimal x = Decimal::parse(value.text);
  require(x.digits.size() <= 1000 && std::abs(x.exponent) <= 1000, where, ": the number is too large or too small");
  return x;
}

Shape Shapes::plain(uint32_t schema, bool annotate) {
  const Json& json = document_.schema(schema);
  const std::string where = document_.where(schema);
  Shape shape;
  NumberSet& number = shape.number;
  const auto tighten = [&](const char* key, bool is_low, bool open) {
    const Json* value = json.find(key);
    if (!value) return;
    NumberSet set;
    (is_low ? set.low : set.high) = bound(*value, where + "/" + key);
    (is_low ? set.low_open : set.high_open) = open;
    number.intersect(set);
  };
  const auto limit = [&](const char* key, uint64_t& to) {
    if (const Json* value = json.find(key)) to = count(*value, where + "/" + key);
  };
  tighten("minimum", true, false), tighten("exclusiveMinimum", true, true);
  tighten("maximum", false, false), tighten("exclusiveMaximum", false, true);
  if (const Json* value = json.find("multipleOf")) number.multiples = {modulus(*value, where)};
  limit("minLength", shape.string.least), limit("maxLength", shape.string.most);
  if (const Json* value = json.find("pattern"))
    shape.string.dfas = {{pattern_dfa(value->as_string(where + "/pattern"), where + "/pattern"), true}};
  limit("minItems", shape.array.least), limit("maxItems", shape.array.most);
  limit("minProperties", shape.object.least), limit("maxProperties", shape.object.most);
  if (const Json* value = json.find("uniqueItems")) shape.array.unique = value->as_bool(where + "/uniqueItems");

  Evaluated& evaluated = shape.evaluated;
  if (const Json* list = json.find("prefixItems")) {
    for (const Json& item : list->items) shape.array.prefix.push_back({term(item)});
    if (annotate) evaluated.items = list->items.size();
  }
  if (const Json* items = json.find("items")) {
    shape.array.rest = {term(*items)};
    if (annotate) evaluated.all_items = true;
  }
  if (const Json* contains = json.find("contains")) {
    Contains demand{term(*contains), 0, 1, kUnlimited};
    limit("minContains", demand.least), limit("maxContains", demand.most);
    if (demand.least > demand.most) shape.array.least = kUnlimited, shape.array.most = 0;
    if (demand.least > 0 || demand.most != kUnlimited) shape.array.contains = {demand};
    if (annotate) evaluated.contains = true;
  }

  PropertyRule rule;
  if (const Json* properties = find_object(json, "properties", where))
    for (const auto& [name, value] : properties->members) {
      rule.names.emplace_back(name, term(value));
      if (annotate) evaluated.names.push_back(name);
    }
  if (const Json* patterns = find_object(json, "patternProperties", where))
    for (const auto& [pattern, value] : patterns->members) {
      rule.patterns.emplace_back(pattern_dfa(pattern, where + "/patternProperties"), term(value));
      if (annotate) evaluated.patterns.push_back(rule.patterns.back().first);
    }
  if (const Json* others = json.find("additionalProperties")) {
    rule.others = term(*others);
    if (annotate) evaluated.all_properties = true;
  }
  std::sort(rule.names.begin(), rule.names.end());
  for (size_t i = 1; i < rule.names.size(); ++i)
    require(rule.names[i].first != rule.names[i - 1].first, where, "/properties: ", json_string(rule.names[i].first), " stands twice");
  if (!rule.names.empty() || !rule.patterns.empty() || rule.others) shape.object.rules = {rule};
  if (const Json* required = json.find("required")) shape.object.required = names_of(*required, where + "/required");
  if (const Json* names = json.find("propertyNames")) shape.object.names = {term(*names)};
  join(shape.object.required, {});
  join(evaluated.names, {}), join(evaluated.patterns, {});
  tidy(shape);
  return shape;
}

Choice Shapes::meet(uint32_t schema, bool annotate, int depth) {
  const Json& json = document_.schema(schema);
  const std::string where = document_.where(schema);
  Choice out = {plain(schema, annotate)};
  const auto and_also = [&](const Choice& choice) { out = conjunction(out, choice, where); };
  const auto sub = [&](const Json& s, bool negated = false) { return expand(term(s, negated), annotate, depth + 1); };
  if (const Json* type = json.find("type")) {
    bool integer;
    const uint8_t types = types_of(*type, where, integer);
    Choice choice = {of_types(types)};
    if (integer) {
      choice.push_back(of_types(kNumber));
      choice.back().number.multiples = {{1, 0}};
    }
    and_also(choice);
  }
  for (const char* key : {"enum", "const"}) {
    if (!json.find(key)) continue;
    const Values values(values_in(json, key, where));
    Choice choice;
    if (values.types) choice.push_back(of_types(values.types));
    if (!values.strings.empty()) {
      choice.push_back(of_types(kString));
      choice.back().string.dfas = {{words_dfa(values.strings), true}};
    }
    for (const Decimal& x : values.numbers) {
      choice.push_back(of_types(kNumber));
      choice.back().number.low = choice.back().number.high = x;
    }
    for (const Json* value : values.others)
      for (Shape& shape : expand(term(of_value(*value)), false, depth + 1)) choice.push_back(std::move(shape));
    and_also(choice);
  }
  if (json.find("$ref")) and_also(expand({document_.reference(schema), false}, annotate, depth + 1));
  if (const Json* list = json.find("allOf"))
    for (const Json& s : list->items) and_also(sub(s));
  if (const Json* list = json.find("anyOf")) and_also(any_of(schema, *list, annotate, depth));
  if (const Json* list = json.find("oneOf")) and_also(one_of(schema, *list, annotate, depth));
  if (const Json* s = json.find("not")) and_also(expand(term(*s, true), false, depth + 1));
  if (const Json* condition = json.find("if")) {
    const Json *then = json.find("then"), *otherwise = json.find("else");
    if (then || otherwise || annotate) {
      Choice yes = sub(*condition), no = sub(*condition, true);
      if (then) yes = conjunction(yes, sub(*then), where);
      if (otherwise) no = conjunction(no, sub(*otherwise), where);
      yes.insert(yes.end(), no.begin(), no.end());
      and_also(yes);
    }
  }
  if (const Json* map = find_object(json, "dependentSchemas", where))
    for (const auto& [name, s] : map->members) {
      Choice choice = conjunction({with_property(name)}, sub(s), where);
      choice.push_back(without_property(name, nothing()));
      and_also(choice);
    }
  if (const Json* map = find_object(json, "dependentRequired", where))
    for (const auto& [name, list] : map->members) {
      Shape with = with_property(name);
      join(with.object.required, names_of(list, where + "/dependentRequired"));
      and_also({with, without_property(name, nothing())});
    }
  return out;
}

Choice Shapes::any_of(uint32_t schema, const Json& list, bool annotate, int depth) {
  Choice out;
  if (!annotate) {
    for (const Json& s : list.items)
      for (Shape& shape : expand(term(s), false, depth + 1)) out.push_back(std::move(shape));
    return out;
  }
  // Which of them hold decides what is evaluated.
  const std::string where = document_.where(schema);
  require(list.items.size() <= 6, where, ": anyOf of more than 6 schemas together with unevaluated properties or items");
  for (size_t set = 1; set < size_t{1} << list.items.size(); ++set) {
    Choice choice = {Shape{}};
    for (size_t i = 0; i < list.items.size(); ++i)
      choice = conjunction(choice, expand(term(list.items[i], !(set >> i & 1)), annotate, depth + 1), where);
    out.insert(out.end(), choice.begin(), choice.end());
  }
  return out;
}

// Whether it is seen at once that no value meets the shape: a property that must be there cannot be.
bool Shapes::is_impossible(const Shape& shape, int depth) {
  if (shape.types != kObject) return false;
  for (const std::string& name : shape.object.required) {
    Choice choice = {Shape{}};
    for (const PropertyRule& rule : shape.object.rules)
      for (const auto& [key, term] : rule.names)
        if (key == name && !choice.empty()) choice = conjunction(choice, expand(term, false, depth + 1), document_.where(term.schema));
    if (std::all_of(choice.begin(), choice.end(), [&](const Shape& s) { return s.types == kString && has_no_text(s.string); })) return true;
  }
  return false;
}

// Of enumerations and patterns that no text has in common.
bool Shapes::has_no_text(const StringDemand& demand) {
  if (demand.dfas.size() < 2) return false;
  const auto [at, is_new] = empty_texts_.try_emplace(demand.dfas, false);
  if (!is_new) return at->second;
  std::vector<const Dfa*> parts = {&dfas_[utf8()]};
  for (const auto& [number, inside] : demand.dfas) parts.push_back(&dfas_[number]);
  const Dfa common = product(parts, [&](std::span<const uint32_t> labels) -> uint32_t {
    for (size_t i = 0; i < demand.dfas.size(); ++i)
      if ((labels[i + 1] != 0) != demand.dfas[i].second) return 0;
    return labels[0];
  }, "schema: a pattern together with others");
  return at->second = common.start == 0;
}

Choice Shapes::one_of(uint32_t schema, const Json& list, bool annotate, int depth) {
  const std::string where = document_.where(schema);
  Choice out;
  std::vector<Choice> meeting;
  for (const Json& s : list.items) meeting.push_back(expand(term(s), annotate, depth + 1));
  for (size_t i = 0; i < list.items.size(); ++i) {
    Choice choice = meeting[i];
    for (size_t k = 0; k < list.items.size() && !choice.empty(); ++k) {
      if (k == i) continue;
      // Schemas that are told apart by a property, as they mostly are, need no negation.
      Choice together = conjunction(meeting[i], meeting[k], where);
      std::erase_if(together, [&](const Shape& shape) { return is_impossible(shape, depth); });
      if (!together.empty()) choice = conjunction(choice, expand(term(list.items[k], true), false, depth + 1), where);
    }
    out.insert(out.end(), choice.begin(), choice.end());
  }
  return out;
}

void Shapes::meet_unevaluated(uint32_t schema, Choice& choice) {
  const Json& json = document_.schema(schema);
  const Term any = {always_, false};
  if (const Json* s = json.find("unevaluatedProperties"))
    for (Shape& shape : choice) {
      if (shape.evaluated.all_properties) continue;
      PropertyRule rule;
      for (const std::string& name : shape.evaluated.names) rule.names.emplace_back(name, any);
      for (const uint32_t pattern : shape.evaluated.patterns) rule.patterns.emplace_back(pattern, any);
      rule.others = term(*s);
      join(shape.object.rules, {rule});
      shape.evaluated.all_properties = true;
    }
  if (const Json* s = json.find("unevaluatedItems"))
    for (Shape& shape : choice) {
      if (shape.evaluated.all_items) continue;
      require(!shape.evaluated.contains, document_.where(schema), ": unevaluatedItems together with contains is not supported");
      Shape rest;
      rest.array.prefix.resize(shape.evaluated.items);
      rest.array.rest = {term(*s)};
      shape = both(shape, rest);
      shape.evaluated.all_items = true;
    }
  join(choice, {});
}

}  // namespace ds::constrain
