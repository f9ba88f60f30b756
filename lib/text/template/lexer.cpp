#include "text/template/lexer.h"

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "text/template/strings.h"
#include "text/unicode.h"

namespace ds::jinja {
namespace {

bool is_decimal_digit(char c) { return c >= '0' && c <= '9'; }

// Lines end in \n; the last line end of the file is not part of it.
std::string with_plain_lines(std::string_view source) {
  std::string out;
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      out += source[i];
      continue;
    }
    out += '\n';
    if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
  }
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

int digit_of(char c) {
  if (is_decimal_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : 99;
}

class Lexer {
 public:
  Lexer(std::string_view source, const std::string& where)
      : where_(where), source_(with_plain_lines(source)), text_(source_) {}

  std::vector<Token> run() {
    while (at_ < text_.size()) {
      if (!read_data()) break;
    }
    emit(Token::Type::end, "");
    return std::move(tokens_);
  }

 private:
  template <class... Args>
  [[noreturn]] void fail_here(const Args&... args) const {
    fail(where_, ":", line_, ": ", args...);
  }

  void emit(Token::Type type, std::string text) { tokens_.push_back({type, line_, std::move(text)}); }

  // Moves on to `end`, counting lines.
  void advance(size_t end) {
    line_ += static_cast<int>(std::ranges::count(text_.substr(at_, end - at_), '\n'));
    if (end > at_) line_starts_ = text_[end - 1] == '\n';
    at_ = end;
  }

  size_t after_space(size_t from) const {
    const std::string_view rest = text_.substr(from);
    return from + (rest.size() - strip(rest, {}, true, false).size());
  }

  // Where a tag's closing mark `close` ("%}") ends when it stands at `from`: with "-" the white space after it goes as
  // well, without "+" one line end where `trims`. 0: it does not stand there.
  size_t after_close(size_t from, std::string_view close, bool trims) const {
    const std::string_view rest = text_.substr(from);
    if (rest.starts_with('-') && rest.substr(1).starts_with(close)) return after_space(from + 1 + close.size());
    if (trims && rest.starts_with('+') && rest.substr(1).starts_with(close)) return from + 1 + close.size();
    if (!rest.starts_with(close)) return 0;
    const size_t after = from + close.size();
    return trims && after < text_.size() && text_[after] == '\n' ? after + 1 : after;
  }

  // Text that a tag ends, without the white space that the tag takes: all with "-", that of its line by lstrip_blocks.
  std::string_view before_tag(std::string_view data, char sign, bool is_print) const {
    if (sign == '-') return strip(data, {}, false, true);
    if (sign == '+' || is_print) return data;
    const size_t begin = data.rfind('\n') + 1;        // 0 where there is none
    if (begin == 0 && !line_starts_) return data;
    const std::string_view line = data.substr(begin);
    return !line.empty() && strip(line, {}, true, false).empty() ? data.substr(0, begin) : data;
  }

  char sign_at(size_t at) const {
    return at < text_.size() && (text_[at] == '-' || text_[at] == '+') ? text_[at] : '\0';
  }

  // Text up to the next tag, and the tag. False at the end.
  bool read_data() {
    size_t tag = at_;
    while ((tag = text_.find('{', tag)) != std::string_view::npos) {
      const char next = tag + 1 < text_.size() ? text_[tag + 1] : '\0';
      if (next == '{' || next == '%' || next == '#') break;
      ++tag;
    }
    if (tag == std::string_view::npos) {
      emit(Token::Type::data, std::string(text_.substr(at_)));
      return false;
    }
    const char kind = text_[tag + 1], sign = sign_at(tag + 2);
    const size_t inside = tag + 2 + (sign != '\0' ? 1 : 0);
    const std::string_view data = before_tag(text_.substr(at_, tag - at_), sign, kind == '{');
    if (!data.empty()) emit(Token::Type::data, std::string(data));
    advance(tag);
    if (kind == '#') {
      read_comment(inside);
    } else if (const auto raw = kind == '%' ? after_raw_tag(inside) : std::nullopt) {
      read_raw(*raw);
    } else {
      emit(kind == '{' ? Token::Type::print_begin : Token::Type::block_begin, "");
      advance(inside);
      read_tag(kind == '{');
    }
    return true;
  }

  void read_comment(size_t inside) {
    const size_t close = text_.find("#}", inside);
    if (close == std::string_view::npos) fail_here("a comment that does not end");
    const char before = close > inside ? text_[close - 1] : '\0';
    advance(after_close(close - (before == '-' || before == '+' ? 1 : 0), "#}", true));
  }

  std::optional<size_t> after_raw_tag(size_t inside) const {
    const size_t word = after_space(inside);
    if (!text_.substr(word).starts_with("raw")) return std::nullopt;
    const size_t end = after_close(after_space(word + 3), "%}", false);
    return end == 0 ? std::nullopt : std::optional(end);
  }

  void read_raw(size_t inside) {
    advance(inside);
    for (size_t tag = at_; (tag = text_.find("{%", tag)) != std::string_view::npos; ++tag) {
      const char sign = sign_at(tag + 2);
      const size_t word = after_space(tag + 2 + (sign != '\0' ? 1 : 0));
      if (!text_.substr(word).starts_with("endraw")) continue;
      const size_t end = after_close(after_space(word + 6), "%}", true);
      if (end == 0) continue;
      const std::string_view data = before_tag(text_.substr(at_, tag - at_), sign, false);
      if (!data.empty()) emit(Token::Type::data, std::string(data));
      return advance(end);
    }
    fail_here("a raw block that does not end");
  }

  void read_tag(bool is_print) {
    const std::string_view close = is_print ? "}}" : "%}";
    std::string open;                                 // brackets: inside them a closing mark is two operators
    while (true) {
      if (at_ >= text_.size()) fail_here("a tag that does not end");
      if (const size_t end = open.empty() ? after_close(at_, close, !is_print) : 0; end != 0) {
        emit(is_print ? Token::Type::print_end : Token::Type::block_end, "");
        return advance(end);
      }
      const size_t space = after_space(at_);
      if (space != at_) advance(space);
      else read_token(open);
    }
  }

  void read_token(std::string& open) {
    const char c = text_[at_];
    if (is_decimal_digit(c)) return read_number();
    if (c == '\'' || c == '"') return read_string();
    size_t end = at_;
    while (end < text_.size()) {
      size_t after = end;
      const char32_t code = decode_utf8(text_, after);
      if (!is_word(code) && !is_mark(code)) break;
      end = after;
    }
    if (end != at_) {
      std::string name(text_.substr(at_, end - at_));
      if (!is_identifier(name)) fail_here("'", name, "' is no name");
      emit(Token::Type::name, std::move(name));
      return advance(end);
    }
    read_operator(open);
  }

  void read_operator(std::string& open) {
    const std::string_view rest = text_.substr(at_);
    static constexpr std::string_view operators[] = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/",
                                                     "*",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                                     ">",  "<",  "=",  ".",  ":",  "|",  ",", ";"};
    const auto* const found =
        std::ranges::find_if(operators, [&](std::string_view op) { return rest.starts_with(op); });
    if (found == std::end(operators)) {
      size_t after = at_;
      decode_utf8(text_, after);
      fail_here("unexpected character ", quoted_repr(text_.substr(at_, after - at_)));
    }
    const char c = (*found)[0];
    if (c == '(' || c == '[' || c == '{') open += c == '(' ? ')' : c == '[' ? ']' : '}';
    if (c == ')' || c == ']' || c == '}') {
      if (open.empty()) fail_here("unexpected '", c, "'");
      if (open.back() != c) fail_here("unexpected '", c, "', expected '", open.back(), "'");
      open.pop_back();
    }
    emit(Token::Type::op, std::string(*found));
    advance(at_ + found->size());
  }

  // Digits with single underscores between them, from `from` on; the end of them.
  size_t after_digits(size_t from, int base) const {
    size_t at = from;
    while (at < text_.size()) {
      const size_t digit = text_[at] == '_' && at > from ? at + 1 : at;
      if (digit >= text_.size() || digit_of(text_[digit]) >= base) break;
      at = digit + 1;
    }
    return at;
  }

  void read_number() {
    size_t end = after_digits(at_, 10);
    bool is_real = false;
    const auto has_digit = [&](size_t at) { return at < text_.size() && is_decimal_digit(text_[at]); };
    if (at_ == 0 || text_[at_ - 1] != '.') {          // what follows a dot is an index
      if (end < text_.size() && text_[end] == '.' && has_digit(end + 1))
        end = after_digits(end + 1, 10), is_real = true;
      if (end < text_.size() && (text_[end] == 'e' || text_[end] == 'E')) {
        const size_t digits =
            end + 1 + (end + 1 < text_.size() && (text_[end + 1] == '+' || text_[end + 1] == '-') ? 1 : 0);
        if (has_digit(digits)) end = after_digits(digits, 10), is_real = true;
      }
    }
    if (!is_real && text_[at_] == '0') end = after_zero();
    std::string digits(text_.substr(at_, end - at_));
    std::erase(digits, '_');
    emit(is_real ? Token::Type::real : Token::Type::integer, std::move(digits));
    advance(end);
  }

  // Of an integer that begins with 0: 0x1f, 0o17, 0b11, or zeros only.
  size_t after_zero() const {
    const char letter = at_ + 1 < text_.size() ? static_cast<char>(text_[at_ + 1] | 0x20) : '\0';
    const int base = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 0;
    if (base != 0) {
      const size_t digits = at_ + 2 + (at_ + 2 < text_.size() && text_[at_ + 2] == '_' ? 1 : 0);
      const size_t end = after_digits(digits, base);
      if (end > digits) return end;
    }
    return after_digits(at_, 1);
  }

  void read_string() {
    const char quote = text_[at_];
    size_t end = at_ + 1;
    while (end < text_.size() && text_[end] != quote) end += text_[end] == '\\' ? 2 : 1;
    if (end >= text_.size()) fail_here("a string that does not end");
    emit(Token::Type::string, unescaped(text_.substr(at_ + 1, end - at_ - 1)));
    advance(end + 1);
  }

  // Python's escapes; a backslash before another character stays.
  std::string unescaped(std::string_view text) const {
    std::string out;
    for (size_t at = 0; at < text.size();) {
      if (text[at] != '\\') {
        out += text[at++];
        continue;
      }
      const char c = text[++at];
      static constexpr std::string_view plain = "\\'\"abfnrtv", meant = "\\'\"\a\b\f\n\r\t\v";
      if (const size_t i = plain.find(c); i != std::string_view::npos) out += meant[i], ++at;
      else if (c == '\n') ++at;
      else if (c >= '0' && c <= '7') append_code(out, text, at, 8, 1, 3);
      else if (c == 'x') append_code(out, text, ++at, 16, 2, 2);
      else if (c == 'u') append_code(out, text, ++at, 16, 4, 4);
      else if (c == 'U') append_code(out, text, ++at, 16, 8, 8);
      else if (c == 'N') fail_here("\\N{...} in a string is not supported");
      else if (static_cast<uint8_t>(c) < 0x80) (out += '\\') += c, ++at;
      else fail_here("a backslash before '", text.substr(at, utf8_size(text, at)), "' in a string");
    }
    return out;
  }

  static size_t utf8_size(std::string_view text, size_t at) {
    size_t after = at;
    decode_utf8(text, after);
    return after - at;
  }

  void append_code(std::string& out, std::string_view text, size_t& at, int base, int least, int most) const {
    uint64_t code = 0;
    int digits = 0;
    for (; digits < most && at < text.size() && digit_of(text[at]) < base; ++digits)
      code = code * static_cast<uint64_t>(base) + static_cast<uint64_t>(digit_of(text[at++]));
    if (digits < least) fail_here("an escape in a string lacks digits");
    if (code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) fail_here("an escape in a string is no character");
    append_utf8(out, static_cast<char32_t>(code));
  }

  const std::string& where_;
  std::string source_;
  std::string_view text_;
  size_t at_ = 0;
  int line_ = 1;
  bool line_starts_ = true;                           // what was read last ended a line
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source, const std::string& where) {
  require(source.size() <= (size_t{1} << 20), where, ": a chat template of more than 1 MB");
  require(is_valid_utf8(source), where, ": the chat template is not UTF-8");
  return Lexer(source, where).run();
}

}  // namespace ds::jinja
