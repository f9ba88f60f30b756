#include "io/record.h"

#include <charconv>
#include <utility>

#include "base/error.h"
#include "io/json.h"
#include "io/json_scan.h"
#include "io/json_view.h"

namespace ds {

// What a record keeps allocated from one line to the next, in bytes: the memory of a giant is given back.
static constexpr size_t kKept = size_t{64} << 10;

Record::Record(const Line& line) : Record(std::string(line.text), *line.file, line.number) {}

Record::Record(std::string raw, std::string file, uint64_t number)
    : own_(std::move(raw)), own_file_(std::move(file)), number_(number) {
  parse(false);
}

Record::Record(const Record& other)
    : own_(other.raw()), own_file_(other.file()), number_(other.number_), fields_(other.fields_) {}

void Record::refer(const Line& line, bool utf8) {
  line_ = line.text.empty() ? std::string_view("") : line.text;
  file_ = line.file;
  number_ = line.number;
  if (own_.capacity() > kKept) own_ = {};
  if (fields_.capacity() > kKept / sizeof(Field)) fields_ = {};
  fields_.clear();
  parse(utf8);
}

std::string Record::where() const { return cat(file(), ":", number_); }

void Record::parse(bool utf8) {
  const std::string_view text = raw();
  // if and fail, not require: where() costs more than the parsing of a short line.
  if (text.starts_with("\xef\xbb\xbf")) fail(where(), ": begins with a byte order mark; save it as UTF-8 without one");
  if (fields_.capacity() == 0) fields_.reserve(8);
  try {
    JsonScanner scan(text);
    if (scan.peek() == '\0' && scan.offset() == text.size()) scan.fault("an empty line where a record is expected");
    if (!utf8 && !valid_utf8(text)) fail(where(), ": not valid UTF-8");
    walk_object(scan, 0, [&](const JsonText& key, size_t begin, size_t end) {
      fields_.push_back({key.unescaped(), begin, end});
    });
    scan.expect_end();
  } catch (const JsonFault& fault) {
    throw Error(describe(fault, text, where()));
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
  return field ? raw().substr(field->begin, field->end - field->begin) : std::string_view();
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

// The JSON of a field that must be a string.
std::string_view Record::required_json(std::string_view key) const {
  const std::string_view value = raw_value(key);
  if (value.starts_with('"')) return value;
  if (value.empty()) fail(where(), ": no field ", json_string(key));
  const bool shown = value.size() <= 40;
  const char* kind = value[0] == '{' ? "an object" : value[0] == '[' ? "an array" : "a long number";
  fail(where(), ": field ", json_string(key), " is not a string but ", shown ? value : std::string_view(kind));
}

std::string Record::required_string(std::string_view key) const { return content_of(required_json(key)).unescaped(); }

std::string_view Record::text_view(std::string_view key, std::string& scratch) const {
  return content_of(required_json(key)).unescaped(scratch);
}

void Record::require_string(std::string_view key) const { required_json(key); }

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

// The raw bytes [begin, end) become `bytes`; a record that refers to a line owns its bytes from here on.
void Record::replace(size_t begin, size_t end, std::string_view bytes) {
  if (!owns()) {
    const std::string_view line = std::exchange(line_, {});
    own_.clear();
    own_.reserve(line.size() - (end - begin) + bytes.size());
    own_.append(line, 0, begin).append(bytes).append(line, end);
  } else {
    own_.replace(begin, end - begin, bytes);
  }
}

void Record::set(std::string_view key, std::string_view json) {
  if (const Field* found = find(key)) {
    const size_t begin = found->begin, old_end = found->end;
    replace(begin, old_end, json);
    for (Field& field : fields_) {
      if (field.begin >= old_end) field.begin = field.begin - old_end + begin + json.size();
      if (field.end >= old_end) field.end = field.end - old_end + begin + json.size();
    }
    return;
  }
  const size_t at = fields_.empty() ? raw().find('{') + 1 : fields_.back().end;
  std::string member = fields_.empty() ? "" : ", ";
  append_json_string(member, key);
  member += ": ";
  const size_t begin = at + member.size();
  member += json;
  replace(at, at, member);
  fields_.push_back({std::string(key), begin, begin + json.size()});
}

// What stands between the quotes of a string of that field after its edits.
static std::string edited_content(const Record& record, std::string_view key, std::string_view content,
                                  std::span<const TextEdit> edits) {
  JsonPlace place(content);
  std::string json;
  size_t kept = 0;  // content before here is in `json`
  size_t last = 0;  // end of the edit before, in the unescaped text
  for (const TextEdit& edit : edits) {
    const bool ordered = edit.begin >= last && edit.end >= edit.begin;
    const bool begins = ordered && place.move_to(edit.begin);
    json.append(content, kept, place.content() - kept);
    if (!begins || !place.move_to(edit.end) || !valid_utf8(edit.replacement))
      fail(record.where(), ": field ", json_string(key), ": no edit of the text's bytes ", edit.begin, " to ", edit.end,
           " is possible: out of order, past the end, inside a character, or not UTF-8");
    const std::string replacement = json_string(edit.replacement);
    json.append(replacement, 1, replacement.size() - 2);
    kept = place.content();
    last = edit.end;
  }
  json.append(content, kept);
  return json;
}

void Record::splice(std::string_view key, std::span<const TextEdit> edits) {
  set(key, '"' + edited_content(*this, key, content_of(required_json(key)).content, edits) + '"');
}

bool Record::splice_strings(std::string_view key,
                            const std::function<std::vector<TextEdit>(std::string_view text)>& edits_of) {
  const std::string_view value = raw_value(key);
  std::string json;
  size_t kept = 0;  // value before here is in `json`
  bool any = false;
  each_json_string(value, [&](std::string_view content) {
    const std::vector<TextEdit> edits = edits_of(json_unescaped(content));
    if (edits.empty()) return;
    const auto at = static_cast<size_t>(content.data() - value.data());
    json.append(value, kept, at - kept).append(edited_content(*this, key, content, edits));
    kept = at + content.size();
    any = true;
  });
  if (any) set(key, json.append(value, kept));
  return any;
}

}  // namespace ds
