// What a report of ds-clean says of its texts, checked: the funnel (lib/clean/funnel.h) and the histograms of signals
// (lib/clean/histogram.h), with the thresholds that its rules set on them.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "eval/svg.h"
#include "io/json.h"

namespace ds {

struct FunnelReport {
  uint64_t records = 0, bytes = 0, kept = 0, kept_bytes = 0, edited = 0;
  struct Step {
    std::string reason;
    uint64_t records = 0, bytes = 0, left = 0;  // taken, and the records that remain after it
  };
  std::vector<Step> steps;  // in the order of the filters; bad lines, where there are any, are the first
};

struct SignalReport {
  std::string name, kind, meaning;
  uint64_t count = 0, zeros = 0;
  double mean = 0, min = 0, max = 0, p05 = 0, p50 = 0, p95 = 0;
  std::vector<double> edges;   // rising, one more than bins
  std::vector<uint64_t> bins;  // at least one
  std::vector<Threshold> thresholds;
};

struct CleaningReport {
  std::optional<FunnelReport> funnel;
  std::vector<SignalReport> signals;
  std::vector<std::pair<std::string, uint64_t>> languages;  // code, records; the most frequent first
};

// From the members "funnel", "signals" and "rules" of a report; what is absent stays empty. A signal's thresholds are
// the numbers of "rules" (at any depth) with its name or with its name and min or max: "repetition", "min_words",
// "max-words", "words": {"min": 50}. Sections that are not as lib/clean writes them are an Error that begins with
// `path`.
CleaningReport read_cleaning(const Json& report, const std::string& path);

}  // namespace ds
