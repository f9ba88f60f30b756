// Formatted text: "%s" % values, "{}".format(values), and the time of strftime_now.
#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <ctime>
#include <optional>

#include "base/error.h"
#include "text/template/evaluate.h"
#include "text/template/strings.h"
#include "text/unicode.h"

namespace ds::jinja {
namespace {

constexpr int64_t max_width = 10'000;

// [[fill]align][sign][#][0][width][,][.precision][type]
struct Spec {
  std::string fill = " ";
  char align = '\0', sign = '-', type = '\0';
  bool alternate = false, grouped = false, zero = false;
  int64_t width = 0, precision = -1;
};

int64_t read_number(std::string_view text, size_t& at, int64_t otherwise) {
  int64_t out = 0;
  const size_t begin = at;
  for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at) {
    out = out * 10 + (text[at] - '0');
    require(out <= max_width, "a format with a width, a precision or a place above ", max_width);
  }
  return at == begin ? otherwise : out;
}

bool is_align(std::string_view text) {
  return !text.empty() && std::string_view("<>^=").find(text[0]) != std::string_view::npos;
}

Spec parse_spec(std::string_view text) {
  Spec spec;
  size_t at = 0;
  if (!text.empty()) {
    size_t after = 0;
    decode_utf8(text, after);
    if (is_align(text.substr(after))) spec.fill = text.substr(0, after), spec.align = text[after], at = after + 1;
    else if (is_align(text)) spec.align = text[0], at = 1;
  }
  const auto skip = [&](char c) { return at < text.size() && text[at] == c && (++at, true); };
  if (skip('+')) spec.sign = '+';
  else if (skip(' ')) spec.sign = ' ';
  else skip('-');
  spec.alternate = skip('#');
  spec.zero = skip('0');
  spec.width = read_number(text, at, 0);
  spec.grouped = skip(',');
  if (skip('.')) {
    spec.precision = read_number(text, at, -1);
    require(spec.precision >= 0, "a format without its precision: '", text, "'");
  }
  if (at < text.size()) spec.type = text[at++];
  require(at == text.size(), "the format '", text, "' is not supported");
  if (spec.zero && spec.align == '\0') spec.fill = "0", spec.align = '=';
  return spec;
}

// `sign` stands before the fill where align is '='.
std::string padded(const Spec& spec, const std::string& sign, const std::string& body, char usual) {
  const auto size = static_cast<int64_t>(count_characters(sign) + count_characters(body));
  const int64_t lack = std::max<int64_t>(0, spec.width - size);
  const char align = spec.align == '\0' ? usual : spec.align;
  const int64_t before = align == '>' || align == '=' ? lack : align == '^' ? lack / 2 : 0;
  std::string left, right;
  for (int64_t i = 0; i < before; ++i) left += spec.fill;
  for (int64_t i = before; i < lack; ++i) right += spec.fill;
  return align == '=' ? sign + left + body : left + sign + body + right;
}

std::string grouped(const std::string& digits) {
  std::string out;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) out += ',';
    out += digits[i];
  }
  return out;
}

std::string sign_text(const Spec& spec, bool negative) {
  if (negative) return "-";
  return spec.sign == '-' ? "" : std::string(1, spec.sign);
}

std::string format_integer(const Spec& spec, const Value& value) {
  require(spec.precision < 0, "a precision of an integer in a format");
  const int base = spec.type == 'x' || spec.type == 'X' ? 16 : spec.type == 'o' ? 8 : spec.type == 'b' ? 2 : 10;
  std::string digits;
  if (value.object) {
    require(base == 10, "an integer of more than 64 bits in a format of base ", base);
    digits = text_of(value);
  } else {
    char buffer[72];
    digits.assign(buffer, std::to_chars(buffer, buffer + sizeof(buffer), integer_of(value, "format"), base).ptr);
  }
  const bool negative = digits[0] == '-';
  if (negative) digits.erase(0, 1);
  if (spec.type == 'X')
    std::ranges::transform(digits, digits.begin(), [](char c) { return c >= 'a' ? static_cast<char>(c - 32) : c; });
  std::string prefix = sign_text(spec, negative);
  if (spec.alternate && base != 10) (prefix += '0') += spec.type;
  return padded(spec, prefix, spec.grouped ? grouped(digits) : digits, '>');
}

