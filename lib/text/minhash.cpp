#include "text/minhash.h"

#include <algorithm>

#include "base/error.h"
#include "base/hash.h"
#include "base/rng.h"
#include "base/sizes.h"

namespace ds {

std::vector<uint32_t> minhash(std::span<const uint64_t> set, MinHashShape shape, uint64_t seed) {
  require(!set.empty(), "MinHash of an empty set is not defined");
  const size_t values = checked_mul(shape.bands, shape.rows, "MinHash signature");
  // Multiply-shift hashing (Dietzfelbinger et al. 1997): the high half of a*x + b is 2-universal. The elements are
  // hashes already, so it behaves as a random permutation would.
  std::vector<uint64_t> multiplier(values), addend(values);
  const Rng rng{seed, hash64("minhash")};
  for (size_t i = 0; i < values; ++i) {
    multiplier[i] = rng.bits(2 * i) | 1;
    addend[i] = rng.bits(2 * i + 1);
  }
  std::vector<uint32_t> signature(values, UINT32_MAX);
  for (const uint64_t element : set)
    for (size_t i = 0; i < values; ++i)
      signature[i] = std::min(signature[i], static_cast<uint32_t>((multiplier[i] * element + addend[i]) >> 32));
  return signature;
}

double estimate_jaccard(std::span<const uint32_t> a, std::span<const uint32_t> b) {
  require(a.size() == b.size() && !a.empty(), "two MinHash signatures of ", a.size(), " and ", b.size(),
          " values cannot be compared");
  size_t equal = 0;
  for (size_t i = 0; i < a.size(); ++i) equal += a[i] == b[i];
  return static_cast<double>(equal) / static_cast<double>(a.size());
}

std::vector<uint64_t> band_hashes(std::span<const uint32_t> signature, MinHashShape shape) {
  require(signature.size() == checked_mul(shape.bands, shape.rows, "MinHash signature"), "a MinHash signature of ",
          signature.size(), " values is not of ", shape.bands, " bands of ", shape.rows);
  std::vector<uint64_t> hashes(shape.bands);
  for (size_t band = 0; band < shape.bands; ++band)
    hashes[band] =
        hash64({reinterpret_cast<const char*>(signature.data() + band * shape.rows), shape.rows * sizeof(uint32_t)});
  return hashes;
}

double candidate_probability(double jaccard, MinHashShape shape) {
  double band = 1, miss = 1;
  for (size_t i = 0; i < shape.rows; ++i) band *= jaccard;
  for (size_t i = 0; i < shape.bands; ++i) miss *= 1 - band;
  return 1 - miss;
}

}  // namespace ds
