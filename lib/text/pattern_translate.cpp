#include "text/pattern_translate.h"

#include <algorithm>
#include <array>
#include <vector>

#include "base/error.h"

namespace ds {
namespace {

// White_Space of Unicode, and the rest. PCRE2's \s holds U+180E as well.
constexpr std::string_view space =
    R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
constexpr std::string_view no_space =
    R"(\x{0}-\x{8}\x{e}-\x{1f}\x{21}-\x{84}\x{86}-\x{9f}\x{a1}-\x{167f}\x{1681}-\x{1fff}\x{200b}-\x{2027}\x{202a}-\x{202e}\x{2030}-\x{205e}\x{2060}-\x{2fff}\x{3001}-\x{10ffff})";
constexpr std::string_view word = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc})";  // in a class
constexpr std::string_view single_word =
    R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\x{b2}\x{b3}\x{b9}\x{bc}-\x{be})";  // by itself
constexpr std::string_view hexadecimal = "0-9a-fA-F";
constexpr int many = 1000, most_choices = 8;

constexpr std::array<std::pair<std::string_view, std::string_view>, 10> posix_classes = {{
    {"alpha", R"(\p{Alphabetic})"},
    {"digit", R"(\p{Nd})"},
    {"alnum", R"(\p{Alphabetic}\p{Nd})"},
    {"upper", R"(\p{Uppercase})"},
    {"lower", R"(\p{Lowercase})"},
    {"punct", R"(\p{P}\p{S})"},
    {"space", space},
    {"word", word},
    {"xdigit", hexadecimal},
    {"cntrl", R"(\p{Cc})"},
}};
constexpr std::array<std::pair<std::string_view, std::string_view>, 7> property_names = {{
    {"letter", "L"},
    {"mark", "M"},
    {"number", "N"},
    {"punctuation", "P"},
    {"symbol", "S"},
    {"separator", "Z"},
    {"other", "C"},
}};

constexpr std::array<std::string_view, 12> binary_properties = {"any",
                                                                "alphabetic",
                                                                "uppercase",
                                                                "lowercase",
                                                                "white_space",
                                                                "emoji",
                                                                "emoji_presentation",
                                                                "extended_pictographic",
                                                                "ideographic",
                                                                "math",
                                                                "dash",
                                                                "hex_digit"};

struct Translator {
  std::string_view in, where;
  size_t at = 0;
  std::string out;

  bool done() const { return at >= in.size(); }
  bool next_is(std::string_view text) const { return in.substr(at).starts_with(text); }
  [[noreturn]] void refuse(std::string_view what) const {
    fail(where, ": ", what, " in a pattern is not supported: ", in);
  }

  std::string code_point(std::string_view digits) const {
    require(digits.size() == 4 && std::all_of(digits.begin(), digits.end(),
                                              [](char c) {
                                                return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') ||
                                                       (c >= 'A' && c <= 'F');
                                              }),
            where, ": \\u takes four hexadecimal digits: ", in);
    return cat("\\x{", digits, "}");
  }

  std::string property(bool negated) {  // behind \p or \P
    require(at < in.size() && in[at] == '{', where, ": \\p takes a name in braces: ", in);
    const size_t end = in.find('}', at);
    require(end != std::string_view::npos, where, ": unfinished \\p{: ", in);
    std::string name(in.substr(at + 1, end - at - 1));
    at = end + 1;
    if (name.starts_with('^')) negated = !negated, name.erase(0, 1);
    std::string lower = name;
    for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    for (const auto& [theirs, ours] : property_names)
      if (lower == theirs) name = ours;
    for (const auto& [theirs, members] : posix_classes)
      if (lower == theirs) return cat(negated ? "[^" : "[", members, "]");
    // What is no category and no such property is a script; PCRE2 would take its extensions, too.
    const bool script = name.size() > 2 &&
                        std::find(binary_properties.begin(), binary_properties.end(), lower) == binary_properties.end();
    return cat(negated ? "\\P{" : "\\p{", script ? "sc:" : "", name, "}");
  }

