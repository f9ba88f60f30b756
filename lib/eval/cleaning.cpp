#include "eval/cleaning.h"

#include <algorithm>

#include "base/error.h"

namespace ds {
namespace {

const Json& member(const Json& object, const char* key, const std::string& where) {
  const Json* const found = object.find(key);
  require(found, where, ": no member \"", key, "\"");
  return *found;
}

uint64_t natural(const Json& value, const std::string& where) {
  const int64_t number = value.as_int(where);
  require(number >= 0, where, ": expected a number from 0, not ", number);
  return static_cast<uint64_t>(number);
}
uint64_t natural(const Json& object, const char* key, const std::string& where) {
  return natural(member(object, key, where), cat(where, ".", key));
}

double number(const Json& object, const char* key, const std::string& where) {
  return member(object, key, where).as_double(cat(where, ".", key));
}

FunnelReport read_funnel(const Json& json, const std::string& where) {
  FunnelReport funnel{.records = natural(json, "records", where), .bytes = natural(json, "bytes", where)};
  const Json& kept = member(json, "kept", where);
  funnel.kept = natural(kept, "records", where + ".kept");
  funnel.kept_bytes = natural(kept, "bytes", where + ".kept");
  funnel.edited = natural(json, "edited", where);
  const Json& bad = member(json, "bad", where);
  const uint64_t bad_lines = natural(bad, "records", where + ".bad");
  if (bad_lines > 0)
    funnel.steps.push_back({"bad-line", bad_lines, natural(bad, "bytes", where + ".bad"),
                            funnel.records - std::min(funnel.records, bad_lines)});
  const Json& dropped = member(json, "dropped", where);
  for (size_t i = 0; i < dropped.items.size(); ++i) {
    const std::string at = cat(where, ".dropped[", i, "]");
    const Json& row = dropped.items[i];
    funnel.steps.push_back({member(row, "reason", at).as_string(at + ".reason"), natural(row, "records", at),
                            natural(row, "bytes", at), natural(row, "left", at)});
  }
  return funnel;
}

SignalReport read_signal(const std::string& name, const Json& json, const std::string& where) {
  SignalReport signal{.name = name};
  signal.kind = member(json, "kind", where).as_string(where + ".kind");
  if (const Json* const meaning = json.find("meaning")) signal.meaning = meaning->as_string(where + ".meaning");
  signal.count = natural(json, "count", where);
  signal.zeros = natural(json, "zeros", where);
  signal.mean = number(json, "mean", where);
  signal.min = number(json, "min", where);
  signal.max = number(json, "max", where);
  const Json& quantiles = member(json, "quantiles", where);
  signal.p05 = number(quantiles, "p05", where + ".quantiles");
  signal.p50 = number(quantiles, "p50", where + ".quantiles");
  signal.p95 = number(quantiles, "p95", where + ".quantiles");
  for (const Json& edge : member(json, "edges", where).items) signal.edges.push_back(edge.as_double(where + ".edges"));
  for (const Json& bin : member(json, "bins", where).items) signal.bins.push_back(natural(bin, where + ".bins"));
  require(!signal.bins.empty() && signal.edges.size() == signal.bins.size() + 1, where,
          ": expected one edge more than bins, found ", signal.edges.size(), " and ", signal.bins.size());
  require(std::ranges::adjacent_find(signal.edges, std::greater_equal<>()) == signal.edges.end(), where,
          ": the edges do not rise");
  return signal;
}

// What a rule of that name says of the signal, if it speaks of it.
std::optional<Threshold::Drops> rule_about(const std::string& rule, const std::string& signal) {
  if (rule == signal) return Threshold::Drops::unknown;
  if (rule == "min_" + signal || rule == signal + "_min") return Threshold::Drops::below;
  if (rule == "max_" + signal || rule == signal + "_max") return Threshold::Drops::above;
  return std::nullopt;
}

void find_thresholds(const Json& rules, const std::string& outer, SignalReport& signal) {
  for (const auto& [key, value] : rules.members) {
    std::string name = key;
    std::ranges::replace(name, '-', '_');
    if (name == "min" || name == "max") name = cat(outer, "_", name);
    if (value.type == Json::Type::object) find_thresholds(value, name, signal);
    if (value.type != Json::Type::number) continue;
    if (const auto drops = rule_about(name, signal.name)) signal.thresholds.push_back({value.as_double(key), *drops});
  }
}

}  // namespace

CleaningReport read_cleaning(const Json& report, const std::string& path) {
  CleaningReport cleaning;
  if (const Json* const funnel = report.find("funnel")) cleaning.funnel = read_funnel(*funnel, path + ": funnel");
  const Json* const signals = report.find("signals");
  if (!signals) return cleaning;
  const Json* const rules = report.find("rules");
  for (const auto& [name, json] : signals->members) {
    const std::string where = cat(path, ": signals.", name);
    if (const Json* const languages = json.find("languages")) {
      for (const auto& [code, records] : languages->members)
        cleaning.languages.emplace_back(code, natural(records, cat(where, ".languages.", code)));
      continue;
    }
    cleaning.signals.push_back(read_signal(name, json, where));
    if (rules) find_thresholds(*rules, "", cleaning.signals.back());
  }
  return cleaning;
}

}  // namespace ds
