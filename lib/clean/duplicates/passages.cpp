#include "clean/duplicates/passages.h"

#include <charconv>

#include "base/error.h"
#include "io/json.h"

namespace ds {

static size_t passage_bytes(const std::string& typed) {
  size_t bytes{};
  const auto [stop, error] = std::from_chars(typed.data(), typed.data() + typed.size(), bytes);
  if (error != std::errc() || stop != typed.data() + typed.size())
    throw UsageError(cat("--duplicate-passages must be a number of bytes or off, not '", typed, "'"));
  return bytes;
}

Passages::Passages(const CleanOptions& options) : field_(options.text_field.empty() ? "text" : options.text_field) {
  if (options.duplicate_paragraphs) paragraphs_.emplace(RepeatUnit::paragraph, options.duplicate_min_characters);
  if (options.duplicate_lines) lines_.emplace(RepeatUnit::line, options.duplicate_min_characters);
  if (!options.duplicate_passages.empty() && options.duplicate_passages != "off")
    substrings_.emplace(passage_bytes(options.duplicate_passages), options.whole_sentences);
  else if (options.whole_sentences)
    throw UsageError("--whole-sentences has no use without --duplicate-passages");
}

PreparedPassages Passages::prepare(std::string_view text) const {
  PreparedPassages prepared;
  if (paragraphs_) prepared.paragraphs = paragraphs_->prepare(text);
  if (lines_) prepared.lines = lines_->prepare(text);
  if (substrings_) prepared.anchors = substrings_->prepare(text);
  return prepared;
}

// True where nothing is left.
bool Passages::take_out(Record& record, Measured& measured, const TextRemoval& removal) {
  if (removal.edits.empty()) return false;
  if (!record.has(field_))
    fail(record.where(), ": only a text field can be edited; name it by --text-field, for example completion");
  record.splice(field_, removal.edits);
  measured.edited = apply_edits(measured.current_text(), removal.edits);
  measured.has_edits = true;
  removed_bytes_ += removal.bytes;
  return removal.nothing_left;
}

std::string Passages::settle(Record& record, Measured& measured, const PreparedPassages& prepared) {
  bool changed = false;  // since it was prepared
  if (paragraphs_) {
    const TextRemoval removal = paragraphs_->settle(*prepared.paragraphs);
    if (take_out(record, measured, removal)) return "duplicate-paragraphs";
    changed = !removal.edits.empty();
  }
  if (lines_) {
    const TextRemoval removal = lines_->settle(changed ? lines_->prepare(measured.current_text()) : *prepared.lines);
    if (take_out(record, measured, removal)) return "duplicate-lines";
    changed = changed || !removal.edits.empty();
  }
  if (substrings_) {
    const std::string_view text = measured.current_text();
    const TextRemoval removal = substrings_->settle(text, changed ? substrings_->prepare(text) : *prepared.anchors);
    if (take_out(record, measured, removal)) return "duplicate-passages";
  }
  return "";
}

std::vector<std::string> Passages::reasons() const {
  std::vector<std::string> reasons;
  if (paragraphs_) reasons.emplace_back("duplicate-paragraphs");
  if (lines_) reasons.emplace_back("duplicate-lines");
  if (substrings_) reasons.emplace_back("duplicate-passages");
  return reasons;
}

std::string Passages::summary() const {
  JsonWriter w;
  w.open('{').field("removed_bytes", removed_bytes_);
  if (paragraphs_) w.field("distinct_paragraphs", paragraphs_->distinct());
  if (lines_) w.field("distinct_lines", lines_->distinct());
  if (substrings_) w.field("passages_spilled_bytes", substrings_->spilled());
  return w.close().text;
}

}  // namespace ds
