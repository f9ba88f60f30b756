// Declaring options and turning words into their fields.
#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <limits>

#include "base/edit_distance.h"
#include "base/sizes.h"
#include "cli/declared.h"
#include "io/json.h"

namespace ds {

template <class... F>
struct Overloaded : F... {
  using F::operator()...;
};
template <class... F>
Overloaded(F...) -> Overloaded<F...>;

std::string shortest(double value) {
  char text[32];
  return std::string(text, std::to_chars(text, text + sizeof text, value).ptr);
}

static std::string bytes_text(uint64_t bytes) {
  int unit = 0;
  while (unit < 4 && bytes != 0 && bytes % 1024 == 0) bytes /= 1024, ++unit;
  return cat(bytes, unit == 0 ? "" : std::string(1, "KMGT"[unit - 1]));
}

std::string Declared::key() const {
  return !long_name.empty() ? long_name.substr(2) : !short_name.empty() ? short_name.substr(1) : "";
}

static std::string default_text(const Declared& o) {
  return std::visit(Overloaded{
                        [](bool* f) { return std::string(*f ? "on" : ""); },
                        [&](int* f) { return o.counted ? "" : std::to_string(*f); },
                        [](std::string* f) { return *f; },
                        [](int64_t* f) { return std::to_string(*f); },
                        [&](uint64_t* f) { return o.is_bytes ? bytes_text(*f) : std::to_string(*f); },
                        [](double* f) { return shortest(*f); },
                        [](std::vector<std::string>* f) {
                          std::string all;
                          for (const auto& v : *f) all += (all.empty() ? "" : ",") + v;
                          return all;
                        },
                        [](std::optional<int64_t>* f) { return *f ? std::to_string(**f) : std::string(); },
                        [](std::optional<double>* f) { return *f ? shortest(**f) : std::string(); },
                    },
                    o.field);
}

static Declared& declare(Verb* verb, const std::string& names, Field field, const std::string& help,
                         const std::string& unit) {
  Declared o;
  o.field = field;
  o.help = help;
  o.unit = unit;
  o.group = verb->group;
  for (size_t begin = 0; begin <= names.size();) {
    const size_t end = std::min(names.find(',', begin), names.size());
    const std::string name = names.substr(begin, end - begin);
    if (name.starts_with("--"))
      o.long_name = name;
    else if (name.starts_with("-"))
      o.short_name = name;
    else
      o.positional = name;
    begin = end + 1;
  }
  for (char& c : o.positional) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  for (const Declared& other : verb->options)
    require(o.is_positional() || ((o.long_name.empty() || o.long_name != other.long_name) &&
                                  (o.short_name.empty() || o.short_name != other.short_name)),
            "the option ", names, " is declared twice in the verb '", verb->name, "'");
  verb->options.push_back(std::move(o));
  Declared& stored = verb->options.back();
  stored.default_text = default_text(stored);
  return stored;
}

Options& Options::flag(const std::string& name, bool& field, const std::string& help) {
  declare(impl_, name, &field, help, "");
  return *this;
}
Options& Options::option(const std::string& name, std::string& field, const std::string& help,
                         const std::string& unit) {
  declare(impl_, name, &field, help, unit);
  return *this;
}
Options& Options::option(const std::string& name, int64_t& field, const std::string& help, const std::string& unit) {
  declare(impl_, name, &field, help, unit);
  return *this;
}
Options& Options::option(const std::string& name, uint64_t& field, const std::string& help, const std::string& unit) {
  declare(impl_, name, &field, help, unit);
  return *this;
}
Options& Options::option(const std::string& name, int& field, const std::string& help, const std::string& unit) {
  declare(impl_, name, &field, help, unit);
  return *this;
}
Options& Options::option(const std::string& name, double& field, const std::string& help, const std::string& unit) {
  declare(impl_, name, &field, help, unit);
  return *this;
}
Options& Options::option(const std::string& name, std::optional<int64_t>& field, const std::string& help,
                         const std::string& unit) {
  declare(impl_, name, &field, help, unit);
  return *this;
}
Options& Options::option(const std::string& name, std::optional<double>& field, const std::string& help,
                         const std::string& unit) {
  declare(impl_, name, &field, help, unit);
  return *this;
}
Options& Options::option(const std::string& name, std::vector<std::string>& field, const std::string& help,
                         const std::string& unit) {
  declare(impl_, name, &field, help, unit);
  return *this;
}
Options& Options::bytes(const std::string& name, size_t& field, const std::string& help) {
  Declared& o = declare(impl_, name, &field, help, "BYTES");
  o.is_bytes = true;
  o.default_text = default_text(o);
  return *this;
}
Options& Options::choice(const std::string& name, std::string& field, const std::vector<std::string>& choices,
                         const std::string& help) {
  std::string unit;
  for (const auto& c : choices) unit += (unit.empty() ? "" : "|") + c;
  declare(impl_, name, &field, help, unit).choices = choices;
  return *this;
}

static Declared& last(Verb* verb) {
  require(!verb->options.empty(), "no option is declared yet in the verb '", verb->name, "'");
  return verb->options.back();
}
Options& Options::required() { return last(impl_).required = true, *this; }
Options& Options::range(double low, double high) { return last(impl_).range = {low, high}, *this; }
Options& Options::commas() { return last(impl_).commas = true, *this; }
Options& Options::incidental() { return last(impl_).incidental = true, *this; }
Options& Options::group(const std::string& title) { return impl_->group = title, *this; }
Options& Options::dry_run() { return impl_->has_dry_run = true, *this; }

template <class... Args>
[[noreturn]] static void usage(const Args&... args) {
  throw UsageError(cat(args...));
}

template <class T>
static T number(const Declared& o, const std::string& word) {
  T value{};
  const auto [end, ec] = std::from_chars(word.data(), word.data() + word.size(), value);
  constexpr bool real = std::is_floating_point_v<T>;
  bool good = ec == std::errc() && end == word.data() + word.size();
  if constexpr (real) good = good && std::isfinite(value);
  if (!good)
    usage(o.name(), ": '", word, "' is not ",
          real                                   ? "a number"
          : ec == std::errc::result_out_of_range ? "in the range of integers"
          : std::is_unsigned_v<T>                ? "a whole number from 0"
                                                 : "a whole number");
  if (o.range) {
    const double v = static_cast<double>(value);
    if (v < o.range->first || v > o.range->second) {
      if (std::isinf(o.range->second)) usage(o.name(), " must be at least ", shortest(o.range->first), ", not ", word);
      usage(o.name(), " must be from ", shortest(o.range->first), " to ", shortest(o.range->second), ", not ", word);
    }
  }
  return value;
}

static uint64_t bytes_value(const Declared& o, const std::string& word) {
  try {
    return parse_bytes(word);
  } catch (const UsageError& e) {
    usage(o.name(), ": ", e.what());
  }
}

static std::vector<std::string> split(const std::vector<std::string>& values) {
  std::vector<std::string> parts;
  for (const std::string& value : values)
    for (size_t begin = 0; begin <= value.size();) {
      const size_t end = std::min(value.find(',', begin), value.size());
      if (end > begin) parts.push_back(value.substr(begin, end - begin));
      begin = end + 1;
    }
  return parts;
}

void assign(const Declared& o, const std::vector<std::string>& values) {
  if (o.counted) {
    **std::get_if<int*>(&o.field) = static_cast<int>(values.size());
    return;
  }
  if (!o.is_vector() && !o.is_flag() && values.size() != 1)
    usage(o.name(), values.empty() ? " needs a value" : " is given more than once");
  const std::string& word = values.back();
  if (!o.choices.empty() && std::find(o.choices.begin(), o.choices.end(), word) == o.choices.end())
    usage(o.name(), ": '", word, "' is none of ", o.unit, nearest(word, o.choices));
  std::visit(Overloaded{
                 [&](bool* f) {
                   if (word != "true" && word != "false")
                     usage(o.name(), " takes no value (or true or false), not '", word, "'");
                   *f = word == "true";
                 },
                 [&](int* f) { *f = number<int>(o, word); },
                 [&](std::string* f) { *f = word; },
                 [&](int64_t* f) { *f = number<int64_t>(o, word); },
                 [&](uint64_t* f) { *f = o.is_bytes ? bytes_value(o, word) : number<uint64_t>(o, word); },
                 [&](double* f) { *f = number<double>(o, word); },
                 [&](std::vector<std::string>* f) { *f = o.commas ? split(values) : values; },
                 [&](std::optional<int64_t>* f) { *f = number<int64_t>(o, word); },
                 [&](std::optional<double>* f) { *f = number<double>(o, word); },
             },
             o.field);
}

std::string current_json(const Declared& o) {
  return std::visit(Overloaded{
                        [](bool* f) { return std::string(*f ? "true" : "false"); },
                        [](int* f) { return std::to_string(*f); },
                        [](std::string* f) { return json_string(*f); },
                        [](int64_t* f) { return std::to_string(*f); },
                        [](uint64_t* f) { return std::to_string(*f); },
                        [](double* f) { return json_number(*f); },
                        [](std::vector<std::string>* f) {
                          std::string all = "[";
                          for (const auto& v : *f) all += (all.size() == 1 ? "" : ", ") + json_string(v);
                          return all + "]";
                        },
                        [](std::optional<int64_t>* f) { return *f ? std::to_string(**f) : std::string("null"); },
                        [](std::optional<double>* f) { return *f ? json_number(**f) : std::string("null"); },
                    },
                    o.field);
}

std::string nearest(const std::string& word, const std::vector<std::string>& among) {
  size_t best = word.size() / 3 + 1;
  const std::string* found = nullptr;
  for (const std::string& candidate : among) {
    // A beginning of a name is near it, however much is missing.
    const bool begins = word.size() >= 4 && candidate.starts_with(word);
    const size_t distance = begins ? 1 : edit_distance(word, candidate);
    if (distance < best || (distance == best && !found)) best = distance, found = &candidate;
  }
  return found ? cat("; did you mean '", *found, "'?") : "";
}

}  // namespace ds
