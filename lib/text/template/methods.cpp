// Methods of str, list, tuple and dict that templates call.
#include <algorithm>
#include <iterator>
#include <map>

#include "base/error.h"
#include "text/template/evaluate.h"
#include "text/template/strings.h"
#include "text/unicode.h"

namespace ds::jinja {
namespace {

constexpr size_t npos = std::string_view::npos;

const std::string& need_text(const Value& value, std::string_view what) {
  if (value.is(Kind::undefined)) fail_undefined(value);
  require(value.is(Kind::string), what, ": expected a string, found ", type_name(value));
  return text_of(value);
}

// A string or none.
std::optional<std::string_view> optional_text(const Value* value, std::string_view what) {
  if (value == nullptr || value->is(Kind::none)) return std::nullopt;
  return need_text(*value, what);
}

int64_t optional_integer(const Value* value, int64_t otherwise, std::string_view what) {
  return value == nullptr ? otherwise : integer_of(*value, what);
}

void no_arguments(const Arguments& arguments, std::string_view what) { bind(arguments, what, {}, 0); }

// A method that gives text from text, which stays marked as it is.
template <std::string (*function)(std::string_view)>
Value mapped(Render& render, const Value& self, Arguments& arguments) {
  no_arguments(arguments, "method of str");
  render.budget().scan(text_of(self).size());
  return render.string(function(text_of(self)), self.markup);
}

template <bool (*function)(std::string_view)>
Value asked(Render& render, const Value& self, Arguments& arguments) {
  no_arguments(arguments, "method of str");
  render.budget().scan(2 * text_of(self).size());
  return boolean(function(text_of(self)));
}

template <bool left, bool right>
Value stripped(Render& render, const Value& self, Arguments& arguments) {
  const auto given = bind(arguments, "strip()", {"chars"}, 0, 1);
  const auto chars = optional_text(given[0], "strip()");
  render.budget().work(text_of(self).size());
  render.budget().scan(8 * (chars ? chars->size() : 0));
  return render.string(std::string(strip(text_of(self), chars, left, right)), self.markup);
}

Value parts_list(Render& render, const std::vector<std::string_view>& parts, const Value& self,
                 Kind kind = Kind::list) {
  std::vector<Value> items;
  render.budget().step(parts.size());
  for (const std::string_view part : parts) items.push_back(render.string(std::string(part), self.markup));
  return render.list(std::move(items), kind);
}

template <bool from_right>
Value split_text(Render& render, const Value& self, Arguments& arguments) {
  const auto given = bind(arguments, "split()", {"sep", "maxsplit"}, 0);
  const auto separator = optional_text(given[0], "split()");
  require(!separator || !separator->empty(), "split(): the separator is empty");
  const int64_t limit = optional_integer(given[1], -1, "split()");
  if (separator) render.budget().work(text_of(self).size());
  else render.budget().scan(text_of(self).size());
  return parts_list(
      render, from_right ? split_from_right(text_of(self), separator, limit) : split(text_of(self), separator, limit),
      self);
}

Value splitlines(Render& render, const Value& self, Arguments& arguments) {
  const auto given = bind(arguments, "splitlines()", {"keepends"}, 0);
  render.budget().scan(text_of(self).size());
  return parts_list(render, split_lines(text_of(self), given[0] != nullptr && truthy(*given[0])), self);
}

template <bool last>
Value partition(Render& render, const Value& self, Arguments& arguments) {
  const std::string_view text = text_of(self),
                         separator = need_text(*bind(arguments, "partition()", {"sep"}, 1, 1)[0], "partition()");
  require(!separator.empty(), "partition(): the separator is empty");
  render.budget().work(text.size());
  const size_t at = last ? find_last(text, separator) : find_first(text, separator);
  if (at == npos)
    return parts_list(render,
                      last ? std::vector<std::string_view>{"", "", text} : std::vector<std::string_view>{text, "", ""},
                      self, Kind::tuple);
  return parts_list(render, {text.substr(0, at), separator, text.substr(at + separator.size())}, self, Kind::tuple);
}

Value replace(Render& render, const Value& self, Arguments& arguments) {
  const auto given = bind(arguments, "replace()", {"old", "new", "count"}, 2, 3);
  std::string old = need_text(*given[0], "replace()"), fresh = need_text(*given[1], "replace()");
  if (self.markup) {
    old = escaped(render.budget(), *given[0]);
    fresh = escaped(render.budget(), *given[1]);
  }
  return render.string(
      replaced(render.budget(), text_of(self), old, fresh, optional_integer(given[2], -1, "replace()")), self.markup);
}

Value join(Render& render, const Value& self, Arguments& arguments) {
  const Value& items = *bind(arguments, "join()", {"iterable"}, 1, 1)[0];
  std::string out;
  const Next next = iterate(render.budget(), items);
  bool first = true;
  for (Value item; next(item); first = false) {
    if (!first) append(render.budget(), out, text_of(self));
    append(render.budget(), out, self.markup ? escaped(render.budget(), item) : need_text(item, "join()"));
  }
  return render.string(std::move(out), self.markup);
}

// The part of the text that start and end of find(), count(), startswith() leave, in bytes; npos: start lies behind it.
struct Window {
  size_t begin, end;
};
Window window(const std::string& text, const Value* start, const Value* end) {
  const auto characters = static_cast<int64_t>(count_characters(text));
  const auto place = [&](const Value* value, int64_t otherwise) {
    if (value == nullptr || value->is(Kind::none)) return otherwise;
    const int64_t at = integer_of(*value, "index");
    return at < 0 ? std::max<int64_t>(0, at + characters) : at;
  };
  const int64_t from = place(start, 0), to = std::min(place(end, characters), characters);
  if (from > to) return {npos, 0};
  return {byte_of(text, static_cast<size_t>(from)), byte_of(text, static_cast<size_t>(to))};
}

template <bool at_end>
Value starts_or_ends(Render& render, const Value& self, Arguments& arguments) {
  const auto given = bind(arguments, at_end ? "endswith()" : "startswith()", {"prefix", "start", "end"}, 1, 3);
  const std::string& text = text_of(self);
  render.budget().step();
  Window part{0, text.size()};
  if (given[1] != nullptr || given[2] != nullptr) part = window(text, given[1], given[2]);
  const auto fits = [&](const Value& affix) {
    const std::string& wanted = need_text(affix, at_end ? "endswith()" : "startswith()");
    render.budget().work(wanted.size());
    if (part.begin == npos) return false;
    const std::string_view inside = std::string_view(text).substr(part.begin, part.end - part.begin);
    return at_end ? inside.ends_with(wanted) : inside.starts_with(wanted);
  };
  if (!given[0]->is(Kind::tuple)) return boolean(fits(*given[0]));
  return boolean(std::ranges::any_of(list_of(*given[0]).items, fits));
}

template <bool last, bool must_be>
Value find_text(Render& render, const Value& self, Arguments& arguments) {
  const auto given = bind(arguments, must_be ? "index()" : "find()", {"sub", "start", "end"}, 1, 3);
  const std::string &text = text_of(self), &wanted = need_text(*given[0], "find()");
  render.budget().work(text.size() + wanted.size());
  const Window part = window(text, given[1], given[2]);
  size_t at = npos;
  if (part.begin != npos) {
    const std::string_view inside = std::string_view(text).substr(part.begin, part.end - part.begin);
    at = last ? find_last(inside, wanted) : find_first(inside, wanted);
  }
  require(at != npos || !must_be, "substring not found");
  return integer(
      at == npos ? -1 : static_cast<int64_t>(count_characters(std::string_view(text).substr(0, part.begin + at))));
}

Value count(Render& render, const Value& self, Arguments& arguments) {
  if (!self.is(Kind::string)) {
    const Value& wanted = *bind(arguments, "count()", {"value"}, 1, 1)[0];
    return integer(std::ranges::count_if(list_of(self).items,
                                         [&](const Value& item) { return equal(render.budget(), item, wanted); }));
  }
  const auto given = bind(arguments, "count()", {"sub", "start", "end"}, 1, 3);
  const std::string &text = text_of(self), &wanted = need_text(*given[0], "count()");
  render.budget().work(text.size() + wanted.size());
  const Window part = window(text, given[1], given[2]);
  if (part.begin == npos) return integer(0);
  return integer(
      static_cast<int64_t>(count_of(std::string_view(text).substr(part.begin, part.end - part.begin), wanted)));
}

template <bool suffix>
Value without_affix(Render& render, const Value& self, Arguments& arguments) {
  const std::string& affix = need_text(*bind(arguments, "removeprefix()", {"prefix"}, 1, 1)[0], "removeprefix()");
  std::string_view text = text_of(self);
  render.budget().work(text.size());
  if (suffix && text.ends_with(affix)) text.remove_suffix(affix.size());
  else if (!suffix && text.starts_with(affix)) text.remove_prefix(affix.size());
  return render.string(std::string(text), self.markup);
}

// ljust, rjust and center: spaces (or another character) on the right, on the left, on both sides.
template <char side>
Value justified(Render& render, const Value& self, Arguments& arguments) {
  const auto given = bind(arguments, "justify", {"width", "fillchar"}, 1, 2);
  const std::string fill = given[1] == nullptr ? " " : need_text(*given[1], "justify");
  require(count_characters(fill) == 1, "the fill must be one character");
  const int64_t width = integer_of(*given[0], "justify");
  return render.string(justify(render.budget(), text_of(self), width, fill, side), self.markup);
}

Value zfill(Render& render, const Value& self, Arguments& arguments) {
  const std::string& text = text_of(self);
  const bool has_sign = text.starts_with('-') || text.starts_with('+');
  const int64_t width = integer_of(*bind(arguments, "zfill()", {"width"}, 1, 1)[0], "zfill()");
  const int64_t rest = has_sign ? (width > 0 ? width - 1 : width) : width;
  return render.string(
      text.substr(0, has_sign ? 1 : 0) + justify(render.budget(), text.substr(has_sign ? 1 : 0), rest, "0", 'r'),
      self.markup);
}

Value format(Render& render, const Value& self, Arguments& arguments) {
  require(!self.markup, "format() of text that is marked safe is not supported");
  return render.string(format_braces(render, text_of(self), arguments));
}

Value is_ascii(Render&, const Value& self, Arguments& arguments) {
  no_arguments(arguments, "isascii()");
  return boolean(std::ranges::all_of(text_of(self), [](char c) { return static_cast<uint8_t>(c) < 0x80; }));
}

Value index(Render& render, const Value& self, Arguments& arguments) {
  const auto given = bind(arguments, "index()", {"value", "start", "stop"}, 1, 3);
  const auto& items = list_of(self).items;
  const auto size = static_cast<int64_t>(items.size());
  const auto place = [&](const Value* value, int64_t otherwise) {
    const int64_t at = optional_integer(value, otherwise, "index()");
    return std::clamp<int64_t>(at < 0 ? at + size : at, 0, size);
  };
  const int64_t stop = place(given[2], size);
  for (int64_t i = place(given[1], 0); i < stop; ++i)
    if (equal(render.budget(), items[static_cast<size_t>(i)], *given[0])) return integer(i);
  fail("the value is not in the ", type_name(self));
}

Value get(Render& render, const Value& self, Arguments& arguments) {
  const auto given = bind(arguments, "get()", {"key", "default"}, 1, 2);
  if (const Value* const found = dict_of(self).find(render.budget(), *given[0])) return *found;
  return given[1] == nullptr ? none() : *given[1];
}

template <char what>
Value entries(Render& render, const Value& self, Arguments& arguments) {
  no_arguments(arguments, "method of dict");
  std::vector<Value> items;
  for (const auto& [key, value] : dict_of(self).entries) {
    render.budget().step();
    items.push_back(what == 'k' ? key : what == 'v' ? value : render.list({key, value}, Kind::tuple));
  }
  return view(&render.budget(), std::move(items),
              what == 'k'   ? "dict_keys"
              : what == 'v' ? "dict_values"
                            : "dict_items");
}

Value copy(Render&, const Value& self, Arguments& arguments) {
  no_arguments(arguments, "copy()");
  return self;                                         // nothing can tell, as neither can change
}

Value refused(Render&, const Value& self, Arguments&) { fail("a template may not change a ", type_name(self)); }
Value unsupported(Render&, const Value& self, Arguments&) {
  fail("this method of ", type_name(self), " is not supported");
}

using Table = std::map<std::string_view, Method>;

const Table& string_methods() {
  static const Table table = {{"upper", mapped<upper>},
                              {"lower", mapped<lower>},
                              {"title", mapped<title>},
                              {"capitalize", mapped<capitalize>},
                              {"swapcase", mapped<swap_case>},
                              {"strip", stripped<true, true>},
                              {"lstrip", stripped<true, false>},
                              {"rstrip", stripped<false, true>},
                              {"split", split_text<false>},
                              {"rsplit", split_text<true>},
                              {"splitlines", splitlines},
                              {"partition", partition<false>},
                              {"rpartition", partition<true>},
                              {"replace", replace},
                              {"join", join},
                              {"startswith", starts_or_ends<false>},
                              {"endswith", starts_or_ends<true>},
                              {"find", find_text<false, false>},
                              {"rfind", find_text<true, false>},
                              {"index", find_text<false, true>},
                              {"rindex", find_text<true, true>},
                              {"count", count},
                              {"removeprefix", without_affix<false>},
                              {"removesuffix", without_affix<true>},
                              {"ljust", justified<'l'>},
                              {"rjust", justified<'r'>},
                              {"center", justified<'c'>},
                              {"zfill", zfill},
                              {"format", format},
                              {"isalpha", asked<is_alpha>},
                              {"isdigit", asked<is_digit>},
                              {"isdecimal", asked<is_decimal>},
                              {"isalnum", asked<is_alnum>},
                              {"isspace", asked<is_blank>},
                              {"islower", asked<is_lower>},
                              {"isupper", asked<is_upper>},
                              {"isidentifier", asked<is_identifier>},
                              {"isascii", is_ascii},
                              {"casefold", unsupported},
                              {"encode", unsupported},
                              {"expandtabs", unsupported},
                              {"format_map", unsupported},
                              {"isnumeric", unsupported},
                              {"isprintable", unsupported},
                              {"istitle", unsupported},
                              {"maketrans", unsupported},
                              {"translate", unsupported}};
  return table;
}

const Table& list_methods() {
  static const Table table = {{"count", count},   {"index", index},    {"copy", copy},       {"append", refused},
                              {"clear", refused}, {"pop", refused},    {"reverse", refused}, {"insert", refused},
                              {"sort", refused},  {"extend", refused}, {"remove", refused}};
  return table;
}

const Table& dict_methods() {
  static const Table table = {{"get", get}, {"items", entries<'i'>}, {"keys", entries<'k'>}, {"values", entries<'v'>},
                              {"copy", copy}, {"clear", refused}, {"pop", refused}, {"popitem", refused},
                              {"setdefault", refused}, {"update", refused}, {"fromkeys", unsupported}};
  return table;
}

const Table& tuple_methods() {
  static const Table table = {{"count", count}, {"index", index}};
  return table;
}

const Table& number_methods() {
  static const Table table = {{"bit_length", unsupported}, {"bit_count", unsupported}, {"conjugate", unsupported},
                              {"to_bytes", unsupported}, {"from_bytes", unsupported}, {"as_integer_ratio", unsupported},
                              {"is_integer", unsupported}, {"hex", unsupported}, {"fromhex", unsupported}};
  return table;
}

}  // namespace

Method find_method(Kind kind, std::string_view name) {
  static const Table nothing;
  const Table& table = kind == Kind::string                          ? string_methods()
                       : kind == Kind::list                          ? list_methods()
                       : kind == Kind::dict                          ? dict_methods()
                       : kind == Kind::tuple || kind == Kind::range  ? tuple_methods()
                       : kind == Kind::integer || kind == Kind::real ? number_methods()
                                                                     : nothing;
  const auto found = table.find(name);
  return found == table.end() ? nullptr : found->second;
}

std::vector<const Value*> bind(const Arguments& arguments, std::string_view what,
                               std::initializer_list<std::string_view> names, size_t required, size_t positional_only) {
  std::vector<const Value*> out(names.size());
  require(arguments.positional.size() <= names.size(), what, ": at most ", names.size(), " arguments, found ",
          arguments.positional.size());
  for (size_t i = 0; i < arguments.positional.size(); ++i) out[i] = &arguments.positional[i];
  for (const auto& [name, value] : arguments.named) {
    const auto place = static_cast<size_t>(std::ranges::find(names, name) - names.begin());
    require(place < names.size() && place >= positional_only, what, ": no argument is named '", name, "'");
    require(out[place] == nullptr, what, ": several values for the argument '", name, "'");
    out[place] = &value;
  }
  for (size_t i = 0; i < required; ++i)
    require(out[i] != nullptr, what, ": the argument '", names.begin()[i], "' is missing");
  return out;
}

std::string replaced(Budget& budget, const std::string& text, const std::string& old, const std::string& fresh,
                     int64_t count) {
  std::string out;
  budget.work(text.size());
  size_t at = 0;
  for (int64_t done = 0; count < 0 || done < count; ++done) {
    budget.step();
    if (old.empty()) {                                 // before every character, and at the end
      append(budget, out, fresh);
      if (at >= text.size()) return out;
      const size_t begin = at;
      decode_utf8(text, at);
      append(budget, out, std::string_view(text).substr(begin, at - begin));
      continue;
    }
    const size_t found = find_first(text, old, at);
    if (found == npos) break;
    append(budget, out, std::string_view(text).substr(at, found - at));
    append(budget, out, fresh);
    at = found + old.size();
  }
  append(budget, out, std::string_view(text).substr(at));
  return out;
}

std::string justify(Budget& budget, const std::string& text, int64_t width, const std::string& fill, char side) {
  const auto size = static_cast<int64_t>(count_characters(text));
  const int64_t lack = std::max<int64_t>(0, width - size);
  require(lack <= static_cast<int64_t>(max_text_bytes / 4), "a text grows beyond ", max_text_bytes >> 20, " MB");
  budget.work(static_cast<size_t>(lack) * fill.size());
  // Python's center puts the odd one to the left where the width is odd.
  const int64_t before = side == 'r' ? lack : side == 'l' ? 0 : lack / 2 + (lack & width & 1);
  std::string left, right;
  for (int64_t i = 0; i < lack; ++i) (i < before ? left : right) += fill;
  return left + text + right;
}

std::string escaped(Budget& budget, const Value& value) {
  if (value.is(Kind::string) && value.markup) return text_of(value);
  const std::string text = str(budget, value);
  budget.scan(text.size());
  return escape_html(text);
}

}  // namespace ds::jinja
