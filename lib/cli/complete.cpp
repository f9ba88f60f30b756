// Shell completions from the same declarations: `ds-X --completions bash`.
#include <algorithm>

#include "cli/declared.h"

namespace ds {

static std::string replace_all(std::string text, const std::string& from, const std::string& to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
  return text;
}

static std::string words_of(const Verb& verb) {
  std::string words;
  for (const Declared& o : verb.options)
    if (!o.hidden && !o.is_positional()) words += (words.empty() ? "" : " ") + o.name();
  return words;
}

static std::string verbs_of(const Tool& tool) {
  std::string names;
  for (const Verb* verb : tool.verbs)
    if (!verb->name.empty()) names += (names.empty() ? "" : " ") + verb->name;
  return names;
}

static std::string choices_of(const Declared& o) {
  std::string words;
  for (const std::string& c : o.choices) words += (words.empty() ? "" : " ") + c;
  return words;
}

static std::string bash(const Tool& tool) {
  const std::string function = cat("_", replace_all(tool.name, "-", "_"));
  std::string text =
      cat(function, "() {\n  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words=\n",
          "  COMPREPLY=()\n  case ${COMP_WORDS[1]} in\n");
  std::string fallback = "  *) words= ;;\n";
  for (const Verb* verb : tool.verbs) {
    const std::string branch = cat("words='", words_of(*verb), "' ;;\n");
    if (verb->name.empty())
      fallback = "  *) " + branch;
    else
      text += cat("  ", verb->name, ") ", branch);
  }
  text += fallback + "  esac\n  case ${COMP_WORDS[1]}:$prev in\n";
  for (const Verb* verb : tool.verbs)
    for (const Declared& o : verb->options)
      if (!o.hidden && !o.choices.empty())
        text += cat("  ", verb->name.empty() ? "*" : verb->name, ":", o.name(), ") COMPREPLY=($(compgen -W '",
                    choices_of(o), "' -- \"$cur\")); return ;;\n");
  text += cat("  esac\n  if [[ $COMP_CWORD -eq 1 && $cur != -* ]]; then\n    COMPREPLY=($(compgen -W '", verbs_of(tool),
              "' -- \"$cur\"))\n  fi\n",
              "  if [[ $cur == -* ]]; then\n    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n  else\n",
              "    COMPREPLY+=($(compgen -f -- \"$cur\"))\n  fi\n}\ncomplete -o filenames -F ", function, " ",
              tool.name, "\n");
  return text;
}

// A text inside single quotes of zsh's _arguments: the characters that mean something there are escaped.
static std::string zsh_quoted(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '\'') {
      out += "'\\''";
      continue;
    }
    if (c == ':' || c == '[' || c == ']' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

static std::string zsh_arguments(const Verb& verb) {
  std::string text = "_arguments";
  for (const Declared& o : verb.options) {
    if (o.hidden || o.is_positional()) continue;
    std::string value;
    if (!o.is_flag())
      value = cat(":", o.choices.empty() ? o.unit : "value", ":",
                  !o.choices.empty() ? cat("(", choices_of(o), ")")
                  : o.unit == "DIR"  ? "_files -/"
                  : o.is_path()      ? "_files"
                                     : "");
    text += cat(" \\\n      '", o.is_vector() ? "*" : "", o.name(), "[", zsh_quoted(o.help), "]", value, "'");
  }
  return text + " \\\n      '*:file:_files'";
}

static std::string zsh(const Tool& tool) {
  std::string text = cat("#compdef ", tool.name, "\n");
  const std::string verbs = verbs_of(tool);
  if (!verbs.empty()) text += cat("if (( CURRENT == 2 )) && [[ $words[2] != -* ]]; then\n  compadd ", verbs, "\nfi\n");
  text += "case $words[2] in\n";
  std::string fallback = "  *) _files ;;\n";
  for (const Verb* verb : tool.verbs) {
    if (verb->name.empty())
      fallback = cat("  *)\n    ", zsh_arguments(*verb), " ;;\n");
    else
      text += cat("  ", verb->name, ")\n    ", zsh_arguments(*verb), " ;;\n");
  }
  return text + fallback + "esac\n";
}

static std::string fish(const Tool& tool) {
  std::string text;
  const std::string verbs = verbs_of(tool);
  if (!verbs.empty())
    text += cat("complete -c ", tool.name, " -n 'not __fish_seen_subcommand_from ", verbs, "' -a '", verbs, "'\n");
  for (const Verb* verb : tool.verbs)
    for (const Declared& o : verb->options) {
      if (o.hidden || o.is_positional()) continue;
      text += "complete -c " + tool.name;
      if (!verb->name.empty())
        text += cat(" -n '__fish_seen_subcommand_from ", verb->name, "'");
      else if (!verbs.empty())
        text += cat(" -n 'not __fish_seen_subcommand_from ", verbs, "'");
      if (!o.short_name.empty()) text += " -s " + o.short_name.substr(1);
      if (!o.long_name.empty()) text += " -l " + o.long_name.substr(2);
      if (!o.choices.empty())
        text += cat(" -x -a '", choices_of(o), "'");
      else if (!o.is_flag())
        text += o.is_path() ? " -r -F" : " -x";
      text += cat(" -d '", replace_all(replace_all(o.help, "\\", "\\\\"), "'", "\\'"), "'\n");
    }
  return text;
}

std::string completion_text(const Tool& tool, const std::string& shell) {
  return shell == "bash" ? bash(tool) : shell == "zsh" ? zsh(tool) : fish(tool);
}

}  // namespace ds
