// MinHash signatures and their bands (Broder 1997; Leskovec, Rajaraman, Ullman, "Mining of Massive Datasets", ch. 3):
// a short sketch of a set from which the Jaccard index of two sets is estimated without the sets.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace ds {

// `bands` groups of `rows` values: two sets share a band with probability 1 - (1 - J^rows)^bands. The default proposes
// a pair of Jaccard 0.8 with 0.9996, one of 0.5 with 0.62, one of 0.2 with 0.024.
struct MinHashShape {
  size_t bands = 15, rows = 4;
  size_t values() const { return bands * rows; }
};

// The cheapest shape that proposes a pair of Jaccard index `threshold` (0 < threshold <= 1) with probability 0.9995: as
// many rows as 15 bands allow (60 bands where the threshold is below 0.75), so that few other pairs are proposed.
MinHashShape minhash_shape(double threshold);

// Makes signatures: value i is the smallest of a random function h_i (decided by seed and i) over the set. The same on
// every machine. Immutable; all threads may use it at once.
class MinHasher {
 public:
  explicit MinHasher(MinHashShape shape, uint64_t seed = 0);
  // values() values, rounded up to a multiple of 64. Repeats do not matter. An empty set is an Error.
  void signature(std::span<const uint64_t> set, std::vector<uint32_t>& out) const;
  std::vector<uint32_t> signature(std::span<const uint64_t> set) const;
  const MinHashShape& shape() const { return shape_; }

 private:
  MinHashShape shape_;
  std::vector<uint32_t> multipliers_, addends_;
};

// The share of equal values: an estimate of the Jaccard index with standard deviation sqrt(J(1-J)/values).
double estimate_jaccard(std::span<const uint32_t> a, std::span<const uint32_t> b);

// A hash a band, which the number of the band is part of: two signatures are candidates where they share one.
std::vector<uint64_t> band_hashes(std::span<const uint32_t> signature, MinHashShape shape);

// 1 - (1 - J^rows)^bands.
double candidate_probability(double jaccard, MinHashShape shape);

}  // namespace ds
