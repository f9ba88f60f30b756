// --keep longest, best:FIELD or none: the inputs are read twice. The first time finds the clusters of duplicates, which
// are the connected components of the pairs; the second time keeps one record of each, or none.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "clean/duplicates/dedup.h"
#include "clean/measure.h"
#include "io/jsonl.h"
#include "io/spill.h"

namespace ds {

// Memory: 28 bytes a record, and the indices of dedup.h. Records that another filter drops are in no cluster.
class Clusters {
 public:
  Clusters(const CleanOptions& options, const DedupOptions& dedup, const Measurer& measurer);

  void read(const StreamOptions& stream);  // the first time
  // The second time, record by record in the same order: the duplicate of which record it is, if it is to be dropped.
  std::optional<Duplicate> next();
  NearIndex* near() { return index_.near(); }

 private:
  struct Member {
    uint32_t parent;  // union-find; a root's is itself
    uint32_t text;    // in the exact index; without one in the near index
    double score;     // the largest stays
    uint64_t id;      // its place in ids_
  };
  static constexpr uint32_t outside = UINT32_MAX;  // a parent: dropped by another filter
  enum class Keep : uint8_t { longest, best, none };

  uint32_t root(uint32_t record);
  void unite(uint32_t a, uint32_t b);
  void add(const Record& record, const Measured& measured, const DedupKeys& keys);
  void choose();
  std::string id(uint32_t record) const;

  const CleanOptions& options_;
  const Measurer& measurer_;
  Keep keep_;
  std::string field_;  // of best:FIELD
  DedupIndex index_;
  std::vector<Member> members_;
  std::vector<uint32_t> exact_first_, near_first_;  // text of an index -> its first record
  std::vector<uint32_t> near_text_;                 // text of the exact index -> of the near index, where both are
  std::vector<uint32_t> winner_, size_;             // by root
  Spill ids_;
  uint32_t next_ = 0;
  bool scored_ = false;  // best:FIELD was seen
};

}  // namespace ds
