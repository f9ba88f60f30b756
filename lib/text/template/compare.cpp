// Equality, order and membership of values, as Python has them.
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "text/template/strings.h"
#include "text/template/value.h"

namespace ds::jinja {
namespace {

int sign(auto a, auto b) { return a < b ? -1 : a == b ? 0 : a > b ? 1 : 2; }

// An integer and a real, exactly: a double cannot hold every integer of 64 bits.
int compare_mixed(int64_t a, double b) {
  if (std::isnan(b)) return 2;
  if (b >= 9223372036854775808.0) return -1;
  if (b < -9223372036854775808.0) return 1;
  const double whole = std::trunc(b);
  const int order = sign(a, static_cast<int64_t>(whole));
  return order != 0 ? order : sign(whole, b);
}

bool is_big(const Value& value) { return value.is(Kind::integer) && value.object; }

// Integers beyond 64 bits by their digits.
int compare_big(const Value& a, const Value& b) {
  const auto negative = [](const Value& v) { return is_big(v) ? text_of(v)[0] == '-' : integer_of(v, "integer") < 0; };
  const bool minus = negative(a);
  if (minus != negative(b)) return minus ? -1 : 1;
  int order = 0;
  if (is_big(a) != is_big(b)) {
    order = is_big(a) ? 1 : -1;
  } else {
    const std::string &x = text_of(a), &y = text_of(b);
    order = x.size() != y.size() ? sign(x.size(), y.size()) : sign(x.compare(y), 0);
  }
  return minus ? -order : order;
}

int compare_numbers(const Value& a, const Value& b) {
  if (a.is(Kind::real) && b.is(Kind::real)) return sign(a.real, b.real);
  if (a.is(Kind::real) || b.is(Kind::real)) {
    if (is_big(a) || is_big(b)) return sign(real_of(a), real_of(b));
    if (b.is(Kind::real)) return compare_mixed(integer_of(a, "number"), b.real);
    const int order = compare_mixed(integer_of(b, "number"), a.real);
    return order == 2 ? 2 : -order;
  }
  if (is_big(a) || is_big(b)) return compare_big(a, b);
  return sign(integer_of(a, "number"), integer_of(b, "number"));
}

bool equal_dicts(Budget& budget, const Dict& a, const Dict& b) {
  if (a.entries.size() != b.entries.size()) return false;
  for (const auto& [key, value] : a.entries) {
    const Value* const other = b.find(budget, key);
    if (other == nullptr || !equal(budget, value, *other)) return false;
  }
  return true;
}

}  // namespace

bool equal(Budget& budget, const Value& a, const Value& b) {
  budget.step();
  if (is_number(a) && is_number(b)) return compare_numbers(a, b) == 0;
  if (a.kind != b.kind) return false;
  switch (a.kind) {
    case Kind::undefined: case Kind::none: return true;
    case Kind::string:
      if (text_of(a).size() == text_of(b).size()) budget.work(text_of(a).size());
      return text_of(a) == text_of(b);
    case Kind::list: case Kind::tuple: case Kind::range: case Kind::view: {
      const auto &x = list_of(a).items, &y = list_of(b).items;
      return x.size() == y.size() && std::equal(x.begin(), x.end(), y.begin(),
                                                [&](const Value& p, const Value& q) { return equal(budget, p, q); });
    }
    case Kind::dict: return a.object == b.object || equal_dicts(budget, dict_of(a), dict_of(b));
    default: return a.object == b.object;
  }
}

int compare(Budget& budget, const Value& a, const Value& b) {
  budget.step();
  if (a.is(Kind::undefined)) fail_undefined(a);
  if (b.is(Kind::undefined)) fail_undefined(b);
  if (is_number(a) && is_number(b)) return compare_numbers(a, b);
  if (a.is(Kind::string) && b.is(Kind::string)) {
    budget.work(std::min(text_of(a).size(), text_of(b).size()));
    return sign(text_of(a).compare(text_of(b)), 0);  // bytes of UTF-8 are in the order of the characters
  }
  require(a.kind == b.kind && (a.is(Kind::list) || a.is(Kind::tuple)), "no order between '", type_name(a), "' and '",
          type_name(b), "'");
  const auto &x = list_of(a).items, &y = list_of(b).items;
  for (size_t i = 0; i < std::min(x.size(), y.size()); ++i)
    if (!equal(budget, x[i], y[i])) return compare(budget, x[i], y[i]);
  return sign(x.size(), y.size());
}

bool contains(Budget& budget, const Value& container, const Value& item) {
  if (container.is(Kind::string)) {
    if (item.is(Kind::undefined)) fail_undefined(item);
    require(item.is(Kind::string), "'in <string>' requires a string, found ", type_name(item));
    budget.work(text_of(container).size() + text_of(item).size());
    return find_first(text_of(container), text_of(item)) != std::string::npos;
  }
  if (container.is(Kind::dict)) return dict_of(container).find(budget, item) != nullptr;
  const Next next = iterate(budget, container);
  for (Value element; next(element);)
    if (equal(budget, element, item)) return true;
  return false;
}

}  // namespace ds::jinja