std::string format_real(const Spec& spec, double value) {
  const char type = spec.type;
  require(!(type == '\0' && spec.precision >= 0), "a precision of a float without a type in a format is not supported");
  const bool percent = type == '%', negative = std::signbit(value) && !std::isnan(value);
  double magnitude = std::fabs(percent ? value * 100 : value);
  std::string digits;
  if (type == '\0') {
    digits = real_repr(magnitude);
  } else if (!std::isfinite(magnitude)) {
    digits = std::isnan(magnitude) ? "nan" : "inf";
  } else {
    const auto style = type == 'e' || type == 'E'   ? std::chars_format::scientific
                       : type == 'g' || type == 'G' ? std::chars_format::general
                                                    : std::chars_format::fixed;
    std::string buffer(static_cast<size_t>(std::max<int64_t>(spec.precision, 6)) + 400, '\0');
    const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), magnitude, style,
                                   static_cast<int>(spec.precision < 0 ? 6 : spec.precision));
    digits.assign(buffer.data(), end.ptr);
  }
  if (type == 'E' || type == 'G' || type == 'F') digits = upper(digits);
  if (spec.grouped) {
    const size_t whole = std::min(digits.find_first_not_of("0123456789"), digits.size());
    digits = grouped(digits.substr(0, whole)) + digits.substr(whole);
  }
  if (percent) digits += '%';
  return padded(spec, sign_text(spec, negative), digits, '>');
}

std::string format_text(const Spec& spec, std::string text) {
  require(spec.align != '=' || spec.zero, "'=' in a format goes with numbers only");
  if (spec.precision >= 0) text = slice(text, {}, spec.precision, 1);
  Spec left = spec;
  if (left.align == '=') left.align = '<';
  return padded(left, "", text, '<');
}

bool is_real_type(char type) {
  return std::string_view("eEfFgG%").find(type) != std::string_view::npos && type != '\0';
}

std::string format_value(Render& render, const Value& value, std::string_view text) {
  if (text.empty()) return str(render.budget(), value);
  const Spec spec = parse_spec(text);
  if (value.is(Kind::integer) || value.is(Kind::boolean)) {
    if (is_real_type(spec.type)) return format_real(spec, real_of(value));
    require(spec.type == '\0' || std::string_view("dxXob").find(spec.type) != std::string_view::npos, "the format '",
            text, "' does not go with int");
    return format_integer(spec, value);
  }
  if (value.is(Kind::real)) {
    require(spec.type == '\0' || is_real_type(spec.type), "the format '", text, "' does not go with float");
    return format_real(spec, value.real);
  }
  require(value.is(Kind::string), "the format '", text, "' does not go with ", type_name(value));
  require(spec.type == '\0' || spec.type == 's', "the format '", text, "' does not go with str");
  return format_text(spec, text_of(value));
}

// The replacement fields of str.format.
class Braces {
 public:
  Braces(Render& render, const Arguments& arguments) : render_(render), arguments_(arguments) {}

  std::string run(std::string_view format, int nesting) {
    std::string out;
    for (size_t at = 0; at < format.size();) {
      const char c = format[at];
      if (c != '{' && c != '}') {
        const size_t end = std::min(format.find_first_of("{}", at), format.size());
        append(render_.budget(), out, format.substr(at, end - at));
        at = end;
      } else if (at + 1 < format.size() && format[at + 1] == c) {
        append(render_.budget(), out, format.substr(at, 1));
        at += 2;
      } else {
        require(c == '{', "a single '}' in a format");
        require(nesting < 2, "a format within a format within a format");
        append(render_.budget(), out, field(format, at, nesting));
      }
    }
    return out;
  }

