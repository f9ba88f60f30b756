// The shapes of what breaks a schema, keyword by keyword: one of its keywords is not met.
#include <algorithm>
#include <optional>
#include <tuple>

#include "base/error.h"
#include "run/constraint/schema_algebra.h"

namespace ds::constrain {

Choice Shapes::miss(uint32_t schema, int depth) {
  const Json& json = document_.schema(schema);
  const std::string where = document_.where(schema);
  Choice out = miss_plain(schema);
  const auto or_else = [&](const Choice& choice) { out.insert(out.end(), choice.begin(), choice.end()); };
  const auto sub = [&](const Json& s, bool negated) { return expand(term(s, negated), false, depth + 1); };
  const auto all = [&](const Json& list, const std::vector<size_t>& meeting) {
    Choice choice = {Shape{}};
    for (size_t i = 0; i < list.items.size(); ++i)
      choice = conjunction(choice, sub(list.items[i], std::find(meeting.begin(), meeting.end(), i) == meeting.end()), where);
    return choice;
  };
  for (const char* key : {"unevaluatedProperties", "unevaluatedItems"})
    require(!json.find(key), where, ": ", key, " within a negation (not, if, oneOf) is not supported");
  for (const char* key : {"enum", "const"}) {
    if (!json.find(key)) continue;
    const Values values(values_in(json, key, where));
    Choice choice = {of_types(static_cast<uint8_t>(kAnyType & ~values.types))};
    if (!values.strings.empty()) {
      choice[0].string.dfas = {{words_dfa(values.strings), false}};
    }
    if (!values.numbers.empty()) {  // what lies between them
      Choice between = {of_types(kAnyType & ~kNumber)};
      for (size_t i = 0; i <= values.numbers.size(); ++i) {
        Shape shape = of_types(kNumber);
        if (i > 0) shape.number.low = values.numbers[i - 1], shape.number.low_open = true;
        if (i < values.numbers.size()) shape.number.high = values.numbers[i], shape.number.high_open = true;
        between.push_back(shape);
      }
      choice = conjunction(choice, between, where);
    }
    for (const Json* value : values.others) choice = conjunction(choice, sub(of_value(*value), true), where);
    or_else(choice);
  }
  if (json.find("$ref")) or_else(expand({document_.reference(schema), true}, false, depth + 1));
  if (const Json* list = json.find("allOf"))
    for (const Json& s : list->items) or_else(sub(s, true));
  if (const Json* list = json.find("anyOf")) or_else(all(*list, {}));
  if (const Json* list = json.find("oneOf")) {
    or_else(all(*list, {}));
    for (size_t i = 0; i < list->items.size(); ++i)
      for (size_t k = 0; k < i; ++k) or_else(conjunction(sub(list->items[i], false), sub(list->items[k], false), where));
  }
  if (const Json* s = json.find("not")) or_else(sub(*s, false));
  if (const Json* condition = json.find("if")) {
    if (const Json* then = json.find("then")) or_else(conjunction(sub(*condition, false), sub(*then, true), where));
    if (const Json* otherwise = json.find("else")) or_else(conjunction(sub(*condition, true), sub(*otherwise, true), where));
  }
  if (const Json* map = find_object(json, "dependentSchemas", where))
    for (const auto& [name, s] : map->members) or_else(conjunction({with_property(name)}, sub(s, true), where));
  if (const Json* map = find_object(json, "dependentRequired", where))
    for (const auto& [name, list] : map->members)
      for (const std::string& missing : names_of(list, where + "/dependentRequired"))
        or_else(conjunction({with_property(name)}, {without_property(missing, nothing())}, where));
  join(out, {});
  require(out.size() <= kMostShapes, where, ": more than ", kMostShapes, " alternatives when a negation is worked out");
  return out;
}

Choice Shapes::miss_plain(uint32_t schema) {
  const Json& json = document_.schema(schema);
  const std::string where = document_.where(schema);
  const Shape meets = plain(schema, false);
  Choice out;
  const auto add = [&](uint8_t types) -> Shape& { return out.emplace_back(of_types(types)); };
  if (const Json* type = json.find("type")) {
    bool integer;
    const uint8_t types = types_of(*type, where, integer);
    add(static_cast<uint8_t>(kAnyType & ~types & ~(integer ? kNumber : 0)));
    if (integer) add(kNumber).number.others = {{1, 0}};
  }
  for (const auto& [key, is_low, open] : {std::tuple{"minimum", true, false}, {"exclusiveMinimum", true, true}, {"maximum", false, false}, {"exclusiveMaximum", false, true}})
    if (const Json* value = json.find(key)) {
      NumberSet& set = add(kNumber).number;
      (is_low ? set.high : set.low) = bound(*value, where + "/" + key);
      (is_low ? set.high_open : set.low_open) = !open;
    }
  if (const Json* value = json.find("multipleOf")) add(kNumber).number.others = {modulus(*value, where)};
  const StringDemand& string = meets.string;
  const auto text_count = [&](const char* key) -> std::optional<uint64_t> {
    const Json* value = json.find(key);
    return value ? std::optional(count(*value, where + "/" + key)) : std::nullopt;
  };
  if (const auto n = text_count("minLength"); n && *n > 0) add(kString).string.most = *n - 1;
  if (const auto n = text_count("maxLength")) add(kString).string.least = *n + 1;
  for (const auto& [dfa, inside] : string.dfas) add(kString).string.dfas = {{dfa, false}};
  if (const Json* value = json.find("pattern"); value && string.dfas.empty())
    add(kString).string.dfas = {{pattern_dfa(value->text, where), false}};
  if (const auto n = text_count("minItems"); n && *n > 0) add(kArray).array.most = *n - 1;
  if (const auto n = text_count("maxItems")) add(kArray).array.least = *n + 1;
  require(!json.find("uniqueItems") || !json.find("uniqueItems")->boolean, where, ": uniqueItems within a negation (not, if, oneOf) is not supported");
  const Json* prefix = json.find("prefixItems");
  if (prefix)
    for (size_t i = 0; i < prefix->items.size(); ++i) {
      ArrayDemand& array = add(kArray).array;
      array.least = i + 1;
      array.prefix.resize(i + 1);
      array.prefix[i] = {term(prefix->items[i], true)};
    }
  if (const Json* items = json.find("items"))
    add(kArray).array.contains = {{term(*items, true), prefix ? prefix->items.size() : 0, 1, kUnlimited}};
  if (const Json* contains = json.find("contains")) {
    const uint64_t least = text_count("minContains").value_or(1);
    if (least > 0) add(kArray).array.contains = {{term(*contains), 0, 0, least - 1}};
    if (const auto most = text_count("maxContains")) add(kArray).array.contains = {{term(*contains), 0, *most + 1, kUnlimited}};
  }
  if (const auto n = text_count("minProperties"); n && *n > 0) add(kObject).object.most = *n - 1;
  if (const auto n = text_count("maxProperties")) add(kObject).object.least = *n + 1;
  if (const Json* required = json.find("required"))
    for (const std::string& name : names_of(*required, where + "/required")) {
      Shape shape = without_property(name, nothing());
      shape.types = kObject;
      out.push_back(shape);
    }
  Witness others;
  if (const Json* properties = json.find("properties"))
    for (const auto& [name, value] : properties->members) {
      others.except_names.push_back(name);
      Shape shape = with_property(name);
      shape.object.rules = {{{{name, term(value, true)}}, {}, {}}};
      out.push_back(shape);
    }
  if (const Json* patterns = json.find("patternProperties"))
    for (const auto& [pattern, value] : patterns->members) {
      Witness witness;
      witness.pattern = pattern_dfa(pattern, where);
      others.except_patterns.push_back(*witness.pattern);
      witness.value = term(value, true);
      add(kObject).object.witnesses = {witness};
    }
  join(others.except_names, {}), join(others.except_patterns, {});
  if (const Json* value = json.find("additionalProperties")) {
    others.value = term(*value, true);
    add(kObject).object.witnesses = {others};
  }
  if (const Json* names = json.find("propertyNames")) {
    Witness witness;
    witness.name = term(*names, true);
    add(kObject).object.witnesses = {witness};
  }
  for (Shape& shape : out) tidy(shape);
  std::erase_if(out, [](const Shape& shape) { return shape.types == 0; });
  return out;
}

}  // namespace ds::constrain
