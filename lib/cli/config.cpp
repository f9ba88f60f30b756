// --config FILE: a key is an option's long name without dashes; a table is a verb's: near = 0.8, [pretrain] steps =
// 100.
#include <algorithm>

#include "cli/declared.h"
#include "io/input.h"
#include "io/toml.h"

namespace ds {

static std::string scalar_text(const Json& value, const std::string& where) {
  switch (value.type) {
    case Json::Type::boolean:
      return value.boolean ? "true" : "false";
    case Json::Type::number:
    case Json::Type::string:
      return value.text;
    default:
      throw UsageError(cat(where, ": expected a text, a number or true/false"));
  }
}

// The words that would stand on the command line.
static std::vector<std::string> words_of(const Declared& o, const Json& value, const std::string& where) {
  if (o.counted) {
    const std::string text = scalar_text(value, where);
    if (text.size() != 1 || text[0] < '0' || text[0] > '9')
      throw UsageError(cat(where, ": expected a number from 0 to 9"));
    return std::vector<std::string>(static_cast<size_t>(text[0] - '0'), "true");
  }
  if (o.is_flag() && value.type != Json::Type::boolean) throw UsageError(cat(where, ": expected true or false"));
  if (!o.is_flag() && value.type == Json::Type::boolean)
    throw UsageError(cat(where, ": expected ", o.unit, ", not true or false"));
  if (value.type != Json::Type::array) return {scalar_text(value, where)};
  if (!o.is_vector()) throw UsageError(cat(where, ": takes one value, not a list"));
  std::vector<std::string> words;
  for (const Json& item : value.items) words.push_back(scalar_text(item, where));
  return words;
}

static const Declared* find(const Verb& verb, const std::string& key) {
  for (const Declared& o : verb.options)
    if (!o.hidden && !o.is_positional() && o.key() == key) return &o;
  return nullptr;
}

static std::vector<std::string> keys(const Verb& verb) {
  std::vector<std::string> all;
  for (const Declared& o : verb.options)
    if (!o.hidden && !o.is_positional()) all.push_back(o.key());
  return all;
}

static const Verb* find_verb(const Tool& tool, const std::string& name) {
  for (const Verb* verb : tool.verbs)
    if (!name.empty() && verb->name == name) return verb;
  return nullptr;
}

std::vector<std::pair<const Declared*, std::vector<std::string>>> read_config(const std::string& path, const Tool& tool,
                                                                              const Verb& verb) {
  Json document;
  const std::string bytes = read_file(path);
  try {
    document = parse_toml(bytes, path);
  } catch (const Error& e) {
    throw UsageError(e.what());
  }
  std::vector<std::pair<const Declared*, std::vector<std::string>>> found;
  const auto take = [&](const Verb& of, const std::string& key, const Json& value) {
    const Declared* o = find(of, key);
    if (!o) return false;
    auto words = words_of(*o, value, cat(path, ": ", key));
    if (&of != &verb || words.empty()) return true;
    std::erase_if(found, [o](const auto& f) { return f.first == o; });  // a verb's own table wins over the top
    found.emplace_back(o, std::move(words));
    return true;
  };
  for (const auto& [key, value] : document.members) {
    if (value.type == Json::Type::object) continue;
    // What stands above all tables is for the verbs that have it; no verb having it is a mistake.
    bool known = false;
    std::vector<std::string> near;
    for (const Verb* each : tool.verbs) {
      known = take(*each, key, value) || known;
      for (auto& k : keys(*each)) near.push_back(std::move(k));
    }
    if (!known) throw UsageError(cat(path, ": unknown key '", key, "'", nearest(key, near)));
  }
  for (const auto& [key, value] : document.members) {
    if (value.type != Json::Type::object) continue;
    const Verb* of = find_verb(tool, key);
    if (!of) throw UsageError(cat(path, ": unknown table [", key, "]"));
    for (const auto& [inner, inner_value] : value.members)
      if (!take(*of, inner, inner_value))
        throw UsageError(cat(path, ": unknown key '", inner, "' in [", key, "]", nearest(inner, keys(*of))));
  }
  return found;
}

}  // namespace ds
