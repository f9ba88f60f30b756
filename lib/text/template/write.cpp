// Values as text: Python's str and repr, and json.dumps.
#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/error.h"
#include "text/template/strings.h"
#include "text/template/value.h"
#include "text/unicode.h"

namespace ds::jinja {
namespace {

// \u00e9; characters beyond the first plane as two.
void append_u_escape(std::string& out, char32_t code) {
  if (code > 0xffff) {
    append_u_escape(out, 0xd800 + ((code - 0x10000) >> 10));
    append_u_escape(out, 0xdc00 + ((code - 0x10000) & 0x3ff));
    return;
  }
  out += "\\u";
  for (int shift = 12; shift >= 0; shift -= 4) out += "0123456789abcdef"[(code >> shift) & 15];
}

void append_json_text(Budget& budget, std::string& out, const std::string& text, bool ensure_ascii) {
  budget.scan(text.size());
  std::string quoted = "\"";
  for (size_t at = 0; at < text.size();) {
    const char c = text[at];
    if (static_cast<uint8_t>(c) >= 0x80) {
      const size_t begin = at;
      const char32_t code = decode_utf8(text, at);
      if (ensure_ascii) append_u_escape(quoted, code);
      else quoted.append(text, begin, at - begin);
      continue;
    }
    ++at;
    switch (c) {
      case '"': quoted += "\\\""; break;
      case '\\': quoted += "\\\\"; break;
      case '\n': quoted += "\\n"; break;
      case '\r': quoted += "\\r"; break;
      case '\t': quoted += "\\t"; break;
      case '\f': quoted += "\\f"; break;
      case '\b': quoted += "\\b"; break;
      default:
        if (c < 0x20 || (c == 0x7f && ensure_ascii)) append_u_escape(quoted, static_cast<char32_t>(c));
        else quoted += c;
    }
  }
  append(budget, out, quoted + '"');
}

std::string json_real(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
  return real_repr(value);
}

std::string json_key(Budget& budget, const Value& key) {
  switch (key.kind) {
    case Kind::string: return text_of(key);
    case Kind::none: return "null";
    case Kind::boolean: return key.boolean ? "true" : "false";
    case Kind::real: return json_real(key.real);
    case Kind::integer: return str(budget, key);
    default: fail("keys of JSON must be text, numbers or none, not ", type_name(key));
  }
}

void append_all(Budget& budget, std::string& out, const std::vector<Value>& items) {
  const char* between = "";
  for (const Value& item : items) {
    append(budget, out, between);
    append_repr(budget, out, item);
    between = ", ";
  }
}

void append_dict(Budget& budget, std::string& out, const Dict& dict) {
  out += '{';
  const char* between = "";
  for (const auto& [key, value] : dict.entries) {
    append(budget, out, between);
    append_repr(budget, out, key);
    append(budget, out, ": ");
    append_repr(budget, out, value);
    between = ", ";
  }
  out += '}';
}

}  // namespace

void append(Budget& budget, std::string& out, std::string_view text) {
  budget.work(text.size());
  require(out.size() + text.size() <= max_text_bytes, "a text grows beyond ", max_text_bytes >> 20, " MB");
  out += text;
}

// Shortest digits that read back as the same number; an exponent below 1e-4 and from 1e16 on.
std::string real_repr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char digits[64];
  const auto end = std::to_chars(digits, digits + sizeof(digits), value, std::chars_format::scientific).ptr;
  const std::string_view scientific(digits, static_cast<size_t>(end - digits));
  const size_t e = scientific.find('e');
  int exponent = 0;
  std::from_chars(scientific.data() + e + (scientific[e + 1] == '+' ? 2 : 1), end, exponent);
  if (exponent < -4 || exponent >= 16) return std::string(scientific);
  char fixed[64];
  std::string out(fixed, std::to_chars(fixed, fixed + sizeof(fixed), value, std::chars_format::fixed).ptr);
  return out.find('.') == std::string::npos ? out + ".0" : out;
}

