// The filters that compare a signal with a threshold: one table of them, their presets, and what was typed.
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "clean/signals.h"

namespace ds {

// A record is dropped where the signal is below (above) the threshold; never where the signal was not measured or is
// not defined for the text. The reason of the drop is the option without its dashes.
struct Filter {
  const char* option;  // "--min-words"
  Signal signal;
  bool below;
  const char* family;     // the preset that it belongs to, or nullptr
  const char* threshold;  // its threshold there
  const char* group;      // heading in --help
};

// In the order in which they are tried.
extern const std::span<const Filter> filter_table;

// "pretrain", "gopher-quality" and so on; each turns on the filters of its family, pretrain the recipe of the demo.
std::vector<std::string> clean_presets();

struct Limit {
  const Filter* filter;
  double value;
  std::string reason() const { return filter->option + 2; }
};

// From what was typed for each filter of the table ("" is the presets' choice, "off" is off) and the presets' names.
// UsageError for an unknown preset, a value that is no number or out of its range, and limits that leave nothing.
std::vector<Limit> limits(const std::vector<std::string>& typed, const std::vector<std::string>& presets);

// The groups of signals that they read.
uint32_t groups_of(const std::vector<Limit>& limits);

// The first that drops the record.
const Limit* first_failed(const std::vector<Limit>& limits, const Signals& signals);

}  // namespace ds
