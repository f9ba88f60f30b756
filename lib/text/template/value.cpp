#include "text/template/value.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>

#include "base/error.h"
#include "text/template/strings.h"
#include "text/unicode.h"

namespace ds::jinja {
namespace {

constexpr uint64_t max_steps = 10'000'000;
constexpr size_t max_alive_bytes = size_t{256} << 20;

int depth_above(const std::vector<Value>& values) {
  int depth = 0;
  for (const Value& value : values)
    if (value.object) depth = std::max(depth, value.object->depth);
  return depth + 1;
}

Value with(Kind kind, std::shared_ptr<Object> object) {
  Value value;
  value.kind = kind;
  value.object = std::move(object);
  return value;
}

Value number_from_json(const std::string& digits) {
  const char* const end = digits.data() + digits.size();
  if (digits.find_first_of(".eE") != std::string::npos) {
    double parsed = 0;
    // What is out of range is an infinity or zero, as in Python.
    if (std::from_chars(digits.data(), end, parsed).ec != std::errc()) parsed = std::strtod(digits.c_str(), nullptr);
    return real(parsed);
  }
  int64_t parsed = 0;
  if (std::from_chars(digits.data(), end, parsed).ec == std::errc()) return integer(parsed);
  return with(Kind::integer, std::make_shared<Text>(nullptr, digits));
}

// How many entries a Dict may have without an index.
constexpr size_t indexed_from = 16;

}  // namespace

void Budget::step(uint64_t count) {
  steps_ += count;
  require(steps_ <= max_steps, "the template runs too long: more than ", max_steps, " steps");
}

void Budget::allocate(size_t bytes) {
  require(bytes <= max_alive_bytes && alive_ <= max_alive_bytes - bytes,
          "the template needs too much memory: more than ", max_alive_bytes >> 20, " MB");
  alive_ += bytes;
}

Object::Object(Budget* b, size_t size, int d) : budget(b), bytes(size), depth(d) {
  require(depth <= max_value_depth, "values are nested deeper than ", max_value_depth);
  if (budget != nullptr) budget->allocate(bytes);
}

Object::~Object() {
  if (budget != nullptr) budget->release(bytes);
}

List::List(Budget* b, std::vector<Value> values)
    : Object(b, sizeof(List) + values.size() * sizeof(Value), depth_above(values)), items(std::move(values)) {}

const Value* Dict::find(std::string_view key) const {
  if (!index.empty()) {
    const auto found = index.find(key);
    return found == index.end() ? nullptr : &entries[found->second].second;
  }
  for (const auto& [name, value] : entries)
    if (name.is(Kind::string) && text_of(name) == key) return &value;
  return nullptr;
}

const Value* Dict::find(Budget& b, const Value& key) const {
  if (key.is(Kind::string)) return find(text_of(key));
  require(hashable(key), "unhashable type: '", type_name(key), "'");
  for (const auto& [name, value] : entries) {
    if (!name.is(Kind::string) && equal(b, name, key)) return &value;
  }
  return nullptr;
}

void Dict::set(Budget* b, Value key, Value value) {
  require(hashable(key), "unhashable type: '", type_name(key), "'");
  for (const Value* held : {&key, &value})
    if (held->object && !is_name_space) depth = std::max(depth, held->object->depth + 1);
  require(depth <= max_value_depth, "values are nested deeper than ", max_value_depth);
  Budget none;
  (b == nullptr ? none : *b).step(3);
  const Value* const old = find(b == nullptr ? none : *b, key);
  if (old != nullptr) {
    *const_cast<Value*>(old) = std::move(value);
    return;
  }
  if (budget != nullptr) {
    budget->allocate(2 * sizeof(Value));
    bytes += 2 * sizeof(Value);
  }
  entries.emplace_back(std::move(key), std::move(value));
  if (entries.size() < indexed_from) return;
  if (index.empty())
    for (size_t i = 0; i + 1 < entries.size(); ++i)
      if (entries[i].first.is(Kind::string)) index.emplace(text_of(entries[i].first), i);
  if (entries.back().first.is(Kind::string)) index.emplace(text_of(entries.back().first), entries.size() - 1);
}

Value undefined(Budget& budget, std::string why) {
  return with(Kind::undefined, std::make_shared<Text>(&budget, std::move(why)));
}

Value none() { return with(Kind::none, nullptr); }

Value boolean(bool value) {
  Value out = with(Kind::boolean, nullptr);
  out.boolean = value;
  return out;
}

Value integer(int64_t value) {
  Value out = with(Kind::integer, nullptr);
  out.integer = value;
  return out;
}

Value real(double value) {
  Value out = with(Kind::real, nullptr);
  out.real = value;
  return out;
}

Value string(Budget* budget, std::string text, bool markup) {
  require(text.size() <= max_text_bytes, "a text grows beyond ", max_text_bytes >> 20, " MB");
  Value out = with(Kind::string, std::make_shared<Text>(budget, std::move(text)));
  out.markup = markup;
  return out;
}

Value list(Budget* budget, std::vector<Value> items, Kind kind) {
  return with(kind, std::make_shared<List>(budget, std::move(items)));
}

Value view(Budget* budget, std::vector<Value> items, std::string_view name) {
  auto made = std::make_shared<List>(budget, std::move(items));
  made->name = name;
  return with(Kind::view, std::move(made));
}

Value function(Budget* budget, std::string name, std::function<Value(Arguments&)> call, int depth) {
  return with(Kind::function, std::make_shared<Function>(budget, std::move(name), std::move(call), depth));
}

Value iterator(Budget* budget, Next next, const Value& source) {
  const int depth = source.object ? source.object->depth + 1 : 1;
  return with(Kind::iterator, std::make_shared<Iterator>(budget, std::move(next), depth));
}

Value dict(std::shared_ptr<Dict> entries) { return with(Kind::dict, std::move(entries)); }

Value from_json(const Json& json) {
  switch (json.type) {
    case Json::Type::null: return none();
    case Json::Type::boolean: return boolean(json.boolean);
    case Json::Type::number: return number_from_json(json.text);
    case Json::Type::string: return string(nullptr, json.text);
    case Json::Type::array: {
      std::vector<Value> items;
      for (const Json& item : json.items) items.push_back(from_json(item));
      return list(nullptr, std::move(items));
    }
    case Json::Type::object: {
      auto made = std::make_shared<Dict>(nullptr);
      for (const auto& [key, value] : json.members) made->set(nullptr, string(nullptr, key), from_json(value));
      return dict(std::move(made));
    }
  }
  return none();
}

const std::string& text_of(const Value& value) { return static_cast<const Text&>(*value.object).text; }
const List& list_of(const Value& value) { return static_cast<const List&>(*value.object); }
Dict& dict_of(const Value& value) { return static_cast<Dict&>(*value.object); }

int64_t integer_of(const Value& value, std::string_view what) {
  if (value.is(Kind::boolean)) return value.boolean ? 1 : 0;
  if (value.is(Kind::undefined)) fail_undefined(value);
  require(value.is(Kind::integer), what, ": expected an integer, found ", type_name(value));
  require(value.object == nullptr, what, ": an integer of more than 64 bits");
  return value.integer;
}

bool is_number(const Value& value) {
  return value.is(Kind::boolean) || value.is(Kind::integer) || value.is(Kind::real);
}

bool is_sequence(const Value& value) {
  return value.is(Kind::list) || value.is(Kind::tuple) || value.is(Kind::range) || value.is(Kind::view);
}

double real_of(const Value& value) {
  if (value.is(Kind::real)) return value.real;
  if (value.is(Kind::integer) && value.object) return std::strtod(text_of(value).c_str(), nullptr);
  return static_cast<double>(integer_of(value, "number"));
}

std::string type_name(const Value& value) {
  switch (value.kind) {
    case Kind::undefined: return "Undefined";
    case Kind::none: return "NoneType";
    case Kind::boolean: return "bool";
    case Kind::integer: return "int";
    case Kind::real: return "float";
    case Kind::string: return "str";
    case Kind::list: return "list";
    case Kind::tuple: return "tuple";
    case Kind::range: return "range";
    case Kind::view: return std::string(list_of(value).name);
    case Kind::dict: return "dict";
    case Kind::name_space: return "namespace";
    case Kind::function: return "function";
    case Kind::iterator: return "generator";
    case Kind::loop: return "loop";
  }
  return "?";
}

void fail_undefined(const Value& value) { fail(value.object ? text_of(value) : "the value is undefined"); }

bool truthy(const Value& value) {
  switch (value.kind) {
    case Kind::undefined: case Kind::none: return false;
    case Kind::boolean: return value.boolean;
    case Kind::integer: return value.object || value.integer != 0;
    case Kind::real: return value.real != 0;
    case Kind::string: return !text_of(value).empty();
    case Kind::list: case Kind::tuple: case Kind::range: case Kind::view: return !list_of(value).items.empty();
    case Kind::dict: return !dict_of(value).entries.empty();
    case Kind::name_space: case Kind::function: case Kind::iterator: case Kind::loop: return true;
  }
  return false;
}

bool hashable(const Value& value) {
  if (value.is(Kind::list) || value.is(Kind::dict) || value.is(Kind::view)) return false;
  return !value.is(Kind::tuple) || std::ranges::all_of(list_of(value).items, hashable);
}

int64_t length(const Value& value) {
  if (value.is(Kind::undefined)) return 0;
  if (value.is(Kind::string)) return static_cast<int64_t>(count_characters(text_of(value)));
  if (is_sequence(value)) return static_cast<int64_t>(list_of(value).items.size());
  return value.is(Kind::dict) ? static_cast<int64_t>(dict_of(value).entries.size()) : -1;
}

Next iterate(Budget& budget, const Value& value) {
  switch (value.kind) {
    case Kind::undefined: return [](Value&) { return false; };
    case Kind::list: case Kind::tuple: case Kind::range: case Kind::view:
      return [value, i = size_t{0}, &budget](Value& out) mutable {
        if (i == list_of(value).items.size()) return false;
        budget.step();
        out = list_of(value).items[i++];
        return true;
      };
    case Kind::string:
      return [value, at = size_t{0}, &budget](Value& out) mutable {
        const std::string& text = text_of(value);
        if (at == text.size()) return false;
        budget.step();
        const size_t begin = at;
        decode_utf8(text, at);
        out = string(&budget, text.substr(begin, at - begin), value.markup);
        return true;
      };
    case Kind::dict:
      return [value, i = size_t{0}, &budget](Value& out) mutable {
        if (i == dict_of(value).entries.size()) return false;
        budget.step();
        out = dict_of(value).entries[i++].first;
        return true;
      };
    case Kind::iterator:
      return [value](Value& out) { return static_cast<Iterator&>(*value.object).next(out); };
    default: fail("'", type_name(value), "' object is not iterable");
  }
}

std::vector<Value> elements(Budget& budget, const Value& value) {
  if (is_sequence(value)) {
    budget.step(list_of(value).items.size());
    return list_of(value).items;
  }
  std::vector<Value> out;
  const Next next = iterate(budget, value);
  for (Value item; next(item);) {
    // The items are counted when they become a list; until then a text or a generator can give only so many.
    require(out.size() < max_text_bytes / sizeof(Value), "a list grows beyond ", max_text_bytes / sizeof(Value),
            " items");
    out.push_back(std::move(item));
  }
  return out;
}

}  // namespace ds::jinja
