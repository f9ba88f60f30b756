// Decontamination: which benchmark items a training text holds (text/overlap.h says what that means).
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "io/json.h"
#include "io/report.h"
#include "text/overlap.h"

namespace ds {

struct DecontaminateOptions {
  std::vector<std::string> files;   // benchmarks: JSONL of any shape, plain, .gz or .zst; a record is an item
  std::vector<std::string> fields;  // of a record, with all that is in them; empty: all but its name
  size_t n = 13;                    // words in a row that are always contamination
  double threshold = 0.5;           // so is a share of an item of at least this
  size_t max_record_bytes = size_t{64} << 20;
};

// What a text has of the benchmarks.
struct Contamination {
  double share = 0;  // the signal `contamination`: the largest share of an item
  uint32_t run = 0;  // the longest run: at least n words, or a whole text of fewer; else 0
  struct Hit {
    uint32_t item;
    double share;
    uint32_t run;
  };
  std::vector<Hit> hits;     // empty: the text is clean; the best first
  std::string_view excerpt;  // of the text: where the best hit stands
  size_t offset = 0;         // its first byte
};

// The benchmarks, and who was hit by what. The texts of an item are its string values, in arrays and objects too, and
// the keys of at least 5 words (where answers are keys). Left out: the item's name; addresses (http://...); a label
// that begins a text (Question: Problem: Passage: Answer: Q: A:); and templates, texts of more than 16 items and more
// than 1 of 20 items of their file. A text of more than 16 items that is no template belongs to the first of them.
class Decontaminator {
 public:
  // Reads the files. Error: FILE:LINE of what is no record; a file without any record, or without one of the fields.
  // The report gets the files among its inputs where it is given.
  explicit Decontaminator(const DecontaminateOptions& options, Report* report = nullptr);

  // On any thread; views of the text.
  Contamination measure(std::string_view text) const;

  // The name of an item as JSON text: its "id" or "task_id" where that is a string or a number, else "FILE:LINE".
  std::string name(uint32_t item) const;
  // The file that an item is of, as given.
  const std::string& file(uint32_t item) const { return options_.files[items_[item].file]; }
  size_t items() const { return items_.size(); }
  const OverlapIndex& index() const { return index_; }

  // Appends the fields that say why a text was dropped: "contamination", "run", "item", "benchmark", "offset",
  // "excerpt".
  void describe(const Contamination& found, JsonWriter& details) const;

  // Counts the hits of a record, whose id is JSON text; in the order of the stream.
  void count(const Contamination& found, std::string_view id);
  // A section for the report: for each file its items, how many were hit, and for each of those how many records hit
  // it, with which largest share and run, and the ids of the first 10.
  std::string summary() const;

 private:
  struct Item {
    uint32_t file;
    uint64_t line;
    std::string name;  // JSON text; empty: FILE:LINE
  };
  struct Tally {
    uint64_t records = 0;
    double share = 0;
    uint32_t run = 0;
    std::vector<std::string> first;
  };

  void read(uint32_t file, Report* report);

  DecontaminateOptions options_;
  OverlapIndex index_;
  std::vector<Item> items_;
  std::map<uint32_t, Tally> tallies_;  // by item
  uint64_t records_hit_ = 0;
};

}  // namespace ds
