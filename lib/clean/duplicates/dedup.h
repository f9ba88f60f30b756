// Deduplication of whole records against all earlier ones of the stream, and against sets that were seen before.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/hash.h"
#include "clean/duplicates/exact_index.h"
#include "clean/duplicates/near_index.h"
#include "io/record.h"

namespace ds {

struct DedupOptions {
  bool exact = false;
  bool exact_words = false;  // compare the lower-case words, not the bytes
  std::optional<NearOptions> near;
  bool any() const { return exact || near; }
  bool needs_words() const { return (exact && exact_words) || (near && near->shingle.unit == ShingleKind::Unit::word); }
};

// What a text is compared by; made on any thread.
struct DedupKeys {
  Hash128 hash;
  std::optional<NearSketch> near;
};

// Why a record is a duplicate. The id and cluster are JSON texts.
struct Duplicate {
  std::string of, cluster;        // cluster: of near duplicates
  std::optional<double> jaccard;  // of near duplicates
};

// The value of --near, above 0 and at most 1; else a UsageError.
double parse_near_threshold(const std::string& typed);

// {"reason": "exact-duplicate" | "near-duplicate", "of": ..., ...}, as details of a drop. A jaccard tells which.
std::string duplicate_details(const Duplicate& duplicate);
const char* duplicate_reason(const Duplicate& duplicate);

// The id of a record as JSON text; "FILE:LINE" for a record without one that is a string or a number.
std::string record_id(const Record& record, const std::string& id_field);

// How far the logs of a folder count.
struct IndexMarks {
  LogMark exact, near;
};

// One pair of indices: in memory, or in a folder that lasts.
class DedupIndex {
 public:
  explicit DedupIndex(const DedupOptions& options, const std::string& folder = "", const IndexMarks& marks = {});

  // Any thread. `words` are those of the text where the options need them, else not looked at.
  DedupKeys keys(std::string_view text, const std::vector<uint64_t>& words) const;
  // The duplicate of an earlier record, if it is one; does not add it.
  std::optional<Duplicate> find(const DedupKeys& keys);
  // The same, and adds the record where its text or its set of shingles is new. `id` is JSON text.
  std::optional<Duplicate> find_and_add(const DedupKeys& keys, std::string_view text, const std::string& id);

  ExactIndex* exact() { return exact_.get(); }
  NearIndex* near() { return near_.get(); }
  void flush();
  IndexMarks marks() const;

 private:
  std::optional<Duplicate> find_exact(const DedupKeys& keys) const;
  Duplicate near_duplicate(const NearMatch& match) const;
  DedupOptions options_;
  std::unique_ptr<ExactIndex> exact_;
  std::unique_ptr<NearIndex> near_;
};

}  // namespace ds