void append_str(Budget& budget, std::string& out, const Value& value) {
  if (value.is(Kind::string)) append(budget, out, text_of(value));
  else if (!value.is(Kind::undefined)) append_repr(budget, out, value);
}

std::string str(Budget& budget, const Value& value) {
  std::string out;
  append_str(budget, out, value);
  return out;
}

void append_repr(Budget& budget, std::string& out, const Value& value) {
  budget.step();
  switch (value.kind) {
    case Kind::undefined: return append(budget, out, "Undefined");
    case Kind::none: return append(budget, out, "None");
    case Kind::boolean: return append(budget, out, value.boolean ? "True" : "False");
    case Kind::integer: return append(budget, out, value.object ? text_of(value) : std::to_string(value.integer));
    case Kind::real: return append(budget, out, real_repr(value.real));
    case Kind::string: {
      budget.scan(2 * text_of(value).size());          // one character may become ten
      const std::string quoted = quoted_repr(text_of(value));
      return append(budget, out, value.markup ? cat("Markup(", quoted, ")") : quoted);
    }
    case Kind::list:
      append(budget, out, "[");
      append_all(budget, out, list_of(value).items);
      return append(budget, out, "]");
    case Kind::tuple:
      append(budget, out, "(");
      append_all(budget, out, list_of(value).items);
      return append(budget, out, list_of(value).items.size() == 1 ? ",)" : ")");
    case Kind::range: {
      const List& range = list_of(value);
      return append(budget, out,
                    cat("range(", range.start, ", ", range.stop, range.step == 1 ? "" : cat(", ", range.step), ")"));
    }
    case Kind::view:
      append(budget, out, cat(list_of(value).name, "(["));
      append_all(budget, out, list_of(value).items);
      return append(budget, out, "])");
    case Kind::dict: return append_dict(budget, out, dict_of(value));
    case Kind::name_space: case Kind::function: case Kind::iterator: case Kind::loop:
      fail("printing a ", type_name(value), " is not supported");
  }
}

void append_json(Budget& budget, std::string& out, const Value& value, const JsonStyle& style, int depth) {
  budget.step();
  const auto new_line = [&](int level) {
    if (!style.pretty) return;
    append(budget, out, "\n");
    for (int i = 0; i < level; ++i) append(budget, out, style.indent);
  };
  switch (value.kind) {
    case Kind::none: return append(budget, out, "null");
    case Kind::boolean: return append(budget, out, value.boolean ? "true" : "false");
    case Kind::integer: return append_str(budget, out, value);
    case Kind::real: return append(budget, out, json_real(value.real));
    case Kind::string: return append_json_text(budget, out, text_of(value), style.ensure_ascii);
    case Kind::list: case Kind::tuple: {
      if (list_of(value).items.empty()) return append(budget, out, "[]");
      append(budget, out, "[");
      bool first = true;
      for (const Value& item : list_of(value).items) {
        if (!first) append(budget, out, style.item_separator);
        first = false;
        new_line(depth + 1);
        append_json(budget, out, item, style, depth + 1);
      }
      new_line(depth);
      return append(budget, out, "]");
    }
    case Kind::dict: {
      if (dict_of(value).entries.empty()) return append(budget, out, "{}");
      std::vector<const std::pair<Value, Value>*> entries;
      for (const auto& entry : dict_of(value).entries) entries.push_back(&entry);
      if (style.sort_keys)
        std::stable_sort(entries.begin(), entries.end(),
                         [&](const auto* a, const auto* b) { return compare(budget, a->first, b->first) == -1; });
      append(budget, out, "{");
      bool first = true;
      for (const auto* const entry : entries) {
        if (!first) append(budget, out, style.item_separator);
        first = false;
        new_line(depth + 1);
        append_json_text(budget, out, json_key(budget, entry->first), style.ensure_ascii);
        append(budget, out, style.key_separator);
        append_json(budget, out, entry->second, style, depth + 1);
      }
      new_line(depth);
      return append(budget, out, "}");
    }
    case Kind::undefined: fail_undefined(value);
    default: fail("a ", type_name(value), " is not JSON");
  }
}

}  // namespace ds::jinja
