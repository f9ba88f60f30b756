#include "run/policy.h"

#include <algorithm>
#include <cctype>

#include "base/error.h"
#include "run/intents.h"  // made of lib/run/intents.ftz

namespace ds {

std::string_view builtin_intents() { return {reinterpret_cast<const char*>(intents_bytes), sizeof intents_bytes}; }

Classifier intent_classifier(const std::string& file) {
  Classifier classifier = file.empty() ? Classifier::parse(std::string(builtin_intents()), "the built-in policy model") : Classifier(file);
  const auto& labels = classifier.labels();
  const bool fits = labels.size() == std::size(intent_names) &&
                    std::all_of(std::begin(intent_names), std::end(intent_names), [&](std::string_view name) { return classifier.find_label(name); });
  std::string found;
  for (size_t i = 0; i < labels.size() && i < 10; ++i) found += (i ? ", " : "") + labels[i];
  require(fits, file, ": a policy model has the labels factual, analytical, creative and code; found ", found, labels.size() > 10 ? ", ..." : "");
  return classifier;
}

// ---- Code ----

static bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '+' || c == '#'; }

// Calls see(word) for each word, in lower case; c++ and c# are such.
template <class F>
static void for_each_word(std::string_view text, F see) {
  std::string word;
  for (size_t i = 0; i <= text.size(); ++i) {
    if (i < text.size() && is_word(text[i])) {
      word += static_cast<char>(std::tolower(static_cast<unsigned char>(text[i])));
    } else if (!word.empty()) {
      see(std::string_view(word));
      word.clear();
    }
  }
}

// Names that are words of other senses too (C, Go, R, D) are left out: what they would change is brackets all the same.
constexpr std::string_view python_names[] = {"python", "python3", "pytest", "numpy", "pandas", "django", "flask", "pytorch"};
constexpr std::string_view other_names[] = {"java", "javascript", "typescript", "js", "c++", "c#", "rust", "golang", "ruby", "php", "kotlin", "swift", "haskell",
                                            "perl", "scala", "lua", "sql", "bash", "html", "css", "react", "json", "powershell", "matlab", "julia", "dart"};

template <size_t N>
static bool among(const std::string_view (&names)[N], std::string_view word) {
  return std::find(std::begin(names), std::end(names), word) != std::end(names);
}

ConstraintSpec code_constraint(std::string_view prompt) {
  enum { none, python, other } named = none;
  for_each_word(prompt, [&](std::string_view word) {
    if (among(python_names, word)) named = python;
    else if (among(other_names, word)) named = other;
  });
  bool shown = false, inside = false;
  for (size_t begin = 0; begin < prompt.size();) {
    const size_t end = std::min(prompt.find('\n', begin), prompt.size());
    const std::string_view line = prompt.substr(begin, end - begin);
    begin = end + 1;
    const size_t first = line.find_first_not_of(" \t\r");
    if (first == std::string_view::npos) continue;
    const bool colon = line[line.find_last_not_of(" \t\r")] == ':', definition = line.substr(first).starts_with("def ");
    shown = shown || (colon && definition);
    inside = first > 0 || (colon && (definition || line.substr(first).starts_with("class ")));
  }
  const bool is_python = (named == python || (named == none && shown)) && !inside;
  return {is_python ? ConstraintSpec::Kind::python : ConstraintSpec::Kind::brackets, ""};
}

// ---- Policies ----

Policy policy_of(const Classifier& classifier, std::string_view prompt) {
  Policy policy;
  // The classifier would judge a blank text by the end of the line alone.
  if (prompt.find_first_not_of(" \t\n\r\v\f") == std::string_view::npos) return policy;
  const Classifier::Best best = classifier.best(prompt);
  if (best.probability == 0) return policy;
  const auto name = std::find(std::begin(intent_names), std::end(intent_names), classifier.labels()[best.label]);
  policy.intent = static_cast<Intent>(name - std::begin(intent_names));
  policy.probability = best.probability;
  if (best.probability < least_intent_probability) return policy;
  policy.temperature = policy.intent == Intent::creative ? 1.2 : 0.7;
  if (policy.intent == Intent::code) policy.constraint = code_constraint(prompt);
  return policy;
}

void apply(Policy& policy, const Record& record, Parameters& parameters) {
  const auto says = [&](std::string_view name) { return record.has(name) && record.raw_value(name) != "null"; };
  const bool beams = parameters.sampling.beams > 1;
  if (beams || says("temperature")) policy.temperature.reset();
  if (beams || says("constraint")) policy.constraint.reset();
  if (policy.temperature) parameters.sampling.temperature = *policy.temperature;
  if (policy.constraint) parameters.constraint = policy.constraint;
}

std::string policy_json(const Policy& policy) {
  JsonWriter w;
  w.open('{').key("intent");
  if (policy.intent) w.value(intent_names[static_cast<size_t>(*policy.intent)]);
  else w.null();
  w.field("probability", policy.probability);
  if (policy.temperature) w.field("temperature", *policy.temperature);
  if (policy.constraint) w.field("constraint", policy.constraint->kind == ConstraintSpec::Kind::python ? "python" : "brackets");
  return w.close().text;
}

std::string last_user_text(const Json& messages) {
  if (messages.type != Json::Type::array) return "";
  for (auto message = messages.items.rbegin(); message != messages.items.rend(); ++message) {
    const Json* const role = message->type == Json::Type::object ? message->find("role") : nullptr;
    const Json* const content = role && role->text == "user" ? message->find("content") : nullptr;
    if (!content) continue;
    if (content->type == Json::Type::string) return content->text;
    std::string text;
    if (content->type == Json::Type::array)
      for (const Json& part : content->items)
        if (const Json* const words = part.type == Json::Type::object ? part.find("text") : nullptr; words && words->type == Json::Type::string)
          text += (text.empty() ? "" : "\n") + words->text;
    return text;
  }
  return "";
}

}  // namespace ds
