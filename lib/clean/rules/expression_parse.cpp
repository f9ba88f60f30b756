// From the text of an expression to its steps, by recursive descent: a function for each level of precedence.
#include <algorithm>
#include <charconv>
#include <map>
#include <utility>

#include "base/edit_distance.h"
#include "base/error.h"
#include "clean/rules/expression.h"
#include "clean/rules/expression_lexer.h"
#include "clean/rules/expression_program.h"
#include "text/unicode.h"

namespace ds {

using namespace expr;

namespace {

// What an operand is; a field can be of any type.
enum class Type { any, number, string, condition };

const char* type_name(Type type) {
  return type == Type::number ? "a number" : type == Type::string ? "a string" : "a condition";
}

struct Operand {
  Type type;
  Token first;  // where it begins
};

struct Function {
  const char* name;
  Op op;
  int arguments;
  Type takes, gives;
};
constexpr Function kFunctions[] = {
    {"has", Op::has, 1, Type::any, Type::condition},
    {"length", Op::length, 1, Type::string, Type::number},
    {"lower", Op::lower, 1, Type::string, Type::string},
    {"number", Op::to_number, 1, Type::string, Type::number},
    {"contains", Op::contains, 2, Type::string, Type::condition},
    {"startswith", Op::starts_with, 2, Type::string, Type::condition},
    {"endswith", Op::ends_with, 2, Type::string, Type::condition},
};
constexpr std::pair<std::string_view, Op> kComparisons[] = {
    {"==", Op::equal},      {"!=", Op::not_equal}, {"<", Op::less},
    {"<=", Op::less_equal}, {">", Op::greater},    {">=", Op::greater_equal},
};

constexpr std::string_view kKeywords[] = {"and", "or", "not", "in", "matches"};

const Op* comparison(std::string_view symbol) {
  for (const auto& [text, op] : kComparisons)
    if (text == symbol) return &op;
  return nullptr;
}

std::string lower_ascii(std::string_view text) {
  std::string lower(text);
  for (char& c : lower)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return lower;
}

// The nearest of the names that is not further than a slip of the finger; "" where there is none.
std::string near_name(std::string_view word, const auto& names) {
  size_t best = word.size() >= 6 ? 3 : 2;
  std::string found;
  if (word.size() < 3 || word.size() > 64) return found;
  const std::string lower = lower_ascii(word);
  for (const auto& entry : names) {
    const size_t distance = edit_distance(lower, entry.name);
    if (distance < best) best = distance, found = entry.name;
  }
  return found;
}

class Parser {
 public:
  Parser(std::string_view text, std::string_view where) : lexer_(text, where) { take(); }

  std::shared_ptr<const Program> parse() {
    require_condition(either(), "the whole expression");
    if (token_.kind != Token::Kind::end) fault(token_, unexpected("expected an operator or the end"));
    return std::make_shared<const Program>(std::move(program_));
  }

 private:
  using Kind = Token::Kind;
  struct Deeper {  // counts the nesting while it lives
    explicit Deeper(Parser& parser) : depth(parser.depth_) {
      if (++depth > Expression::most_depth) parser.too_deep();
    }
    ~Deeper() { --depth; }
    size_t& depth;
  };

  Operand either();    // or
  Operand both();      // and
  Operand inverted();  // not
  Operand compared();  // == ... in, matches
  Operand sum();       // + -
  Operand product();   // * /
  Operand sign();      // -x
  Operand value();
  Operand call(const Token& name);
  Operand named(const Token& name);
  Operand path(const Token& name);
  void member_of(const Operand& left);
  void pattern();

  // Tokens.
  void take() { before_ = std::exchange(token_, lexer_.next()); }
  bool is(std::string_view symbol) const {
    return (token_.kind == Kind::symbol || token_.kind == Kind::name) && token_.raw == symbol;
  }
  bool accept(std::string_view symbol) { return is(symbol) && (take(), true); }
  void expect(std::string_view symbol, const std::string& what) {
    if (!accept(symbol)) fault(token_, unexpected(what));
  }
  [[noreturn]] void fault(const Token& at, const std::string& message) const {
    lexer_.fault(lexer_.offset_of(at), message);
  }
  [[noreturn]] void too_deep() const {
    fault(token_, cat("nested too deep; at most ", Expression::most_depth, " levels are allowed"));
  }
  std::string unexpected(const std::string& expected) const;

