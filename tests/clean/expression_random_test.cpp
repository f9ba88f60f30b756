// Expressions against a direct evaluation of the trees that they were written from.
#include <gtest/gtest.h>

#include <cctype>
#include <cmath>
#include <string>
#include <variant>
#include <vector>

#include "base/error.h"
#include "base/rng.h"
#include "clean/rules/expression.h"
#include "io/json.h"

namespace ds {
namespace {

struct Container {
  size_t size;
  auto operator<=>(const Container&) const = default;
};
using Plain = std::variant<std::monostate, bool, double, std::string, Container>;

struct Node {
  std::string op;  // "literal", "path", or the operator or function
  std::vector<Node> kids;
  Plain value;  // literal
};

struct Draw {
  Rng rng;
  uint64_t at = 0;
  size_t below(size_t n) { return static_cast<size_t>(rng.below(at++, n)); }
};

Node leaf(std::string op, Plain value) { return {std::move(op), {}, std::move(value)}; }

Node random_tree(Draw& draw, char type, int depth) {  // type: c condition, n number, s string
  const auto kid = [&](char of) { return random_tree(draw, of, depth - 1); };
  if (draw.below(8) == 0) {
    static const char* const paths[] = {"f0", "f1", "f2", "f3", "o.f4", "o['f 5']"};
    return leaf("path", std::string(paths[draw.below(6)]));
  }
  if (type == 'n') {
    if (depth > 0 && draw.below(2)) {
      const size_t op = draw.below(6);
      if (op == 4) return {"negative", {kid('n')}, {}};
      if (op == 5) return {"length", {kid('s')}, {}};
      return {std::string(1, "+-*/"[op]), {kid('n'), kid('n')}, {}};
    }
    static const char* const signals[] = {"words", "repetition", "characters"};
    if (draw.below(3) == 0) return leaf("path", std::string(signals[draw.below(3)]));
    return leaf("literal", static_cast<double>(draw.below(4)));
  }
  if (type == 's') {
    if (depth > 0 && draw.below(4) == 0) return {"lower", {kid('s')}, {}};
    static const char* const texts[] = {"", "a", "A", "ab", "2", "b\"'\n"};
    return draw.below(6) ? leaf("literal", std::string(texts[draw.below(6)])) : leaf("path", std::string("lang"));
  }
  if (depth == 0) return leaf("literal", draw.below(2) == 1);
  static const char* const comparisons[] = {"==", "!=", "<", "<=", ">", ">="};
  switch (draw.below(9)) {
    case 0:
    case 1:
      return {"and", {kid('c'), kid('c')}, {}};
    case 2:
    case 3:
      return {"or", {kid('c'), kid('c')}, {}};
    case 4:
      return {"not", {kid('c')}, {}};
    case 5:
      return {comparisons[draw.below(6)], {kid('n'), kid('n')}, {}};
    case 6:
      return {comparisons[draw.below(6)], {kid('s'), kid('s')}, {}};
    case 7: {
      Node in{draw.below(2) ? "in" : "not in", {}, {}};
      const char of = "ns"[draw.below(2)];
      for (size_t n = 2 + draw.below(3); n > 0; --n) in.kids.push_back(kid(of));
      return in;
    }
    default:
      return {draw.below(2) ? "contains" : "startswith", {kid('s'), kid('s')}, {}};
  }
}

int level(const Node& node) {
  if (node.op == "or") return 1;
  if (node.op == "and") return 2;
  if (node.op == "not") return 3;
  if (node.op == "negative") return 7;
  if (node.op == "+" || node.op == "-") return 5;
  if (node.op == "*" || node.op == "/") return 6;
  const bool call = node.op == "literal" || node.op == "path" || node.op == "length" || node.op == "lower" ||
                    node.op == "contains" || node.op == "startswith";
  return call ? 8 : 4;
}

std::string expression_string(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) out += c == '"' ? "\\\"" : c == '\n' ? "\\n" : std::string(1, c);
  return out + "\"";
}

// Tokens of the tree, with the parentheses that it needs and some that it does not.
void print(Draw& draw, const Node& node, int least, std::vector<std::string>& out) {
  const bool inside = level(node) < least || draw.below(6) == 0;
  if (inside) out.push_back("(");
  if (node.op == "literal") {
    if (const auto* number = std::get_if<double>(&node.value)) out.push_back(json_number(*number));
    if (const auto* text = std::get_if<std::string>(&node.value)) out.push_back(expression_string(*text));
    if (const auto* boolean = std::get_if<bool>(&node.value)) out.push_back(*boolean ? "true" : "false");
  } else if (node.op == "path") {
    out.push_back(std::get<std::string>(node.value));
  } else if (node.op == "not" || node.op == "negative") {
    out.push_back(node.op == "not" ? (draw.below(2) ? "not" : "!") : "-");
    print(draw, node.kids[0], level(node), out);
  } else if (level(node) == 8) {
    out.insert(out.end(), {node.op, "("});
    for (size_t i = 0; i < node.kids.size(); ++i) {
      if (i > 0) out.push_back(",");
      print(draw, node.kids[i], 0, out);
    }
    out.push_back(")");
  } else if (node.op == "in" || node.op == "not in") {
    print(draw, node.kids[0], 5, out);
    if (node.op == "not in") out.push_back("not");
    out.insert(out.end(), {"in", "["});
    for (size_t i = 1; i < node.kids.size(); ++i) {
      if (i > 1) out.push_back(",");
      print(draw, node.kids[i], 5, out);
    }
    out.push_back("]");
  } else {
    const bool compares = level(node) == 4;
    print(draw, node.kids[0], compares ? 5 : level(node), out);
    const bool sign = (node.op == "and" || node.op == "or") && draw.below(2);
    out.push_back(!sign ? node.op : node.op == "and" ? "&&" : "||");
    print(draw, node.kids[1], level(node) + 1, out);
  }
  if (inside) out.push_back(")");
}

std::string joined(Draw& draw, const std::vector<std::string>& tokens) {
  static const char* const spaces[] = {"", " ", "  ", "\n", "\t", " # or (\n"};
  const auto sticks = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '.'; };
  std::string out;
  for (const std::string& token : tokens) {
    const bool apart =
        !out.empty() && ((sticks(out.back()) && sticks(token[0])) || (out.back() == '!' && token[0] == '='));
    out += spaces[apart ? 1 + draw.below(5) : draw.below(6)];
    out += token;
  }
  return out;
}