  // One escape, `at` behind the backslash. Members of a class go to `members`, what only a class of its own can say is
  // returned. Outside a class everything is returned.
  std::string escape(std::string* members) {
    require(!done(), where, ": a pattern ends with a backslash: ", in);
    const char c = in[at++];
    const auto set = [&](std::string_view text) -> std::string {
      if (!members) return cat("[", text, "]");
      *members += text;
      return "";
    };
    switch (c) {
      case 's':
        return set(space);
      case 'S':
        return set(no_space);
      case 'w':
        return set(members ? word : single_word);
      case 'W':
        return cat("[^", members ? word : single_word, "]");
      case 'h':
        return set(hexadecimal);
      case 'H':
        return cat("[^", hexadecimal, "]");
      case 'p':
      case 'P': {
        const std::string text = property(c == 'P');
        return members && text[0] == '\\' ? (*members += text, "") : text;
      }
      case 'u': {
        const std::string text = code_point(in.substr(at, 4));
        at += 4;
        return members ? (*members += text, "") : text;
      }
      case 'b':
      case 'B':
        if (members) {
          if (c == 'B') refuse("\\B in a class");
          return set("\\x{8}");
        }
        {
          const std::string in_word = cat("[", single_word, "]");
          return c == 'b' ? cat("(?:(?<=", in_word, ")(?!", in_word, ")|(?<!", in_word, ")(?=", in_word, "))")
                          : cat("(?:(?<=", in_word, ")(?=", in_word, ")|(?<!", in_word, ")(?!", in_word, "))");
        }
      case 'Q':
      case 'E':
      case 'N':
      case 'C':
      case 'K':
      case 'M':
      case 'c':
      case 'y':
      case 'Y':
      case 'O':
        refuse(cat("\\", std::string(1, c)));
      default:
        break;
    }
    std::string text{'\\', c};
    if (c == 'x' && at < in.size() && in[at] == '{') {
      const size_t end = in.find('}', at);
      require(end != std::string_view::npos, where, ": unfinished \\x{: ", in);
      text += in.substr(at, end + 1 - at);
      at = end + 1;
    }
    return members ? (*members += text, "") : text;
  }

  // [:name:] with `at` behind "[:".
  std::string posix(std::string& members) {
    const size_t end = in.find(":]", at);
    require(end != std::string_view::npos, where, ": unfinished [: in a pattern: ", in);
    std::string_view name = in.substr(at, end - at);
    at = end + 2;
    const bool negated = name.starts_with('^');
    name.remove_prefix(negated);
    for (const auto& [theirs, text] : posix_classes) {
      if (name != theirs) continue;
      if (negated) return cat("[^", text, "]");
      members += text;
      return "";
    }
    refuse(cat("[:", name, ":]"));
  }

  // One class as an expression that matches one character; `at` behind the bracket.
  std::string character_class(int depth) {
    require(depth < 16, where, ": classes nest too deeply in a pattern: ", in);
    const bool negated = next_is("^");
    at += negated;
    std::vector<std::string> operands, others;
    std::string members;
    const auto operand = [&](bool whole) -> std::string {  // of an intersection, or the whole class
      std::string text;
      if (others.empty() && whole && negated) {
        text = cat("[^", members, "]");
      } else {
        if (!members.empty()) text = cat("[", members, "]");
        for (const std::string& other : others) text += cat(text.empty() ? "" : "|", other);
        if (text.empty()) text = "(?!)";
        if (!others.empty()) text = cat("(?:", text, ")");
        if (whole && negated) text = cat("(?:(?!", text, ")(?s:.))");
      }
      members.clear();
      others.clear();
      return text;
    };
    const auto add = [&](std::string text) {
      if (!text.empty()) others.push_back(std::move(text));
    };
    for (bool first = true;; first = false) {
      require(!done(), where, ": an unfinished class in a pattern: ", in);
      const char c = in[at];
      if (c == ']' && !first) break;
      if (next_is("&&")) {
        at += 2;
        operands.push_back(operand(false));
      } else if (next_is("[:")) {
        at += 2;
        add(posix(members));
      } else if (c == '[') {
        ++at;
        add(character_class(depth + 1));
      } else if (c == '\\') {
        ++at;
        add(escape(&members));
      } else {
        ++at;
        if (c == ']' || c == '^') members += '\\';
        members += c;
      }
    }
    ++at;
    if (operands.empty()) return operand(true);
    std::string text;
    for (const std::string& o : operands) text += cat("(?=", o, ")");
    text = cat("(?:", text, operand(false), ")");
    return negated ? cat("(?:(?!", text, ")(?s:.))") : text;
  }

  // The options of (?imx-imx, with `at` behind the question mark: Ruby's m is PCRE2's s.
  bool options() {
    size_t end = at;
    while (end < in.size() && std::string_view("imx-").find(in[end]) != std::string_view::npos) ++end;
    if (end == at || end >= in.size() || (in[end] != ':' && in[end] != ')')) return false;
    for (; at < end; ++at) out += in[at] == 'm' ? 's' : in[at];
    return true;
  }
};