 private:
  std::string field(std::string_view format, size_t& at, int nesting) {
    size_t end = ++at;
    for (int open = 1; end < format.size(); ++end) {
      if (format[end] == '{') ++open;
      if (format[end] == '}' && --open == 0) break;
    }
    require(end < format.size(), "a '{' without its '}' in a format");
    const std::string_view inside = format.substr(at, end - at);
    at = end + 1;
    const size_t mark = std::min(inside.find_first_of("!:"), inside.size());
    Value value = lookup(inside.substr(0, mark));
    size_t spec = mark;
    if (mark < inside.size() && inside[mark] == '!') {
      require(mark + 1 < inside.size() && (inside[mark + 1] == 's' || inside[mark + 1] == 'r'),
              "a conversion other than !s and !r in a format");
      std::string text;
      if (inside[mark + 1] == 'r') append_repr(render_.budget(), text, value);
      else append_str(render_.budget(), text, value);
      value = render_.string(std::move(text));
      spec = mark + 2;
      require(spec == inside.size() || inside[spec] == ':', "expected ':' after a conversion in a format");
    }
    return format_value(render_, value, spec < inside.size() ? run(inside.substr(spec + 1), nesting + 1) : "");
  }

  // name.attribute[key] of the arguments; no name or a number is one without a name.
  Value lookup(std::string_view path) {
    size_t at = std::min(path.find_first_of(".["), path.size());
    const std::string_view name = path.substr(0, at);
    Value value;
    size_t end = 0;
    const int64_t place = name.empty() ? next_++ : read_number(name, end, -1);
    if (name.empty() || end == name.size()) {
      has_given_places_ = has_given_places_ || !name.empty();
      require(!has_given_places_ || next_ == 0, "a format with both '{}' and '{0}'");
    }
    if (place >= 0 && end == name.size()) {
      require(static_cast<size_t>(place) < arguments_.positional.size(),
              "a format with more places than there are values");
      value = arguments_.positional[static_cast<size_t>(place)];
    } else {
      const auto found =
          std::ranges::find(arguments_.named, name, [](const auto& named) { return std::string_view(named.first); });
      require(found != arguments_.named.end(), "a format names '", name, "', which is not given");
      value = found->second;
    }
    while (at < path.size()) {
      const bool is_attribute = path[at] == '.';
      const size_t stop = std::min(is_attribute ? path.find_first_of(".[", at + 1) : path.find(']', at), path.size());
      require(is_attribute || stop < path.size(), "a '[' without its ']' in a format");
      const std::string_view key = path.substr(at + 1, stop - at - 1);
      size_t digits = 0;
      const int64_t index = is_attribute ? -1 : read_number(key, digits, -1);
      value = is_attribute ? render_.attribute(value, std::string(key))
              : index >= 0 && digits == key.size() ? render_.item(value, integer(index))
                                                   : render_.item(value, render_.string(std::string(key)));
      at = is_attribute ? stop : stop + 1;
    }
    return value;
  }

  Render& render_;
  const Arguments& arguments_;
  int64_t next_ = 0;
  bool has_given_places_ = false;
};

int64_t whole_number(const Value& value, char type) {
  if (!value.is(Kind::real)) return integer_of(value, cat("%", type));
  require(std::fabs(value.real) < 9e18, "%", type, ": a float beyond 64 bits");
  return static_cast<int64_t>(value.real);
}

std::string percent_value(Render& render, const Spec& spec, const Value& value) {
  Budget& budget = render.budget();
  switch (spec.type) {
    case 's': return format_text(spec, str(budget, value));
    case 'r': {
      std::string text;
      append_repr(budget, text, value);
      return format_text(spec, std::move(text));
    }
    case 'd': case 'i': case 'u': {
      if (value.is(Kind::undefined)) fail_undefined(value);
      require(is_number(value), "%d needs a number, found ", type_name(value));
      Spec plain = spec;
      plain.type = 'd';
      return format_integer(plain, value.object ? value : integer(whole_number(value, 'd')));
    }
    case 'x': case 'X': case 'o': return format_integer(spec, value);
    case 'e': case 'E': case 'f': case 'F': case 'g': case 'G':
      if (value.is(Kind::undefined)) fail_undefined(value);
      require(is_number(value), "%", spec.type, " needs a number, found ", type_name(value));
      return format_real(spec, real_of(value));
    default: fail("%", spec.type, " in a format is not supported");
  }
}

