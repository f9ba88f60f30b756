#include "text/shingles.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/rng.h"
#include "text/words.h"

namespace ds {
namespace {

// Shingles as strings, straight from the definition.
std::set<std::string> plain_word_shingles(const std::string& text, size_t n) {
  std::vector<std::string> words;
  WordReader reader(text);
  for (std::string_view word; reader.next(word);) words.emplace_back(word);
  std::set<std::string> result;
  for (size_t i = 0; i == 0 || i + n <= words.size(); ++i) {
    std::string shingle;
    for (size_t k = i; k < i + n && k < words.size(); ++k) shingle += words[k] + "\n";
    result.insert(shingle);
  }
  return result;
}

double plain_jaccard(const std::set<std::string>& a, const std::set<std::string>& b) {
  std::vector<std::string> common, all;
  std::set_intersection(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(common));
  std::set_union(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(all));
  return static_cast<double>(common.size()) / static_cast<double>(all.size());
}

std::string random_text(const Rng& rng, size_t words, uint64_t vocabulary) {
  std::string text;
  for (size_t i = 0; i < words; ++i)
    text.append("W").append(std::to_string(rng.below(i, vocabulary))).append(i % 7 ? " " : ", ");
  return text;
}

TEST(Shingles, SetsAreThoseOfTheDefinition) {
  for (uint64_t doc = 0; doc < 200; ++doc) {
    const Rng rng{1, doc};
    const std::string a = random_text(rng, doc % 40, 3);
    const std::string b = random_text(Rng{2, doc / 2}, doc % 31, 3);
    for (size_t n : {1u, 2u, 5u}) {
      const ShingleKind kind{ShingleKind::Unit::word, n};
      const auto set_a = shingles(a, kind), set_b = shingles(b, kind);
      const auto plain_a = plain_word_shingles(a, n), plain_b = plain_word_shingles(b, n);
      ASSERT_EQ(set_a.size(), plain_a.size());
      ASSERT_EQ(jaccard(set_a, set_b), plain_jaccard(plain_a, plain_b));
      std::vector<uint64_t> sequence;
      word_shingle_sequence(word_hashes(a), n, sequence);
      const std::set<uint64_t> sorted(sequence.begin(), sequence.end());
      ASSERT_EQ(set_a, ShingleSet(sorted.begin(), sorted.end()));
      ShingleTable table;
      table.assign(sequence);
      ASSERT_EQ(table.size(), sorted.size());
      for (const uint64_t shingle : sequence) ASSERT_TRUE(table.contains(shingle));
      ASSERT_FALSE(table.contains(sequence[0] + 1));
    }
  }
}

TEST(Shingles, ShortTextsMakeOneShingle) {
  const ShingleKind five;
  EXPECT_EQ(shingles("", five).size(), 1u);
  EXPECT_EQ(shingles("one two three four", five).size(), 1u);
  EXPECT_EQ(shingles("one two three four five", five).size(), 1u);
  EXPECT_EQ(shingles("one two three four five six", five).size(), 2u);
  EXPECT_EQ(shingles("", five), shingles(" ... ", five));
  EXPECT_NE(shingles("", five), shingles("a", five));
  EXPECT_EQ(shingles("One, two", five), shingles("one TWO", five));
  EXPECT_NE(shingles("one two", five), shingles("onetwo", five));
}

TEST(Shingles, CharactersIgnoreCaseAndRunsOfSpace) {
  const ShingleKind kind{ShingleKind::Unit::character, 4};
  EXPECT_EQ(shingles("  Élan  vital\n", kind), shingles("élan vital", kind));
  EXPECT_EQ(shingles("élan vital", kind).size(), 7u);  // 10 characters
  EXPECT_EQ(shingles("abababab", kind).size(), 2u);
  EXPECT_EQ(shingles("ab", kind).size(), 1u);
  EXPECT_EQ(shingles("", kind), shingles(" ", kind));
  EXPECT_NE(shingles("a bcd", kind), shingles("abcd", kind));
}

TEST(Shingles, IntersectionMayStopEarlyButNeverLies) {
  std::vector<uint64_t> a, b;
  for (uint64_t i = 0; i < 1000; ++i) {
    if (i % 2 == 0) a.push_back(i);
    if (i % 3 == 0) b.push_back(i);
  }
  const size_t common = 167;  // multiples of 6 below 1000
  EXPECT_EQ(intersection_size(a, b), common);
  EXPECT_EQ(intersection_size(a, b, common), common);
  EXPECT_LE(intersection_size(a, b, common + 1), common);
}

TEST(Shingles, KindsAreParsed) {
  EXPECT_EQ(parse_shingle_kind("word:5").size, 5u);
  EXPECT_EQ(parse_shingle_kind("char:13").unit, ShingleKind::Unit::character);
  for (const char* bad : {"", "word", "word:", "word:0", "word:5x", "word:-1", "line:2", "char:1001", "5"})
    EXPECT_THROW(parse_shingle_kind(bad), UsageError) << bad;
}

}  // namespace
}  // namespace ds
