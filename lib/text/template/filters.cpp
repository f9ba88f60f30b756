// Filters of single values: value | NAME. Those of sequences are in sequences.cpp.
#include "text/template/filters.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>

#include "base/error.h"
#include "text/template/strings.h"
#include "text/unicode.h"

namespace ds::jinja {
namespace {

bool is_markup(const Value& value) { return value.is(Kind::string) && value.markup; }

int64_t integer_or(const Value* value, int64_t otherwise, std::string_view what) {
  return value == nullptr || value->is(Kind::none) ? otherwise : integer_of(*value, what);
}

template <std::string (*function)(std::string_view)>
Value mapped(Render& render, const Value& value, Arguments& arguments) {
  bind(arguments, "filter", {}, 0);
  const std::string text = str(render.budget(), value);
  render.budget().scan(text.size());
  return render.string(function(text), is_markup(value));
}

// Words begin after a hyphen, white space and opening brackets; within a word letters are small.
std::string title_words(std::string_view text) {
  std::string out;
  size_t begin = 0;
  const auto is_break = [](char32_t c) {
    return is_python_space(c) || c == '-' || c == '(' || c == '{' || c == '[' || c == '<';
  };
  const auto end_word = [&](size_t end) {
    if (end == begin) return;
    size_t first = begin;
    decode_utf8(text, first);
    out += upper(text.substr(begin, first - begin));
    out += lower(text.substr(first, end - first));
  };
  for (size_t at = 0; at < text.size();) {
    const size_t here = at;
    if (!is_break(decode_utf8(text, at))) continue;
    end_word(here);
    out += text.substr(here, at - here);
    begin = at;
  }
  end_word(text.size());
  return out;
}

Value safe(Render& render, const Value& value, Arguments& arguments) {
  bind(arguments, "safe", {}, 0);
  return render.string(str(render.budget(), value), true);
}

Value escape(Render& render, const Value& value, Arguments& arguments) {
  bind(arguments, "escape", {}, 0);
  return render.string(escaped(render.budget(), value), true);
}

Value force_escape(Render& render, const Value& value, Arguments& arguments) {
  bind(arguments, "forceescape", {}, 0);
  return render.string(escape_html(str(render.budget(), value)), true);
}

Value to_string(Render& render, const Value& value, Arguments& arguments) {
  bind(arguments, "string", {}, 0);
  return value.is(Kind::string) ? value : render.string(str(render.budget(), value));
}

Value trim(Render& render, const Value& value, Arguments& arguments) {
  const auto given = bind(arguments, "trim", {"chars"}, 0);
  const std::string text = str(render.budget(), value);
  if (given[0] == nullptr || given[0]->is(Kind::none))
    return render.string(std::string(strip(text, {}, true, true)), is_markup(value));
  require(given[0]->is(Kind::string), "trim: expected a string, found ", type_name(*given[0]));
  render.budget().scan(8 * text_of(*given[0]).size());
  return render.string(std::string(strip(text, text_of(*given[0]), true, true)), is_markup(value));
}

Value replace(Render& render, const Value& value, Arguments& arguments) {
  const auto given = bind(arguments, "replace", {"old", "new", "count"}, 2);
  Budget& budget = render.budget();
  return render.string(replaced(budget, str(budget, value), str(budget, *given[0]), str(budget, *given[1]),
                                integer_or(given[2], -1, "replace")));
}

Value otherwise(Render& render, const Value& value, Arguments& arguments) {
  const auto given = bind(arguments, "default", {"default_value", "boolean"}, 0);
  const bool is_missing = value.is(Kind::undefined) || (given[1] != nullptr && truthy(*given[1]) && !truthy(value));
  if (!is_missing) return value;
  return given[0] == nullptr ? render.string("") : *given[0];
}

Value to_json(Render& render, const Value& value, Arguments& arguments) {
  const auto given = bind(arguments, "tojson", {"ensure_ascii", "indent", "separators", "sort_keys"}, 0);
  JsonStyle style;
  style.ensure_ascii = given[0] != nullptr && truthy(*given[0]);
  style.sort_keys = given[3] != nullptr && truthy(*given[3]);
  if (given[1] != nullptr && !given[1]->is(Kind::none)) {
    style.pretty = true;
    style.item_separator = std::string(",");
    if (given[1]->is(Kind::string)) style.indent = text_of(*given[1]);
    else style.indent.assign(static_cast<size_t>(std::clamp<int64_t>(integer_of(*given[1], "tojson"), 0, 1000)), ' ');
  }
  if (given[2] != nullptr && !given[2]->is(Kind::none)) {
    const std::vector<Value> both = elements(render.budget(), *given[2]);
    require(both.size() == 2 && both[0].is(Kind::string) && both[1].is(Kind::string),
            "tojson: separators are two strings");
    style.item_separator = text_of(both[0]);
    style.key_separator = text_of(both[1]);
  }
  std::string out;
  append_json(render.budget(), out, value, style);
  return render.string(std::move(out));
}

// A number as Python's int() and float() read it: white space around it, single underscores between digits.
std::optional<std::string> plain_number(std::string_view text) {
  text = strip(text, {}, true, true);
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_') out += text[i];
    else if (i == 0 || i + 1 == text.size() || text[i - 1] == '_' || text[i + 1] == '_') return std::nullopt;
  }
  if (out.starts_with('+') && out.size() > 1 && out[1] != '-') out.erase(0, 1);
  return out.empty() ? std::nullopt : std::optional(std::move(out));
}

std::optional<int64_t> parse_integer(std::string_view text, int64_t base) {
  std::optional<std::string> digits = plain_number(text);
  if (!digits) return std::nullopt;
  const bool negative = digits->starts_with('-');
  if (negative) digits->erase(0, 1);
  const char letter = digits->size() > 1 && (*digits)[0] == '0' ? static_cast<char>((*digits)[1] | 0x20) : '\0';
  if ((base == 16 && letter == 'x') || (base == 8 && letter == 'o') || (base == 2 && letter == 'b'))
    digits->erase(0, 2);
  if (digits->empty() || (*digits)[0] == '-') return std::nullopt;
  int64_t value = 0;
  const char* const end = digits->data() + digits->size();
  const auto [stop, error] = std::from_chars(digits->data(), end, value, static_cast<int>(base));
  if (stop != end || error == std::errc::invalid_argument) return std::nullopt;
  require(error == std::errc(), "int: a number beyond 64 bits");
  return negative ? -value : value;
}

std::optional<double> parse_real(std::string_view text) {
  const std::optional<std::string> digits = plain_number(text);
  if (!digits) return std::nullopt;
  double value = 0;
  const char* const end = digits->data() + digits->size();
  const auto [stop, error] = std::from_chars(digits->data(), end, value);
  if (stop != end || error == std::errc::invalid_argument || digits->find('(') != std::string::npos)
    return std::nullopt;
  return error == std::errc() ? value : std::strtod(digits->c_str(), nullptr);
}

std::optional<int64_t> truncated(double value) {
  if (!std::isfinite(value)) return std::nullopt;
  require(std::fabs(value) < 9.2e18, "int: a number beyond 64 bits");
  return static_cast<int64_t>(value);
}

Value to_integer(Render& render, const Value& value, Arguments& arguments) {
  const auto given = bind(arguments, "int", {"default", "base"}, 0);
  if (value.is(Kind::undefined)) fail_undefined(value);
  const int64_t base = integer_or(given[1], 10, "int");
  require(base >= 2 && base <= 36, "int: the base must be 2 to 36");
  std::optional<int64_t> out;
  if (value.is(Kind::integer)) return value;
  if (value.is(Kind::boolean)) out = value.boolean ? 1 : 0;
  if (value.is(Kind::real)) out = truncated(value.real);
  if (value.is(Kind::string)) {
    render.budget().scan(text_of(value).size());
    out = parse_integer(text_of(value), base);
    if (!out)
      if (const auto number = parse_real(text_of(value))) out = truncated(*number);
  }
  if (out) return integer(*out);
  return given[0] == nullptr ? integer(0) : *given[0];
}

Value to_real(Render& render, const Value& value, Arguments& arguments) {
  const auto given = bind(arguments, "float", {"default"}, 0);
  if (value.is(Kind::undefined)) fail_undefined(value);
  if (is_number(value)) return real(real_of(value));
  if (value.is(Kind::string)) render.budget().scan(text_of(value).size());
  if (value.is(Kind::string))
    if (const auto number = parse_real(text_of(value))) return real(*number);
  return given[0] == nullptr ? real(0) : *given[0];
}

Value absolute(Render&, const Value& value, Arguments& arguments) {
  bind(arguments, "abs", {}, 0);
  require(is_number(value), "abs: expected a number, found ", type_name(value));
  if (value.is(Kind::real)) return real(std::fabs(value.real));
  const int64_t number = integer_of(value, "abs");
  return number < 0 ? negated(value) : integer(number);
}

double ten_to(int64_t exponent) {
  double out = 1;
  for (int64_t i = 0; i < exponent; ++i) out *= 10;
  return out;
}

Value rounded(Render&, const Value& value, Arguments& arguments) {
  const auto given = bind(arguments, "round", {"precision", "method"}, 0);
  const int64_t precision = integer_or(given[0], 0, "round");
  const std::string method = given[1] == nullptr ? "common" : given[1]->is(Kind::string) ? text_of(*given[1]) : "";
  require(method == "common" || method == "ceil" || method == "floor",
          "round: the method must be common, ceil or floor");
  require(is_number(value), "round: expected a number, found ", type_name(value));
  require(precision >= 0 && precision <= 22, "round: the precision must be 0 to 22");
  if (method != "common") {
    const double power = ten_to(precision), scaled = real_of(value) * power;
    require(std::isfinite(scaled), "round: the number is not finite");
    return real((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / power);
  }
  if (!value.is(Kind::real)) return value.is(Kind::boolean) ? integer(value.boolean) : value;
  if (!std::isfinite(value.real)) return value;
  char digits[400];  // exact: halves go to the even neighbour only where they are halves
  const auto end =
      std::to_chars(digits, digits + sizeof(digits), value.real, std::chars_format::fixed, static_cast<int>(precision));
  double out = 0;
  std::from_chars(digits, end.ptr, out);
  return real(out);
}

Value indent(Render& render, const Value& value, Arguments& arguments) {
  const auto given = bind(arguments, "indent", {"width", "first", "blank"}, 0);
  require(value.is(Kind::string), "indent: expected a string, found ", type_name(value));
  std::string margin;
  if (given[0] != nullptr && given[0]->is(Kind::string)) margin = text_of(*given[0]);
  else
    margin = std::string(static_cast<size_t>(std::clamp<int64_t>(integer_or(given[0], 4, "indent"), 0, 10'000)), ' ');
  const bool first = given[1] != nullptr && truthy(*given[1]), blank = given[2] != nullptr && truthy(*given[2]);
  const std::string text = text_of(value) + '\n';
  render.budget().scan(text.size());
  std::string out = first ? margin : "";
  bool is_first = true;
  for (const std::string_view line : split_lines(text, false)) {
    if (!is_first) append(render.budget(), out, "\n");
    if (!is_first && (blank || !line.empty())) append(render.budget(), out, margin);
    append(render.budget(), out, line);
    render.budget().step();
    is_first = false;
  }
  return render.string(std::move(out), value.markup);
}

Value truncate(Render& render, const Value& value, Arguments& arguments) {
  const auto given = bind(arguments, "truncate", {"length", "killwords", "end", "leeway"}, 0);
  require(value.is(Kind::string), "truncate: expected a string, found ", type_name(value));
  const std::string& text = text_of(value);
  const std::string end = given[2] == nullptr ? "..." : str(render.budget(), *given[2]);
  const int64_t size = integer_or(given[0], 255, "truncate"), leeway = integer_or(given[3], 5, "truncate");
  const auto kept = size - static_cast<int64_t>(count_characters(end));
  require(kept >= 0 && leeway >= 0, "truncate: the length must be at least that of the end");
  render.budget().work(text.size());
  if (static_cast<int64_t>(count_characters(text)) - leeway <= size) return value;
  std::string out = slice(text, {}, kept, 1);
  if (given[1] == nullptr || !truthy(*given[1])) out = split_from_right(out, " ", 1)[0];
  return render.string(out + end);
}

Value center(Render& render, const Value& value, Arguments& arguments) {
  const int64_t width = integer_or(bind(arguments, "center", {"width"}, 0)[0], 80, "center");
  return render.string(justify(render.budget(), str(render.budget(), value), width, " ", 'c'), is_markup(value));
}

Value word_count(Render& render, const Value& value, Arguments& arguments) {
  bind(arguments, "wordcount", {}, 0);
  const std::string text = str(render.budget(), value);
  render.budget().scan(text.size());
  int64_t words = 0;
  bool within = false;
  for (size_t at = 0; at < text.size();) {
    const bool is_part = is_word(decode_utf8(text, at));
    words += is_part && !within ? 1 : 0;
    within = is_part;
  }
  return integer(words);
}

Value format(Render& render, const Value& value, Arguments& arguments) {
  require(arguments.positional.empty() || arguments.named.empty(),
          "format: values with and without names at the same time");
  const std::string text = str(render.budget(), value);
  if (arguments.named.empty())
    return render.string(format_percent(render, text, render.list(arguments.positional, Kind::tuple)));
  auto named = std::make_shared<Dict>(&render.budget());
  for (const auto& [name, given] : arguments.named) named->set(&render.budget(), render.string(name), given);
  return render.string(format_percent(render, text, dict(std::move(named))));
}

Value get_attribute(Render& render, const Value& value, Arguments& arguments) {
  const Value& name = *bind(arguments, "attr", {"name"}, 1)[0];
  require(name.is(Kind::string), "attr: expected a name, found ", type_name(name));
  if (value.is(Kind::dict) && find_method(Kind::dict, text_of(name)) == nullptr)
    return undefined(render.budget(), cat("'dict object' has no attribute '", text_of(name), "'"));
  return render.attribute(value, text_of(name));
}

}  // namespace

const std::map<std::string_view, Filter>& value_filters() {
  static const std::map<std::string_view, Filter> filters = {{"abs", absolute},
                                                             {"attr", get_attribute},
                                                             {"capitalize", mapped<capitalize>},
                                                             {"center", center},
                                                             {"d", otherwise},
                                                             {"default", otherwise},
                                                             {"e", escape},
                                                             {"escape", escape},
                                                             {"float", to_real},
                                                             {"forceescape", force_escape},
                                                             {"format", format},
                                                             {"indent", indent},
                                                             {"int", to_integer},
                                                             {"lower", mapped<lower>},
                                                             {"replace", replace},
                                                             {"round", rounded},
                                                             {"safe", safe},
                                                             {"string", to_string},
                                                             {"title", mapped<title_words>},
                                                             {"tojson", to_json},
                                                             {"trim", trim},
                                                             {"truncate", truncate},
                                                             {"upper", mapped<upper>},
                                                             {"wordcount", word_count}};
  return filters;
}

Filter find_filter(std::string_view name) {
  for (const auto* const filters : {&value_filters(), &sequence_filters()})
    if (const auto found = filters->find(name); found != filters->end()) return found->second;
  return nullptr;
}

bool is_unsupported_filter(std::string_view name) {
  static constexpr std::string_view names[] = {"filesizeformat", "pprint", "random",   "striptags",
                                               "urlencode",      "urlize", "wordwrap", "xmlattr"};
  return std::ranges::find(names, name) != std::end(names);
}

}  // namespace ds::jinja
