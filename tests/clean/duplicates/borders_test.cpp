#include "clean/duplicates/borders.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/rng.h"

namespace ds {
namespace {

TEST(Borders, TrimmedOfUnicodeSpace) {
  EXPECT_EQ(trimmed(""), "");
  EXPECT_EQ(trimmed(" \t\r\n\v\f"), "");
  EXPECT_EQ(trimmed("\u3000\u00a0\u2003"), "");
  EXPECT_EQ(trimmed(" \u3000a b\u2028 "), "a b");
  EXPECT_EQ(trimmed("中"), "中");
  EXPECT_EQ(trimmed(" \x80"), "\x80");
  EXPECT_EQ(trimmed("\xE3\x80"), "\xE3\x80");
  EXPECT_EQ(trimmed(std::string_view("\0 ", 2)), std::string_view("\0", 1));
}

TEST(Borders, Merge) {
  std::vector<TextRange> ranges{{5, 7}, {1, 3}, {3, 4}, {6, 6}, {9, 12}, {10, 11}};
  merge(ranges);
  ASSERT_EQ(ranges.size(), 3u);
  EXPECT_TRUE(ranges[0].begin == 1 && ranges[0].end == 4);
  EXPECT_TRUE(ranges[1].begin == 5 && ranges[1].end == 7);
  EXPECT_TRUE(ranges[2].begin == 9 && ranges[2].end == 12);
}

// What is whole of text[begin, end).
std::string whole(const std::string& text, size_t begin, size_t end) {
  const TextRange range = whole_sentences(text, {begin, end});
  EXPECT_TRUE(range.size() == 0 || (begin <= range.begin && range.end <= end));
  return text.substr(range.begin, range.size());
}

TEST(Borders, SentencesStayWhole) {
  const std::string text = "One is it. Two (so it is!) Three costs 3.50 now? \"Four.\" Five";
  EXPECT_EQ(whole(text, 0, text.size()), text);
  EXPECT_EQ(whole(text, 1, text.size() - 1), " Two (so it is!) Three costs 3.50 now? \"Four.\" ");
  EXPECT_EQ(whole(text, 11, 14), "");
  EXPECT_EQ(whole(text, 11, 42), "Two (so it is!) ");
  EXPECT_EQ(whole(text, 11, 26), "Two (so it is!)");
  EXPECT_EQ(whole(text, 11, 25), "");
  EXPECT_EQ(whole("他说：“好。”然后走了。真的？", 0, 24), "他说：“好。”");
  EXPECT_EQ(whole("a\r\nbc d\r\ne", 1, 9), "\r\nbc d\r\n");
  EXPECT_EQ(whole("a\r\nbc d\r\ne", 2, 8), "bc d");  // a line end is not cut in two
  EXPECT_EQ(whole("x.y.z", 1, 4), "");
  EXPECT_EQ(whole("", 0, 0), "");
}

// A plain statement of where a text can be cut, place by place.
bool is_border(const std::u32string& text, size_t at) {
  const auto in = [&](size_t i, const char32_t* set) {
    return i < text.size() && std::u32string_view(set).find(text[i]) != std::u32string_view::npos;
  };
  if (at == 0 || at == text.size()) return true;
  if (text[at] == '\n') return text[at - 1] != '\r';
  if (text[at] == '\r') return true;
  size_t i = at;
  while (i > 0 && in(i - 1, U" \r\n"))
    if (in(--i, U"\r\n")) return true;
  if (i == 0) return true;
  const bool spaced = i < at;
  while (i > 0 && in(i - 1, U")”")) --i;
  if (i == 0) return false;
  if (in(i - 1, U"。")) return spaced || !in(at, U")”");
  return in(i - 1, U".") && (spaced || in(at, U" "));
}

TEST(Borders, AgreeWithAPlainStatement) {
  const std::vector<std::pair<std::string, char32_t>> alphabet{{"a", 'a'},    {" ", ' '},   {".", '.'},
                                                               {"。", U'。'}, {"”", U'”'},  {")", ')'},
                                                               {"\n", '\n'},  {"\r", '\r'}, {"中", U'中'}};
  size_t cuts = 0;
  for (uint64_t stream = 0; stream < 3000; ++stream) {
    const Rng rng{53, stream};
    std::u32string wide;
    std::string text;
    std::vector<size_t> place{0};
    for (uint64_t i = 0; i < 1 + stream % 25; ++i) {
      const auto& [bytes, c] = alphabet[rng.below(i, alphabet.size())];
      wide += c;
      text += bytes;
      place.push_back(text.size());
    }
    const size_t begin = rng.below(100, place.size()), end = begin + rng.below(101, place.size() - begin);
    size_t first = begin, last = end;
    while (first < end && !is_border(wide, first)) ++first;
    while (last > first && !is_border(wide, last)) --last;
    const TextRange range = whole_sentences(text, {place[begin], place[end]});
    EXPECT_EQ(range.size(), place[last] - place[first]) << text << " " << begin << " " << end;
    if (range.size() == 0) continue;
    EXPECT_EQ(range.begin, place[first]) << text;
    ++cuts;
  }
  EXPECT_GT(cuts, 1000u);
}

}  // namespace
}  // namespace ds
