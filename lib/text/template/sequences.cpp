// Filters of sequences: value | NAME.
#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "text/template/filters.h"
#include "text/template/strings.h"

namespace ds::jinja {
namespace {

// The path of attribute='a.b.0': item by item, what is a number as one.
std::vector<Value> attribute_path(const Value& attribute) {
  if (attribute.is(Kind::none)) return {};
  if (!attribute.is(Kind::string)) return {attribute};
  std::vector<Value> path;
  for (const std::string_view part : split(text_of(attribute), ".", -1)) {
    int64_t place = 0;
    if (is_digit(part) &&
        std::from_chars(part.data(), part.data() + part.size(), place).ptr == part.data() + part.size())
      path.push_back(integer(place));
    else
      path.push_back(string(nullptr, std::string(part)));
  }
  return path;
}

Value follow(Render& render, Value value, const std::vector<Value>& path, const Value* otherwise = nullptr) {
  for (const Value& part : path) {
    value = render.item(value, part);
    if (value.is(Kind::undefined) && otherwise != nullptr && !otherwise->is(Kind::none)) value = *otherwise;
  }
  return value;
}

Value without_case(Render& render, const Value& value) {
  if (!value.is(Kind::string)) return value;
  render.budget().scan(text_of(value).size());
  return render.string(lower(text_of(value)));
}

bool is_set(const Value* value) { return value != nullptr && truthy(*value); }
std::vector<Value> path_of(const Value* attribute) {
  return attribute == nullptr ? std::vector<Value>{} : attribute_path(*attribute);
}

// What values are sorted by.
struct Keyed {
  Value key, value;
};

// Stable; with reverse too, as Python's.
void sort_keyed(Render& render, std::vector<Keyed>& items, bool reverse) {
  std::stable_sort(items.begin(), items.end(), [&](const Keyed& a, const Keyed& b) {
    return reverse ? compare(render.budget(), b.key, a.key) == -1 : compare(render.budget(), a.key, b.key) == -1;
  });
}

Value values_of(Render& render, std::vector<Keyed> items) {
  std::vector<Value> out;
  for (Keyed& item : items) out.push_back(std::move(item.value));
  return render.list(std::move(out));
}

Value sort(Render& render, const Value& value, Arguments& arguments) {
  const auto given = bind(arguments, "sort", {"reverse", "case_sensitive", "attribute"}, 0);
  std::vector<std::vector<Value>> paths;
  if (given[2] != nullptr && given[2]->is(Kind::string))
    for (const std::string_view part : split(text_of(*given[2]), ",", -1))
      paths.push_back(attribute_path(render.string(std::string(part))));
  else
    paths.push_back(path_of(given[2]));
  std::vector<Keyed> items;
  for (const Value& item : elements(render.budget(), value)) {
    std::vector<Value> keys;
    for (const auto& path : paths) {
      const Value key = follow(render, item, path);
      keys.push_back(is_set(given[1]) ? key : without_case(render, key));
    }
    items.push_back({keys.size() == 1 ? keys[0] : render.list(std::move(keys)), item});
  }
  sort_keyed(render, items, is_set(given[0]));
  return values_of(render, std::move(items));
}

Value dict_sort(Render& render, const Value& value, Arguments& arguments) {
  const auto given = bind(arguments, "dictsort", {"case_sensitive", "by", "reverse"}, 0);
  const std::string by = given[1] == nullptr ? "key" : given[1]->is(Kind::string) ? text_of(*given[1]) : "";
  require(by == "key" || by == "value", "dictsort: by must be 'key' or 'value'");
  require(value.is(Kind::dict), "dictsort: expected a dict, found ", type_name(value));
  std::vector<Keyed> items;
  for (const auto& [key, held] : dict_of(value).entries) {
    const Value& sorted = by == "key" ? key : held;
    items.push_back({is_set(given[0]) ? sorted : without_case(render, sorted), render.list({key, held}, Kind::tuple)});
  }
  sort_keyed(render, items, is_set(given[2]));
  return values_of(render, std::move(items));
}

Value group_by(Render& render, const Value& value, Arguments& arguments) {
  const auto given = bind(arguments, "groupby", {"attribute", "default", "case_sensitive"}, 1);
  const std::vector<Value> path = attribute_path(*given[0]);
  std::vector<Keyed> items;
  for (const Value& item : elements(render.budget(), value)) {
    const Value key = follow(render, item, path, given[1]);
    items.push_back({is_set(given[2]) ? key : without_case(render, key), item});
  }
  sort_keyed(render, items, false);
  std::vector<Value> groups;
  for (size_t begin = 0, end; begin < items.size(); begin = end) {
    std::vector<Value> group;
    for (end = begin; end < items.size() && equal(render.budget(), items[begin].key, items[end].key); ++end)
      group.push_back(items[end].value);
    if (end == begin) group.push_back(items[end++].value);  // not a number equals nothing
    const Value key = follow(render, group[0], path, given[1]);
    Value both = render.list({key, render.list(std::move(group))}, Kind::tuple);
    static_cast<List&>(*both.object).name = "group";
    groups.push_back(std::move(both));
  }
  return render.list(std::move(groups));
}

Value unique(Render& render, const Value& value, Arguments& arguments) {
  const auto given = bind(arguments, "unique", {"case_sensitive", "attribute"}, 0);
  return iterator(
      &render.budget(),
      [&render, next = iterate(render.budget(), value), path = path_of(given[1]), exact = is_set(given[0]),
       seen = std::vector<Value>()](Value& out) mutable {
        while (next(out)) {
          Value key = follow(render, out, path);
          require(hashable(key), "unique: unhashable type: '", type_name(key), "'");
          if (!exact) key = without_case(render, key);
          if (std::ranges::any_of(seen, [&](const Value& old) { return equal(render.budget(), old, key); })) continue;
          seen.push_back(std::move(key));
          return true;
        }
        return false;
      },
      value);
}

template <int wanted>
Value extreme(Render& render, const Value& value, Arguments& arguments) {
  const auto given = bind(arguments, "min or max", {"case_sensitive", "attribute"}, 0);
  const std::vector<Value> path = path_of(given[1]);
  const Next next = iterate(render.budget(), value);
  Value best = undefined(render.budget(), "No aggregated item, sequence was empty."), best_key;
  bool first = true;
  for (Value item; next(item); first = false) {
    Value key = follow(render, item, path);
    if (!is_set(given[0])) key = without_case(render, key);
    if (first || compare(render.budget(), key, best_key) == wanted) best = item, best_key = std::move(key);
  }
  return best;
}

Value sum(Render& render, const Value& value, Arguments& arguments) {
  const auto given = bind(arguments, "sum", {"attribute", "start"}, 0);
  const std::vector<Value> path = path_of(given[0]);
  Value total = given[1] == nullptr ? integer(0) : *given[1];
  require(!total.is(Kind::string), "sum: strings are joined, not summed");
  const Next next = iterate(render.budget(), value);
  for (Value item; next(item);) total = arithmetic(render, Expression::Type::add, total, follow(render, item, path));
  return total;
}

Value join(Render& render, const Value& value, Arguments& arguments) {
  const auto given = bind(arguments, "join", {"d", "attribute"}, 0);
  const std::string between = given[0] == nullptr ? "" : str(render.budget(), *given[0]);
  const std::vector<Value> path = path_of(given[1]);
  const Next next = iterate(render.budget(), value);
  std::string out;
  bool first = true;
  for (Value item; next(item); first = false) {
    if (!first) append(render.budget(), out, between);
    append_str(render.budget(), out, follow(render, item, path));
  }
  return render.string(std::move(out));
}

Value length_of(Render& render, const Value& value, Arguments& arguments) {
  bind(arguments, "length", {}, 0);
  if (value.is(Kind::string)) render.budget().work(text_of(value).size());
  const int64_t size = length(value);
  require(size >= 0, "a '", type_name(value), "' has no length");
  return integer(size);
}

Value first(Render& render, const Value& value, Arguments& arguments) {
  bind(arguments, "first", {}, 0);
  Value out;
  return iterate(render.budget(), value)(out) ? out : undefined(render.budget(), "No first item, sequence was empty.");
}

Value last(Render& render, const Value& value, Arguments& arguments) {
  bind(arguments, "last", {}, 0);
  require(value.is(Kind::string) || is_sequence(value) || value.is(Kind::dict), "last: a '", type_name(value),
          "' cannot be reversed");
  const std::vector<Value> items = elements(render.budget(), value);
  return items.empty() ? undefined(render.budget(), "No last item, sequence was empty.") : items.back();
}

Value to_list(Render& render, const Value& value, Arguments& arguments) {
  bind(arguments, "list", {}, 0);
  return render.list(elements(render.budget(), value));
}

Value items(Render& render, const Value& value, Arguments& arguments) {
  bind(arguments, "items", {}, 0);
  require(value.is(Kind::undefined) || value.is(Kind::dict), "items: expected a dict, found ", type_name(value));
  return iterator(&render.budget(), [&render, value, i = size_t{0}](Value& out) mutable {
    if (value.is(Kind::undefined) || i == dict_of(value).entries.size()) return false;
    const auto& [key, held] = dict_of(value).entries[i++];
    out = render.list({key, held}, Kind::tuple);
    return true;
  }, value);
}

Value reverse(Render& render, const Value& value, Arguments& arguments) {
  bind(arguments, "reverse", {}, 0);
  if (value.is(Kind::string)) {
    render.budget().scan(text_of(value).size());
    return render.string(slice(text_of(value), {}, {}, -1), value.markup);
  }
  std::vector<Value> all = elements(render.budget(), value);
  std::ranges::reverse(all);
  const Value reversed = render.list(std::move(all));
  if (value.is(Kind::iterator) || value.is(Kind::undefined)) return reversed;
  return iterator(&render.budget(), iterate(render.budget(), reversed), reversed);
}

Value batch(Render& render, const Value& value, Arguments& arguments) {
  const auto given = bind(arguments, "batch", {"linecount", "fill_with"}, 1);
  const int64_t size = integer_of(*given[0], "batch");
  const Value fill = given[1] == nullptr ? none() : *given[1];
  require(size > 0 && size <= 100'000, "batch: the size must be 1 to 100000");
  return iterator(
      &render.budget(),
      [&render, next = iterate(render.budget(), value), size = static_cast<size_t>(size), fill](Value& out) {
        std::vector<Value> row;
        for (Value item; row.size() < size && next(item);) row.push_back(std::move(item));
        if (row.empty()) return false;
        while (!fill.is(Kind::none) && row.size() < size) row.push_back(fill);
        render.budget().step(row.size());
        out = render.list(std::move(row));
        return true;
      },
      value);
}

Value slice_rows(Render& render, const Value& value, Arguments& arguments) {
  const auto given = bind(arguments, "slice", {"slices", "fill_with"}, 1);
  const int64_t rows = integer_of(*given[0], "slice");
  require(rows > 0 && rows <= 100'000, "slice: the number of slices must be 1 to 100000");
  const std::vector<Value> all = elements(render.budget(), value);
  const size_t each = all.size() / static_cast<size_t>(rows), extra = all.size() % static_cast<size_t>(rows);
  std::vector<Value> out;
  for (size_t row = 0, begin = 0; row < static_cast<size_t>(rows); ++row) {
    const size_t end = begin + each + (row < extra ? 1 : 0);
    std::vector<Value> part(all.begin() + static_cast<ptrdiff_t>(begin), all.begin() + static_cast<ptrdiff_t>(end));
    if (given[1] != nullptr && !given[1]->is(Kind::none) && row >= extra) part.push_back(*given[1]);
    out.push_back(render.list(std::move(part)));
    begin = end;
  }
  const Value made = render.list(std::move(out));
  return iterator(&render.budget(), iterate(render.budget(), made), made);
}

// A filter or test by the name that stands first among the arguments, which is taken from them.
Filter take_named(Arguments& arguments, std::string_view kind) {
  const Value name = arguments.positional[0];
  arguments.positional.erase(arguments.positional.begin());
  require(name.is(Kind::string), "the name of a ", kind, " must be a string");
  const Filter found = kind == "test" ? find_test(text_of(name)) : find_filter(text_of(name));
  require(found != nullptr, "there is no ", kind, " '", text_of(name), "', or it is not supported");
  return found;
}

Value map(Render& render, const Value& value, Arguments& arguments) {
  const Value source = truthy(value) ? value : render.list({});
  if (arguments.positional.empty()) {
    const auto given = bind(arguments, "map", {"attribute", "default"}, 1);
    const Value otherwise = given[1] == nullptr ? none() : *given[1];
    return iterator(
        &render.budget(),
        [&render, next = iterate(render.budget(), source), path = attribute_path(*given[0]), otherwise](Value& out) {
          if (!next(out)) return false;
          out = follow(render, out, path, &otherwise);
          return true;
        },
        source);
  }
  const Filter filter = take_named(arguments, "filter");
  return iterator(
      &render.budget(),
      [&render, next = iterate(render.budget(), source), filter, rest = arguments](Value& out) {
        if (!next(out)) return false;
        Arguments copy = rest;
        out = filter(render, out, copy);
        return true;
      },
      source);
}

template <bool keeps, bool by_attribute>
Value chosen(Render& render, const Value& value, Arguments& arguments) {
  const Value source = truthy(value) ? value : render.list({});
  std::vector<Value> path;
  if (by_attribute) {
    require(!arguments.positional.empty(), "the name of the attribute is missing");
    path = attribute_path(arguments.positional[0]);
    arguments.positional.erase(arguments.positional.begin());
  }
  const Filter test = arguments.positional.empty() ? nullptr : take_named(arguments, "test");
  return iterator(
      &render.budget(),
      [&render, next = iterate(render.budget(), source), path, test, rest = arguments](Value& out) {
        while (next(out)) {
          const Value tested = follow(render, out, path);
          Arguments copy = rest;
          if (truthy(test == nullptr ? tested : test(render, tested, copy)) == keeps) return true;
        }
        return false;
      },
      source);
}

}  // namespace

const std::map<std::string_view, Filter>& sequence_filters() {
  static const std::map<std::string_view, Filter> filters = {{"batch", batch},
                                                             {"count", length_of},
                                                             {"dictsort", dict_sort},
                                                             {"first", first},
                                                             {"groupby", group_by},
                                                             {"items", items},
                                                             {"join", join},
                                                             {"last", last},
                                                             {"length", length_of},
                                                             {"list", to_list},
                                                             {"map", map},
                                                             {"max", extreme<1>},
                                                             {"min", extreme<-1>},
                                                             {"reject", chosen<false, false>},
                                                             {"rejectattr", chosen<false, true>},
                                                             {"reverse", reverse},
                                                             {"select", chosen<true, false>},
                                                             {"selectattr", chosen<true, true>},
                                                             {"slice", slice_rows},
                                                             {"sort", sort},
                                                             {"sum", sum},
                                                             {"unique", unique}};
  return filters;
}

}  // namespace ds::jinja
