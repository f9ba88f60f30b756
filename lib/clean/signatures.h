// Near deduplication in two halves, for sets that one machine does not hold in order: `signatures` maps each record to
// the keys of its MinHash bands, anything that sorts or groups brings equal keys together, and `cluster` reads the
// groups and decides as the one-process run does, on those records only that share a key.
#pragma once
#include <cstdint>
#include <string>

#include "io/jsonl.h"
#include "io/report.h"

namespace ds {

struct SignatureOptions {
  StreamOptions stream;
  std::string text_field = "text", id_field = "id";
  std::string near = "0.8", shingle = "word:5";
  uint64_t seed = 0;
};

// A line for each key of each record: 16 hexadecimal digits, a tab, the id as JSON text (which has no tab in it). A
// record of standard input without an id is a bad line: the other half could not find it again.
void write_signatures(const SignatureOptions& options, Report& report);

struct ClusterOptions {
  SignatureOptions records;      // the same records, in the order that decides which is the earlier one
  std::string signatures = "-";  // the lines, those of equal keys one after the other
};

// Writes the records that stay; the others are rejects as those of `ds-clean --near`. Memory: 20 bytes for each line
// whose key others share, and the index of these records.
void cluster(const ClusterOptions& options, Report& report);

}  // namespace ds
