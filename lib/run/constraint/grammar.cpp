#include "run/constraint/grammar.h"

#include <algorithm>
#include <map>
#include <optional>

#include "base/error.h"
#include "run/constraint/pattern_scanner.h"
#include "text/unicode.h"

namespace ds::constrain {
namespace {

constexpr size_t kMostRules = 10'000;

bool is_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

class Parser : PatternScanner {
 public:
  explicit Parser(std::string_view text) : PatternScanner(text, "grammar") {}

  std::vector<Rule> parse() {
    if (!is_valid_utf8(text_)) wrong("the grammar is not UTF-8");
    number("root");
    for (space(true); at_ < text_.size(); space(true)) rule();
    if (!defined_[0]) fail("grammar: there is no rule root");
    for (size_t i = 0; i < rules_.size(); ++i)
      if (!defined_[i]) at_ = first_use_[i], wrong(cat("there is no rule ", rules_[i].name));
    return std::move(rules_);
  }

 private:
  void space(bool lines) {
    for (;;) {
      if (peek() == ' ' || peek() == '\t' || (lines && (peek() == '\n' || peek() == '\r'))) {
        ++at_;
      } else if (peek() == '#') {
        while (at_ < text_.size() && peek() != '\n') ++at_;
      } else {
        return;
      }
    }
  }
  std::string_view name() {
    const size_t start = at_;
    while (is_name(peek())) ++at_;
    if (at_ == start) wrong("the name of a rule is expected");
    return text_.substr(start, at_ - start);
  }
  uint32_t number(std::string_view name) {
    const auto [at, is_new] = numbers_.try_emplace(std::string(name), static_cast<uint32_t>(rules_.size()));
    if (is_new) {
      if (rules_.size() >= kMostRules) wrong(cat("more than ", kMostRules, " rules"));
      rules_.push_back({std::string(name), {}});
      defined_.push_back(false);
      first_use_.push_back(at_ - std::min(at_, name.size()));
    }
    return at->second;
  }

  void rule() {
    const size_t start = at_;
    const uint32_t made = number(name());
    space(false);
    if (!take("::=")) wrong("'::=' is expected after the name of a rule");
    space(true);
    Tree tree = either(0, false);
    if (at_ < text_.size() && peek() != '\n' && peek() != '\r') wrong("the end of the rule is expected");
    if (defined_[made]) at_ = start, wrong(cat("a second rule ", rules_[made].name));
    defined_[made] = true;
    rules_[made].tree = std::move(tree);
  }

  Tree either(int depth, bool nested) {
    if (depth > kDeepestPattern) wrong("groups nest too deeply");
    Tree out;
    out.type = Tree::Type::either;
    for (;;) {
      out.children.push_back(sequence(depth, nested));
      const size_t end = at_;
      space(true);  // a line may begin with '|'
      if (!take("|")) {
        at_ = nested ? at_ : end;
        break;
      }
      space(true);
    }
    if (out.children.size() > 1) return out;
    return Tree(std::move(out.children[0]));
  }

  Tree sequence(int depth, bool nested) {
    Tree out;
    out.type = Tree::Type::sequence;
    for (space(nested);; space(nested)) {
      const char c = peek();
      if (c == '"') {
        literal(out);
      } else if (c == '[' || c == '.') {
        out.children.push_back(characters());
      } else if (c == '(') {
        const size_t start = at_++;
        space(true);
        Tree inner = either(depth + 1, true);
        if (!take(")")) at_ = start, wrong("a '(' that is not closed");
        Tree group;  // one thing to repeat
        group.type = Tree::Type::sequence;
        group.children.push_back(std::move(inner));
        out.children.push_back(std::move(group));
      } else if (is_name(c)) {
        Tree call;
        call.type = Tree::Type::rule;
        call.rule = number(name());
        out.children.push_back(std::move(call));
      } else if (c == '*' || c == '+' || c == '?' || c == '{') {
        if (out.children.empty()) wrong("a repetition of nothing");
        Tree repeat;
        repeat.type = Tree::Type::repeat;
        quantifier(repeat);
        repeat.children.push_back(std::move(out.children.back()));
        out.children.back() = std::move(repeat);
      } else if (c == '<' || c == '!') {
        wrong("tokens in a grammar are not supported");
      } else {
        return out;
      }
    }
  }

