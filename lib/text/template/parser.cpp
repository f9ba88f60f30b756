#include "text/template/parser.h"

#include <algorithm>
#include <array>

namespace ds::jinja {
namespace {

using Type = Statement::Type;

class Parser : ExpressionParser {
 public:
  Parser(std::vector<Token> tokens, const std::string& where) : ExpressionParser(std::move(tokens), where) {}

  Template run() {
    Template out;
    out.body = parse_block({});
    if (!unknown_.empty()) fail_at(unknown_[0].first, "there is no ", unknown_[0].second);
    out.symbols = std::move(symbols_);
    return out;
  }

 private:
  using Ends = std::vector<std::string_view>;

  // Statements up to a tag whose name is one of `ends`, which is current then; without ends, to the end of the
  // template.
  Block parse_block(const Ends& ends) {
    const Nesting nesting(*this);
    Block body;
    while (true) {
      const Token& token = current();
      if (token.type == Token::Type::end) {
        if (!ends.empty()) fail_unexpected(cat("'", ends.back(), "'"));
        return body;
      }
      if (token.type == Token::Type::data) {
        Statement& text = body.emplace_back();
        text.line = token.line;
        text.text = next().text;
      } else if (token.type == Token::Type::print_begin) {
        Statement& print = start(body, Type::print);
        print.expressions.push_back(parse_tuple({}));
        expect(Token::Type::print_end, "", "}}");
      } else {
        next();
        if (current().type == Token::Type::name && std::ranges::find(ends, current().text) != ends.end()) return body;
        parse_statement(body);
        expect(Token::Type::block_end, "", "%}");
      }
    }
  }

  // The body of a statement whose tag ends here; the end tag is current after it, or skipped.
  Block parse_body(const Ends& ends, bool skip_end = true) {
    skip_op(":");
    expect(Token::Type::block_end, "", "%}");
    Block body = parse_block(ends);
    if (skip_end) next();
    return body;
  }

  Statement& start(Block& body, Type type) {
    Statement& statement = body.emplace_back();
    statement.type = type;
    statement.line = next().line;
    return statement;
  }

  void parse_statement(Block& body) {
    if (current().type != Token::Type::name) fail_unexpected("the name of a statement");
    const std::string name = current().text;
    if (name == "set") return parse_set(start(body, Type::set));
    if (name == "for") return parse_for(start(body, Type::loop));
    if (name == "if") return parse_if(start(body, Type::branch));
    if (name == "macro") return parse_macro(start(body, Type::macro));
    if (name == "call") return parse_call_block(start(body, Type::call_block));
    if (name == "with") return parse_with(start(body, Type::with));
    if (name == "print") return parse_print(start(body, Type::print));
    if (name == "filter") {
      Statement& statement = start(body, Type::filter_block);
      statement.expressions.push_back(parse_filters(nullptr, true));
      statement.body = parse_body({"endfilter"});
    } else if (name == "generation") {
      Statement& statement = start(body, Type::generation);
      const int loops = std::exchange(loops_, 0);
      statement.body = parse_body({"endgeneration"});
      loops_ = loops;
    } else if (name == "break" || name == "continue") {
      if (loops_ == 0) fail_at(current().line, "'", name, "' outside of a loop");
      start(body, name == "break" ? Type::break_loop : Type::continue_loop);
    } else {
      static constexpr std::array<std::string_view, 7> others = {"block", "extends",    "include", "import",
                                                                 "from",  "autoescape", "do"};
      const bool is_known = std::ranges::find(others, name) != others.end();
      fail_at(current().line, is_known ? "the statement '" : "unknown statement '", name,
              is_known ? "' is not supported" : "'");
    }
  }

  void parse_set(Statement& statement) {
    const size_t used = used_.size();
    statement.targets.push_back(parse_target({.targets = true, .name_spaces = true}));
    if (statement.targets[0]->type == Expression::Type::name) used_.resize(used);
    if (skip_op("=")) {
      statement.expressions.push_back(parse_tuple({}));
      return;
    }
    statement.type = Type::set_block;
    statement.expressions.push_back(is_op("|") ? parse_filters(nullptr) : nullptr);
    statement.body = parse_body({"endset"});
  }

