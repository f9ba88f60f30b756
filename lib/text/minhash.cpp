#include "text/minhash.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/hash.h"
#include "base/rng.h"
#include "base/sizes.h"

namespace ds {

// Values are made 64 at a time, in eight vectors that stay in registers.
constexpr size_t block = 64, lanes = 8;
typedef uint32_t Vector __attribute__((vector_size(lanes * sizeof(uint32_t))));

MinHashShape minhash_shape(double threshold) {
  require(threshold > 0 && threshold <= 1, "the Jaccard threshold must be above 0 and at most 1, not ", threshold);
  const size_t most_bands = threshold >= 0.75 ? 15 : 60;
  MinHashShape best{1, 1};
  for (size_t rows = 1; rows <= block; ++rows) {
    MinHashShape shape{1, rows};
    while (shape.bands <= most_bands && candidate_probability(threshold, shape) < 0.9995) ++shape.bands;
    if (shape.bands <= most_bands || rows == 1) best = shape;
    if (shape.bands > most_bands) break;
  }
  return best;
}

MinHasher::MinHasher(MinHashShape shape, uint64_t seed) : shape_(shape) {
  const size_t values = round_up(checked_mul(shape.bands, shape.rows, "MinHash signature"), block);
  require(values > 0 && values <= 65536, "a MinHash signature has 1 to 65536 values, not ", shape.values());
  // Multiply-shift hashing (Dietzfelbinger et al. 1997) of elements that are hashes already.
  const Rng rng{seed, hash64("minhash")};
  for (size_t i = 0; i < values; ++i) {
    multipliers_.push_back(static_cast<uint32_t>(rng.bits(2 * i)) | 1);
    addends_.push_back(static_cast<uint32_t>(rng.bits(2 * i + 1)));
  }
}

// h_i(x) = a_i x + b_i mod 2^32. Of the products the high bits, which the comparison sees first, depend on all of x.
static void smallest(std::span<const uint64_t> set, const uint32_t* multipliers, const uint32_t* addends,
                     uint32_t* out) {
  Vector a[block / lanes], b[block / lanes], least[block / lanes];
  std::memcpy(a, multipliers, sizeof a);
  std::memcpy(b, addends, sizeof b);
  std::memset(least, 0xFF, sizeof least);
  for (const uint64_t element : set) {
    const uint32_t x = static_cast<uint32_t>(element ^ element >> 32);
#pragma GCC unroll 8
    for (size_t k = 0; k < block / lanes; ++k) {
      const Vector h = a[k] * x + b[k];
      least[k] = h < least[k] ? h : least[k];
    }
  }
  std::memcpy(out, least, sizeof least);
}

void MinHasher::signature(std::span<const uint64_t> set, std::vector<uint32_t>& out) const {
  require(!set.empty(), "MinHash of an empty set is not defined");
  out.resize(multipliers_.size());
  for (size_t i = 0; i < out.size(); i += block)
    smallest(set, multipliers_.data() + i, addends_.data() + i, out.data() + i);
}

std::vector<uint32_t> MinHasher::signature(std::span<const uint64_t> set) const {
  std::vector<uint32_t> values;
  signature(set, values);
  return values;
}

double estimate_jaccard(std::span<const uint32_t> a, std::span<const uint32_t> b) {
  require(a.size() == b.size() && !a.empty(), "two MinHash signatures of ", a.size(), " and ", b.size(),
          " values cannot be compared");
  size_t equal = 0;
  for (size_t i = 0; i < a.size(); ++i) equal += a[i] == b[i];
  return static_cast<double>(equal) / static_cast<double>(a.size());
}

std::vector<uint64_t> band_hashes(std::span<const uint32_t> signature, MinHashShape shape) {
  require(signature.size() >= checked_mul(shape.bands, shape.rows, "MinHash signature"), "a MinHash signature of ",
          signature.size(), " values has not ", shape.bands, " bands of ", shape.rows);
  std::vector<uint64_t> hashes(shape.bands);
  for (size_t band = 0; band < shape.bands; ++band)
    hashes[band] = hash64(
        {reinterpret_cast<const char*>(signature.data() + band * shape.rows), shape.rows * sizeof(uint32_t)}, band);
  return hashes;
}

double candidate_probability(double jaccard, MinHashShape shape) {
  double band = 1, miss = 1;
  for (size_t i = 0; i < shape.rows; ++i) band *= jaccard;
  for (size_t i = 0; i < shape.bands; ++i) miss *= 1 - band;
  return 1 - miss;
}

}  // namespace ds