Spec percent_spec(std::string_view format, size_t& at) {
  Spec spec;
  spec.align = '>';
  for (; at < format.size(); ++at) {
    const char c = format[at];
    if (c == '-') spec.align = '<';
    else if (c == '0') spec.zero = true;
    else if (c == '+' || (c == ' ' && spec.sign != '+')) spec.sign = c;
    else if (c == '#') spec.alternate = true;
    else if (c != ' ') break;
  }
  spec.width = read_number(format, at, 0);
  if (at < format.size() && format[at] == '.') spec.precision = read_number(format, ++at, 0);
  require(at < format.size(), "a format that ends in '%'");
  spec.type = format[at++];
  if (spec.zero && spec.align == '>' && spec.type != 's' && spec.type != 'r') spec.fill = "0", spec.align = '=';
  return spec;
}

}  // namespace

std::string format_braces(Render& render, const std::string& format, const Arguments& arguments) {
  return Braces(render, arguments).run(format, 0);
}

std::string format_percent(Render& render, const std::string& format, const Value& values) {
  const bool many = values.is(Kind::tuple);
  const std::vector<Value> one = {values};
  const std::vector<Value>& given = many ? list_of(values).items : one;
  size_t taken = 0;
  bool by_name = false;
  std::string out;
  for (size_t at = 0; at < format.size();) {
    const size_t mark = std::min(format.find('%', at), format.size());
    append(render.budget(), out, std::string_view(format).substr(at, mark - at));
    if (mark == format.size()) break;
    at = mark + 1;
    Value value;
    bool has_value = false;
    if (at < format.size() && format[at] == '(') {
      const size_t close = format.find(')', at);
      require(close != std::string::npos && values.is(Kind::dict), "a format with names needs a dict");
      const std::string name = format.substr(at + 1, close - at - 1);
      const Value* const found = dict_of(values).find(name);
      require(found != nullptr, "a format names '", name, "', which is not given");
      value = *found;
      has_value = by_name = true;
      at = close + 1;
    }
    const Spec spec = percent_spec(format, at);
    if (spec.type == '%') {
      append(render.budget(), out, "%");
      continue;
    }
    if (!has_value) {
      require(taken < given.size(), "a format with more places than there are values");
      value = given[taken++];
    }
    append(render.budget(), out, percent_value(render, spec, value));
  }
  require(taken == given.size() || by_name || (!many && taken == 0 && (values.is(Kind::dict) || values.is(Kind::list))),
          "a format with fewer places than there are values");
  return out;
}

// The local time now; at SOURCE_DATE_EPOCH (seconds since 1970, in UTC) where the environment has it.
std::string strftime_now(const std::string& format) {
  const char* const fixed = std::getenv("SOURCE_DATE_EPOCH");
  std::time_t seconds = 0;
  int64_t microseconds = 0;
  if (fixed != nullptr) {
    const std::string_view text(fixed);
    require(std::from_chars(text.data(), text.data() + text.size(), seconds).ptr == text.data() + text.size() &&
                !text.empty(),
            "SOURCE_DATE_EPOCH: expected seconds since 1970, found '", text, "'");
  } else {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    seconds = std::chrono::duration_cast<std::chrono::seconds>(now).count();
    microseconds = std::chrono::duration_cast<std::chrono::microseconds>(now).count() % 1'000'000;
  }
  std::tm parts{};
  require((fixed != nullptr ? gmtime_r(&seconds, &parts) : localtime_r(&seconds, &parts)) != nullptr,
          "the time is out of range");
  std::string pattern;                                 // %f is Python's own
  for (size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%' || i + 1 == format.size()) {
      pattern += format[i];
    } else if (format[++i] == 'f') {
      const std::string digits = std::to_string(microseconds);
      pattern += std::string(6 - digits.size(), '0') + digits;
    } else {
      (pattern += '%') += format[i];
    }
  }
  if (pattern.empty()) return "";
  pattern += ' ';                                      // so that no bytes mean that there was no room
  std::string out(std::min<size_t>(pattern.size() * 64 + 256, size_t{1} << 20), '\0');
  const size_t size = std::strftime(out.data(), out.size(), pattern.c_str(), &parts);
  require(size > 0, "strftime_now(): the text is too long");
  out.resize(size - 1);
  return out;
}

}  // namespace ds::jinja
