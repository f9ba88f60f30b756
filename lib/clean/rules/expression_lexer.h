// The tokens of an expression and where they stand, for expression_parse.cpp.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>

namespace ds::expr {

struct Token {
  enum class Kind { end, number, string, name, symbol } kind = Kind::end;
  std::string_view raw;  // as written
  std::string text;      // string: what it says
  double number = 0;
};

class Lexer {
 public:
  // Both must outlive it.
  Lexer(std::string_view text, std::string_view where) : text_(text), where_(where) {}
  Token next();
  size_t offset_of(const Token& token) const { return static_cast<size_t>(token.raw.data() - text_.data()); }
  // "at column 14"; bytes before the place from 0.
  std::string place(size_t offset) const;
  // "WHERE: at column 14"
  std::string prefix(size_t offset) const;
  // UsageError: "WHERE: at column 14: MESSAGE".
  [[noreturn]] void fault(size_t offset, const std::string& message) const;

 private:
  void skip_space();
  Token number(size_t begin);
  Token string(size_t begin);
  void escape(std::string& out);
  Token symbol(size_t begin);

  std::string_view text_, where_;
  size_t at_ = 0;
};

// As it may stand in a message: a token, or the beginning of a long one.
std::string quoted(const Token& token);

}  // namespace ds::expr
