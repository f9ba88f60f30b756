// The command line, split into words by CLI11; what the words mean is decided by assign(), as for --config.
#include <CLI/CLI.hpp>

#include "cli/declared.h"

namespace ds {

static std::vector<std::string> option_names(const Verb& verb) {
  std::vector<std::string> names;
  for (const Declared& o : verb.options)
    if (!o.hidden && !o.is_positional()) {
      if (!o.long_name.empty()) names.push_back(o.long_name);
      if (!o.short_name.empty()) names.push_back(o.short_name);
    }
  return names;
}

// "--name=" with nothing behind it: CLI11 would take the next word as the value.
static std::vector<std::string> separate_empty_values(const Verb& verb, const std::vector<std::string>& words) {
  std::vector<std::string> out;
  bool options_end = false;
  for (const std::string& word : words) {
    options_end = options_end || word == "--";
    const bool empty_value =
        !options_end && word.starts_with("--") && word.ends_with('=') && word.find('=') == word.size() - 1;
    bool known = false;
    if (empty_value)
      for (const Declared& o : verb.options)
        known = known || (o.long_name == word.substr(0, word.size() - 1) && !o.is_flag());
    out.push_back(known ? word.substr(0, word.size() - 1) : word);
    if (known) out.emplace_back();
  }
  return out;
}

// Gives the words that are no options, in order, to the positionals; a vector takes all that the ones after it leave.
using Values = std::vector<std::pair<const Declared*, std::vector<std::string>>>;
static Values distribute(const Verb& verb, const std::vector<std::string>& remaining) {
  std::vector<std::string> operands;
  bool options_end = false;
  for (const std::string& word : remaining) {
    if (!options_end && word == "--") {
      options_end = true;
    } else if (!options_end && word.size() > 1 && word[0] == '-') {
      const std::string name = word.substr(0, word.find('='));
      throw UsageError(cat("unknown option '", name, "'", nearest(name, option_names(verb))));
    } else {
      operands.push_back(word);
    }
  }
  Values values;
  std::vector<const Declared*> positionals;
  for (const Declared& o : verb.options)
    if (o.is_positional()) positionals.push_back(&o);
  size_t at = 0;
  for (size_t i = 0; i < positionals.size() && at < operands.size(); ++i) {
    const size_t after = positionals.size() - i - 1, left = operands.size() - at;
    const size_t take = positionals[i]->is_vector() ? std::max<size_t>(1, left > after ? left - after : 0) : 1;
    values.emplace_back(positionals[i], std::vector<std::string>(operands.begin() + at, operands.begin() + at + take));
    at += take;
  }
  if (at < operands.size()) throw UsageError(cat("unexpected argument '", operands[at], "'"));
  return values;
}

// A missing value is CLI11's "--near: 1 required X missing".
static std::string readable(const std::string& message) {
  const size_t colon = message.find(": 1 required ");
  if (colon == std::string::npos || !message.ends_with(" missing")) return message;
  const std::string unit = message.substr(colon + 13, message.size() - 8 - (colon + 13));
  return cat(message.substr(0, colon), " needs a value (", unit, ")");
}

void parse_words(const Tool& tool, const Verb& verb, const std::vector<std::string>& words,
                 const std::string& config_field, const std::function<void()>& given_early) {
  CLI::App app;
  app.set_help_flag();
  app.allow_extras();
  app.allow_windows_style_options(false);
  std::vector<std::pair<const Declared*, CLI::Option*>> bound;
  for (const Declared& o : verb.options) {
    if (o.is_positional()) continue;
    const std::string names = o.short_name + (o.short_name.empty() || o.long_name.empty() ? "" : ",") + o.long_name;
    CLI::Option* const option =
        o.is_flag() ? app.add_flag(names) : app.add_option(names, [](const CLI::results_t&) { return true; });
    if (!o.is_flag()) option->type_name(o.unit);
    // All occurrences are kept and counted by assign(); brackets in a value do not make it a list.
    option->allow_extra_args(false)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    bound.emplace_back(&o, option);
  }
  std::vector<std::string> reversed = separate_empty_values(verb, words);
  std::reverse(reversed.begin(), reversed.end());
  try {
    app.parse(reversed);
  } catch (const CLI::ParseError& e) {
    throw UsageError(readable(e.what()));
  }
  // Help before complaints about anything else; then what stands on the command line, then the file, then what is
  // missing.
  Values given;
  for (const auto& [o, option] : bound)
    if (option->count() > 0) given.emplace_back(o, option->results());
  for (const auto& [o, values] : given)
    if (o->is_flag() || o->hidden) assign(*o, values);
  given_early();
  for (auto& value : distribute(verb, app.remaining())) given.push_back(std::move(value));
  for (const auto& [o, values] : given) assign(*o, values);
  const auto is_given = [&](const Declared& o) {
    return std::any_of(given.begin(), given.end(), [&](const auto& g) { return g.first == &o; });
  };
  if (!config_field.empty())
    for (auto& value : read_config(config_field, tool, verb))
      if (!is_given(*value.first)) {
        assign(*value.first, value.second);
        given.push_back(std::move(value));
      }
  for (const Declared& o : verb.options)
    if (o.required && !is_given(o))
      throw UsageError(cat(o.name(), " is required", o.is_positional() ? "" : cat(" (", o.unit, ")")));
}

}  // namespace ds
