#include "clean/sample.h"

#include <algorithm>
#include <map>
#include <optional>

#include "base/error.h"
#include "base/rng.h"
#include "base/stop.h"
#include "clean/display.h"
#include "clean/input_files.h"
#include "io/input.h"
#include "io/json.h"
#include "io/output.h"
#include "io/record.h"
#include "text/unicode.h"

namespace ds {
namespace {

constexpr size_t page_width = 100, text_indent = 4, longest_value = 200;
constexpr uint64_t rng_stream = 0x73616d706c65;  // "sample"
constexpr const char* bad_line = "bad-line";
// Rejects are longer than the records that they were: by the member "clean".
constexpr size_t room_for_details = size_t{1} << 20;
constexpr size_t long_line_shown = 4096;  // bytes of a bad line that is too long to hold; a multiple of 4

struct Reject {
  Record record;
  std::string reason;
  bool shortened = false;     // its "raw" or "raw_base64" is only the beginning
  uint64_t number_in_stream;  // among those with one of the reasons
};

// The bytes at the start of a JSON string's content, at most `most`, that end between two characters.
std::string_view whole_characters(std::string_view content, size_t most) {
  size_t end = 0;
  while (end < content.size()) {
    const auto c = static_cast<unsigned char>(content[end]);
    size_t size = c < 0x80 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
    if (c == '\\') size = content.substr(end + 1).starts_with('u') ? 6 : 2;
    if (end + size > std::min(most, content.size())) break;
    end += size;
  }
  return content.substr(0, end);
}

// The beginning of a bad line's reject, made a whole object again. Error where it is something else.
Record shortened(const Line& first_part, size_t limit) {
  const std::string_view text = first_part.text;
  const auto content = [&](std::string_view key) {
    const size_t at = text.find(key);  // a quote inside a string has a backslash before it: this is the member
    return at == std::string_view::npos ? std::string_view::npos : at + key.size();
  };
  const size_t begin = std::min(content("\"raw_base64\": \""), content("\"raw\": \""));
  if (!text.starts_with("{\"line\": ") || begin == std::string_view::npos)
    fail(*first_part.file, ":", first_part.number, ": the line is longer than ", limit, " bytes");
  const std::string_view kept = whole_characters(text.substr(begin), long_line_shown);
  return {cat(text.substr(0, begin), kept, "\"}"), *first_part.file, first_part.number};
}

bool is_bad_line(const Record& record) {
  return record.number("line") && record.string("file") && record.string("error") &&
         (record.string("raw") || record.string("raw_base64"));
}

std::string reason_of(const Record& record) {
  if (record.has("clean")) {
    const Record details(std::string(record.raw_value("clean")), record.file(), record.line());
    if (auto reason = details.string("reason")) return *std::move(reason);
  } else if (is_bad_line(record)) {
    return bad_line;
  }
  fail(record.where(), ": no \"clean\": {\"reason\": ...}; expected a file that ds-clean wrote as --rejects");
}

// Reads rejects one after the other, and keeps a uniform sample of those that are asked for.
class Sampler {
 public:
  explicit Sampler(const SampleOptions& options) : options_(options) {}

  void read(Report& report);
  std::vector<Reject> take();
  const std::map<std::string, uint64_t>& found() const { return found_; }
  uint64_t matching() const { return matching_; }

 private:
  void add(Record record, bool shortened);
  const SampleOptions& options_;
  std::map<std::string, uint64_t> found_;  // reason -> rejects
  std::vector<Reject> sample_;
  uint64_t matching_ = 0;
};

// Vitter's algorithm R: the reject number i takes the place of one of the n with probability n / (i + 1).
void Sampler::add(Record record, bool shortened) {
  std::string reason = reason_of(record);
  ++found_[reason];
  const auto& wanted = options_.reasons;
  if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), reason) == wanted.end()) return;
  const uint64_t number = matching_++;
  if (sample_.size() < options_.n) {
    sample_.push_back({std::move(record), std::move(reason), shortened, number});
    return;
  }
  const uint64_t place = Rng{options_.seed, rng_stream}.below(number, number + 1);
  if (place < options_.n) sample_[place] = {std::move(record), std::move(reason), shortened, number};
}

void Sampler::read(Report& report) {
  const size_t limit = options_.max_record_bytes + room_for_details;
  LineReader reader(options_.inputs, limit);
  Line line;
  bool inside_long_line = false;
  for (;;) {
    const LineReader::Part part = reader.next_part(line);
    if (part == LineReader::Part::end) break;
    if (part == LineReader::Part::line)
      add(Record(line), false);
    else if (!inside_long_line)
      add(shortened(line, limit), true);
    inside_long_line = part == LineReader::Part::more;
    if (inside_long_line || ++report.read % 1024 == 0) {
      throw_if_stopped();
      progress({"read", "bytes", reader.bytes_read(), reader.bytes_total(), ""});
    }
  }
  for (const auto& input : reader.inputs()) report.inputs.push_back({input.file, input.bytes, input.lines, input.hash});
}

