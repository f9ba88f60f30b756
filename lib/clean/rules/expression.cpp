// Evaluation; expression_parse.cpp compiles.
#include "clean/rules/expression.h"

#include <cmath>
#include <forward_list>
#include <functional>

#include "clean/rules/expression_program.h"
#include "io/json_view.h"
#include "text/unicode.h"

namespace ds {

using namespace expr;

namespace {

enum class Kind : uint8_t { null, boolean, number, string, container };

// A plain value without constructors: a stack of them costs nothing to set up.
struct Value {
  Kind kind;
  bool boolean;
  double number;
  const char* data;  // string: its characters; container: its JSON
  size_t size;

  std::string_view text() const { return {data, size}; }
  bool is_true() const { return kind == Kind::boolean && boolean; }
};

Value null_value() { return {Kind::null, false, 0, nullptr, 0}; }
Value of(bool boolean) { return {Kind::boolean, boolean, 0, nullptr, 0}; }
Value of(double number) {
  return std::isfinite(number) ? Value{Kind::number, false, number, nullptr, 0} : null_value();
}
Value of(std::string_view text, Kind kind = Kind::string) { return {kind, false, 0, text.data(), text.size()}; }

// Strings that evaluation had to make; empty, it has allocated nothing.
struct Made {
  std::forward_list<std::string> strings;
  std::vector<const std::string*> of_field;  // the unescaped text of each field that was needed