  void quantifier(Tree& repeat) {
    repeat.most = Tree::unlimited;
    if (take("*")) return;
    if (take("+")) return void(repeat.least = 1);
    if (take("?")) return void(repeat.most = 1);
    const size_t start = at_++;
    space(true);
    const auto low = digits();
    space(true);
    auto high = low;
    if (take(",")) {
      space(true);
      high = digits();
      if (!high) high = Tree::unlimited;
      space(true);
    }
    repeat.least = low.value_or(0);
    const bool is_whole = take("}");
    at_ = is_whole ? at_ : start;
    if (!is_whole || (!low && !high)) wrong("a repetition {m}, {m,}, {m,n} is expected");
    repeat.most = *high;
    if (repeat.least > kMostRepeats || (repeat.most != Tree::unlimited && repeat.most > kMostRepeats))
      at_ = start, wrong(cat("more than ", kMostRepeats, " repetitions"));
    if (repeat.least > repeat.most) at_ = start, wrong("a repetition from more to less");
  }

  char32_t character() {
    if (!take("\\")) return decode_utf8(text_, at_);
    const char c = peek();
    ++at_;
    switch (c) {
      case 'n': return '\n';
      case 'r': return '\r';
      case 't': return '\t';
      case 'x': return checked(hex(2, 2));
      case 'u': return checked(hex(4, 4));
      case 'U': return checked(hex(8, 8));
      case '"': case '\\': case '[': case ']': case '-': case '^': case '/': case '.': return static_cast<char32_t>(c);
      default: --at_, wrong("an escape that is none of \\n \\r \\t \\xHH \\uHHHH \\UHHHHHHHH \\\" \\\\ \\[ \\] \\- \\^");
    }
  }
  // A string is one thing to repeat.
  void literal(Tree& sequence) {
    const size_t start = at_++;
    Tree out;
    out.type = Tree::Type::sequence;
    while (peek() != '"') {
      if (at_ >= text_.size() || peek() == '\n') at_ = start, wrong("a string that is not closed");
      const char32_t c = character();
      out.children.push_back(one({{c, c}}));
    }
    ++at_;
    sequence.children.push_back(std::move(out));
  }

  Tree characters() {
    if (take(".")) return one({{0, 0x10FFFF}});
    const size_t start = at_++;
    const bool negative = take("^");
    CharacterSet set;
    while (peek() != ']') {
      if (at_ >= text_.size()) at_ = start, wrong("a '[' that is not closed");
      const char32_t low = character();
      char32_t high = low;
      if (peek() == '-' && at_ + 1 < text_.size() && text_[at_ + 1] != ']') {
        ++at_;
        high = character();
      }
      if (low > high) wrong("a range that runs backwards");
      set.emplace_back(low, high);
    }
    ++at_;
    normalize(set);
    return one(negative ? complement(set) : set);
  }