std::vector<Reject> Sampler::take() {
  std::ranges::sort(sample_, {}, &Reject::number_in_stream);
  return std::move(sample_);
}

void require_reasons(const SampleOptions& options, const Sampler& sampler) {
  for (const std::string& reason : options.reasons) {
    if (sampler.found().contains(reason)) continue;
    std::string list;
    for (const auto& [name, count] : sampler.found())
      list += cat(list.empty() ? "" : ", ", safe_line(name), " (", grouped(count), ")");
    fail("no reject has the reason '", safe_line(reason), "'; found: ", list.empty() ? "no rejects at all" : list);
  }
}

// The bytes that RFC 4648 base64 stands for, up to the first character that is none.
std::string from_base64(std::string_view text) {
  static constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  uint32_t bits = 0;
  int have = 0;
  for (const char c : text) {
    const size_t digit = digits.find(c);
    if (digit == std::string_view::npos) break;
    bits = bits << 6 | static_cast<uint32_t>(digit);
    have += 6;
    if (have >= 8) bytes.push_back(static_cast<char>(bits >> (have -= 8) & 255));
  }
  return bytes;
}

// A member's value in a line of text: a string without its quotes, anything else as it is written.
std::string shown_value(const Record& record, std::string_view key, size_t most) {
  const auto text = record.string(key);
  return cut(safe_line(text ? std::string_view(*text) : record.raw_value(key)), most);
}

std::string heading(const Reject& reject, const SampleOptions& options) {
  const Record& record = reject.record;
  if (!record.has("clean")) return cat(bad_line, "  ", shown_value(record, "error", 2 * longest_value));
  std::string head = record.has(options.id_field) ? shown_value(record, options.id_field, longest_value) : "(no id)";
  head += cat("  ", cut(safe_line(reject.reason), longest_value));
  const Record details(std::string(record.raw_value("clean")), record.file(), record.line());
  for (const auto& field : details.fields())
    if (field.key != "reason")
      head += cat("  ", cut(safe_line(field.key), longest_value), " ", shown_value(details, field.key, longest_value));
  return head;
}

// What there is to read: the text, of a record without one all of it, of a bad line what it was.
std::string body(const Reject& reject, const SampleOptions& options) {
  const Record& record = reject.record;
  if (!record.has("clean")) {
    const auto raw = record.string("raw");
    return raw ? *raw : from_base64(*record.string("raw_base64"));
  }
  const auto text = record.string(options.text_field);
  return text ? *text : std::string(record.raw());
}

void append_lines(std::string& page, std::string_view text) {
  while (!text.empty()) {
    const size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    page += wrapped(safe_line(line), text_indent, page_width);
  }
}

// Two thirds of max_chars from the beginning of the text and the rest from its end.
void append_text(std::string& page, std::string_view text, uint64_t max_chars) {
  uint64_t characters = 0;
  for (size_t at = 0; at < text.size(); ++characters) decode_utf8(text, at);
  if (max_chars == 0 || characters <= max_chars) return append_lines(page, text);
  const uint64_t tail = max_chars / 3, left_out = characters - max_chars;
  size_t head_end = 0, tail_begin = 0;
  for (uint64_t i = 0; i < max_chars - tail; ++i) decode_utf8(text, head_end);
  tail_begin = head_end;
  for (uint64_t i = 0; i < left_out; ++i) decode_utf8(text, tail_begin);
  append_lines(page, text.substr(0, head_end));
  page += cat(std::string(text_indent, ' '), "[... ", grouped(left_out), " characters ...]\n");
  append_lines(page, text.substr(tail_begin));
}

}  // namespace

void sample_rejects(const SampleOptions& options, Report& report) {
  keep_inputs(options.inputs, options.output, "--output");
  Sampler sampler(options);
  sampler.read(report);
  require_reasons(options, sampler);
  uint64_t all = 0;
  for (const auto& [reason, count] : sampler.found()) all += count;
  const std::vector<Reject> sample = sampler.take();

  OutputFile out(options.output);
  if (!options.json) {
    std::string first = cat(grouped(sample.size()), " of ", grouped(sampler.matching()), " rejects");
    for (size_t i = 0; i < options.reasons.size(); ++i)
      first += cat(i == 0 ? " with the reason " : " or ", safe_line(options.reasons[i]));
    if (sampler.matching() != all) first += cat("; ", grouped(all), " in all");
    out.write(wrapped(first, 0, page_width));
  }
  for (size_t i = 0; i < sample.size(); ++i) {
    if (options.json) {
      out.write(sample[i].record.raw());
      out.write("\n");
      continue;
    }
    std::string page = cat("\n", wrapped(cat(i + 1, ". ", heading(sample[i], options)), 0, page_width));
    append_text(page, body(sample[i], options), options.max_chars);
    if (sample[i].shortened) page += cat(std::string(text_indent, ' '), "[... the rest is too long to show ...]\n");
    out.write(page);
  }
  report.kept = sample.size();
  out.commit();
  report.outputs.push_back({out.path(), out.bytes(), report.kept, out.hash()});
}

}  // namespace ds
