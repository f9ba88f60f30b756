#include "clean/rules/policy.h"

#include <algorithm>

#include "base/edit_distance.h"
#include "base/error.h"
#include "io/input.h"
#include "io/toml.h"

namespace ds {
namespace {

constexpr size_t kMostBytes = 1 << 20, kMostNameBytes = 64;

[[noreturn]] void wrong(std::string_view where, const auto&... message) {
  throw UsageError(cat(where, ": ", message...));
}

const char* kind_of(const Json& value) {
  switch (value.type) {
    case Json::Type::string:
      return "a string";
    case Json::Type::array:
      return "an array";
    case Json::Type::object:
      return "a table";
    case Json::Type::boolean:
      return "a boolean";
    default:
      return "a number";
  }
}

void check_keys(const Json& table, std::initializer_list<std::string_view> known, std::string_view where) {
  for (const auto& [key, value] : table.members) {
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    std::string_view near;
    for (const std::string_view name : known)
      if (key.size() < 64 && edit_distance(key, name) <= 2) near = name;
    std::string message = cat("unknown key '", key.substr(0, 64), "'");
    if (!near.empty()) throw UsageError(cat(where, ": ", message, "; did you mean '", near, "'?"));
    std::string all;
    for (const std::string_view name : known) all += cat(all.empty() ? "" : ", ", name);
    wrong(where, message, "; the keys are ", all);
  }
}

const std::string& string_of(const Json& value, std::string_view key, std::string_view where) {
  if (value.type != Json::Type::string) wrong(where, key, " must be a string, not ", kind_of(value));
  return value.text;
}

// The rule of a table that has drop_if or keep_if.
void add_rule(Policy& policy, const Json& table, const std::string& reason, std::string_view where) {
  const Json* drop = table.find("drop_if");
  const Json* keep = table.find("keep_if");
  if (drop && keep) wrong(where, "both drop_if and keep_if; write two rules");
  if (!drop && !keep) wrong(where, "neither drop_if nor keep_if");
  const std::string& text = string_of(drop ? *drop : *keep, drop ? "drop_if" : "keep_if", where);
  Expression condition = Expression::parse(text, where);
  policy.groups |= condition.groups();
  policy.rules.push_back({reason, std::move(condition), keep != nullptr});
}

std::string name_of(const Json& table, const Policy& policy, std::string_view where) {
  const Json* name = table.find("name");
  if (!name) wrong(where, "no name; the name is the reason of its drops");
  const std::string& text = string_of(*name, "name", where);
  const bool plain = text.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-_") == std::string::npos;
  if (text.empty() || text.size() > kMostNameBytes || !plain)
    wrong(where, "a name is of 1 to ", kMostNameBytes, " lower-case letters, digits, - and _, not '",
          text.substr(0, kMostNameBytes), "'");
  for (const Policy::Rule& rule : policy.rules)
    if (rule.reason == text) wrong(where, "a second rule of the name '", text, "'");
  return text;
}

}  // namespace

const Policy::Rule* Policy::first_match(const Signals& signals, const Record& record) const {
  for (const Rule& rule : rules)
    if (rule.drops(signals, record)) return &rule;
  return nullptr;
}

Policy parse_policy(std::string_view text, std::string_view where) {
  if (text.size() > kMostBytes) wrong(where, text.size(), " bytes; a policy has at most ", kMostBytes);
  Json file;
  try {
    file = parse_toml(text, where);
  } catch (const Error& error) {
    throw UsageError(error.what());
  }
  check_keys(file, {"drop_if", "keep_if", "rule"}, where);
  Policy policy;
  if (file.find("drop_if") || file.find("keep_if")) add_rule(policy, file, "rules", where);
  if (const Json* rules = file.find("rule")) {
    if (rules->type == Json::Type::object) wrong(where, "a rule begins with [[rule]], in two brackets");
    if (rules->type != Json::Type::array)
      wrong(where, "rule must be tables that begin with [[rule]], not ", kind_of(*rules));
    for (size_t i = 0; i < rules->items.size(); ++i) {
      const Json& table = rules->items[i];
      const std::string nth = cat(where, ": rule ", i + 1);
      if (table.type != Json::Type::object) wrong(nth, "must be a table, not ", kind_of(table));
      check_keys(table, {"name", "drop_if", "keep_if"}, nth);
      const std::string name = name_of(table, policy, nth);
      add_rule(policy, table, name, cat(where, ": rule '", name, "'"));
    }
  }
  if (policy.rules.empty()) wrong(where, "no rule; write drop_if = \"...\" or [[rule]] tables");
  return policy;
}

Policy read_policy(const std::string& path) { return parse_policy(read_file(path), path); }

}  // namespace ds
