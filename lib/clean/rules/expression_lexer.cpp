#include "clean/rules/expression_lexer.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "base/error.h"
#include "clean/rules/expression_program.h"
#include "text/unicode.h"

namespace ds::expr {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool begins_name(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool goes_on_name(char c) { return begins_name(c) || is_digit(c); }

// A byte offset moved to the beginning of its character.
size_t character_begin(std::string_view text, size_t offset) {
  while (offset > 0 && offset < text.size() && (static_cast<unsigned char>(text[offset]) & 0xc0) == 0x80) --offset;
  return offset;
}

}  // namespace

size_t number_length(std::string_view text) {
  size_t at = 0;
  const auto is = [&](std::string_view set) {
    return at < text.size() && set.find(text[at]) != std::string_view::npos;
  };
  const auto digits = [&] {
    const size_t begin = at;
    while (at < text.size() && is_digit(text[at])) ++at;
    return at > begin;
  };
  if (is("-")) ++at;
  if (is("0"))
    ++at;
  else if (!digits())
    return 0;
  size_t whole = at;  // the longest that is a number
  if (is(".")) {
    ++at;
    if (!digits()) return whole;
    whole = at;
  }
  if (!is("eE")) return whole;
  ++at;
  if (is("+-")) ++at;
  return digits() ? at : whole;
}

std::optional<double> read_number(std::string_view number) {
  double value = 0;
  const auto [stop, error] = std::from_chars(number.data(), number.data() + number.size(), value);
  if (error != std::errc()) return std::nullopt;
  return value;
}

std::string quoted(const Token& token) {
  if (token.kind == Token::Kind::end) return "the end";
  constexpr size_t most = 40;
  if (token.raw.size() <= most) return cat("'", token.raw, "'");
  return cat("'", token.raw.substr(0, character_begin(token.raw, most)), "...'");
}

std::string Lexer::place(size_t offset) const {
  const std::string_view before = text_.substr(0, offset);
  const size_t newline = before.rfind('\n');
  const std::string_view line = newline == std::string_view::npos ? before : before.substr(newline + 1);
  size_t column = 1;
  for (const char c : line) column += (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  if (text_.find('\n') == std::string_view::npos) return cat("at column ", column);
  return cat("at line ", std::count(before.begin(), before.end(), '\n') + 1, ", column ", column);
}

std::string Lexer::prefix(size_t offset) const { return cat(where_, ": ", place(offset)); }

void Lexer::fault(size_t offset, const std::string& message) const {
  throw UsageError(cat(prefix(offset), ": ", message));
}

void Lexer::skip_space() {
  for (;; ++at_) {
    if (at_ < text_.size() && text_[at_] == '#') at_ = std::min(text_.find('\n', at_), text_.size());
    if (at_ == text_.size() || std::string_view(" \t\r\n").find(text_[at_]) == std::string_view::npos) return;
  }
}

Token Lexer::next() {
  skip_space();
  const size_t begin = at_;
  if (begin == text_.size()) return {Token::Kind::end, text_.substr(begin)};
  const char c = text_[begin];
  if (is_digit(c)) return number(begin);
  if (c == '\'' || c == '"') return string(begin);
  if (!begins_name(c)) return symbol(begin);
  while (at_ < text_.size() && goes_on_name(text_[at_])) ++at_;
  return {Token::Kind::name, text_.substr(begin, at_ - begin)};
}

Token Lexer::number(size_t begin) {
  const std::string_view digits = text_.substr(begin, number_length(text_.substr(begin)));
  at_ = begin + digits.size();
  size_t end = at_;
  while (end < text_.size() && (goes_on_name(text_[end]) || text_[end] == '.')) ++end;
  if (end > at_) {
    const Token whole{Token::Kind::number, text_.substr(begin, end - begin)};
    fault(begin, cat(quoted(whole), " is not a number; write it like 12, 0.5 or 1e-3"));
  }
  const std::optional<double> value = read_number(digits);
  Token token{Token::Kind::number, digits};
  if (!value) fault(begin, cat("the number ", quoted(token), " is too large or too small"));
  token.number = *value;
  return token;
}

Token Lexer::string(size_t begin) {
  const char quote = text_[begin];
  std::string said;
  for (++at_; at_ < text_.size() && text_[at_] != quote;) {
    if (quote == '"' && text_[at_] == '\\')
      escape(said);
    else
      said.push_back(text_[at_++]);
  }
  if (at_ >= text_.size()) fault(begin, cat("a string without its closing ", quote));
  ++at_;
  return {Token::Kind::string, text_.substr(begin, at_ - begin), std::move(said)};
}

void Lexer::escape(std::string& out) {
  const size_t begin = at_;
  at_ += 2;
  if (at_ > text_.size()) return;  // the string has no end
  switch (const char c = text_[begin + 1]) {
    case '"':
    case '\\':
      out.push_back(c);
      return;
    case 'n':
      out.push_back('\n');
      return;
    case 'r':
      out.push_back('\r');
      return;
    case 't':
      out.push_back('\t');
      return;
    case 'u': {
      uint32_t character = 0;
      const std::string_view four = text_.substr(at_, std::min<size_t>(4, text_.size() - at_));
      const auto [stop, error] = std::from_chars(four.data(), four.data() + four.size(), character, 16);
      const bool surrogate = character >= 0xd800 && character <= 0xdfff;
      if (four.size() < 4 || error != std::errc() || stop != four.data() + 4 || surrogate)
        fault(begin, "\\u takes the four hexadecimal digits of a character");
      append_utf8(out, static_cast<char32_t>(character));
      at_ += 4;
      return;
    }
    default:
      fault(begin,
            "an unknown escape in a string; a backslash itself is \\\\, or write the string in single quotes, "
            "where nothing is an escape");
  }
}

Token Lexer::symbol(size_t begin) {
  for (const std::string_view two : {"==", "!=", "<=", ">=", "&&", "||"})
    if (text_.substr(begin, 2) == two) {
      at_ += 2;
      return {Token::Kind::symbol, text_.substr(begin, 2)};
    }
  const char c = text_[begin];
  if (c == '=') fault(begin, "expected '==' where a single '=' stands");
  if (c == '.' && begin + 1 < text_.size() && is_digit(text_[begin + 1]))
    fault(begin, "a number begins with a digit: 0.5, not .5");
  if (std::string_view("<>!+-*/()[],.").find(c) != std::string_view::npos) {
    ++at_;
    return {Token::Kind::symbol, text_.substr(begin, 1)};
  }
  if (c == '&' || c == '|') fault(begin, cat("expected '", c, c, "' where a single '", c, "' stands"));
  size_t end = begin;
  const char32_t character = decode_utf8(text_, end);
  if (is_letter(character))
    fault(begin, cat("a name is of the letters a to z, digits and _; a field with another is record[\"...\"]"));
  if (character < 0x20 || character == 0x7f) fault(begin, "a control character");
  fault(begin, cat("an unexpected '", text_.substr(begin, end - begin), "'"));
}

}  // namespace ds::expr
