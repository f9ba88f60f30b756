// The recursive-descent parser of chat templates: expressions. Statements stand on it in parser.cpp.
#pragma once
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "text/template/ast.h"
#include "text/template/lexer.h"

namespace ds::jinja {

constexpr int max_nesting = 200;                      // of expressions and blocks in the source
constexpr size_t max_named_arguments = 1000;
constexpr int max_expression_depth = 500;             // a + b + c ... is as deep as it has terms

class ExpressionParser {
 public:
  ExpressionParser(std::vector<Token> tokens, const std::string& where) : tokens_(std::move(tokens)), where_(where) {}

 protected:
  struct TupleRules {
    bool conditional = true;                          // inline ifs may stand in it
    bool targets = false;                             // names and literals only, as in "for a, b in"
    bool name_spaces = false;                         // of targets: "ns.x" too
    bool parenthesized = false;
    std::string_view end;                             // a name that ends it
  };
  ExpressionPtr parse_tuple(const TupleRules& rules);
  ExpressionPtr parse_expression();
  // What may be assigned to.
  ExpressionPtr parse_target(const TupleRules& rules);
  ExpressionPtr parse_postfix(ExpressionPtr node);
  ExpressionPtr parse_filters(ExpressionPtr node, bool first_inline = false);
  ExpressionPtr make(Expression::Type type, int line, std::vector<ExpressionPtr> children = {}) const;

  const Token& current() const { return tokens_[at_]; }
  const Token& look() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  Token next();
  bool is_op(std::string_view text) const { return current().is(Token::Type::op, text); }
  bool is_name(std::string_view text) const { return current().is(Token::Type::name, text); }
  bool skip_op(std::string_view text);
  bool skip_name(std::string_view text);
  Token expect(Token::Type type, std::string_view text, std::string_view what);
  void expect_op(std::string_view text) { expect(Token::Type::op, text, text); }
  std::string expect_any_name();
  int symbol(const std::string& name);
  template <class... Args>
  [[noreturn]] void fail_at(int line, const Args&... args) const {
    fail(where_, ":", line, ": ", args...);
  }
  [[noreturn]] void fail_unexpected(std::string_view expected) const;

  // Counts how deep the parser has gone down while it lives.
  struct Nesting {
    explicit Nesting(ExpressionParser& p) : parser(p) {
      if (++parser.nesting_ > max_nesting) parser.fail_at(parser.current().line, "nested deeper than ", max_nesting);
    }
    ~Nesting() { --parser.nesting_; }
    ExpressionParser& parser;
  };

  // Filters and tests that Jinja does not have are an Error, but in a branch only where it is taken.
  int optional_depth_ = 0;                            // of branches
  std::vector<std::pair<int, std::string>> unknown_;
  std::vector<std::string> symbols_;
  std::vector<std::pair<int, std::string>> used_;     // names in the order in which they are read, for macros

 private:
  ExpressionPtr parse_conditional();
  ExpressionPtr parse_or();
  ExpressionPtr parse_and();
  ExpressionPtr parse_not();
  ExpressionPtr parse_compare();
  ExpressionPtr parse_sum();
  ExpressionPtr parse_concat();
  ExpressionPtr parse_product();
  ExpressionPtr parse_power();
  ExpressionPtr parse_unary(bool with_filters);
  ExpressionPtr parse_primary(bool name_spaces);
  ExpressionPtr parse_constant();
  ExpressionPtr parse_list();
  ExpressionPtr parse_dict();
  ExpressionPtr parse_subscript(ExpressionPtr node);
  ExpressionPtr parse_subscripted(ExpressionPtr node);
  ExpressionPtr parse_call(ExpressionPtr node);
  ExpressionPtr parse_test(ExpressionPtr node);
  CallArguments parse_arguments();
  ExpressionPtr constant(int line, Value value) const;
  bool is_tuple_end(const TupleRules& rules) const;
  void check_target(const Expression& target) const;
  void measure(Expression& node) const;

  std::vector<Token> tokens_;
  const std::string& where_;
  size_t at_ = 0;
  int nesting_ = 0;
  std::unordered_map<std::string, int> symbol_numbers_;
};

}  // namespace ds::jinja
