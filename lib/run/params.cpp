#include "run/params.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <functional>

#include "base/edit_distance.h"
#include "base/error.h"

namespace ds {

// ---- JSON values ----

static const char* type_name(const Json& value) {
  switch (value.type) {
    case Json::Type::null: return "null";
    case Json::Type::boolean: return "a boolean";
    case Json::Type::number: return "a number";
    case Json::Type::string: return "a string";
    case Json::Type::array: return "an array";
    default: return "an object";
  }
}

static void append(JsonWriter& w, const Json& value) {
  switch (value.type) {
    case Json::Type::null: w.null(); break;
    case Json::Type::boolean: w.value(value.boolean); break;
    case Json::Type::number: w.raw(value.text); break;
    case Json::Type::string: w.value(value.text); break;
    case Json::Type::array:
      w.open('[');
      for (const Json& item : value.items) append(w, item);
      w.close();
      break;
    case Json::Type::object:
      w.open('{');
      for (const auto& [key, member] : value.members) w.key(key), append(w, member);
      w.close();
  }
}

std::string json_text(const Json& value) {
  JsonWriter w;
  append(w, value);
  return w.text;
}

// ---- Sampling parameters ----

namespace {

using Setter = std::function<void(Parameters&, const Json&, const std::string& where)>;

std::vector<std::string> stop_strings(const Json& value, const std::string& where) {
  if (value.type == Json::Type::string) return {value.text};
  require(value.type == Json::Type::array, where, ": expected a string or an array of strings, found ", type_name(value));
  std::vector<std::string> stop;
  for (const Json& item : value.items) stop.push_back(item.as_string(where));
  return stop;
}

uint64_t seed_of(const Json& value, const std::string& where) {
  require(value.type == Json::Type::number, where, ": expected an integer, found ", type_name(value));
  const char* const begin = value.text.data();
  const char* const end = begin + value.text.size();
  uint64_t seed = 0;
  int64_t negative = 0;  // -1 is the highest number of 64 bits, as numpy and torch take it
  if (const auto [at, bad] = std::from_chars(begin, end, seed); bad == std::errc() && at == end) return seed;
  const auto [at, bad] = std::from_chars(begin, end, negative);
  require(bad == std::errc() && at == end, where, ": expected an integer of 64 bits, found ", value.text);
  return static_cast<uint64_t>(negative);
}

void set_logprobs(Parameters& p, const Json& value, const std::string& where) {
  if (value.type == Json::Type::boolean) {
    p.sampling.logprobs = value.boolean ? 0 : -1;
    return;
  }
  require(value.type == Json::Type::number, where, ": expected true or a number of alternatives, found ", type_name(value));
  p.sampling.logprobs = value.as_int(where);
}

struct Parameter {
  std::string_view name;
  Setter set;
};

const std::vector<Parameter>& parameters() {
  const auto integer = [](int64_t Sampling::* field) -> Setter {
    return [field](Parameters& p, const Json& v, const std::string& where) { p.sampling.*field = v.as_int(where); };
  };
  const auto real = [](double Sampling::* field) -> Setter {
    return [field](Parameters& p, const Json& v, const std::string& where) { p.sampling.*field = v.as_double(where); };
  };
  static const std::vector<Parameter> all = {
      {"max_tokens", integer(&Sampling::max_tokens)},
      {"min_tokens", integer(&Sampling::min_tokens)},
      {"temperature", real(&Sampling::temperature)},
      {"top_k", [](Parameters& p, const Json& v, const std::string& where) { p.sampling.top_k = v.as_int(where) == -1 ? 0 : v.as_int(where); }},
      {"top_p", real(&Sampling::top_p)},
      {"min_p", real(&Sampling::min_p)},
      {"repetition_penalty", real(&Sampling::repetition_penalty)},
      {"frequency_penalty", real(&Sampling::frequency_penalty)},
      {"presence_penalty", real(&Sampling::presence_penalty)},
      {"stop", [](Parameters& p, const Json& v, const std::string& where) { p.sampling.stop = stop_strings(v, where); }},
      {"seed", [](Parameters& p, const Json& v, const std::string& where) { p.seed = seed_of(v, where); }},
      {"n", integer(&Sampling::n)},
      {"best_of", integer(&Sampling::best_of)},
      {"logprobs", set_logprobs},
      {"beams", integer(&Sampling::beams)},
      {"ignore_eos", [](Parameters& p, const Json& v, const std::string& where) { p.sampling.ignore_eos = v.as_bool(where); }},
      {"length_penalty", real(&Sampling::length_penalty)},
      {"constraint", [](Parameters& p, const Json& v, const std::string& where) { p.constraint = constraint_spec(v, where); }},
  };
  return all;
}

}  // namespace

const std::vector<std::string_view>& parameter_names() {
  static const std::vector<std::string_view> names = [] {
    std::vector<std::string_view> list;
    for (const Parameter& p : parameters()) list.push_back(p.name);
    return list;
  }();
  return names;
}

std::string_view parameter_meant_by(std::string_view name) {
  static constexpr std::pair<std::string_view, std::string_view> kElsewhere[] = {
      {"maxnewtokens", "max_tokens"}, {"maxcompletiontokens", "max_tokens"}, {"minnewtokens", "min_tokens"}, {"toplogprobs", "logprobs"},
      {"numbeams", "beams"}, {"numreturnsequences", "n"}, {"stopsequences", "stop"}, {"stopstrings", "stop"}, {"guidedjson", "constraint"},
      {"guidedregex", "constraint"}, {"guidedchoice", "constraint"}, {"guidedgrammar", "constraint"}, {"responseformat", "constraint"},
      {"structuredoutputs", "constraint"}, {"regex", "constraint"}, {"jsonschema", "constraint"}, {"grammar", "constraint"}};
  constexpr size_t kLongest = 40;  // none is near a longer name, however long a hostile one is
  if (name.size() > kLongest) return "";
  const auto letters = [](std::string_view text) {
    std::string kept;
    for (const char c : text)
      if (c != '_' && c != '-' && c != '.' && c != ' ') kept += static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    return kept;
  };
  const auto& names = parameter_names();
  if (std::find(names.begin(), names.end(), name) != names.end()) return "";
  const std::string given = letters(name);
  for (const auto& [elsewhere, ours] : kElsewhere)
    if (given == elsewhere) return ours;
  std::string_view best;
  size_t least = SIZE_MAX;
  for (const std::string_view ours : names) {
    const std::string own = letters(ours);
    // A record's own fields are short words too: "step" is no "stop".
    const size_t allowed = own.size() >= 9 ? 2 : own.size() >= 6 ? 1 : 0;
    const size_t distance = edit_distance(given, own);
    if (own.size() < 4 || distance > allowed || distance >= least || given[0] != own[0]) continue;
    best = ours, least = distance;
  }
  return best;
}

bool set_parameter(Parameters& p, std::string_view name, const Json& value, const std::string& where) {
  const auto found = std::find_if(parameters().begin(), parameters().end(), [&](const Parameter& one) { return one.name == name; });
  if (found == parameters().end()) return false;
  if (value.type != Json::Type::null) found->set(p, value, where);
  return true;
}

void give_way(Sampling& s, const std::function<bool(std::string_view)>& given) {
  if (!given("min_tokens")) s.min_tokens = std::min(s.min_tokens, s.max_tokens);
  if (!given("best_of") && s.best_of < s.n) s.best_of = 0;
  if (!given("temperature") && s.beams > 1) s.temperature = 0;
}

Parameters parameters_of(const Record& record, const Parameters& defaults) {
  Parameters p = defaults;
  const bool any = std::any_of(record.fields().begin(), record.fields().end(), [](const Record::Field& field) {
    return std::find(parameter_names().begin(), parameter_names().end(), field.key) != parameter_names().end();
  });
  if (!any) return p;
  for (const std::string_view name : parameter_names())
    if (record.has(name)) {
      const std::string where = record.where() + ": " + std::string(name);
      set_parameter(p, name, parse_json(record.raw_value(name), where), where);
    }
  const auto given = [&](std::string_view name) { return record.has(name) && record.raw_value(name) != "null"; };
  give_way(p.sampling, given);
  try {
    check(p.sampling);
  } catch (const Error& error) {
    fail(record.where(), ": ", error.what());
  }
  return p;
}

// ---- Constraints ----

std::string schema_source(const Json& schema, const std::string& where) {
  if (schema.type == Json::Type::string) return schema.text;
  require(schema.type == Json::Type::object || schema.type == Json::Type::boolean, where, ": expected a JSON schema, found ", type_name(schema));
  return json_text(schema);
}

ConstraintSpec constraint_spec(const Json& value, const std::string& where) {
  using Kind = ConstraintSpec::Kind;
  constexpr std::string_view kForms =
      R"({"regex": text}, {"json_schema": schema}, {"grammar": text}, {"choice": [texts]}, {"json": true} or {"code": "brackets"|"python"})";
  require(value.type == Json::Type::object && value.members.size() == 1, where, ": expected ", kForms);
  const auto& [kind, source] = value.members.front();
  const std::string inside = where + "." + kind;
  if (kind == "regex") return {Kind::regex, source.as_string(inside)};
  if (kind == "grammar") return {Kind::grammar, source.as_string(inside)};
  if (kind == "json_schema") return {Kind::json_schema, schema_source(source, inside)};
  if (kind == "choice") {
    require(source.type == Json::Type::array && !source.items.empty(), inside, ": expected an array of strings, at least one, found ", type_name(source));
    for (const Json& item : source.items) item.as_string(inside);
    return {Kind::choice, json_text(source)};
  }
  if (kind == "json") {
    require(source.as_bool(inside), inside, ": expected true; leave it out for no constraint");
    return {Kind::json, ""};
  }
  require(kind == "code", where, ": there is no constraint \"", kind, "\"; expected ", kForms);
  const std::string& language = source.as_string(inside);
  require(language == "brackets" || language == "python", inside, ": expected \"brackets\" or \"python\", found \"", language, "\"");
  return {language == "python" ? Kind::python : Kind::brackets, ""};
}

// With the mutex held. Moves those out that are too many: what they hold is given back by the caller, without it.
void ConstraintCache::drop(std::list<Entry>& dropped) {
  size_t bytes = 0, kept = 0;
  auto first = entries_.begin();
  for (; first != entries_.end() && kept < most_entries_; ++first, ++kept) {
    bytes += learnt_bytes(*first->constraint);
    if (bytes > most_bytes_ && kept > 0) break;
  }
  dropped.splice(dropped.end(), entries_, first, entries_.end());
}

std::shared_ptr<const Constraint> ConstraintCache::get(const ConstraintSpec& spec) {
  const auto find = [&]() -> std::shared_ptr<const Constraint> {
    const auto found = std::find_if(entries_.begin(), entries_.end(),
                                    [&](const Entry& e) { return e.spec.kind == spec.kind && e.spec.source == spec.source; });
    if (found == entries_.end()) return nullptr;
    entries_.splice(entries_.begin(), entries_, found);
    return found->constraint;
  };
  {
    const std::lock_guard lock(mutex_);
    if (auto found = find()) return found;
  }
  auto made = compile_constraint(spec);  // others need not wait for it
  std::list<Entry> dropped;
  const std::lock_guard lock(mutex_);
  if (auto found = find()) return found;
  entries_.push_front({spec, made});
  drop(dropped);
  return made;
}

void ConstraintCache::trim() {
  std::list<Entry> dropped;
  const std::lock_guard lock(mutex_);
  drop(dropped);
}

}  // namespace ds