struct Reference {
  const Json& record;
  const Signals& signals;

  Plain path(const std::string& name) const {
    if (name == "lang") return signals.lang.empty() ? Plain() : Plain(signals.lang);
    if (const auto signal = find_signal(name)) return signals.has(*signal) ? Plain(signals[*signal]) : Plain();
    const Json* at = &record;
    if (name == "o.f4" || name == "o['f 5']") {
      at = record.find("o");
      if (at) at = at->find(name == "o.f4" ? "f4" : "f 5");
    } else {
      at = record.find(name);
    }
    if (!at) return {};
    if (at->type == Json::Type::number) return at->as_double("");
    if (at->type == Json::Type::string) return at->text;
    if (at->type == Json::Type::boolean) return at->boolean;
    if (at->type == Json::Type::null) return {};
    return Container{at->items.size() + at->members.size()};
  }
  static bool truth(const Plain& value) { return std::holds_alternative<bool>(value) && std::get<bool>(value); }
  static bool plain(const Plain& a) { return a.index() == 2 || a.index() == 3; }  // a number or a string
  static bool same(const Plain& a, const Plain& b) { return (plain(a) || std::holds_alternative<bool>(a)) && a == b; }
  static bool less(const Plain& a, const Plain& b) { return a.index() == b.index() && plain(a) && a < b; }

  Plain eval(const Node& node) const {
    const std::string& op = node.op;
    if (op == "literal") return node.value;
    if (op == "path") return path(std::get<std::string>(node.value));
    std::vector<Plain> kids;
    for (const Node& kid : node.kids) kids.push_back(eval(kid));  // all of them: none has an effect
    const Plain &a = kids[0], &b = kids.back();
    if (op == "and") return truth(a) && truth(b);
    if (op == "or") return truth(a) || truth(b);
    if (op == "not") return !truth(a);
    if (op == "==") return same(a, b);
    if (op == "!=") return !same(a, b);
    if (op == "<") return less(a, b);
    if (op == ">") return less(b, a);
    if (op == "<=") return less(a, b) || (plain(a) && same(a, b));
    if (op == ">=") return less(b, a) || (plain(a) && same(a, b));
    if (op == "in" || op == "not in") {
      bool found = false;
      for (size_t i = 1; i < kids.size(); ++i) found = found || same(a, kids[i]);
      return found == (op == "in");
    }
    const auto *x = std::get_if<double>(&a), *y = std::get_if<double>(&b);
    const auto *s = std::get_if<std::string>(&a), *t = std::get_if<std::string>(&b);
    if (op == "contains") return s && t && s->find(*t) != std::string::npos;
    if (op == "startswith") return s && t && s->substr(0, t->size()) == *t;
    if (op == "length" && a.index() == 4) return static_cast<double>(std::get<Container>(a).size);
    if (op == "length") return s ? Plain(static_cast<double>(s->size())) : Plain();
    if (op == "lower") {
      if (!s) return {};
      std::string lower = *s;
      for (char& c : lower) c = static_cast<char>(std::tolower(c));
      return lower;
    }
    if (!x || !y) return {};
    const double result = op == "negative" ? -*x
                          : op == "+"      ? *x + *y
                          : op == "-"      ? *x - *y
                          : op == "*"      ? *x * *y
                                           : *x / *y;
    return std::isfinite(result) ? Plain(result) : Plain();
  }
};

