// Inside the room: what Shapes works with: demands of one shape and of two together, and the parts of a keyword's value.
#pragma once
#include <algorithm>
#include <string>
#include <vector>

#include "run/constraint/schema_shapes.h"

namespace ds::constrain {

constexpr size_t kMostShapes = 2000;  // alternatives of one schema

// The union of two sets, in order and each once.
template <class T>
void join(std::vector<T>& to, const std::vector<T>& from) {
  to.insert(to.end(), from.begin(), from.end());
  std::sort(to.begin(), to.end());
  to.erase(std::unique(to.begin(), to.end()), to.end());
}

Shape of_types(uint8_t types);
// Drops demands on types that the shape does not have, and types whose demands no value meets.
void tidy(Shape& shape);
// What meets both; tidy.
Shape both(const Shape& a, const Shape& b);
// Objects that lack the property, and all that is no object; `nothing` is the term that no value meets.
Shape without_property(const std::string& name, Term nothing);
Shape with_property(const std::string& name);  // objects that have it

// Parts of a keyword's value; Errors begin with `where`.
std::vector<std::string> names_of(const Json& list, const std::string& where);
const Json* find_object(const Json& schema, const char* key, const std::string& where);  // null: there is none
std::vector<const Json*> values_in(const Json& schema, const char* key, const std::string& where);  // of "const", "enum"

// The values of an enumeration, by what tells them apart.
struct Values {
  uint8_t types = 0;
  std::vector<std::string> strings;
  std::vector<Decimal> numbers;
  std::vector<const Json*> others;
  explicit Values(std::vector<const Json*> list) {
    for (const Json* value : list) switch (value->type) {
        case Json::Type::null: types |= kNull; break;
        case Json::Type::boolean: types |= value->boolean ? kTrue : kFalse; break;
        case Json::Type::string: strings.push_back(value->text); break;
        case Json::Type::number: numbers.push_back(Decimal::parse(value->text)); break;
        default: others.push_back(value);
      }
    join(strings, {});
    join(numbers, {});
  }
};

}  // namespace ds::constrain
