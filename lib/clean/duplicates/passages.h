// Lines, paragraphs and long passages that stood before, taken out of the records that stay.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "clean/duplicates/repeats.h"
#include "clean/duplicates/substrings.h"
#include "clean/measure.h"
#include "clean/options.h"
#include "io/record.h"

namespace ds {

// Of a text, made on any thread.
struct PreparedPassages {
  std::optional<RepeatParts> paragraphs, lines;
  std::optional<std::vector<TextAnchor>> anchors;
};

// Paragraphs go first, then lines, then passages, each from what the one before has left.
class Passages {
 public:
  explicit Passages(const CleanOptions& options);
  bool any() const { return paragraphs_ || lines_ || substrings_; }
  PreparedPassages prepare(std::string_view text) const;  // any thread
  // For records that stay, in the order of the stream: edits the record and its text. The reason to drop the record
  // after all where nothing of its text is left; else "".
  std::string settle(Record& record, Measured& measured, const PreparedPassages& prepared);
  std::vector<std::string> reasons() const;
  std::string summary() const;  // JSON for the report

 private:
  bool take_out(Record& record, Measured& measured, const TextRemoval& removal);
  std::string field_;
  std::optional<RepeatedUnits> paragraphs_, lines_;
  std::optional<RepeatedSubstrings> substrings_;
  uint64_t removed_bytes_ = 0;
};

}  // namespace ds
