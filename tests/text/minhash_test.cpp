#include "text/minhash.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/error.h"
#include "base/hash.h"
#include "base/rng.h"

namespace ds {
namespace {

// The smallest values by the formula, one at a time.
TEST(MinHash, EveryValueIsTheSmallestOfItsFunction) {
  const Rng elements{3, 1};
  for (const size_t size : {1u, 2u, 63u, 1000u}) {
    std::vector<uint64_t> set;
    for (size_t i = 0; i < size; ++i) set.push_back(elements.bits(i));
    const auto signature = MinHasher({30, 5}, 17).signature(set);
    ASSERT_EQ(signature.size(), 192u);
    const Rng rng{17, hash64("minhash")};
    for (size_t k = 0; k < 150; ++k) {
      uint32_t least = UINT32_MAX;
      for (const uint64_t element : set) {
        const auto x = static_cast<uint32_t>(element ^ element >> 32);
        least = std::min(least, (static_cast<uint32_t>(rng.bits(2 * k)) | 1) * x + static_cast<uint32_t>(rng.bits(2 * k + 1)));
      }
      ASSERT_EQ(signature[k], least) << k;
    }
  }
}

// Two sets of which `common` elements are shared and `own` more belong to each.
void make_sets(uint64_t stream, size_t common, size_t own, std::vector<uint64_t>& a, std::vector<uint64_t>& b) {
  const Rng rng{7, stream};
  a.clear();
  b.clear();
  for (size_t i = 0; i < common; ++i) {
    a.push_back(rng.bits(i));
    b.push_back(rng.bits(i));
  }
  for (size_t i = 0; i < own; ++i) {
    a.push_back(rng.bits(common + 2 * i));
    b.push_back(rng.bits(common + 2 * i + 1));
  }
}

TEST(MinHash, EstimateIsNearTheExactIndex) {
  std::vector<uint64_t> a, b;
  for (size_t own : {0u, 10u, 50u, 200u, 400u}) {
    make_sets(own, 400, own, a, b);
    const double exact = 400.0 / (400.0 + 2.0 * static_cast<double>(own));
    const MinHashShape shape{256, 4};
    const double estimate = estimate_jaccard(MinHasher(shape).signature(a), MinHasher(shape).signature(b));
    EXPECT_NEAR(estimate, exact, 5 * std::sqrt(exact * (1 - exact) / 1024) + 1e-12) << own;
  }
}

TEST(MinHash, OrderAndRepetitionDoNotMatter) {
  const std::vector<uint64_t> a = {1, 2, 3}, b = {3, 1, 2, 1};
  EXPECT_EQ(MinHasher({}).signature(a), MinHasher({}).signature(b));
  EXPECT_NE(MinHasher({}, 0).signature(a), MinHasher({}, 1).signature(a));
  EXPECT_EQ(MinHasher({}).signature(a).size(), 64u);  // 60, rounded up
}

TEST(MinHash, BandsProposeAsOftenAsTheFormulaSays) {
  const MinHashShape shape{4, 3};
  std::vector<uint64_t> a, b;
  const int trials = 2000;
  for (size_t own : {15u, 60u}) {  // J = 0.667 and 0.333
    const double exact = 60.0 / (60.0 + 2.0 * static_cast<double>(own));
    const double expected = candidate_probability(exact, shape);
    int proposed = 0;
    for (int t = 0; t < trials; ++t) {
      make_sets(1000 * own + t, 60, own, a, b);
      const MinHasher hasher(shape, t);
      const auto bands_a = band_hashes(hasher.signature(a), shape), bands_b = band_hashes(hasher.signature(b), shape);
      bool shared = false;
      for (size_t i = 0; i < shape.bands; ++i) shared |= bands_a[i] == bands_b[i];
      proposed += shared;
    }
    EXPECT_NEAR(proposed / static_cast<double>(trials), expected, 5 * std::sqrt(expected * (1 - expected) / trials));
  }
  EXPECT_NEAR(1 - candidate_probability(0.8, {}), std::pow(1 - std::pow(0.8, 4), 15), 1e-12);
  EXPECT_LT(1 - candidate_probability(0.8, {}), 5e-4);
}

TEST(MinHash, WrongShapesAreErrors) {
  EXPECT_THROW(MinHasher({}).signature({}), Error);
  EXPECT_THROW(band_hashes(std::vector<uint32_t>(5), {2, 3}), Error);
  EXPECT_THROW(estimate_jaccard(std::vector<uint32_t>(3), std::vector<uint32_t>(4)), Error);
}

}  // namespace
}  // namespace ds
