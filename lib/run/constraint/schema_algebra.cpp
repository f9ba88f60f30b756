#include "run/constraint/schema_algebra.h"

#include "base/error.h"

namespace ds::constrain {

void add_term(Terms& terms, Term term) {
  const auto at = std::lower_bound(terms.begin(), terms.end(), term);
  if (at == terms.end() || *at != term) terms.insert(at, term);
}

Terms joined(Terms a, const Terms& b) {
  for (const Term& term : b) add_term(a, term);
  return a;
}

Shape of_types(uint8_t types) {
  Shape shape;
  shape.types = types;
  return shape;
}

void tidy(Shape& shape) {
  if (shape.types & kNumber && !shape.number.is_all() && shape.number.is_empty()) shape.types &= static_cast<uint8_t>(~kNumber);
  if (shape.string.least > shape.string.most) shape.types &= static_cast<uint8_t>(~kString);
  for (const auto& [dfa, inside] : shape.string.dfas)
    if (!inside && std::binary_search(shape.string.dfas.begin(), shape.string.dfas.end(), std::pair{dfa, true}))
      shape.types &= static_cast<uint8_t>(~kString);
  if (shape.array.least > shape.array.most) shape.types &= static_cast<uint8_t>(~kArray);
  if (shape.object.least > shape.object.most) shape.types &= static_cast<uint8_t>(~kObject);
  if (!(shape.types & kNumber)) shape.number = {};
  if (!(shape.types & kString)) shape.string = {};
  if (!(shape.types & kArray)) shape.array = {};
  if (!(shape.types & kObject)) shape.object = {};
}

Shape both(const Shape& a, const Shape& b) {
  Shape out = a;
  out.types &= b.types;
  out.number.intersect(b.number);
  join(out.string.dfas, b.string.dfas);
  out.string.least = std::max(out.string.least, b.string.least);
  out.string.most = std::min(out.string.most, b.string.most);
  ArrayDemand& array = out.array;
  for (size_t i = 0; i < std::max(a.array.prefix.size(), b.array.prefix.size()); ++i) {
    if (i >= array.prefix.size()) array.prefix.push_back(a.array.rest);
    array.prefix[i] = joined(array.prefix[i], i < b.array.prefix.size() ? b.array.prefix[i] : b.array.rest);
  }
  array.rest = joined(array.rest, b.array.rest);
  array.least = std::max(array.least, b.array.least);
  array.most = std::min(array.most, b.array.most);
  array.unique |= b.array.unique;
  join(array.contains, b.array.contains);
  ObjectDemand& object = out.object;
  join(object.rules, b.object.rules);
  join(object.required, b.object.required);
  object.names = joined(object.names, b.object.names);
  object.least = std::max(object.least, b.object.least);
  object.most = std::min(object.most, b.object.most);
  join(object.witnesses, b.object.witnesses);
  Evaluated& evaluated = out.evaluated;
  evaluated.all_properties |= b.evaluated.all_properties;
  evaluated.all_items |= b.evaluated.all_items;
  evaluated.contains |= b.evaluated.contains;
  evaluated.items = std::max(evaluated.items, b.evaluated.items);
  join(evaluated.names, b.evaluated.names);
  join(evaluated.patterns, b.evaluated.patterns);
  tidy(out);
  return out;
}

Shape without_property(const std::string& name, Term nothing) {
  Shape shape;
  shape.object.rules = {{{{name, nothing}}, {}, {}}};
  return shape;
}

Shape with_property(const std::string& name) {
  Shape shape = of_types(kObject);
  shape.object.required = {name};
  return shape;
}

std::vector<std::string> names_of(const Json& list, const std::string& where) {
  require(list.type == Json::Type::array, where, ": an array of names is expected");
  std::vector<std::string> out;
  for (const Json& item : list.items) out.push_back(item.as_string(where));
  return out;
}

const Json* find_object(const Json& schema, const char* key, const std::string& where) {
  const Json* found = schema.find(key);
  require(!found || found->type == Json::Type::object, where, "/", key, ": an object is expected");
  return found;
}

std::vector<const Json*> values_in(const Json& schema, const char* key, const std::string& where) {
  const Json* found = schema.find(key);
  if (std::string_view(key) == "const") return {found};
  require(found->type == Json::Type::array, where, "/enum: an array is expected");
  std::vector<const Json*> out;
  for (const Json& item : found->items) out.push_back(&item);
  return out;
}

}  // namespace ds::constrain
