// What App and Options declare, and the parts of lib/cli that read it. Private to this room.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/error.h"
#include "cli/app.h"

namespace ds {

// `int*` with counted set is -v: how often it was given.
using Field = std::variant<bool*, int*, std::string*, int64_t*, uint64_t*, double*, std::vector<std::string>*,
                           std::optional<int64_t>*, std::optional<double>*>;

struct Declared {
  std::string short_name, long_name;  // "-o", "--output"; both empty for a positional
  std::string positional;             // "FILE"
  Field field;
  std::string help, unit, group;
  std::string default_text;  // as --help shows it; empty: none
  std::vector<std::string> choices;
  std::optional<std::pair<double, double>> range;
  bool is_bytes = false, counted = false, required = false, commas = false, incidental = false, hidden = false;

  bool is_flag() const { return std::holds_alternative<bool*>(field) || counted; }
  bool is_vector() const { return std::holds_alternative<std::vector<std::string>*>(field); }
  bool is_path() const { return unit == "FILE" || unit == "DIR" || unit == "MODEL"; }
  bool is_positional() const { return !positional.empty(); }
  // "--output", else "-o", else "FILE": how messages name it.
  const std::string& name() const {
    return !long_name.empty() ? long_name : !short_name.empty() ? short_name : positional;
  }
  // Its key in a --config file: "output".
  std::string key() const;
};

struct Options::Impl {  // a verb
  std::string name, summary;
  std::vector<std::string> examples;
  std::function<int(const CommonOptions&, Report&)> action;
  std::vector<Declared> options;
  std::string group = "Options";
  bool has_dry_run = false;
};
using Verb = Options::Impl;

// The tool as the printing functions see it. `verbs` have their common options declared.
struct Tool {
  std::string name, summary;
  std::vector<const Verb*> verbs;  // in order of declaration; the default one has an empty name
};

// options.cpp
void assign(const Declared& option, const std::vector<std::string>& values);  // converts; UsageError names the option
std::string current_json(const Declared& option);                             // the field's value as JSON text
std::string shortest(double value);
std::string nearest(const std::string& word, const std::vector<std::string>& among);  // "; did you mean 'X'?" or ""

// parse.cpp: fills the fields from the words after the verb, then from the config file where `config` is set.
// `given_early` is called between the two, so that --help works whatever else is missing.
void parse_words(const Tool& tool, const Verb& verb, const std::vector<std::string>& words,
                 const std::string& config_field, const std::function<void()>& given_early);

// config.cpp: key -> values, of the table's keys that are options of the verb; others are a UsageError.
std::vector<std::pair<const Declared*, std::vector<std::string>>> read_config(const std::string& path, const Tool& tool,
                                                                              const Verb& verb);

// help.cpp, complete.cpp
std::string help_text(const Tool& tool, const Verb* verb);  // null: the tool with its list of verbs
std::string version_text(const Tool& tool);
std::string dump_text(const Tool& tool);
std::string completion_text(const Tool& tool, const std::string& shell);

// progress.cpp: draws on a terminal, else a line every 10 s where `lines` is set.
void install_progress(bool lines);
void finish_progress();

// signals.cpp
void install_signals();
[[noreturn]] void die_by(int signal) noexcept;  // as if the signal had never been caught
void reserve_standard_descriptors();

}  // namespace ds
