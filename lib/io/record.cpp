#include "io/record.h"

#include <charconv>

#include "base/error.h"
#include "io/json.h"
#include "io/json_scan.h"

namespace ds {

Record::Record(const Line& line) : Record(std::string(line.text), *line.file, line.number) {}

Record::Record(std::string raw, std::string file, uint64_t number)
    : raw_(std::move(raw)), file_(std::move(file)), number_(number) {
  parse();
}

std::string Record::where() const { return cat(file_, ":", number_); }

void Record::parse() {
  // if and fail, not require: where() costs more than the parsing of a short line.
  if (raw_.starts_with("\xef\xbb\xbf")) fail(where(), ": begins with a byte order mark; save it as UTF-8 without one");
  fields_.reserve(8);
  try {
    JsonScanner scan(raw_);
    if (scan.peek() == '\0' && scan.offset() == raw_.size()) scan.fault("an empty line where a record is expected");
    if (!valid_utf8(raw_)) fail(where(), ": not valid UTF-8");
    walk_object(scan, 0, [&](const JsonText& key, size_t begin, size_t end) {
      fields_.push_back({key.unescaped(), begin, end});
    });
    scan.expect_end();
  } catch (const JsonFault& fault) {
    throw Error(describe(fault, raw_, where()));
  }
}

const Record::Field* Record::find(std::string_view key) const {
  for (auto field = fields_.rbegin(); field != fields_.rend(); ++field)
    if (field->key == key) return &*field;
  return nullptr;
}

bool Record::has(std::string_view key) const { return find(key) != nullptr; }

std::string_view Record::raw_value(std::string_view key) const {
  const Field* field = find(key);
  return field ? std::string_view(raw_).substr(field->begin, field->end - field->begin) : std::string_view();
}

static JsonText content_of(std::string_view string) {
  const std::string_view content = string.substr(1, string.size() - 2);
  return {content, content.find('\\') != std::string_view::npos};
}

std::optional<std::string> Record::string(std::string_view key) const {
  const std::string_view value = raw_value(key);
  if (!value.starts_with('"')) return std::nullopt;
  return content_of(value).unescaped();
}

std::string Record::required_string(std::string_view key) const {
  const std::string_view value = raw_value(key);
  if (!value.starts_with('"')) no_string(key, value);
  return content_of(value).unescaped();
}

// Ends a search for a string that found `value` instead.
void Record::no_string(std::string_view key, std::string_view value) const {
  if (value.empty()) fail(where(), ": no field ", json_string(key));
  const bool shown = value.size() <= 40;
  const char* kind = value[0] == '{' ? "an object" : value[0] == '[' ? "an array" : "a long number";
  fail(where(), ": field ", json_string(key), " is not a string but ", shown ? value : std::string_view(kind));
}

std::optional<double> Record::number(std::string_view key) const {
  const std::string_view value = raw_value(key);
  if (value.empty() || (value[0] != '-' && (value[0] < '0' || value[0] > '9'))) return std::nullopt;
  return parse_json(value, where()).as_double(cat(where(), ": field ", json_string(key)));
}

std::optional<std::vector<int64_t>> Record::integers(std::string_view key) const {
  const std::string_view value = raw_value(key);
  if (!value.starts_with('[')) return std::nullopt;
  std::vector<int64_t> numbers;
  JsonScanner scan(value);
  scan.advance();
  if (scan.peek() == ']') return numbers;
  for (;;) {  // the text was checked when the record was read: between numbers stands a comma or the end
    const char c = scan.peek();
    if (c != '-' && (c < '0' || c > '9')) return std::nullopt;
    const std::string_view digits = scan.number();
    int64_t number = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
    if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
    numbers.push_back(number);
    if (scan.peek() == ']') return numbers;
    scan.advance();
  }
}

void Record::set(std::string_view key, std::string_view json) {
  if (const Field* found = find(key)) {
    Field& field = fields_[static_cast<size_t>(found - fields_.data())];
    const size_t begin = field.begin, old_end = field.end;
    raw_.replace(begin, old_end - begin, json);
    for (Field& other : fields_) {
      if (other.begin >= old_end) other.begin = other.begin - old_end + begin + json.size();
      if (other.end >= old_end) other.end = other.end - old_end + begin + json.size();
    }
    return;
  }
  const size_t at = fields_.empty() ? raw_.find('{') + 1 : fields_.back().end;
  std::string member = fields_.empty() ? "" : ", ";
  append_json_string(member, key);
  member += ": ";
  const size_t begin = at + member.size();
  member += json;
  raw_.insert(at, member);
  fields_.push_back({std::string(key), begin, begin + json.size()});
}

void Record::splice(std::string_view key, std::span<const TextEdit> edits) {
  const std::string_view value = raw_value(key);
  if (!value.starts_with('"')) no_string(key, value);
  const std::string_view content = content_of(value).content;
  JsonPlace place(content);
  std::string json = "\"";
  size_t kept = 0;  // content before here is in `json`
  size_t last = 0;  // end of the edit before, in the unescaped text
  for (const TextEdit& edit : edits) {
    const bool ordered = edit.begin >= last && edit.end >= edit.begin;
    const bool begins = ordered && place.move_to(edit.begin);
    json.append(content, kept, place.content() - kept);
    if (!begins || !place.move_to(edit.end) || !valid_utf8(edit.replacement))
      fail(where(), ": field ", json_string(key), ": no edit of the text's bytes ", edit.begin, " to ", edit.end,
           " is possible: out of order, past the end, inside a character, or not UTF-8");
    const std::string replacement = json_string(edit.replacement);
    json.append(replacement, 1, replacement.size() - 2);
    kept = place.content();
    last = edit.end;
  }
  json.append(content, kept).push_back('"');
  set(key, json);
}

}  // namespace ds
