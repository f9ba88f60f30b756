// Dropped records to read: a random sample of a file of rejects.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "io/report.h"

namespace ds {

struct SampleOptions {
  std::vector<std::string> inputs = {"-"};  // what ds-clean wrote as --rejects
  std::string output = "-";
  std::vector<std::string> reasons;  // only these; empty: all. "bad-line" are the lines that were no records
  uint64_t n = 20;                   // records to show; they are held in memory
  uint64_t seed = 0;
  uint64_t max_chars = 600;  // of a text to show: its beginning and its end; 0: all
  std::string text_field = "text", id_field = "id";
  bool json = false;  // the rejects themselves, a line each, instead of text to read
  size_t max_record_bytes = size_t{64} << 20;
};

// Writes a uniform random sample (without replacement) of the rejects with one of the reasons, in their order; which
// ones depends on the seed and on their numbers among those, and on nothing else. As text: a line that says how many
// there are, then for each a heading with its id, reason and the other members of "clean", and its text, safe for
// terminals (clean/display.h), in lines of at most 100 columns. Of a bad line longer than max_record_bytes the
// beginning is shown (and with `json` written). Error for a line that is no reject, and for a reason that no reject
// has: the message lists those that were found.
void sample_rejects(const SampleOptions& options, Report& report);

}  // namespace ds