// A group that is open: where its text begins, and what lets a matcher go back in it, in the current alternative and in
// the worst one.
struct Group {
  size_t begin;
  int repeats = 0, most = 0;
  int choices = 0, most_choices = 0;  // a? and (a|b): each may double the ways to fail
  bool alternatives = false;

  void end_alternative() {
    most = std::max(most, repeats);
    most_choices = std::max(most_choices, choices);
    repeats = choices = 0;
  }
};

}  // namespace

TranslatedPattern translate_pattern(std::string_view pattern, std::string_view where) {
  Translator t{pattern, where};
  std::vector<Group> groups(1, Group{0});
  size_t atom = std::string::npos;  // where what a quantifier would repeat begins
  int inner = 0;                    // repeats in it
  int inner_choices = 0;
  const auto put = [&](const std::string& text) {
    atom = t.out.size();
    inner = inner_choices = 0;
    t.out += text;
  };
  while (!t.done()) {
    const char c = t.in[t.at++];
    if (c == '\\') {
      put(t.escape(nullptr));
    } else if (c == '[') {
      put(t.character_class(0));
    } else if (c == '(') {
      require(groups.size() < 200, where, ": groups nest too deeply in a pattern: ", pattern);
      groups.push_back({t.out.size()});
      t.out += c;
      atom = std::string::npos;
      if (t.next_is("?")) {
        t.out += t.in[t.at++];
        if (t.next_is("#")) t.refuse("a comment");
        if (t.next_is("~")) t.refuse("an absence operator");
        if (!t.options())
          while (!t.done() && std::string_view("<=!>:").find(t.in[t.at]) != std::string_view::npos) {
            t.out += t.in[t.at++];
            if (t.out.back() != '<') break;
          }
      } else if (t.next_is("*")) {
        t.refuse("(*");
      }
    } else if (c == ')') {
      require(groups.size() > 1, where, ": an unmatched ) in a pattern: ", pattern);
      Group group = groups.back();
      groups.pop_back();
      group.end_alternative();
      t.out += c;
      atom = group.begin;
      inner = group.most;
      groups.back().repeats += inner;
      inner_choices = group.most_choices + group.alternatives;
      groups.back().choices += inner_choices;
    } else if (c == '|') {
      groups.back().end_alternative();
      groups.back().alternatives = true;
      t.out += c;
      atom = std::string::npos;
    } else if (atom != std::string::npos && (c == '*' || c == '+' || c == '?' || c == '{')) {
      std::string quantifier(1, c);
      bool counted = false;
      if (c == '{') {
        const size_t end = std::min(t.in.find('}', t.at), t.in.size());
        std::string_view inside = t.in.substr(t.at, end - t.at);
        counted = end < t.in.size() && !inside.empty() && inside != "," &&
                  std::all_of(inside.begin(), inside.end(), [](char d) { return (d >= '0' && d <= '9') || d == ','; });
        if (!counted) {
          put("\\{");
          continue;
        }
        quantifier = cat(inside[0] == ',' ? "{0" : "{", inside, "}");
        t.at = end + 1;
      }
      const bool varies = c == '*' || c == '+' || (counted && quantifier.find(',') != std::string::npos);
      const bool lazy = t.next_is("?"), more = t.next_is("+");
      t.at += lazy || more;
      if (varies) groups.back().repeats += inner > 0 || inner_choices > 0 ? many : 1;
      groups.back().choices += c == '?';
      if (counted && more) {  // not possessive: the repeat is repeated
        t.out.insert(atom, "(?:");
        t.out += cat(quantifier, ")+");
        groups.back().repeats += many;
      } else {
        t.out += quantifier;
        if (lazy || more) t.out += lazy ? '?' : '+';
      }
      inner = std::max(inner, 1);
    } else if (static_cast<uint8_t>(c) >= 0x80) {  // a character is repeated whole
      std::string text(1, c);
      while (!t.done() && (static_cast<uint8_t>(t.in[t.at]) & 0xc0) == 0x80) text += t.in[t.at++];
      put(text);
    } else {
      put(c == '{' || c == '}' || c == ']' ? std::string{'\\', c} : std::string(1, c));
    }
  }
  require(groups.size() == 1, where, ": an unmatched ( in a pattern: ", pattern);
  groups[0].end_alternative();
  return {std::move(t.out), groups[0].most_choices > most_choices ? many : groups[0].most};
}

}  // namespace ds
