// --help, --version and the list of options that the test of the man pages reads.
#include <algorithm>
#include <cstdlib>

#include "cli/declared.h"

namespace ds {

constexpr size_t kWidth = 80, kHelpColumn = 30;

// `text` in lines of kWidth, each after the first indented by `indent`; `column` is where the first one begins.
static std::string wrap(const std::string& text, size_t indent, size_t column) {
  std::string out;
  size_t at = column;
  bool first = true;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(' ', begin), text.size());
    if (!first && at + 1 + (end - begin) > kWidth) {
      out += '\n' + std::string(indent, ' ');
      at = indent;
    } else if (!first) {
      out += ' ';
      ++at;
    }
    out += text.substr(begin, end - begin);
    at += end - begin;
    first = false;
    begin = end + 1;
  }
  return out;
}

static std::string left_side(const Declared& o) {
  if (o.is_positional()) return "  " + o.positional + (o.is_vector() ? "..." : "");
  std::string text = o.short_name.empty() ? "      " : "  " + o.short_name + (o.long_name.empty() ? "" : ", ");
  text += o.long_name;
  return o.is_flag() ? text : text + " " + o.unit;
}

static std::string right_side(const Declared& o) {
  if (o.required) return o.help + " (required)";
  return o.default_text.empty() || o.is_positional() ? o.help : cat(o.help, " (default ", o.default_text, ")");
}

static std::string row(const std::string& left, const std::string& right) {
  std::string text = left;
  if (text.size() + 2 > kHelpColumn)
    text += "\n" + std::string(kHelpColumn, ' ');
  else
    text.resize(kHelpColumn, ' ');
  return text + wrap(right, kHelpColumn, kHelpColumn) + "\n";
}

static std::string usage_of(const Tool& tool, const Verb& verb) {
  std::string text = tool.name + (verb.name.empty() ? "" : " " + verb.name) + " [OPTION...]";
  for (const Declared& o : verb.options)
    if (o.is_positional()) {
      const std::string operand = o.positional + (o.is_vector() ? "..." : "");
      text += o.required ? " " + operand : " [" + operand + "]";
    }
  return text;
}

static std::string groups_of(const Verb& verb) {
  std::string text;
  bool operands = false;
  for (const Declared& o : verb.options)
    if (o.is_positional()) {
      if (!operands) text += "\nArguments:\n";
      operands = true;
      text += row(left_side(o), right_side(o));
    }
  std::vector<std::string> titles;
  for (const Declared& o : verb.options)
    if (!o.hidden && !o.is_positional() && std::find(titles.begin(), titles.end(), o.group) == titles.end())
      titles.push_back(o.group);
  for (const std::string& title : titles) {
    text += cat("\n", wrap(title, 2, 0), ":\n");
    for (const Declared& o : verb.options)
      if (!o.hidden && !o.is_positional() && o.group == title) text += row(left_side(o), right_side(o));
  }
  return text;
}

static std::string examples_text(const std::vector<std::string>& examples) {
  std::string text;
  for (const std::string& example : examples) text += "  " + example + "\n";
  return text.empty() ? text : "\nExamples:\n" + text;
}

std::string help_text(const Tool& tool, const Verb* verb) {
  const bool has_verbs =
      std::any_of(tool.verbs.begin(), tool.verbs.end(), [](const Verb* v) { return !v->name.empty(); });
  const bool whole_tool = !verb || verb->name.empty();
  std::string text = "Usage: ";
  if (verb) text += usage_of(tool, *verb) + "\n";
  if (whole_tool && has_verbs) text += cat(verb ? "       " : "", tool.name, " VERB [OPTION...] [ARGUMENT...]\n");
  text +=
      "\n" +
      wrap(cat(tool.name, whole_tool ? "" : " " + verb->name, " - ", whole_tool ? tool.summary : verb->summary), 2, 0) +
      "\n";
  if (whole_tool && has_verbs) {
    text += "\nVerbs:\n";
    for (const Verb* v : tool.verbs)
      if (!v->name.empty()) text += row("  " + v->name, v->summary);
    text += cat("  '", tool.name, " VERB --help' shows the options of a verb.\n");
  }
  std::vector<std::string> examples;
  if (verb) {
    text += groups_of(*verb);
    examples = verb->examples;
  } else {
    for (const Verb* v : tool.verbs)
      if (!v->examples.empty()) examples.push_back(v->examples.front());
  }
  text += examples_text(examples);
  return text + cat("\nExit status: 0 done; 1 failed or bad input; 2 wrong usage; 3 a gate not met.\n", "Manual: man ",
                    tool.name, "; the family: man ds\n");
}

std::string version_text(const Tool& tool) {
  std::string simd = "none";
#if defined(__x86_64__)
  const char* const forced = std::getenv("DS_SIMD");
  const bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                    __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  simd = wide && !(forced && std::string(forced) == "avx2") ? "avx512" : "avx2";
#elif defined(__aarch64__)
  simd = "neon";
#endif
  return cat(tool.name, " ", DS_VERSION, " (simd ", simd, ", cuda ", DS_WITH_CUDA ? "yes" : "no", ")\n");
}

// Tab-separated: the verb ("-": none), names joined by commas, default, unit, help.
std::string dump_text(const Tool& tool) {
  std::string text;
  for (const Verb* verb : tool.verbs)
    for (const Declared& o : verb->options) {
      if (o.hidden || o.is_positional()) continue;
      std::string names = o.short_name;
      if (!o.long_name.empty()) names += (names.empty() ? "" : ",") + o.long_name;
      text += cat(verb->name.empty() ? "-" : verb->name, "\t", names, "\t", o.default_text, "\t", o.unit, "\t", o.help,
                  "\n");
    }
  return text;
}

}  // namespace ds
