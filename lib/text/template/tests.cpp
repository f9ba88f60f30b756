// The tests of the language: value is NAME.
#include <map>

#include "base/error.h"
#include "text/template/evaluate.h"
#include "text/template/strings.h"

namespace ds::jinja {
namespace {

template <class F>
Value plain(const Arguments& arguments, F holds) {
  bind(arguments, "test", {}, 0);
  return boolean(holds());
}

const Value& other(const Arguments& arguments) { return *bind(arguments, "test", {"other"}, 1, 1)[0]; }

template <Kind... kinds>
Value is_kind(Render&, const Value& value, Arguments& arguments) {
  return plain(arguments, [&] { return ((value.kind == kinds) || ...); });
}

Value is_defined(Render&, const Value& value, Arguments& arguments) {
  return plain(arguments, [&] { return !value.is(Kind::undefined); });
}

Value is_true(Render&, const Value& value, Arguments& arguments) {
  return plain(arguments, [&] { return value.is(Kind::boolean) && value.boolean; });
}

Value is_false(Render&, const Value& value, Arguments& arguments) {
  return plain(arguments, [&] { return value.is(Kind::boolean) && !value.boolean; });
}

Value is_iterable(Render&, const Value& value, Arguments& arguments) {
  return plain(arguments, [&] {
    return value.is(Kind::undefined) || value.is(Kind::string) || is_sequence(value) || value.is(Kind::dict) ||
           value.is(Kind::iterator) || value.is(Kind::loop);
  });
}

// len() and [] is all that Jinja asks for.
Value is_sequence_test(Render&, const Value& value, Arguments& arguments) {
  return plain(arguments, [&] {
    return value.is(Kind::undefined) || value.is(Kind::string) || (is_sequence(value) && !value.is(Kind::view)) ||
           value.is(Kind::dict);
  });
}

Value is_callable(Render&, const Value& value, Arguments& arguments) {
  return plain(arguments,
               [&] { return value.is(Kind::function) || value.is(Kind::loop) || value.is(Kind::undefined); });
}

Value is_escaped(Render&, const Value& value, Arguments& arguments) {
  return plain(arguments, [&] { return value.is(Kind::string) && value.markup; });
}

template <bool (*function)(std::string_view)>
Value is_case(Render& render, const Value& value, Arguments& arguments) {
  return plain(arguments, [&] {
    const std::string text = str(render.budget(), value);
    render.budget().scan(2 * text.size());
    return function(text);
  });
}

bool leaves(Render& render, const Value& value, int64_t divisor, int64_t rest) {
  return equal(render.budget(), arithmetic(render, Expression::Type::modulo, value, integer(divisor)), integer(rest));
}

Value is_odd(Render& render, const Value& value, Arguments& arguments) {
  return plain(arguments, [&] { return leaves(render, value, 2, 1); });
}

Value is_even(Render& render, const Value& value, Arguments& arguments) {
  return plain(arguments, [&] { return leaves(render, value, 2, 0); });
}

Value is_divisible(Render& render, const Value& value, Arguments& arguments) {
  return boolean(equal(
      render.budget(),
      arithmetic(render, Expression::Type::modulo, value, *bind(arguments, "divisibleby", {"num"}, 1)[0]), integer(0)));
}

// The same object; of values that Python keeps once, the same value.
Value is_same(Render&, const Value& value, Arguments& arguments) {
  const Value& b = *bind(arguments, "sameas", {"other"}, 1)[0];
  if (value.kind != b.kind) return boolean(false);
  if (value.is(Kind::none) || value.is(Kind::undefined)) return boolean(value.is(Kind::none));
  if (value.is(Kind::boolean)) return boolean(value.boolean == b.boolean);
  require(!value.is(Kind::integer) && !value.is(Kind::real) && !value.is(Kind::string), "'is sameas' of a ",
          type_name(value), " is not supported");
  return boolean(value.object == b.object);
}

template <bool negated>
Value is_equal(Render& render, const Value& value, Arguments& arguments) {
  return boolean(equal(render.budget(), value, other(arguments)) != negated);
}

template <int a, int b>
Value is_ordered(Render& render, const Value& value, Arguments& arguments) {
  const int order = compare(render.budget(), value, other(arguments));
  return boolean(order == a || order == b);
}

Value is_in(Render& render, const Value& value, Arguments& arguments) {
  return boolean(contains(render.budget(), *bind(arguments, "in", {"seq"}, 1)[0], value));
}

Value is_filter(Render&, const Value& value, Arguments& arguments) {
  return plain(arguments, [&] {
    return value.is(Kind::string) && (find_filter(text_of(value)) != nullptr || is_unsupported_filter(text_of(value)));
  });
}

Value is_test(Render&, const Value& value, Arguments& arguments) {
  return plain(arguments, [&] { return value.is(Kind::string) && find_test(text_of(value)) != nullptr; });
}

}  // namespace

Filter find_test(std::string_view name) {
  static const std::map<std::string_view, Filter> tests = {
      {"defined", is_defined}, {"undefined", is_kind<Kind::undefined>}, {"none", is_kind<Kind::none>},
      {"string", is_kind<Kind::string>}, {"mapping", is_kind<Kind::dict>},
      {"number", is_kind<Kind::integer, Kind::real, Kind::boolean>}, {"integer", is_kind<Kind::integer>},
      {"float", is_kind<Kind::real>}, {"boolean", is_kind<Kind::boolean>}, {"true", is_true}, {"false", is_false},
      {"iterable", is_iterable}, {"sequence", is_sequence_test}, {"callable", is_callable}, {"escaped", is_escaped},
      {"lower", is_case<is_lower>}, {"upper", is_case<is_upper>}, {"odd", is_odd}, {"even", is_even},
      {"divisibleby", is_divisible}, {"sameas", is_same}, {"in", is_in}, {"filter", is_filter}, {"test", is_test},
      {"eq", is_equal<false>}, {"equalto", is_equal<false>}, {"==", is_equal<false>}, {"ne", is_equal<true>},
      {"!=", is_equal<true>}, {"lt", is_ordered<-1, -1>}, {"lessthan", is_ordered<-1, -1>}, {"<", is_ordered<-1, -1>},
      {"le", is_ordered<-1, 0>}, {"<=", is_ordered<-1, 0>}, {"gt", is_ordered<1, 1>}, {"greaterthan", is_ordered<1, 1>},
      {">", is_ordered<1, 1>}, {"ge", is_ordered<0, 1>}, {">=", is_ordered<0, 1>}};
  const auto found = tests.find(name);
  return found == tests.end() ? nullptr : found->second;
}

}  // namespace ds::jinja
