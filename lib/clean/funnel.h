// The funnel of a run: how many records and bytes each filter took, and what was left after it.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace ds {

// Bytes are those of the records as they were read, except kept_bytes, which are those written. records_in is the sum
// of bad, the rows and kept.
struct Funnel {
  uint64_t records_in = 0, bytes_in = 0;
  uint64_t bad = 0, bad_bytes = 0;  // lines that are no records
  uint64_t kept = 0, kept_bytes = 0;
  uint64_t edited = 0;  // kept records that are not the bytes that came in
  struct Row {
    std::string reason;
    uint64_t records = 0, bytes = 0;
  };
  std::vector<Row> rows;  // in the order of the filters
};

// A table for a terminal, at most 100 columns, a line feed after each line; numbers that would not fit are shortened.
// Percentages are of records_in; one that is not 0 but rounds to it is "<0.01".
std::string funnel_table(const Funnel& funnel);

// {"records": N, "bytes": N, "bad": {"records": N, "bytes": N}, "dropped": [{"reason": "...", "records": N, "bytes": N,
//  "left": N}, ...], "kept": {"records": N, "bytes": N}, "edited": N}, where "left" is records.
std::string funnel_json(const Funnel& funnel);

}  // namespace ds
