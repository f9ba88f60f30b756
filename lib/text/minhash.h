// MinHash signatures and their bands (Broder 1997; Leskovec, Rajaraman, Ullman, "Mining of Massive Datasets", ch. 3):
// a short sketch of a set from which the Jaccard index of two sets is estimated without the sets.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace ds {

// `bands` groups of `rows` values: two sets share a band with probability 1 - (1 - J^rows)^bands. The default proposes
// a pair of Jaccard 0.8 with 0.99993, one of 0.5 with 0.54, one of 0.2 with 0.008.
struct MinHashShape {
  size_t bands = 24, rows = 5;
};

// bands * rows values; value i is the smallest of a random function h_i (decided by seed and i) over the set. The set
// must not be empty. The same on every machine.
std::vector<uint32_t> minhash(std::span<const uint64_t> set, MinHashShape shape, uint64_t seed = 0);

// The share of equal values: an estimate of the Jaccard index with standard deviation sqrt(J(1-J)/values).
double estimate_jaccard(std::span<const uint32_t> a, std::span<const uint32_t> b);

// A hash a band: two signatures are candidates where one of these is equal at the same place.
std::vector<uint64_t> band_hashes(std::span<const uint32_t> signature, MinHashShape shape);

// 1 - (1 - J^rows)^bands.
double candidate_probability(double jaccard, MinHashShape shape);

}  // namespace ds