  // Types.
  void require_type(const Operand& operand, Type type, const std::string& who) const {
    if (operand.type == type || operand.type == Type::any) return;
    fault(operand.first, cat(who, " needs ", type_name(type), ", and this is ", type_name(operand.type)));
  }
  void require_condition(const Operand& operand, const std::string& who);
  void require_comparable(const Operand& left, const Operand& right, const Token& op) const;

  // Steps.
  size_t emit(Op op, size_t at = 0);
  void land(const std::vector<size_t>& jumps) {
    for (const size_t jump : jumps) program_.steps[jump].at = static_cast<uint32_t>(program_.steps.size());
  }
  void push_signal(Signal signal);

  Lexer lexer_;
  Token token_, before_;
  size_t depth_ = 0, height_ = 0;  // values on the stack after the steps so far
  Program program_;
  std::map<Path, size_t> fields_;
};

std::string Parser::unexpected(const std::string& expected) const {
  const std::string lower = lower_ascii(token_.raw);
  std::string message = cat(expected, ", found ", quoted(token_));
  if (lower != token_.raw)
    for (const std::string_view word : kKeywords)
      if (lower == word) message += cat("; did you mean '", word, "'?");
  return message;
}

size_t Parser::emit(Op op, size_t at) {
  if (op <= Op::field) {
    if (++height_ > kStackSize) too_deep();
  } else if (op <= Op::ends_with || op >= Op::and_then) {
    --height_;
  }
  program_.steps.push_back({op, static_cast<uint32_t>(at)});
  return program_.steps.size() - 1;
}

void Parser::require_condition(const Operand& operand, const std::string& who) {
  if (operand.type == Type::any)
    emit(Op::condition);
  else if (operand.type != Type::condition)
    fault(operand.first, cat(who, " needs a condition, and this is ", type_name(operand.type)));
}

void Parser::require_comparable(const Operand& left, const Operand& right, const Token& op) const {
  const bool ordered = op.raw != "==" && op.raw != "!=" && op.raw != "in";
  for (const Operand* side : {&left, &right})
    if (ordered && side->type == Type::condition) fault(side->first, cat("'", op.raw, "' cannot compare a condition"));
  if (left.type != right.type && left.type != Type::any && right.type != Type::any)
    fault(right.first, cat("'", op.raw, "' compares ", type_name(left.type), " with ", type_name(right.type),
                           ", which are never equal"));
}

Operand Parser::either() {
  Operand left = both();
  std::vector<size_t> jumps;
  while (is("or") || is("||")) {
    const std::string who = quoted(token_);
    if (jumps.empty()) require_condition(left, who);
    take();
    jumps.push_back(emit(Op::or_else));
    require_condition(both(), who);
    left.type = Type::condition;
  }
  land(jumps);
  return left;
}

Operand Parser::both() {
  Operand left = inverted();
  std::vector<size_t> jumps;
  while (is("and") || is("&&")) {
    const std::string who = quoted(token_);
    if (jumps.empty()) require_condition(left, who);
    take();
    jumps.push_back(emit(Op::and_then));
    require_condition(inverted(), who);
    left.type = Type::condition;
  }
  land(jumps);
  return left;
}

Operand Parser::inverted() {
  if (!is("not") && !is("!")) return compared();
  const Deeper deeper(*this);
  take();
  const Token first = before_;
  require_condition(inverted(), quoted(first));
  emit(Op::invert);
  return {Type::condition, first};
}

Operand Parser::compared() {
  Operand left = sum();
  const Op* op = token_.kind == Kind::symbol ? comparison(token_.raw) : nullptr;
  if (op) {
    take();
    const Token symbol = before_;
    const Operand right = sum();
    require_comparable(left, right, symbol);
    emit(*op);
  } else if (is("in") || is("matches") || is("not")) {
    const bool inverse = accept("not");
    if (accept("in"))
      member_of(left);
    else if (accept("matches"))
      require_type(left, Type::string, "'matches'"), pattern();
    else
      fault(token_, unexpected("expected 'in' or 'matches' after 'not'"));
    if (inverse) emit(Op::invert);
  } else {
    return left;
  }
  if ((token_.kind == Kind::symbol && comparison(token_.raw)) || is("in") || is("matches"))
    fault(token_, "comparisons do not chain; join two of them with 'and'");
  return {Type::condition, left.first};
}

// After `x in`.
void Parser::member_of(const Operand& left) {
  const Token in = before_;
  if (accept("[")) {
    std::vector<size_t> jumps;
    do {
      require_comparable(left, sum(), in);
      jumps.push_back(emit(Op::in_item));
    } while (accept(","));
    expect("]", "expected ',' or ']' in a list");
    emit(Op::nowhere);
    land(jumps);
    return;
  }
  if (token_.kind != Kind::name)
    fault(token_, unexpected("expected a list in square brackets or a field that is one after 'in'"));
  const Operand array = sum();
  if (array.type != Type::any)
    fault(array.first, cat("'in' looks into a list, and this is ", type_name(array.type),
                           "; contains(x, 'part') looks into a string"));
  emit(Op::in_array);
}

// After `x matches`.
void Parser::pattern() {
  if (token_.kind != Kind::string) fault(token_, unexpected("expected a pattern in quotes after 'matches'"));
  program_.patterns.emplace_back(token_.text, lexer_.prefix(lexer_.offset_of(token_)));
  emit(Op::matches, program_.patterns.size() - 1);
  take();
}

Operand Parser::sum() {
  Operand left = product();
  while (is("+") || is("-")) {
    const std::string who = quoted(token_);
    const Op op = is("+") ? Op::add : Op::subtract;
    require_type(left, Type::number, who);
    take();
    require_type(product(), Type::number, who);
    emit(op);
    left.type = Type::number;
  }
  return left;
}

Operand Parser::product() {
  Operand left = sign();
  while (is("*") || is("/")) {
    const std::string who = quoted(token_);
    const Op op = is("*") ? Op::multiply : Op::divide;
    require_type(left, Type::number, who);
    take();
    require_type(sign(), Type::number, who);
    emit(op);
    left.type = Type::number;
  }
  return left;
}

Operand Parser::sign() {
  if (!is("-")) return value();
  const Deeper deeper(*this);
  take();
  const Token first = before_;
  require_type(sign(), Type::number, "'-'");
  emit(Op::negate);
  return {Type::number, first};
}

Operand Parser::value() {
  const Token first = token_;
  const bool keyword = std::any_of(std::begin(kKeywords), std::end(kKeywords), [&](auto word) { return is(word); });
  if (accept("(")) {
    const Deeper deeper(*this);
    const Operand inside = either();
    if (!accept(")"))
      fault(token_, unexpected(cat("expected ')' for the '(' ", lexer_.place(lexer_.offset_of(first)))));
    return {inside.type, first};
  }
  if (first.kind == Kind::number) {
    program_.numbers.push_back(first.number);
    emit(Op::number, program_.numbers.size() - 1);
    take();
    return {Type::number, first};
  }
  if (first.kind == Kind::string) {
    program_.texts.push_back(first.text);
    emit(Op::text, program_.texts.size() - 1);
    take();
    return {Type::string, first};
  }
  if (first.kind != Kind::name || keyword) {
    const std::string expected = before_.raw.empty() ? "expected a value" : "expected a value after " + quoted(before_);
    fault(first, first.kind == Kind::end ? expected : unexpected(expected));
  }
  take();
  return is("(") ? call(first) : named(first);
}

Operand Parser::call(const Token& name) {
  const Function* function =
      std::find_if(std::begin(kFunctions), std::end(kFunctions), [&](const Function& f) { return f.name == name.raw; });
  if (function == std::end(kFunctions)) {
    if (find_signal(name.raw) || name.raw == "lang")
      fault(name, cat(quoted(name), " is a signal and no function; write it without parentheses"));
    const std::string near = near_name(name.raw, kFunctions);
    std::string all;
    for (const Function& f : kFunctions) all += cat(all.empty() ? "" : ", ", f.name);
    fault(name,
          cat("no function ", quoted(name), near.empty() ? "; there are " + all : "; did you mean '" + near + "'?"));
  }
  take();
  const Deeper deeper(*this);
  int arguments = 0;
  if (!is(")")) {
    do {
      const Operand argument = either();
      if (function->takes != Type::any) require_type(argument, function->takes, cat("'", function->name, "'"));
      ++arguments;
    } while (accept(","));
  }
  expect(")", cat("expected ')' after the arguments of '", function->name, "'"));
  if (arguments != function->arguments)
    fault(name, cat("'", function->name, "' takes ", function->arguments, " argument",
                    function->arguments == 1 ? "" : "s", ", not ", arguments));
  emit(function->op);
  return {function->gives, name};
}

void Parser::push_signal(Signal signal) {
  program_.groups = program_.groups | info(signal).group;
  emit(Op::signal, static_cast<size_t>(signal));
}

// A name that is no keyword and no call.
Operand Parser::named(const Token& name) {
  if (is(".") || is("[")) return path(name);
  if (name.raw == "true" || name.raw == "false") {
    emit(Op::boolean, name.raw == "true");
    return {Type::condition, name};
  }
  if (name.raw == "null") fault(name, "nothing compares with null; not has(x) asks whether x is missing");
  if (name.raw == "record") fault(name, "expected a field of the record: record.name or record[\"name\"]");
  if (name.raw == "lang") {
    program_.groups = program_.groups | SignalGroup::language;
    emit(Op::lang);
    return {Type::string, name};
  }
  if (const std::optional<Signal> signal = find_signal(name.raw)) {
    push_signal(*signal);
    return {Type::number, name};
  }
  const std::string near = near_name(name.raw, signal_table);
  if (!near.empty())
    fault(name,
          cat("no signal ", quoted(name), "; did you mean '", near, "'? A field of that name is record.", name.raw));
  return path(name);
}

// A field and what is inside it; the name before is its first key, or `record`.
Operand Parser::path(const Token& name) {
  Path path;
  if (name.raw != "record") path.push_back({.key = std::string(name.raw)});
  while (is(".") || is("[")) {
    if (accept(".")) {
      if (token_.kind != Kind::name) fault(token_, unexpected("expected a name after '.'"));
      path.push_back({.key = std::string(token_.raw)});
      take();
      continue;
    }
    take();
    const bool minus = accept("-");
    if (token_.kind == Kind::string && !minus) {
      path.push_back({.key = token_.text});
    } else {
      int64_t item = 0;
      const char* end = token_.raw.data() + token_.raw.size();
      const auto [stop, error] = std::from_chars(token_.raw.data(), end, item);
      if (token_.kind != Kind::number || stop != end || error != std::errc())
        fault(token_, unexpected("expected a name in quotes or the number of an item after '['"));
      if (path.empty()) fault(token_, "a record has no items; a field is record[\"name\"]");
      path.push_back({.is_key = false, .item = minus ? -item : item});
    }
    take();
    expect("]", "expected ']'");
  }
  const auto [field, added] = fields_.try_emplace(path, program_.fields.size());
  if (added) program_.fields.push_back(path);
  emit(Op::field, field->second);
  return {Type::any, name};
}

}  // namespace

Expression Expression::parse(std::string_view text, std::string_view where) {
  if (text.size() > most_bytes)
    throw UsageError(cat(where, ": an expression of ", text.size(), " bytes; at most ", most_bytes, " are allowed"));
  if (!is_valid_utf8(text)) throw UsageError(cat(where, ": not valid UTF-8"));
  return Expression(Parser(text, where).parse());
}

}  // namespace ds
