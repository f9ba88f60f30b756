// A JSON schema (draft 2020-12) as a list of its subschemas, with references resolved.
#pragma once
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "io/json.h"

namespace ds::constrain {

class SchemaDocument {
 public:
  // Error for what is no schema, keywords that are not known, other drafts, and references out of the document.
  explicit SchemaDocument(std::string_view json);

  // Schemas by number; 0 is the root.
  const Json& schema(uint32_t number) const { return *schemas_[number].json; }
  // Where it stands, for messages: "schema: #/properties/a".
  std::string where(uint32_t number) const { return "schema: #" + schemas_[number].pointer; }
  uint32_t number(const Json& schema);                  // of a subschema that stands in a known one, or was synthesized
  uint32_t reference(uint32_t number) const;            // what its $ref leads to
  const Json& synthesize(Json schema);                  // kept as long as the document

 private:
  struct Schema {
    const Json* json;
    std::string base, pointer;
    uint32_t reference = ~0u;
  };
  void visit(const Json& json, std::string base, std::string pointer, int depth);
  void check(const Json& json, const std::string& where) const;
  const Json& resolve(const Schema& from, const std::string& reference);

  Json root_;
  std::deque<Json> synthesized_;
  std::vector<Schema> schemas_;
  std::unordered_map<const Json*, uint32_t> numbers_;
  std::map<std::string, const Json*> resources_, anchors_;  // by URI; URI#anchor
};

}  // namespace ds::constrain