  std::string_view keep(std::string text) { return strings.emplace_front(std::move(text)); }
};

// Null for a number that a double cannot hold: 1e999.
Value number_value(std::string_view json) {
  const std::optional<double> number = read_number(json);
  return number ? of(*number) : null_value();
}

// A JSON value that is no escaped string.
Value from_json(std::string_view json) {
  if (json.empty()) return null_value();
  switch (json[0]) {
    case 'n':
      return null_value();
    case 't':
    case 'f':
      return of(json[0] == 't');
    case '"':
      return of(json.substr(1, json.size() - 2));
    case '[':
    case '{':
      return of(json, Kind::container);
    default:
      return number_value(json);
  }
}

bool is_escaped(std::string_view json) { return json.starts_with('"') && json.find('\\') != std::string_view::npos; }

std::string_view find_field(const Record& record, const Path& path) {
  std::string_view value = record.raw_value(path[0].key);
  for (size_t i = 1; i < path.size() && !value.empty(); ++i)
    value = path[i].is_key ? json_member(value, path[i].key) : json_item(value, path[i].item);
  return value;
}

Value field_value(const Program& program, uint32_t at, const Record& record, Made& made) {
  const std::string_view json = find_field(record, program.fields[at]);
  if (!is_escaped(json)) return from_json(json);
  made.of_field.resize(program.fields.size());
  const std::string*& text = made.of_field[at];
  if (!text) {
    made.keep(json_unescaped(json.substr(1, json.size() - 2)));
    text = &made.strings.front();
  }
  return of(std::string_view(*text));
}

// Null, arrays and objects are equal to nothing.
bool equal(const Value& a, const Value& b) {
  if (a.kind != b.kind) return false;
  switch (a.kind) {
    case Kind::number:
      return a.number == b.number;
    case Kind::string:
      return a.text() == b.text();
    case Kind::boolean:
      return a.boolean == b.boolean;
    default:
      return false;
  }
}

template <class Compare>
bool ordered(const Value& a, const Value& b, Compare compare) {
  if (a.kind == Kind::number && b.kind == Kind::number) return compare(a.number, b.number);
  if (a.kind == Kind::string && b.kind == Kind::string) return compare(a.text().compare(b.text()), 0);
  return false;
}

template <class Calculate>
Value calculated(const Value& a, const Value& b, Calculate calculate) {
  return a.kind == Kind::number && b.kind == Kind::number ? of(calculate(a.number, b.number)) : null_value();
}

bool in_array(const Value& x, const Value& array) {
  if (array.kind != Kind::container) return false;
  return any_json_item(array.text(), [&](std::string_view json) {
    if (!is_escaped(json)) return equal(x, from_json(json));
    return x.kind == Kind::string && x.text() == json_unescaped(json.substr(1, json.size() - 2));
  });
}

Value length(const Value& x) {
  if (x.kind == Kind::container) return of(static_cast<double>(json_length(x.text()).value_or(0)));
  if (x.kind != Kind::string) return null_value();
  size_t characters = 0;  // UTF-8 was checked: count all but continuation bytes
  for (const char c : x.text()) characters += (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  return of(static_cast<double>(characters));
}

Value lower(const Value& x, Made& made) {
  if (x.kind != Kind::string) return null_value();
  std::string text;
  text.reserve(x.size);
  for (size_t at = 0; at < x.size;) {
    const size_t begin = at;
    const char32_t c = decode_utf8(x.text(), at);
    append_lower(text, c, x.text(), begin, at);
  }
  return of(made.keep(std::move(text)));
}

Value to_number(const Value& x) {
  if (x.kind == Kind::string && number_length(x.text()) == x.size) return number_value(x.text());
  return x.kind == Kind::number ? x : null_value();
}

Value pushed(const Program& program, Step step, const Signals& signals, const Record& record, Made& made) {
  switch (step.op) {
    case Op::number:
      return of(program.numbers[step.at]);
    case Op::text:
      return of(std::string_view(program.texts[step.at]));
    case Op::boolean:
      return of(step.at != 0);
    case Op::signal:
      return of(signals.values[step.at]);
    case Op::lang:
      return signals.lang.empty() ? null_value() : of(std::string_view(signals.lang));
    default:
      return field_value(program, step.at, record, made);
  }
}

Value of_two(Op op, const Value& a, const Value& b) {
  const bool strings = a.kind == Kind::string && b.kind == Kind::string;
  switch (op) {
    case Op::add:
      return calculated(a, b, std::plus<>());
    case Op::subtract:
      return calculated(a, b, std::minus<>());
    case Op::multiply:
      return calculated(a, b, std::multiplies<>());
    case Op::divide:
      return calculated(a, b, std::divides<>());
    case Op::equal:
      return of(equal(a, b));
    case Op::not_equal:
      return of(!equal(a, b));
    case Op::less:
      return of(ordered(a, b, std::less<>()));
    case Op::less_equal:
      return of(ordered(a, b, std::less_equal<>()));
    case Op::greater:
      return of(ordered(a, b, std::greater<>()));
    case Op::greater_equal:
      return of(ordered(a, b, std::greater_equal<>()));
    case Op::in_array:
      return of(in_array(a, b));
    case Op::contains:
      return of(strings && a.text().find(b.text()) != std::string_view::npos);
    case Op::starts_with:
      return of(strings && a.text().starts_with(b.text()));
    default:
      return of(strings && a.text().ends_with(b.text()));
  }
}

Value of_one(const Program& program, Step step, const Value& x, Made& made) {
  switch (step.op) {
    case Op::negate:
      return x.kind == Kind::number ? of(-x.number) : null_value();
    case Op::invert:
      return of(!x.is_true());
    case Op::has:
      return of(x.kind != Kind::null);
    case Op::length:
      return length(x);
    case Op::lower:
      return lower(x, made);
    case Op::to_number:
      return to_number(x);
    case Op::condition:
      return of(x.is_true());
    case Op::matches:
      return of(x.kind == Kind::string && program.patterns[step.at].search(x.text()));
    default:
      return of(false);
  }
}

}  // namespace

uint32_t Expression::groups() const { return program_->groups; }

bool Expression::evaluate(const Signals& signals, const Record& record) const {
  const Program& program = *program_;
  Made made;
  Value stack[kStackSize];
  Value* end = stack;  // past the value on top; the parser has seen to it that it stays inside
  for (size_t at = 0; at < program.steps.size(); ++at) {
    const Step step = program.steps[at];
    if (step.op <= Op::field) {
      *end++ = pushed(program, step, signals, record, made);
    } else if (step.op <= Op::ends_with) {
      --end;
      end[-1] = of_two(step.op, end[-1], end[0]);
    } else if (step.op <= Op::nowhere) {
      end[-1] = of_one(program, step, end[-1], made);
    } else if (step.op == Op::in_item) {
      --end;
      if (!equal(end[-1], end[0])) continue;
      end[-1] = of(true);
      at = step.at - 1;
    } else if (end[-1].is_true() == (step.op == Op::or_else)) {
      at = step.at - 1;
    } else {
      --end;
    }
  }
  return end[-1].is_true();
}

}  // namespace ds
