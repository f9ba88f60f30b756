// + - * / // % ** of Python on its numbers, strings and lists.
#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "text/template/evaluate.h"
#include "text/template/strings.h"

namespace ds::jinja {
namespace {

using Type = Expression::Type;

constexpr std::string_view sign_of(Type type) {
  switch (type) {
    case Type::add: return "+";
    case Type::subtract: return "-";
    case Type::multiply: return "*";
    case Type::divide: return "/";
    case Type::floor_divide: return "//";
    case Type::modulo: return "%";
    default: return "**";
  }
}

int64_t checked(bool overflows, int64_t value) {
  require(!overflows, "an integer grows beyond 64 bits");
  return value;
}

int64_t floor_divide(int64_t a, int64_t b) {
  require(b != 0, "division by zero");
  require(a != std::numeric_limits<int64_t>::min() || b != -1, "an integer grows beyond 64 bits");
  const int64_t quotient = a / b;
  return a % b != 0 && (a < 0) != (b < 0) ? quotient - 1 : quotient;
}

int64_t power(int64_t base, int64_t exponent) {
  int64_t out = 1;
  for (; exponent > 0; --exponent) {
    if (base == 0 || base == 1) return base;
    if (base == -1) return exponent % 2 == 0 ? 1 : -1;
    int64_t product = 0;
    const bool overflows = __builtin_mul_overflow(out, base, &product);
    out = checked(overflows, product);
  }
  return out;
}

Value integers(Type type, int64_t a, int64_t b) {
  int64_t out = 0;
  bool overflows = false;
  switch (type) {
    case Type::add: overflows = __builtin_add_overflow(a, b, &out); break;
    case Type::subtract: overflows = __builtin_sub_overflow(a, b, &out); break;
    case Type::multiply: overflows = __builtin_mul_overflow(a, b, &out); break;
    case Type::divide:
      require(b != 0, "division by zero");
      return real(static_cast<double>(a) / static_cast<double>(b));
    case Type::floor_divide: out = floor_divide(a, b); break;
    case Type::modulo:
      require(b != 0, "division by zero");
      out = b == -1 ? 0 : a - floor_divide(a, b) * b;
      break;
    default:
      require(b >= 0, "** with a negative exponent is not supported");
      out = power(a, b);
  }
  return integer(checked(overflows, out));
}

Value reals(Type type, double a, double b) {
  switch (type) {
    case Type::add: return real(a + b);
    case Type::subtract: return real(a - b);
    case Type::multiply: return real(a * b);
    case Type::divide: require(b != 0, "division by zero"); return real(a / b);
    case Type::floor_divide: case Type::modulo: {
      require(b != 0, "division by zero");
      double rest = std::fmod(a, b);                   // exact in every C library
      double quotient = (a - rest) / b;
      if (rest != 0 && (b < 0) != (rest < 0)) rest += b, quotient -= 1;
      if (type == Type::modulo) return real(rest != 0 ? rest : std::copysign(0.0, b));
      const double whole = std::floor(quotient);
      return real(quotient - whole > 0.5 ? whole + 1 : whole);
    }
    default: fail("** of a float is not supported");
  }
}

Value repeated(Render& render, const Value& what, const Value& times) {
  const int64_t count = std::max<int64_t>(0, integer_of(times, "*"));
  if (what.is(Kind::string)) {
    const std::string& text = text_of(what);
    require(text.empty() || static_cast<uint64_t>(count) <= max_text_bytes / text.size(), "a text grows beyond ",
            max_text_bytes >> 20, " MB");
    render.budget().work(text.size() * static_cast<size_t>(text.empty() ? 0 : count));
    std::string out;
    for (int64_t i = 0; i < count && !text.empty(); ++i) out += text;
    return render.string(std::move(out), what.markup);
  }
  const auto& items = list_of(what).items;
  const size_t most = max_text_bytes / sizeof(Value);
  require(items.empty() || static_cast<uint64_t>(count) <= most / items.size(), "a list grows beyond ", most, " items");
  std::vector<Value> out;
  for (int64_t i = 0; i < count && !items.empty(); ++i) {
    render.budget().step(items.size());
    out.insert(out.end(), items.begin(), items.end());
  }
  return render.list(std::move(out), what.kind);
}

Value added(Render& render, const Value& a, const Value& b) {
  if (a.is(Kind::string)) {
    const bool markup = a.markup || b.markup;
    std::string out;
    append(render.budget(), out, markup && !a.markup ? escape_html(text_of(a)) : text_of(a));
    append(render.budget(), out, markup && !b.markup ? escape_html(text_of(b)) : text_of(b));
    return render.string(std::move(out), markup);
  }
  std::vector<Value> items = list_of(a).items;
  items.insert(items.end(), list_of(b).items.begin(), list_of(b).items.end());
  render.budget().step(items.size());
  return render.list(std::move(items), a.kind);
}

bool is_repeatable(const Value& value) {
  return value.is(Kind::string) || value.is(Kind::list) || value.is(Kind::tuple);
}
bool is_whole(const Value& value) { return value.is(Kind::integer) || value.is(Kind::boolean); }

}  // namespace

Value arithmetic(Render& render, Type type, const Value& a, const Value& b) {
  if (type == Type::modulo && a.is(Kind::string)) return render.string(format_percent(render, text_of(a), b));
  if (a.is(Kind::undefined)) fail_undefined(a);
  if (b.is(Kind::undefined)) fail_undefined(b);
  if (is_number(a) && is_number(b)) {
    if (a.is(Kind::real) || b.is(Kind::real)) return reals(type, real_of(a), real_of(b));
    return integers(type, integer_of(a, sign_of(type)), integer_of(b, sign_of(type)));
  }
  if (type == Type::add && a.kind == b.kind && is_repeatable(a)) return added(render, a, b);
  if (type == Type::multiply && is_repeatable(a) && is_whole(b)) return repeated(render, a, b);
  if (type == Type::multiply && is_repeatable(b) && is_whole(a)) return repeated(render, b, a);
  fail("'", sign_of(type), "' does not go with '", type_name(a), "' and '", type_name(b), "'");
}

Value negated(const Value& value) {
  if (value.is(Kind::undefined)) fail_undefined(value);
  if (value.is(Kind::real)) return real(-value.real);
  require(is_number(value), "'-' does not go with '", type_name(value), "'");
  const int64_t number = integer_of(value, "-");
  require(number != std::numeric_limits<int64_t>::min(), "an integer grows beyond 64 bits");
  return integer(-number);
}

}  // namespace ds::jinja
