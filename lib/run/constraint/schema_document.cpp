#include "run/constraint/schema_document.h"

#include <algorithm>
#include <optional>

#include "base/error.h"

namespace ds::constrain {
namespace {

constexpr size_t kMostSchemas = 20'000;
constexpr std::string_view kDraft = "https://json-schema.org/draft/2020-12/schema";

const std::string_view kOneSchema[] = {"additionalProperties", "contains", "else", "if", "items", "not", "propertyNames", "then",
                                       "unevaluatedItems", "unevaluatedProperties"};
const std::string_view kSchemaLists[] = {"allOf", "anyOf", "oneOf", "prefixItems"};
const std::string_view kSchemaMaps[] = {"$defs", "definitions", "dependentSchemas", "patternProperties", "properties"};
const std::string_view kOthers[] = {
    "$anchor", "$comment", "$dynamicAnchor", "$id", "$ref", "$schema", "const", "contentEncoding", "contentMediaType", "contentSchema",
    "default", "dependentRequired", "deprecated", "description", "enum", "examples", "exclusiveMaximum", "exclusiveMinimum", "format",
    "maxContains", "maxItems", "maxLength", "maxProperties", "maximum", "minContains", "minItems", "minLength", "minProperties",
    "minimum", "multipleOf", "pattern", "readOnly", "required", "title", "type", "uniqueItems", "writeOnly"};

template <size_t n>
bool is_one_of(const std::string_view (&list)[n], std::string_view name) {
  return std::find(std::begin(list), std::end(list), name) != std::end(list);
}

std::string escaped(std::string_view token) {
  std::string out;
  for (const char c : token) out += c == '~' ? "~0" : c == '/' ? "~1" : std::string(1, c);
  return out;
}

// A URI without its fragment, in parts (RFC 3986).
struct Uri {
  std::string scheme, authority, path, query;
  explicit Uri(std::string_view text) {
    const size_t colon = text.find_first_of(":/?#");
    if (colon != text.npos && text[colon] == ':') scheme = text.substr(0, colon + 1), text.remove_prefix(colon + 1);
    if (text.starts_with("//")) {
      const size_t end = std::min(text.find_first_of("/?", 2), text.size());
      authority = text.substr(0, end);
      text.remove_prefix(end);
    }
    const size_t question = std::min(text.find('?'), text.size());
    path = text.substr(0, question);
    query = text.substr(question);
  }
  std::string text() const { return scheme + authority + path + query; }
};

std::string without_dots(std::string_view path) {
  std::vector<std::string> kept;
  bool is_folder = false;
  for (size_t at = 0; at <= path.size();) {
    const size_t end = std::min(path.find('/', at), path.size());
    const std::string_view part = path.substr(at, end - at);
    is_folder = part == "." || part == "..";
    if (part == ".." && kept.size() > 1) kept.pop_back();
    if (!is_folder) kept.emplace_back(part);
    at = end + 1;
  }
  if (is_folder) kept.emplace_back();
  std::string out;
  for (size_t i = 0; i < kept.size(); ++i) out += (i ? "/" : "") + kept[i];
  return out;
}

std::string resolved(const std::string& base, std::string_view reference) {
  Uri made(reference);
  const Uri from(base);
  if (!made.scheme.empty()) return made.text();
  made.scheme = from.scheme;
  if (!made.authority.empty()) return made.text();
  made.authority = from.authority;
  if (made.path.empty()) {
    made.path = from.path;
    if (made.query.empty()) made.query = from.query;
  } else if (made.path[0] != '/') {
    const size_t slash = from.path.rfind('/');
    const std::string folder = slash == from.path.npos ? (from.authority.empty() ? "" : "/") : from.path.substr(0, slash + 1);
    made.path = without_dots(folder + made.path);
  } else {
    made.path = without_dots(made.path);
  }
  return made.text();
}

std::string percent_decoded(std::string_view text) {
  std::string out;
  const auto digit = [](char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1; };
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && digit(text[i + 1]) >= 0 && digit(text[i + 2]) >= 0) {
      out += static_cast<char>(digit(text[i + 1]) * 16 + digit(text[i + 2]));
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

const Json* follow(const Json& root, std::string_view pointer) {
  const Json* at = &root;
  while (!pointer.empty() && at) {
    pointer.remove_prefix(1);
    const size_t end = std::min(pointer.find('/'), pointer.size());
    std::string token;
    for (size_t i = 0; i < end; ++i)
      token += pointer[i] == '~' && i + 1 < end ? (pointer[++i] == '1' ? '/' : '~') : pointer[i];
    pointer.remove_prefix(end);
    if (at->type == Json::Type::array) {
      size_t index = 0;
      const bool is_number = !token.empty() && token.size() < 7 && token.find_first_not_of("0123456789") == token.npos;
      if (is_number) index = std::stoul(token);
      at = is_number && index < at->items.size() ? &at->items[index] : nullptr;
    } else {
      at = at->find(token);
    }
  }
  return at;
}

}  // namespace

SchemaDocument::SchemaDocument(std::string_view json) : root_(parse_json(json, "schema")) {
  visit(root_, "", "", 0);
  for (size_t i = 0; i < schemas_.size(); ++i) {  // a reference may lead to what was not known to be a schema
    const Json* ref = schemas_[i].json->find("$ref");
    if (!ref) continue;
    const Json& target = resolve(schemas_[i], ref->as_string(where(static_cast<uint32_t>(i)) + "/$ref"));
    if (!numbers_.contains(&target)) visit(target, schemas_[i].base, "/" + escaped(ref->text), 0);
    schemas_[i].reference = numbers_.at(&target);
  }
}

void SchemaDocument::check(const Json& json, const std::string& where) const {
  require(json.type == Json::Type::object || json.type == Json::Type::boolean, where, ": a schema is an object or a boolean");
  for (size_t i = 0; i < json.members.size(); ++i) {
    const auto& [key, value] = json.members[i];
    const bool known = is_one_of(kOneSchema, key) || is_one_of(kSchemaLists, key) || is_one_of(kSchemaMaps, key) || is_one_of(kOthers, key);
    require(known || key.starts_with("x-"), where, ": the keyword ", json_string(key), " is not supported");
    for (size_t k = 0; k < i; ++k) require(json.members[k].first != key, where, ": the keyword ", key, " stands twice");
    if (key == "$schema") {
      std::string draft = value.as_string(where + "/$schema");
      if (draft.ends_with('#')) draft.pop_back();
      require(draft == kDraft, where, ": $schema ", json_string(draft), " is not supported, only ", kDraft, " is");
    }
  }
}

void SchemaDocument::visit(const Json& json, std::string base, std::string pointer, int depth) {
  const std::string where = "schema: #" + pointer;
  require(depth < 200, where, ": schemas nest too deeply");
  if (numbers_.contains(&json)) return;
  require(schemas_.size() < kMostSchemas, where, ": more than ", kMostSchemas, " schemas");
  check(json, where);
  if (const Json* id = json.find("$id")) {
    std::string text = id->as_string(where + "/$id");
    if (text.ends_with('#')) text.pop_back();
    require(text.find('#') == text.npos, where, ": an $id with a fragment is not supported");
    base = resolved(base, text);
    require(resources_.try_emplace(base, &json).second, where, ": a second $id ", json_string(base));
  } else if (depth == 0 && schemas_.empty()) {
    resources_.try_emplace(base, &json);
  }
  for (const char* name : {"$anchor", "$dynamicAnchor"})
    if (const Json* anchor = json.find(name))
      require(anchors_.try_emplace(base + "#" + anchor->as_string(where + "/" + name), &json).second, where, ": a second ", name, " ",
              anchor->text);
  numbers_[&json] = static_cast<uint32_t>(schemas_.size());
  schemas_.push_back({&json, base, pointer});
  for (const auto& [key, value] : json.members) {
    const std::string at = pointer + "/" + escaped(key);
    if (is_one_of(kOneSchema, key)) {
      visit(value, base, at, depth + 1);
    } else if (is_one_of(kSchemaLists, key)) {
      require(value.type == Json::Type::array && (!value.items.empty()), "schema: #", at, ": an array of schemas is expected");
      for (size_t i = 0; i < value.items.size(); ++i) visit(value.items[i], base, at + "/" + std::to_string(i), depth + 1);
    } else if (is_one_of(kSchemaMaps, key)) {
      require(value.type == Json::Type::object, "schema: #", at, ": an object of schemas is expected");
      for (size_t i = 0; i < value.members.size(); ++i) visit(value.members[i].second, base, at + "/" + escaped(value.members[i].first), depth + 1);
    }
  }
}

const Json& SchemaDocument::resolve(const Schema& from, const std::string& reference) {
  const size_t hash = std::min(reference.find('#'), reference.size());
  const std::string uri = resolved(from.base, std::string_view(reference).substr(0, hash));
  const std::string fragment = hash < reference.size() ? percent_decoded(std::string_view(reference).substr(hash + 1)) : "";
  const Json* found = nullptr;
  if (!fragment.empty() && fragment[0] != '/') {
    const auto at = anchors_.find(uri + "#" + fragment);
    if (at != anchors_.end()) found = at->second;
  } else if (const auto at = resources_.find(uri); at != resources_.end()) {
    found = follow(*at->second, fragment);
  }
  require(found, "schema: #", from.pointer, ": $ref ", json_string(reference),
          " leads to nothing in this document; references to others are not supported");
  return *found;
}

uint32_t SchemaDocument::number(const Json& schema) {
  const auto at = numbers_.find(&schema);
  require(at != numbers_.end(), "schema: a value that is no schema");
  return at->second;
}

uint32_t SchemaDocument::reference(uint32_t number) const { return schemas_[number].reference; }

const Json& SchemaDocument::synthesize(Json schema) {
  const Json& kept = synthesized_.emplace_back(std::move(schema));
  visit(kept, " synthesized " + std::to_string(synthesized_.size()), "", 0);
  return kept;
}

}  // namespace ds::constrain