  std::vector<Rule> rules_;
  std::vector<bool> defined_;
  std::vector<size_t> first_use_;
  std::map<std::string, uint32_t> numbers_;
};

// Sequences of one become what they hold, so that the first thing of an alternative is seen.
void flatten(Tree& tree) {
  for (Tree& child : tree.children) flatten(child);
  if (tree.type == Tree::Type::sequence && tree.children.size() == 1) {
    Tree only = std::move(tree.children[0]);
    tree = std::move(only);
  }
}

// a ::= a x | y  is  a ::= y x*
void rewrite_recursion(Rule& rule, uint32_t number) {
  const auto begins = [&](const Tree& t) {
    return t.type == Tree::Type::sequence && !t.children.empty() && t.children[0].type == Tree::Type::rule &&
           t.children[0].rule == number;
  };
  const auto is_itself = [&](const Tree& t) { return t.type == Tree::Type::rule && t.rule == number; };
  if (rule.tree.type != Tree::Type::either) return;
  Tree first, more, all, repeat;
  first.type = more.type = Tree::Type::either;
  all.type = Tree::Type::sequence;
  repeat.type = Tree::Type::repeat;
  repeat.most = Tree::unlimited;
  for (Tree& child : rule.tree.children) {
    if (is_itself(child)) continue;  // a ::= a adds nothing
    if (begins(child)) {
      child.children.erase(child.children.begin());
      more.children.push_back(std::move(child));
    } else {
      first.children.push_back(std::move(child));
    }
  }
  rule.tree = std::move(first);
  if (more.children.empty()) return;
  repeat.children.push_back(std::move(more));
  all.children.push_back(std::move(rule.tree));
  all.children.push_back(std::move(repeat));
  rule.tree = std::move(all);
}

bool is_nullable(const Tree& tree, const std::vector<bool>& rules) {
  const auto nullable = [&](const Tree& child) { return is_nullable(child, rules); };
  switch (tree.type) {
    case Tree::Type::characters: return false;
    case Tree::Type::rule: return rules[tree.rule];
    case Tree::Type::sequence: return std::all_of(tree.children.begin(), tree.children.end(), nullable);
    case Tree::Type::either: return std::any_of(tree.children.begin(), tree.children.end(), nullable);
    case Tree::Type::repeat: return tree.least == 0 || nullable(tree.children[0]);
    default: return true;
  }
}

// The rules that a text of this tree may begin with.
void first_rules(const Tree& tree, const std::vector<bool>& nullable, std::vector<uint32_t>& out) {
  if (tree.type == Tree::Type::rule) out.push_back(tree.rule);
  for (const Tree& child : tree.children) {
    first_rules(child, nullable, out);
    if (tree.type == Tree::Type::sequence && !is_nullable(child, nullable)) break;
  }
}

void refuse_circles(const std::vector<Rule>& rules) {
  std::vector<bool> nullable(rules.size());
  for (bool changed = true; changed;) {
    changed = false;
    for (size_t i = 0; i < rules.size(); ++i)
      if (!nullable[i] && is_nullable(rules[i].tree, nullable)) nullable[i] = changed = true;
  }
  std::vector<std::vector<uint32_t>> first(rules.size());
  for (size_t i = 0; i < rules.size(); ++i) first_rules(rules[i].tree, nullable, first[i]);
  enum : uint8_t { unseen, open, done };
  std::vector<uint8_t> mark(rules.size(), unseen);
  for (uint32_t start = 0; start < rules.size(); ++start) {
    if (mark[start] != unseen) continue;
    std::vector<std::pair<uint32_t, size_t>> path = {{start, 0}};
    mark[start] = open;
    while (!path.empty()) {
      auto& [rule, next] = path.back();
      if (next == first[rule].size()) {
        mark[rule] = done;
        path.pop_back();
        continue;
      }
      const uint32_t to = first[rule][next++];
      if (mark[to] == open) {
        std::string names;
        bool inside = false;
        for (const auto& [on, unused] : path) {
          inside |= on == to;
          if (inside && names.size() < 200) names += rules[on].name + " -> ";
        }
        fail("grammar: the rules ", names, rules[to].name,
             " begin with each other before anything is read (left recursion); rewrite them as repetitions");
      }
      if (mark[to] == unseen) {
        mark[to] = open;
        path.emplace_back(to, 0);
      }
    }
  }
}

}  // namespace

std::vector<Rule> parse_grammar(std::string_view text) {
  std::vector<Rule> rules = Parser(text).parse();
  for (uint32_t i = 0; i < rules.size(); ++i) {
    flatten(rules[i].tree);
    rewrite_recursion(rules[i], i);
  }
  refuse_circles(rules);
  return rules;
}

}  // namespace ds::constrain
