#include "clean/duplicates/anchors.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "base/rng.h"

namespace ds {
namespace {

// By the definition: the last smallest of every stretch.
std::vector<size_t> plain(const std::string& text, size_t length, size_t stretch) {
  std::set<size_t> anchors;
  for (size_t begin = 0; begin + stretch <= text.size(); ++begin) {
    size_t best = begin;
    for (size_t at = begin; at + length <= begin + stretch; ++at)
      if (anchor_order(std::string_view(text).substr(at, length)) <=
          anchor_order(std::string_view(text).substr(best, length)))
        best = at;
    anchors.insert(best);
  }
  return {anchors.begin(), anchors.end()};
}

std::string random_text(uint64_t stream, size_t size, uint64_t letters) {
  const Rng rng{54, stream};
  std::string text;
  for (uint64_t i = 0; text.size() < size; ++i) {
    const uint64_t kind = rng.below(3 * i, 40);
    const char c = static_cast<char>(rng.below(3 * i + 1, letters) * 37);
    text.append(kind == 0 ? rng.below(3 * i + 2, 60) : 1, c);  // with runs
  }
  text.resize(size);
  return text;
}

TEST(Anchors, AreTheSmallestOfEachStretch) {
  for (uint64_t stream = 0; stream < 200; ++stream) {
    const size_t length = 8 + stream % 9, span = length + stream % 31;
    const std::string text = random_text(stream, stream * 3, 1 + stream % 7);
    ASSERT_EQ(anchor_positions(text, length, span), plain(text, length, span)) << stream;
  }
  const std::string words = "ab ab ab ab ab ab abcabcabcabcabcabc-=-=-=-=-=-=-=-=0123012301230123012301230123 end";
  for (size_t span = 9; span < 90; ++span) EXPECT_EQ(anchor_positions(words, 9, span), plain(words, 9, span)) << span;
}

TEST(Anchors, OfLongTextsToo) {  // more than is rolled over at once
  for (const uint64_t letters : {1, 2, 200}) {
    const std::string text = random_text(letters, 18500, letters);
    EXPECT_EQ(anchor_positions(text, 20, 75), plain(text, 20, 75)) << letters;
  }
}

TEST(Anchors, OfShortTextsAreNone) {
  EXPECT_TRUE(anchor_positions("", 12, 32).empty());
  EXPECT_TRUE(anchor_positions(std::string(31, 'x'), 12, 32).empty());
  EXPECT_EQ(anchor_positions(std::string(32, 'x'), 12, 32), std::vector<size_t>{20});
  EXPECT_EQ(anchor_positions("0123456789", 10, 10), std::vector<size_t>{0});
}

}  // namespace
}  // namespace ds
