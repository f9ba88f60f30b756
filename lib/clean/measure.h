// What a record says by itself: its signals, the first filter that it fails, and its text as the edits leave it. All of
// it is measured on any thread; what depends on other records comes after (clean.cpp).
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "clean/decontaminate.h"
#include "clean/options.h"
#include "clean/signals.h"
#include "io/json.h"
#include "io/record.h"
#include "io/report.h"

namespace ds {

struct Measured {
  uint64_t bytes = 0;  // of the line
  Signals signals;
  std::string text;             // as it was read; empty where nothing needs it
  std::vector<uint64_t> words;  // of the text (words.h); empty where nothing needs them
  std::string edited;           // as the edits leave it, where there are any
  bool has_edits = false;
  std::string reason, details;  // of the first filter that drops the record; empty: none does
  Contamination contamination;

  std::string_view current_text() const { return has_edits ? edited : text; }
};

// {"reason": REASON, as details of a drop begin.
JsonWriter begin_details(std::string_view reason);

// Holds the models, lists and rules of the options. Immutable; all threads may use it at once.
class Measurer {
 public:
  // `keep_text` and `keep_words`: others need them too. UsageError for options that make no sense, Error for files that
  // cannot be read. Benchmarks are counted among the report's inputs.
  Measurer(const CleanOptions& options, bool keep_text, bool keep_words, Report& report);
  ~Measurer();

  // Its text and words alone, for a record that is only compared with.
  Measured read(const Record& record) const;
  // Edits the record's text where that is asked for. Error where it has no text.
  Measured measure(Record& record) const;

  // The groups of signals that are measured.
  uint32_t groups() const;
  // The reasons that measure() can give, in the order of the filters.
  std::vector<std::string> reasons() const;
  // The filters as JSON, presets resolved, for the report.
  std::string rules_json() const;
  // Which limits drop a record or let it pass, for --explain: signal and sentence.
  std::vector<std::pair<Signal, std::string>> notes(const Signals& signals) const;
  Decontaminator* decontaminator() const;
  // JSON text of the signals that were measured, the first reason to drop the record, and the duplicate that it is
  // (JSON text, or "").
  std::string annotation(const Measured& measured, const std::string& duplicate) const;
  // --pii tag: the kinds of personal data, for a record that stays.
  bool tags() const;
  std::string tag(const Measured& measured) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ds
