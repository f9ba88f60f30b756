#include "clean/duplicates/near_index.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/rng.h"

namespace ds {
namespace {

namespace fs = std::filesystem;

// Texts whose shingles of one word are the elements of a set.
using Set = std::set<uint64_t>;
const ShingleKind one_word{ShingleKind::Unit::word, 1};

std::string text_of(const Set& set) {
  std::string text;
  for (const uint64_t element : set) text += "w" + std::to_string(element) + " ";
  return text;
}

double exact_jaccard(const Set& a, const Set& b) {
  size_t common = 0;
  for (const uint64_t element : a) common += b.contains(element);
  return static_cast<double>(common) / static_cast<double>(a.size() + b.size() - common);
}

Set make_set(const Rng& rng, size_t size, uint64_t universe) {
  Set set;
  for (size_t i = 0; i < size; ++i) set.insert(rng.below(i, universe));
  return set;
}

// A copy with some elements removed and some put in.
Set edited(const Set& set, const Rng& rng, double rate) {
  Set copy;
  uint64_t i = 0;
  for (const uint64_t element : set) {
    if (rng.uniform(2 * i) >= rate) copy.insert(element);
    if (rng.uniform(2 * i + 1) < rate / 2) copy.insert(rng.bits(1000000 + i) >> 20);
    ++i;
  }
  if (copy.empty()) copy.insert(1);
  return copy;
}

struct Found {
  size_t expected = 0, found = 0, best = 0;
};

// Runs the stream through the index and through a comparison with all earlier sets. What it finds must be right; how
// much it finds is counted.
Found against_brute_force(const std::vector<Set>& stream, double threshold) {
  NearIndex index({threshold, one_word, 0});
  std::vector<size_t> position;  // text of the index -> place in the stream
  Found counts;
  for (size_t i = 0; i < stream.size(); ++i) {
    std::optional<std::pair<size_t, double>> expected;
    for (size_t j = 0; j < i; ++j) {
      const double value = exact_jaccard(stream[i], stream[j]);
      if (value >= threshold && (!expected || value > expected->second)) expected = {j, value};
    }
    const NearSketch sketch = index.sketch(text_of(stream[i]));
    const auto matches = index.matches(sketch);
    for (size_t m = 0; m < matches.size(); ++m) {
      EXPECT_GE(matches[m].jaccard, threshold);
      EXPECT_EQ(matches[m].jaccard, exact_jaccard(stream[i], stream[position.at(matches[m].of)]));
      if (m > 0) {
        EXPECT_GE(matches[m - 1].jaccard, matches[m].jaccard);
      }
    }
    counts.expected += expected.has_value();
    counts.found += expected && !matches.empty();
    counts.best += expected && !matches.empty() && position[matches[0].of] == expected->first;
    if (!matches.empty() && matches[0].jaccard == 1) continue;
    index.add(sketch, "id", 0, text_of(stream[i]));
    position.push_back(i);
  }
  EXPECT_GT(counts.expected, 0u);
  return counts;
}

TEST(NearIndex, FindsWhatBruteForceFindsAmongEditedCopies) {
  Found all;
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
    const Found found = against_brute_force(stream, threshold);
    all.expected += found.expected;
    all.found += found.found;
    all.best += found.best;
  }
  EXPECT_GT(all.expected, 500u);
  EXPECT_GE(all.found * 1000, all.expected * 999);
  EXPECT_GE(all.best * 1000, all.expected * 995);
}

TEST(NearIndex, IsExactOnSmallSetsWithManyTies) {
  for (const double threshold : {0.5, 2.0 / 3, 0.8, 0.9, 1.0}) {
    std::vector<Set> stream;
    for (uint64_t i = 0; i < 400; ++i) stream.push_back(make_set(Rng{3, i}, 1 + i % 12, 12));
    const Found found = against_brute_force(stream, threshold);
    EXPECT_GE(found.found * 1000, found.expected * 990) << threshold;
    EXPECT_GE(found.best * 1000, found.expected * 985) << threshold;
  }
}

TEST(NearIndex, ATemplateOfThousandsOfPagesStaysFast) {
  // All are near each other: 3000 texts would be 4.5 million comparisons.
  NearIndex index({0.8, one_word, 0});
  const Set common = make_set(Rng{6, 0}, 150, 1000000);
  for (uint64_t i = 0; i < 3000; ++i) {
    const Set set = edited(common, Rng{7, i}, 0.04);
    const NearSketch sketch = index.sketch(text_of(set));
    const auto matches = index.matches(sketch);
    if (i > 0) {
      ASSERT_FALSE(matches.empty()) << i;
    }
    if (matches.empty() || matches[0].jaccard < 1) index.add(sketch, "", 0, text_of(set));
  }
  EXPECT_LE(index.work().compared, 3000u * 256);
}

TEST(NearIndex, MemoryStaysWithinWhatIsPromised) {
  NearIndex index({0.8, one_word, 0});
  for (uint64_t i = 0; i < 60000; ++i) {
    const std::string text = text_of({3 * i, 3 * i + 1, 3 * i + 2});
    index.add(index.sketch(text), "some id", 0, text);
    if (i > 20000 && i % 500 == 0) {
      ASSERT_LE(index.work().memory_bytes, 200 * i + (1 << 18)) << i;
    }
  }
}

TEST(NearIndex, ShapesFollowTheThreshold) {
  for (const double threshold : {0.25, 0.5, 0.74, 0.75, 0.8, 0.9, 0.99, 1.0}) {
    const MinHashShape shape = minhash_shape(threshold);
    EXPECT_GE(candidate_probability(threshold, shape), 0.9995) << threshold;
    EXPECT_LE(shape.bands, threshold >= 0.75 ? 15u : 60u) << threshold;
  }
}

TEST(NearIndex, AFolderKeepsWhatWasCommitted) {
  const fs::path folder = fs::temp_directory_path() / ("near_index_test_" + std::to_string(getpid()));
  fs::create_directories(folder);
  std::vector<Set> sets;
  for (uint64_t i = 0; i < 100; ++i) sets.push_back(make_set(Rng{8, i}, 40, 100000));
  LogMark sixty, more;
  {
    NearIndex index({0.8, one_word, 0}, folder.string());
    for (size_t i = 0; i < 60; ++i)
      index.add(index.sketch(text_of(sets[i])), "id" + std::to_string(i), 7, text_of(sets[i]));
    index.flush();
    sixty = index.mark();
    for (size_t i = 60; i < 80; ++i) index.add(index.sketch(text_of(sets[i])), "lost", 7, text_of(sets[i]));
  }  // as if killed: 60 were committed
  {
    NearIndex index({0.8, one_word, 0}, folder.string(), sixty);
    EXPECT_EQ(index.size(), 60u);
    for (size_t i = 0; i < 100; ++i) {
      const auto best = index.best(index.sketch(text_of(sets[i])));
      ASSERT_EQ(best.has_value(), i < 60) << i;
      if (!best) continue;
      EXPECT_EQ(best->of, i);
      EXPECT_EQ(index.id(best->of), "id" + std::to_string(i));
      EXPECT_EQ(index.cluster(best->of), 7u);
      EXPECT_EQ(index.text(best->of), text_of(sets[i]));
    }
    index.add(index.sketch(text_of(sets[90])), "new", 60, text_of(sets[90]));
    EXPECT_EQ(index.id(index.best(index.sketch(text_of(sets[90])))->of), "new");
    index.flush();
    more = index.mark();
  }
  EXPECT_EQ(NearIndex({0.8, one_word, 0}, folder.string(), more).size(), 61u);
  LogMark wrong = more;
  wrong.rows = 62;
  EXPECT_THROW(NearIndex({0.8, one_word, 0}, folder.string(), wrong), Error);
  wrong.rows = 60;  // of another hash
  EXPECT_THROW(NearIndex({0.8, one_word, 0}, folder.string(), wrong), Error);
  EXPECT_EQ(NearIndex({0.8, one_word, 0}, folder.string(), sixty).size(), 60u);
  fs::remove_all(folder);
}

TEST(NearIndex, ThresholdsOutsideTheRangeAreRefused) {
  for (const double bad : {0.0, -0.1, 1.01, 0.0 / 0.0}) EXPECT_THROW(NearIndex({bad, one_word, 0}), UsageError);
}

TEST(HashIndex, HoldsWhatWasInserted) {
  struct Slot {
    uint32_t hash, value_plus_1;
  };
  HashIndex<Slot> index;
  std::multimap<uint32_t, uint32_t> expected;
  const Rng rng{9, 0};
  for (uint32_t i = 0; i < 50000; ++i) {
    // Dense at both ends, equal ones, and all over.
    const auto bits = static_cast<uint32_t>(rng.bits(i));
    const uint32_t hash = i % 4 == 0    ? bits
                          : i % 4 == 1  ? bits % 64
                          : i % 16 == 2 ? UINT32_MAX - bits % 5000
                                        : bits & 0xFFF00000;
    index.insert({hash, i + 1});
    expected.emplace(hash, i);
    if (i % 997 != 0) continue;
    for (const uint32_t probe : {hash, hash + 1, 0u, UINT32_MAX, static_cast<uint32_t>(rng.bits(i + 100000))}) {
      std::vector<uint32_t> found, wanted;
      index.find(probe, [&](const Slot& slot) { found.push_back(slot.value_plus_1 - 1); });
      const auto [first, last] = expected.equal_range(probe);
      for (auto it = first; it != last; ++it) wanted.push_back(it->second);
      ASSERT_EQ(found, wanted) << i << " " << probe;  // in the order of insertion
    }
  }
  EXPECT_EQ(index.size(), 50000u);
}

}  // namespace
}  // namespace ds
