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
  std::string text_field;  // empty: "text", or question and answer of a record that has no such field
  std::string id_field = "id";
  std::string near = "0.8", shingle = "word:5";
  uint64_t seed = 0;
};

// A line for each key of each record (15 at 0.8): 16 hexadecimal digits, a tab, the id as JSON text (which has no tab
// in it), or "FILE:LINE" for a record without an id that is a string or a number. Of standard input such a record is a
// bad line: the other half could not find it again.
void write_signatures(const SignatureOptions& options, Report& report);

struct ClusterOptions {
  SignatureOptions records;      // the same records, in the order that decides which is the earlier one
  std::string signatures = "-";  // the lines, those of equal keys one after the other; keys of one line may be left out
};

// Writes the records that stay; the others are rejects: both byte for byte those of `ds-clean --near` on the same
// inputs. (That one keeps 32 bits of a key, these lines have 64: a near pair that nothing but a chance equality of 32
// bits proposes, fewer than one in 10^10, is found there alone.) Records that share no key are only parsed. Memory: 40
// to 48 bytes for each id that shares a key, and the index of these records. Errors: a line that is no signature; a key
// that comes again after other keys (of more than 65536 keys a sample is watched), for then the lines are not sorted;
// ids that share a key and belong to no record of the inputs, which is known at the end, when the output is there.
// UsageError where the records and the lines are both standard input.
void cluster(const ClusterOptions& options, Report& report);

}  // namespace ds
