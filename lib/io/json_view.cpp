#include "io/json_view.h"

#include "io/json_scan.h"

namespace ds {

std::string_view json_member(std::string_view object, std::string_view key) {
  std::string_view found;
  if (!object.starts_with('{')) return found;
  JsonScanner scan(object);
  walk_object(scan, 0, [&](const JsonText& name, size_t begin, size_t end) {
    const bool same = name.escaped ? name.unescaped() == key : name.content == key;
    if (same) found = object.substr(begin, end - begin);
  });
  return found;
}

bool any_json_item(std::string_view array, const std::function<bool(std::string_view)>& holds) {
  if (!array.starts_with('[')) return false;
  JsonScanner scan(array);
  scan.advance();
  if (scan.peek() == ']') return false;
  for (;;) {  // the text was checked: between items stands a comma or the end
    scan.peek();
    const size_t begin = scan.offset();
    scan.value(0);
    if (holds(array.substr(begin, scan.offset() - begin))) return true;
    if (scan.peek() == ']') return false;
    scan.advance();
  }
}

std::optional<size_t> json_length(std::string_view value) {
  size_t count = 0;
  if (value.starts_with('{')) {
    JsonScanner scan(value);
    walk_object(scan, 0, [&](const JsonText&, size_t, size_t) { ++count; });
    return count;
  }
  if (!value.starts_with('[')) return std::nullopt;
  any_json_item(value, [&](std::string_view) { return ++count == 0; });
  return count;
}

std::string_view json_item(std::string_view array, int64_t place) {
  if (place < 0) place += static_cast<int64_t>(json_length(array).value_or(0));
  std::string_view found;
  if (place < 0) return found;
  any_json_item(array, [&](std::string_view item) {
    if (place-- == 0) found = item;
    return !found.empty();
  });
  return found;
}

// The text was checked, so a quote outside of a string begins one, and one before a colon is a key.
void each_json_string(std::string_view value, const std::function<void(std::string_view content)>& take) {
  for (size_t at = value.find('"'); at != std::string_view::npos; at = value.find('"', at)) {
    const size_t begin = ++at;
    while (value[at] != '"') at += value[at] == '\\' ? 2 : 1;
    const std::string_view content = value.substr(begin, at - begin);
    const size_t next = value.find_first_not_of(" \t\r\n", ++at);
    if (next == std::string_view::npos || value[next] != ':') take(content);
  }
}

std::string json_unescaped(std::string_view content) {
  return JsonText{content, content.find('\\') != std::string_view::npos}.unescaped();
}

}  // namespace ds
