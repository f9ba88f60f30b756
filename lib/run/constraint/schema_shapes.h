// A schema as a choice of shapes: each is a conjunction of plain demands on a value, by its type. References, combinations
// and negations are worked out, one level of values at a time.
#pragma once
#include <compare>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "run/constraint/decimal.h"
#include "run/constraint/dfa.h"
#include "run/constraint/schema_document.h"

namespace ds::constrain {

// A schema that a value must meet, or must not.
struct Term {
  uint32_t schema;
  bool negated;
  auto operator<=>(const Term&) const = default;
};
using Terms = std::vector<Term>;  // all of them; sorted
void add_term(Terms& terms, Term term);
Terms joined(Terms a, const Terms& b);

constexpr uint64_t kUnlimited = ~uint64_t{0};

enum TypeBit : uint8_t { kNull = 1, kFalse = 2, kTrue = 4, kNumber = 8, kString = 16, kArray = 32, kObject = 64, kAnyType = 127 };

struct StringDemand {
  std::vector<std::pair<uint32_t, bool>> dfas;  // of Shapes::dfa(), and whether the text is in it
  uint64_t least = 0, most = kUnlimited;        // characters
  auto operator<=>(const StringDemand&) const = default;
};

// Some of the items from a place on.
struct Contains {
  Term term;
  uint64_t from, least, most;
  auto operator<=>(const Contains&) const = default;
};
struct ArrayDemand {
  std::vector<Terms> prefix;
  Terms rest;
  uint64_t least = 0, most = kUnlimited;
  std::vector<Contains> contains;
  bool unique = false;
  auto operator<=>(const ArrayDemand&) const = default;
};

// Which properties a demand is about: those of the names and patterns, or all others.
struct PropertyRule {
  std::vector<std::pair<std::string, Term>> names;
  std::vector<std::pair<uint32_t, Term>> patterns;  // dfas
  std::optional<Term> others;
  auto operator<=>(const PropertyRule&) const = default;
};
// There is a property: of a pattern, or of a name that is none of the names and patterns, or breaks a schema.
struct Witness {
  std::optional<uint32_t> pattern;
  std::vector<std::string> except_names;
  std::vector<uint32_t> except_patterns;
  std::optional<Term> name;
  std::optional<Term> value;
  auto operator<=>(const Witness&) const = default;
};
struct ObjectDemand {
  std::vector<PropertyRule> rules;
  std::vector<std::string> required;
  Terms names;                     // propertyNames
  uint64_t least = 0, most = kUnlimited;
  std::vector<Witness> witnesses;
  auto operator<=>(const ObjectDemand&) const = default;
};

// What a shape has looked at, for unevaluated*.
struct Evaluated {
  bool all_properties = false, all_items = false, contains = false;
  std::vector<std::string> names;
  std::vector<uint32_t> patterns;
  uint64_t items = 0;
  auto operator<=>(const Evaluated&) const = default;
};

struct Shape {
  uint8_t types = kAnyType;
  NumberSet number;
  StringDemand string;
  ArrayDemand array;
  ObjectDemand object;
  Evaluated evaluated;
  auto operator<=>(const Shape&) const = default;
};
using Choice = std::vector<Shape>;

class Shapes {
 public:
  explicit Shapes(std::string_view json);
  // Every value that meets all terms has one of the shapes, and the reverse.
  Choice choice(const Terms& terms);
  const Dfa& dfa(uint32_t number) const { return dfas_[number]; }
  uint32_t utf8() const { return 0; }                            // the dfa of every text
  Term nothing() const { return {always_, true}; }               // met by no value
  const SchemaDocument& document() const { return document_; }

 private:
  Choice expand(Term term, bool annotate, int depth);
  Choice meet(uint32_t schema, bool annotate, int depth);
  Choice miss(uint32_t schema, int depth);
  Choice conjunction(const Choice& a, const Choice& b, const std::string& where);
  Choice any_of(uint32_t schema, const Json& list, bool annotate, int depth);
  bool is_impossible(const Shape& shape, int depth);
  bool has_no_text(const StringDemand& demand);
  Choice one_of(uint32_t schema, const Json& list, bool annotate, int depth);
  Shape plain(uint32_t schema, bool annotate);
  Choice miss_plain(uint32_t schema);
  void meet_unevaluated(uint32_t schema, Choice& choice);
  const Json& of_value(const Json& value);
  uint8_t types_of(const Json& type, const std::string& where, bool& integer) const;
  Modulus modulus(const Json& value, const std::string& where) const;
  uint64_t count(const Json& value, const std::string& where) const;
  Decimal bound(const Json& value, const std::string& where) const;
  uint32_t pattern_dfa(const std::string& pattern, const std::string& where);
  uint32_t words_dfa(const std::vector<std::string>& sorted);
  Term term(const Json& schema, bool negated = false) { return {document_.number(schema), negated}; }

  SchemaDocument document_;
  std::deque<Dfa> dfas_;
  std::map<std::string, uint32_t> patterns_, words_;
  std::map<const Json*, const Json*> values_;
  std::map<std::vector<std::pair<uint32_t, bool>>, bool> empty_texts_;
  uint32_t always_ = 0;
  size_t work_ = 0;
};

}  // namespace ds::constrain
