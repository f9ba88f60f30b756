#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>

#include "text/template/parser.h"

namespace ds::jinja {
namespace {

using Type = Expression::Type;
using Lexeme = Token::Type;

std::string described(const Token& token) {
  switch (token.type) {
    case Lexeme::data: return "text";
    case Lexeme::block_begin: return "'{%'";
    case Lexeme::block_end: return "'%}'";
    case Lexeme::print_begin: return "'{{'";
    case Lexeme::print_end: return "'}}'";
    case Lexeme::string: return "a string";
    case Lexeme::end: return "the end of the template";
    default: return "'" + token.text + "'";
  }
}

bool is_literal_name(const std::string& name) {
  static constexpr std::array<std::string_view, 6> names = {"true", "false", "none", "True", "False", "None"};
  return std::ranges::find(names, name) != names.end();
}

}  // namespace

Token ExpressionParser::next() {
  Token token = tokens_[at_];
  if (at_ + 1 < tokens_.size()) ++at_;
  return token;
}

bool ExpressionParser::skip_op(std::string_view text) { return is_op(text) && (next(), true); }
bool ExpressionParser::skip_name(std::string_view text) { return is_name(text) && (next(), true); }

void ExpressionParser::fail_unexpected(std::string_view expected) const {
  fail_at(current().line, "expected ", expected, ", found ", described(current()));
}

Token ExpressionParser::expect(Token::Type type, std::string_view text, std::string_view what) {
  if (current().type != type || (!text.empty() && current().text != text)) fail_unexpected(cat("'", what, "'"));
  return next();
}

std::string ExpressionParser::expect_any_name() {
  if (current().type != Lexeme::name) fail_unexpected("a name");
  return next().text;
}

int ExpressionParser::symbol(const std::string& name) {
  const auto [found, fresh] = symbol_numbers_.emplace(name, static_cast<int>(symbols_.size()));
  if (fresh) symbols_.push_back(name);
  return found->second;
}

void ExpressionParser::measure(Expression& node) const {
  const auto count = [&](const ExpressionPtr& child) {
    if (child) node.depth = std::max(node.depth, child->depth + 1);
  };
  for (const auto& child : node.children) count(child);
  for (const auto& child : node.arguments.positional) count(child);
  for (const auto& [name, child] : node.arguments.named) count(child);
  count(node.arguments.star);
  count(node.arguments.double_star);
  if (node.depth > max_expression_depth) fail_at(node.line, "an expression deeper than ", max_expression_depth);
}

ExpressionPtr ExpressionParser::make(Type type, int line, std::vector<ExpressionPtr> children) const {
  auto node = std::make_unique<Expression>();
  node->type = type;
  node->line = line;
  node->children = std::move(children);
  measure(*node);
  return node;
}

ExpressionPtr ExpressionParser::constant(int line, Value value) const {
  auto node = make(Type::constant, line);
  node->value = std::move(value);
  return node;
}

namespace {

std::vector<ExpressionPtr> both(ExpressionPtr a, ExpressionPtr b) {
  std::vector<ExpressionPtr> children;
  children.push_back(std::move(a));
  children.push_back(std::move(b));
  return children;
}

std::vector<ExpressionPtr> one(ExpressionPtr a) {
  std::vector<ExpressionPtr> children;
  children.push_back(std::move(a));
  return children;
}

}  // namespace

ExpressionPtr ExpressionParser::parse_expression() { return parse_conditional(); }

ExpressionPtr ExpressionParser::parse_conditional() {
  const Nesting nesting(*this);
  const int line = current().line;
  const size_t known = unknown_.size();
  ExpressionPtr node = parse_or();
  while (skip_name("if")) {
    auto children = both(parse_or(), std::move(node));
    children.push_back(skip_name("else") ? parse_conditional() : nullptr);
    node = make(Type::conditional, line, std::move(children));
    unknown_.resize(known);
  }
  return node;
}

ExpressionPtr ExpressionParser::parse_or() {
  ExpressionPtr node = parse_and();
  for (int line = current().line; skip_name("or"); line = current().line)
    node = make(Type::logical_or, line, both(std::move(node), parse_and()));
  return node;
}

ExpressionPtr ExpressionParser::parse_and() {
  ExpressionPtr node = parse_not();
  for (int line = current().line; skip_name("and"); line = current().line)
    node = make(Type::logical_and, line, both(std::move(node), parse_not()));
  return node;
}

ExpressionPtr ExpressionParser::parse_not() {
  const Nesting nesting(*this);
  const int line = current().line;
  return skip_name("not") ? make(Type::logical_not, line, one(parse_not())) : parse_compare();
}

ExpressionPtr ExpressionParser::parse_compare() {
  using Operator = Expression::Operator;
  static constexpr std::pair<std::string_view, Operator> signs[] = {
      {"==", Operator::equal}, {"!=", Operator::not_equal}, {"<", Operator::less}, {"<=", Operator::less_equal},
      {">", Operator::greater}, {">=", Operator::greater_equal}};
  const int line = current().line;
  std::vector<ExpressionPtr> operands = one(parse_sum());
  std::vector<Operator> operators;
  while (true) {
    const auto* const sign = std::ranges::find_if(signs, [&](const auto& s) { return is_op(s.first); });
    if (sign != std::end(signs)) operators.push_back(sign->second), next();
    else if (skip_name("in")) operators.push_back(Operator::in);
    else if (is_name("not") && look().is(Lexeme::name, "in")) operators.push_back(Operator::not_in), next(), next();
    else break;
    operands.push_back(parse_sum());
  }
  if (operators.empty()) return std::move(operands[0]);
  ExpressionPtr node = make(Type::compare, line, std::move(operands));
  node->operators = std::move(operators);
  return node;
}

ExpressionPtr ExpressionParser::parse_sum() {
  ExpressionPtr node = parse_concat();
  while (is_op("+") || is_op("-")) {
    const Token sign = next();
    node = make(sign.text == "+" ? Type::add : Type::subtract, sign.line, both(std::move(node), parse_concat()));
  }
  return node;
}

ExpressionPtr ExpressionParser::parse_concat() {
  const int line = current().line;
  std::vector<ExpressionPtr> parts = one(parse_product());
  while (skip_op("~")) parts.push_back(parse_product());
  return parts.size() == 1 ? std::move(parts[0]) : make(Type::concat, line, std::move(parts));
}

ExpressionPtr ExpressionParser::parse_product() {
  ExpressionPtr node = parse_power();
  while (is_op("*") || is_op("/") || is_op("//") || is_op("%")) {
    const Token sign = next();
    const Type type = sign.text == "*"    ? Type::multiply
                      : sign.text == "/"  ? Type::divide
                      : sign.text == "//" ? Type::floor_divide
                                          : Type::modulo;
    node = make(type, sign.line, both(std::move(node), parse_power()));
  }
  return node;
}

ExpressionPtr ExpressionParser::parse_power() {
  ExpressionPtr node = parse_unary(true);
  while (is_op("**")) {
    const int line = next().line;
    node = make(Type::power, line, both(std::move(node), parse_unary(true)));
  }
  return node;
}

ExpressionPtr ExpressionParser::parse_unary(bool with_filters) {
  const Nesting nesting(*this);
  ExpressionPtr node;
  if (is_op("-") || is_op("+")) {
    const Token sign = next();
    node = make(sign.text == "-" ? Type::negate : Type::plus, sign.line, one(parse_unary(false)));
  } else {
    node = parse_primary(false);
  }
  node = parse_postfix(std::move(node));
  while (with_filters) {
    if (is_op("|")) node = parse_filters(std::move(node));
    else if (is_name("is")) node = parse_test(std::move(node));
    else if (is_op("(")) node = parse_call(std::move(node));
    else break;
  }
  return node;
}

ExpressionPtr ExpressionParser::parse_primary(bool name_spaces) {
  const Token& token = current();
  const int line = token.line;
  if (token.type == Lexeme::name && !is_literal_name(token.text)) {
    const std::string name = next().text;
    const bool is_attribute = name_spaces && skip_op(".");
    ExpressionPtr node = make(is_attribute ? Type::name_space_attribute : Type::name, line);
    node->symbol = symbol(name);
    used_.emplace_back(line, name);
    if (is_attribute) node->text = expect_any_name();
    return node;
  }
  if (skip_op("(")) {
    ExpressionPtr node = parse_tuple({.parenthesized = true});
    expect_op(")");
    return node;
  }
  if (is_op("[")) return parse_list();
  if (is_op("{")) return parse_dict();
  return parse_constant();
}

ExpressionPtr ExpressionParser::parse_constant() {
  const Token token = current();
  if (token.type == Lexeme::name) {
    next();
    if (token.text == "none" || token.text == "None") return constant(token.line, none());
    return constant(token.line, boolean(token.text == "true" || token.text == "True"));
  }
  if (token.type == Lexeme::string) {
    std::string text;
    while (current().type == Lexeme::string) text += next().text;
    return constant(token.line, string(nullptr, std::move(text)));
  }
  const char* const end = token.text.data() + token.text.size();
  if (token.type == Lexeme::integer) {
    next();
    const char letter = token.text.size() > 1 ? static_cast<char>(token.text[1] | 0x20) : '0';
    const int base = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 10;
    int64_t value = 0;
    if (std::from_chars(token.text.data() + (base == 10 ? 0 : 2), end, value, base).ec != std::errc())
      fail_at(token.line, "the integer ", token.text, " takes more than 64 bits");
    return constant(token.line, integer(value));
  }
  if (token.type == Lexeme::real) {
    next();
    double value = 0;
    if (std::from_chars(token.text.data(), end, value).ec != std::errc())
      value = std::strtod(token.text.c_str(), nullptr);
    return constant(token.line, real(value));
  }
  fail_unexpected("an expression");
}

ExpressionPtr ExpressionParser::parse_list() {
  const int line = next().line;
  std::vector<ExpressionPtr> items;
  while (!is_op("]")) {
    if (!items.empty()) expect_op(",");
    if (is_op("]")) break;
    items.push_back(parse_expression());
  }
  expect_op("]");
  return make(Type::list, line, std::move(items));
}

ExpressionPtr ExpressionParser::parse_dict() {
  const int line = next().line;
  std::vector<ExpressionPtr> items;
  while (!is_op("}")) {
    if (!items.empty()) expect_op(",");
    if (is_op("}")) break;
    items.push_back(parse_expression());
    expect_op(":");
    items.push_back(parse_expression());
  }
  expect_op("}");
  return make(Type::dict, line, std::move(items));
}

bool ExpressionParser::is_tuple_end(const TupleRules& rules) const {
  return current().type == Lexeme::print_end || current().type == Lexeme::block_end || is_op(")") ||
         (!rules.end.empty() && is_name(rules.end));
}

ExpressionPtr ExpressionParser::parse_tuple(const TupleRules& rules) {
  const Nesting nesting(*this);
  const int line = current().line;
  std::vector<ExpressionPtr> items;
  bool is_tuple = false;
  while (true) {
    if (!items.empty()) expect_op(",");
    if (is_tuple_end(rules)) break;
    items.push_back(rules.targets       ? parse_primary(rules.name_spaces)
                    : rules.conditional ? parse_expression()
                                        : parse_or());
    if (!is_op(",")) break;
    is_tuple = true;
  }
  if (!is_tuple && !items.empty()) return std::move(items[0]);
  if (!is_tuple && !rules.parenthesized) fail_unexpected("an expression");
  return make(Type::tuple, line, std::move(items));
}

void ExpressionParser::check_target(const Expression& target) const {
  if (target.type == Type::tuple) {
    for (const auto& child : target.children) check_target(*child);
  } else if (target.type != Type::name && target.type != Type::name_space_attribute) {
    fail_at(target.line, "only names can be assigned to");
  }
}

ExpressionPtr ExpressionParser::parse_target(const TupleRules& rules) {
  const size_t used = used_.size();
  ExpressionPtr target = parse_tuple(rules);
  check_target(*target);
  if (!rules.name_spaces) used_.resize(used);
  return target;
}

ExpressionPtr ExpressionParser::parse_postfix(ExpressionPtr node) {
  while (true) {
    if (is_op(".") || is_op("[")) node = parse_subscript(std::move(node));
    else if (is_op("(")) node = parse_call(std::move(node));
    else return node;
  }
}

ExpressionPtr ExpressionParser::parse_subscript(ExpressionPtr node) {
  const Token open = next();
  if (open.text == "[") {
    node = parse_subscripted(std::move(node));
    expect_op("]");
    return node;
  }
  if (current().type == Lexeme::integer) {
    ExpressionPtr place = parse_constant();
    return make(Type::item, open.line, both(std::move(node), std::move(place)));
  }
  ExpressionPtr attribute = make(Type::attribute, open.line, one(std::move(node)));
  attribute->text = expect_any_name();
  return attribute;
}

// What stands in [ ]: an expression or a slice.
ExpressionPtr ExpressionParser::parse_subscripted(ExpressionPtr node) {
  const int line = current().line;
  ExpressionPtr start = is_op(":") ? nullptr : parse_expression();
  if (!skip_op(":")) {
    if (is_op(",")) fail_at(line, "several subscripts are not supported");
    return make(Type::item, line, both(std::move(node), std::move(start)));
  }
  const auto is_absent = [&] { return is_op(":") || is_op("]") || is_op(","); };
  std::vector<ExpressionPtr> children = both(std::move(node), std::move(start));
  children.push_back(is_absent() ? nullptr : parse_expression());
  children.push_back(skip_op(":") && !is_absent() ? parse_expression() : nullptr);
  if (is_op(",")) fail_at(line, "several subscripts are not supported");
  return make(Type::slice, line, std::move(children));
}

CallArguments ExpressionParser::parse_arguments() {
  const int line = current().line;
  expect_op("(");
  CallArguments out;
  const auto ensure = [&](bool in_order) {
    if (!in_order) fail_at(line, "arguments of a call in an order that Python refuses");
  };
  for (bool first = true; !is_op(")"); first = false) {
    if (!first) {
      expect_op(",");
      if (is_op(")")) break;
    }
    if (skip_op("*")) {
      ensure(!out.star && !out.double_star);
      out.star = parse_expression();
    } else if (skip_op("**")) {
      ensure(!out.double_star);
      out.double_star = parse_expression();
    } else if (current().type == Lexeme::name && look().is(Lexeme::op, "=")) {
      ensure(!out.double_star);
      std::string name = next().text;
      next();
      if (out.named.size() >= max_named_arguments)
        fail_at(line, "a call with more than ", max_named_arguments, " named arguments");
      ensure(std::ranges::none_of(out.named, [&](const auto& old) { return old.first == name; }));
      out.named.emplace_back(std::move(name), parse_expression());
    } else {
      ensure(!out.star && !out.double_star && out.named.empty());
      out.positional.push_back(parse_expression());
    }
  }
  expect_op(")");
  return out;
}

ExpressionPtr ExpressionParser::parse_call(ExpressionPtr node) {
  ExpressionPtr call = make(Type::call, current().line, one(std::move(node)));
  call->arguments = parse_arguments();
  measure(*call);
  return call;
}

ExpressionPtr ExpressionParser::parse_filters(ExpressionPtr node, bool first_inline) {
  for (; first_inline || is_op("|"); first_inline = false) {
    if (!first_inline) next();
    const int line = current().line;
    std::string name = expect_any_name();
    while (skip_op(".")) (name += '.') += expect_any_name();
    ExpressionPtr filter = make(Type::filter, line, one(std::move(node)));
    filter->text = std::move(name);
    filter->filter = find_filter(filter->text);
    if (filter->filter == nullptr && is_unsupported_filter(filter->text))
      fail_at(line, "the filter '", filter->text, "' is not supported");
    if (filter->filter == nullptr && optional_depth_ == 0)
      unknown_.emplace_back(line, cat("filter '", filter->text, "'"));
    if (is_op("(")) filter->arguments = parse_arguments();
    measure(*filter);
    node = std::move(filter);
  }
  return node;
}

ExpressionPtr ExpressionParser::parse_test(ExpressionPtr node) {
  const int line = next().line;
  const bool is_negated = skip_name("not");
  ExpressionPtr test = make(Type::test, line, one(std::move(node)));
  test->text = expect_any_name();
  while (skip_op(".")) (test->text += '.') += expect_any_name();
  test->filter = find_test(test->text);
  if (test->filter == nullptr && optional_depth_ == 0) unknown_.emplace_back(line, cat("test '", test->text, "'"));
  const Lexeme type = current().type;
  if (is_op("(")) {
    test->arguments = parse_arguments();
  } else if ((type == Lexeme::name || type == Lexeme::string || type == Lexeme::integer || type == Lexeme::real ||
              is_op("[") || is_op("{")) &&
             !is_name("else") && !is_name("or") && !is_name("and")) {
    if (is_name("is")) fail_at(line, "tests cannot be chained with 'is'");
    test->arguments.positional.push_back(parse_postfix(parse_primary(false)));
  }
  measure(*test);
  return is_negated ? make(Type::logical_not, line, one(std::move(test))) : std::move(test);
}

}  // namespace ds::jinja
