#include "clean/near_index.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <optional>
#include <vector>

#include "base/error.h"
#include "base/rng.h"
#include "text/shingles.h"

namespace ds {
namespace {

using Set = std::vector<uint64_t>;

// Runs the stream through the index and through a comparison with all earlier sets.
void expect_brute_force(const std::vector<Set>& stream, double threshold, NearIndex::Work* work = nullptr) {
  NearIndex index(threshold);
  std::vector<size_t> position;  // entry -> place in the stream
  size_t matches = 0;
  for (size_t i = 0; i < stream.size(); ++i) {
    std::optional<std::pair<size_t, double>> expected;
    for (size_t j = 0; j < i; ++j) {
      const double value = jaccard(stream[i], stream[j]);
      if (value >= threshold && (!expected || value > expected->second)) expected = {j, value};
    }
    const uint32_t before = index.size();
    const auto found = index.add(stream[i]);
    if (index.size() > before) position.push_back(i);
    ASSERT_EQ(found.has_value(), expected.has_value()) << "record " << i << " threshold " << threshold;
    if (!found) continue;
    ++matches;
    ASSERT_EQ(found->jaccard, expected->second) << i;
    ASSERT_EQ(position[found->of], expected->first) << i;
  }
  EXPECT_GT(matches, 0u);
  if (work) *work = index.work();
}

Set make_set(const Rng& rng, size_t size, uint64_t universe) {
  Set set;
  for (size_t i = 0; i < size; ++i) set.push_back(Rng{99, rng.below(i, universe)}.bits(0));
  std::sort(set.begin(), set.end());
  set.erase(std::unique(set.begin(), set.end()), set.end());
  return set;
}

// A copy with some elements removed and some put in.
Set edited(const Set& set, const Rng& rng, double rate) {
  Set copy;
  for (size_t i = 0; i < set.size(); ++i) {
    if (rng.uniform(2 * i) >= rate) copy.push_back(set[i]);
    if (rng.uniform(2 * i + 1) < rate / 2) copy.push_back(rng.bits(1000000 + i));
  }
  if (copy.empty()) copy.push_back(1);
  std::sort(copy.begin(), copy.end());
  return copy;
}

TEST(NearIndex, EqualsBruteForceOnSmallSets) {
  // Few different elements: many ties, many pairs exactly at a threshold.
  for (const double threshold : {0.25, 0.5, 2.0 / 3, 0.8, 0.9, 1.0}) {
    std::vector<Set> stream;
    for (uint64_t i = 0; i < 400; ++i) stream.push_back(make_set(Rng{3, i}, 1 + i % 12, 12));
    expect_brute_force(stream, threshold);
  }
}

TEST(NearIndex, EqualsBruteForceOnEditedCopies) {
  for (const double threshold : {0.3, 0.5, 0.8, 0.95}) {
    std::vector<Set> stream;
    const Rng pick{5, 0};
    for (uint64_t i = 0; i < 500; ++i) {
      const Rng rng{4, i};
      if (i < 20 || i % 3 == 0)
        stream.push_back(make_set(rng, 20 + i % 300, 100000));
      else
        stream.push_back(edited(stream[pick.below(i, i)], rng, 0.3 * pick.uniform(10000 + i)));
    }
    expect_brute_force(stream, threshold);
  }
}

TEST(NearIndex, BoilerplateIsReorderedAndChangesNothing) {
  // Every set has most of one common part, so that its postings are long and the order must be rebuilt.
  std::vector<Set> stream;
  const Set common = make_set(Rng{6, 0}, 150, 1000000);
  for (uint64_t i = 0; i < 900; ++i) {
    Set set = edited(common, Rng{7, i}, 0.05);
    const Set own = make_set(Rng{8, i / 2}, i % 200, 1000000);  // shared by two
    set.insert(set.end(), own.begin(), own.end());
    std::sort(set.begin(), set.end());
    set.erase(std::unique(set.begin(), set.end()), set.end());
    stream.push_back(set);
  }
  NearIndex::Work work;
  expect_brute_force(stream, 0.8, &work);
  EXPECT_GE(work.rebuilds, 1u);
}

TEST(NearIndex, ACopyTakesNoRoom) {
  NearIndex index(0.8);
  EXPECT_FALSE(index.add(Set{1, 2, 3}));
  EXPECT_EQ(index.add(Set{1, 2, 3})->jaccard, 1.0);
  EXPECT_EQ(index.size(), 1u);
  EXPECT_FALSE(index.add(Set{1, 2, 4}));
  EXPECT_FALSE(index.add(Set{1, 2, 3, 4}));  // 3/4 of both
}

TEST(NearIndex, ThresholdsOutsideTheRangeAreRefused) {
  for (const double bad : {0.0, -0.1, 1.01, 0.0 / 0.0}) EXPECT_THROW(NearIndex{bad}, UsageError);
}

}  // namespace
}  // namespace ds