  void parse_for(Statement& statement) {
    statement.targets.push_back(parse_target({.targets = true, .end = "in"}));
    if (!skip_name("in")) fail_unexpected("'in'");
    statement.expressions.push_back(parse_tuple({.conditional = false, .end = "recursive"}));
    statement.expressions.push_back(skip_name("if") ? parse_expression() : nullptr);
    statement.is_recursive = skip_name("recursive");
    ++loops_;
    statement.body = parse_body({"else", "endfor"}, false);
    --loops_;
    if (next().text == "else") statement.otherwise = parse_body({"endfor"});
  }

  void parse_if(Statement& statement) {
    ++optional_depth_;
    while (true) {
      statement.expressions.push_back(parse_tuple({.conditional = false}));
      statement.branches.push_back(parse_body({"elif", "else", "endif"}, false));
      const Token end = next();
      if (end.text == "else") statement.otherwise = parse_body({"endif"});
      if (end.text != "elif") break;
    }
    --optional_depth_;
  }

  // (a, b=1): the parameters of a macro or a call block.
  void parse_parameters(Statement& statement) {
    expect_op("(");
    while (!is_op(")")) {
      if (!statement.parameters.empty()) expect_op(",");
      Parameter parameter;
      parameter.name = expect_any_name();
      parameter.symbol = symbol(parameter.name);
      if (skip_op("=")) parameter.otherwise = parse_expression();
      else if (!statement.parameters.empty() && statement.parameters.back().otherwise)
        fail_at(current().line, "the parameter '", parameter.name, "' without a default follows one that has one");
      statement.parameters.push_back(std::move(parameter));
    }
    expect_op(")");
  }

  // The body of a macro, which gets `caller`, `kwargs` and `varargs` where it names them and has no parameter of the
  // name.
  void parse_macro_body(Statement& statement, std::string_view end) {
    const size_t used = used_.size();
    const int loops = std::exchange(loops_, 0);
    statement.body = parse_body({end});
    loops_ = loops;
    const auto takes = [&](std::string_view name) {
      const auto is_it = [&](const auto& use) { return use.second == name; };
      const bool names = std::any_of(used_.begin() + static_cast<ptrdiff_t>(used), used_.end(), is_it);
      const bool has = std::ranges::any_of(statement.parameters, [&](const Parameter& p) { return p.name == name; });
      return names && !has;
    };
    statement.takes_caller = takes("caller");
    statement.takes_kwargs = takes("kwargs");
    statement.takes_varargs = takes("varargs");
    for (const char* const name : {"caller", "kwargs", "varargs"}) symbol(name);
  }

  void parse_macro(Statement& statement) {
    statement.text = expect_any_name();
    statement.targets.push_back(make(Expression::Type::name, statement.line));
    statement.targets[0]->symbol = symbol(statement.text);
    parse_parameters(statement);
    parse_macro_body(statement, "endmacro");
  }

  void parse_call_block(Statement& statement) {
    if (is_op("(")) parse_parameters(statement);
    statement.expressions.push_back(parse_expression());
    if (statement.expressions[0]->type != Expression::Type::call)
      fail_at(statement.line, "expected a call after 'call'");
    statement.text = "caller";
    parse_macro_body(statement, "endcall");
  }

  void parse_with(Statement& statement) {
    while (current().type != Token::Type::block_end) {
      if (!statement.targets.empty()) expect_op(",");
      statement.targets.push_back(parse_target({.targets = true}));
      expect_op("=");
      statement.expressions.push_back(parse_expression());
    }
    statement.body = parse_body({"endwith"});
  }

  void parse_print(Statement& statement) {
    while (current().type != Token::Type::block_end) {
      if (!statement.expressions.empty()) expect_op(",");
      statement.expressions.push_back(parse_expression());
    }
  }

  int loops_ = 0;                                     // around the statement, within its macro
};

}  // namespace

Template parse(std::string_view source, const std::string& where) {
  return Parser(tokenize(source, where), where).run();
}

}  // namespace ds::jinja
