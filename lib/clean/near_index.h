// Near duplicates in a stream: for each set of shingles, the earlier set of highest Jaccard index, exactly.
//
// Candidates come from prefix filtering (Chaudhuri, Ganti, Kaushik, "A primitive operator for similarity joins", 2006;
// Bayardo, Ma, Srikant, "Scaling up all pairs similarity search", 2007): in any one order of all shingles, two sets of
// Jaccard >= T share a shingle among the first |set| - ceil(T |set|) + 1 of each. Unlike MinHash bands it misses no
// pair. The order is that of the hashes, except that shingles found in many sets (boilerplate) come last.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

namespace ds {

struct NearMatch {
  uint32_t of = 0;  // the number of the earlier set
  double jaccard = 0;
};

// Memory: 8 bytes for each distinct shingle of each distinct set, 12 to 28 for each of its (1 - T) prefix, 90 a set.
// A set that was there before costs nothing.
class NearIndex {
 public:
  // 0 < threshold <= 1, else UsageError.
  explicit NearIndex(double threshold);

  // The earlier set of the highest Jaccard index, if that is at least the threshold; the earliest among equals. Then
  // adds the set (sorted, distinct, not empty) under the number size(), unless an equal one is there already.
  std::optional<NearMatch> add(std::span<const uint64_t> set);
  uint32_t size() const { return static_cast<uint32_t>(entries_.size()); }

  // What it cost so far.
  struct Work {
    uint64_t postings_walked = 0, candidates = 0, compared = 0, rebuilds = 0;
  };
  const Work& work() const { return work_; }

 private:
  struct Entry {
    const uint64_t* data;
    uint32_t size, prefix;  // shingles; how many of them are indexed
    std::span<const uint64_t> set() const { return {data, size}; }
  };
  struct Count {                     // what a query finds out about an entry
    uint32_t seen_by, shared, size;  // the last query that met it; common prefix shingles; |set|
  };
  struct Posting {         // of a rare shingle
    uint32_t tag;          // the high half of the shingle
    uint32_t entry, next;  // next posting of the same bucket + 1
  };

  size_t least_overlap(size_t a, size_t b, double bound) const;
  size_t prefix_length(size_t size) const;
  void take_prefix(std::span<const uint64_t> set, size_t length);
  void collect_candidates(std::span<const uint64_t> set);
  void count(uint32_t entry, double size);
  void note_length(uint64_t shingle, size_t length);
  void keep_possible(std::span<const uint64_t> set, size_t prefix);
  std::optional<NearMatch> best_candidate(std::span<const uint64_t> set, size_t prefix);
  void index_entry(uint32_t entry);
  void rebuild();
  const uint64_t* store(std::span<const uint64_t> set);

  double threshold_;
  std::vector<Entry> entries_;
  std::vector<Count> counts_;                          // by entry
  std::unordered_multimap<uint64_t, uint32_t> equal_;  // hash of a whole set -> its entry
  std::vector<std::unique_ptr<uint64_t[]>> chunks_;    // the sets themselves
  size_t chunk_used_ = 0, chunk_size_ = 0;
  std::vector<uint32_t> heads_;  // bucket -> posting + 1
  std::vector<Posting> postings_;
  int head_shift_ = 0;
  std::unordered_map<uint64_t, std::vector<uint32_t>> frequent_;  // shingle of a rank above 0 -> entries
  std::vector<uint8_t> rank_, next_rank_;  // by the top bits of a shingle: 0 rare, more is more frequent
  uint8_t highest_rank_ = 0;
  bool ranks_changed_ = false;
  uint64_t walked_since_rebuild_ = 0;
  uint32_t query_ = 0;
  std::vector<uint64_t> prefix_;  // of the current set, the rare shingles first
  size_t rare_ = 0;               // how many of prefix_ have rank 0
  std::vector<uint8_t> ranks_of_set_;
  uint64_t indexed_ = 0;  // elements of all prefixes
  std::vector<uint32_t> candidates_;
  Work work_;
};

}  // namespace ds
