// ds-clean: decide which records of a stream stay.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "io/jsonl.h"
#include "io/report.h"
#include "text/shingles.h"

namespace ds {

// What was typed. A filter is off where its string is empty and no preset asks for it, and where it is "off".
struct CleanOptions {
  StreamOptions stream;
  std::string text_field = "text", id_field = "id";
  std::string preset;  // "" or one of clean_presets()
  bool exact = false;
  std::string near, shingle = "word:5";  // Jaccard threshold; what is compared
  std::string repetition;                // largest repetition ratio that stays
  std::string min_words, max_words;      // \w+ words of a text
  std::string toxicity;                  // largest share of words in the lexicon that stays
  std::string lexicon;                   // file; empty: the built-in list
};

// What will be done. The rules are tried in this order; the first that matches gives the reason of a drop.
struct CleanRules {
  bool exact = false;          // exact-duplicate: the text of an earlier record, by XXH3-128
  std::optional<double> near;  // near-duplicate: Jaccard index with an earlier record >= this
  ShingleKind shingle;
  std::optional<double> repetition;   // repetition: repetition_ratio(text) > this
  std::optional<uint64_t> min_words;  // min-words: fewer than this
  std::optional<uint64_t> max_words;  // max-words: more than this
  std::optional<double> toxicity;     // toxicity: share of lexicon words > this
};

std::vector<std::string> clean_presets();
// UsageError for values that make no sense.
CleanRules clean_rules(const CleanOptions& options);

// The share of word 5-grams that occurred before in the text: 1 - distinct / all; 0 for texts of fewer than 6 words.
constexpr size_t repetition_words = 5;
double repetition_ratio(const std::vector<uint64_t>& word_hashes);
// The same from the counts.
inline double repetition_ratio(size_t distinct, size_t words) {
  return 1 - static_cast<double>(distinct) / static_cast<double>(words - repetition_words + 1);
}

// Runs the stream through the rules. Kept records keep their bytes; a dropped one gets "clean": {"reason": ...}.
// Earlier records count for duplicates whether they were kept or dropped.
void clean(const CleanOptions& options, Report& report);

}  // namespace ds