TEST(Expression, RandomTreesEvaluateAsTheyRead) {
  static const char* const values[] = {"0",    "1",     "2.0",  "-1",      "\"a\"", "\"\"", "\"A\"", "\"b\\\"'\\n\"",
                                       "true", "false", "null", "[1, []]", "{}"};
  size_t trues = 0;
  const size_t rounds = 20000;
  for (size_t i = 0; i < rounds; ++i) {
    Draw draw{Rng{4, i}};
    const Node tree = random_tree(draw, 'c', 1 + static_cast<int>(draw.below(5)));
    std::vector<std::string> tokens;
    print(draw, tree, 0, tokens);
    const std::string text = joined(draw, tokens);
    const Expression expression = Expression::parse(text, "random");
    for (int k = 0; k < 3; ++k) {
      std::string json = "{";
      for (int f = 0; f < 4; ++f)
        if (draw.below(5)) json += cat(json.size() > 1 ? ", " : "", "\"f", f, "\": ", values[draw.below(13)]);
      json += cat(json.size() > 1 ? ", " : "", "\"o\": {\"f4\": ", values[draw.below(13)],
                  ", \"f 5\": ", values[draw.below(13)], "}}");
      Signals signals;
      signals[Signal::words] = static_cast<double>(draw.below(4));
      if (draw.below(2)) signals[Signal::repetition] = 0.5;
      if (draw.below(2)) signals.lang.push_back('a');
      const Json value = parse_json(json, "reference");
      const bool expected = Reference::truth(Reference{value, signals}.eval(tree));
      trues += expected;
      ASSERT_EQ(expression.evaluate(signals, Record(json, "random", i)), expected) << text << "\n" << json;
    }
  }
  EXPECT_GT(trues, rounds * 3 / 4);  // neither answer is rare, so that the comparison says something
  EXPECT_LT(trues, rounds * 9 / 4);
}

TEST(Expression, AllTruthTables) {
  // Every binary tree of and/or over p q r with not before any of its parts: against plain bits.
  const std::string forms[] = {"{}p {1} {}q {2} {}r", "{}p {1} {}({}q {2} {}r)", "{}({}p {1} {}q) {2} {}r"};
  for (int form = 0; form < 3; ++form)
    for (int ops = 0; ops < 4; ++ops)
      for (int nots = 0; nots < 16; ++nots)
        for (int row = 0; row < 8; ++row) {
          std::string text;
          int slot = 0;
          std::vector<int> inverse;
          for (size_t i = 0; i < forms[form].size(); ++i) {
            const std::string_view here = std::string_view(forms[form]).substr(i);
            if (here.starts_with("{}")) {
              const int bit = nots >> slot++ & 1;
              inverse.push_back(bit);
              text += bit ? "not " : "", i += 1;
            } else if (here.starts_with("{1}")) {
              text += ops & 1 ? "and" : "or", i += 2;
            } else if (here.starts_with("{2}")) {
              text += ops & 2 ? "and" : "or", i += 2;
            } else {
              text += here[0];
            }
          }
          const bool p = row & 1, q = row & 2, r = row & 4;
          const auto flip = [&](int k, bool x) { return inverse[static_cast<size_t>(k)] ? !x : x; };
          const auto one = [&](bool a, bool b) { return ops & 1 ? a && b : a || b; };
          const auto two = [&](bool a, bool b) { return ops & 2 ? a && b : a || b; };
          bool expected = false;
          if (form == 0) {
            const bool a = flip(0, p), b = flip(1, q), c = flip(2, r);
            expected = ops == 2 ? a || (b && c) : two(one(a, b), c);  // only `a or b and c` groups to the right
          } else if (form == 1) {
            expected = one(flip(0, p), flip(1, two(flip(2, q), flip(3, r))));
          } else {
            expected = two(flip(0, one(flip(1, p), flip(2, q))), flip(3, r));
          }
          const std::string json = cat("{\"p\": ", p ? "true" : "false", ", \"q\": ", q ? "true" : "false",
                                       ", \"r\": ", r ? "true" : "false", "}");
          ASSERT_EQ(Expression::parse(text, "test").evaluate(Signals(), Record(json, "table", 1)), expected)
              << text << " " << json;
        }
}
}  // namespace
}  // namespace ds
