#include "clean/duplicates/repeats.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/rng.h"

namespace ds {
namespace {

// The text without what is taken out; checks that the edits are in order, apart and inside the text.
std::string cut(const std::string& text, const TextRemoval& removal) {
  std::string left;
  size_t at = 0, bytes = 0;
  for (const TextEdit& edit : removal.edits) {
    EXPECT_TRUE(edit.begin >= at && edit.begin < edit.end && edit.end <= text.size());
    EXPECT_TRUE(edit.replacement.empty());
    left += text.substr(at, edit.begin - at);
    at = edit.end;
    bytes += edit.end - edit.begin;
  }
  EXPECT_EQ(removal.bytes, bytes);
  left += text.substr(at);
  EXPECT_EQ(removal.nothing_left, !removal.edits.empty() && left.find_first_not_of(" \t\r\n") == std::string::npos);
  return left;
}

std::string take_out(RepeatedUnits& units, const std::string& text) {
  return cut(text, units.settle(units.prepare(text)));
}

TEST(RepeatedLines, TheFirstStays) {
  RepeatedUnits lines(RepeatUnit::line);
  EXPECT_EQ(take_out(lines, "one\ntwo\none\nthree\n"), "one\ntwo\nthree\n");
  EXPECT_EQ(take_out(lines, "four\ntwo\nfive\n"), "four\nfive\n");
  EXPECT_EQ(take_out(lines, "six\n\n  two \n\nseven"), "six\n\n\nseven");  // blank lines stay
  EXPECT_EQ(take_out(lines, "One\nTwo"), "One\nTwo");                      // exact, so other lines
  EXPECT_EQ(take_out(lines, "one\nseven"), "");
  EXPECT_EQ(lines.distinct(), 9u);
}

TEST(RepeatedLines, ATextEndsAsItEnded) {
  for (const std::string end : {"\n", "\r\n"}) {
    RepeatedUnits lines(RepeatUnit::line);
    EXPECT_EQ(take_out(lines, "a" + end + "b" + end), "a" + end + "b" + end);
    EXPECT_EQ(take_out(lines, "c" + end + "a" + end + "d"), "c" + end + "d");
    EXPECT_EQ(take_out(lines, "e" + end + "a" + end + "b"), "e");
    EXPECT_EQ(take_out(lines, "f" + end + "a" + end + "b" + end), "f" + end);
    EXPECT_EQ(take_out(lines, "a" + end + "b" + end + "g" + end), "g" + end);
    EXPECT_EQ(take_out(lines, "a" + end + "b" + end), "");
  }
}

TEST(RepeatedLines, WhiteSpaceAtTheEndsDoesNotCount) {
  RepeatedUnits lines(RepeatUnit::line);
  EXPECT_EQ(take_out(lines, "你好，世界\nx y\n"), "你好，世界\nx y\n");
  EXPECT_EQ(take_out(lines, "\u3000\u3000你好，世界\r\n\t x y\u00a0\nx  y\n"), "x  y\n");
  const std::string broken = "\xE3\x80 z\n\x80\n\xFF";  // not UTF-8: taken as it is
  EXPECT_EQ(take_out(lines, broken), broken);
  EXPECT_EQ(take_out(lines, broken), "");
  const std::string zeros("a\0b\na\0b\na\0c", 11);
  EXPECT_EQ(take_out(lines, zeros), std::string("a\0b\na\0c", 7));
}

TEST(RepeatedLines, ShortOnesAreLeftAlone) {
  RepeatedUnits lines(RepeatUnit::line, 4);
  EXPECT_EQ(take_out(lines, "}\n}\nabc\nabc\nabcd\n  abcd\n"), "}\n}\nabc\nabc\nabcd\n");
  EXPECT_EQ(take_out(lines, "中文字\n中文字\n中文字符\n中文字符\n"),
            "中文字\n中文字\n中文字符\n");  // characters, not bytes
  EXPECT_EQ(take_out(lines, "abcd\n}"), "}");
  EXPECT_EQ(lines.distinct(), 2u);
  EXPECT_EQ(take_out(lines, ""), "");
  EXPECT_EQ(take_out(lines, "\n"), "\n");
  EXPECT_EQ(take_out(lines, " \n\n"), " \n\n");
}

TEST(RepeatedParagraphs, GoWithTheBlankLinesAfterThem) {
  RepeatedUnits paragraphs(RepeatUnit::paragraph);
  EXPECT_EQ(take_out(paragraphs, "a\nb\n\nc\n\n\nd\n"), "a\nb\n\nc\n\n\nd\n");
  EXPECT_EQ(take_out(paragraphs, "e\n\na\nb\n \t\nf\n"), "e\n\nf\n");
  EXPECT_EQ(take_out(paragraphs, "\n\na\nb\n\ng"), "\n\ng");
  EXPECT_EQ(take_out(paragraphs, "h\n\nc\n\n\nd\n"), "h\n");
  EXPECT_EQ(take_out(paragraphs, "i\r\n\r\n  a\r\nb"), "i");  // equal line by line
  EXPECT_EQ(take_out(paragraphs, "j\n\nj\n\nj\n\nk"), "j\n\nk");
  EXPECT_EQ(take_out(paragraphs, "a\n\nb\n"), "a\n\nb\n");  // lines of one, each alone
  EXPECT_EQ(take_out(paragraphs, "b\na\n\n\nc\n\n"), "b\na\n\n");
  EXPECT_EQ(take_out(paragraphs, "\n\nc\n\na\nb\n\n"), "");
  RepeatedUnits some(RepeatUnit::paragraph, 5);
  EXPECT_EQ(take_out(some, "a\nb\n\na\nb\n\na\nbcd\n\na\nbcd\n"), "a\nb\n\na\nb\n\na\nbcd\n");
}

// Against sets of strings, on random texts; prepared in the order of the stream or all before, back to front.
TEST(RepeatedLines, AgreeWithSetsOfStrings) {
  const Rng rng{51, 0};
  std::vector<std::string> texts;
  uint64_t at = 0;
  for (int i = 0; i < 400; ++i) {
    std::string text;
    for (uint64_t k = rng.below(at++, 12); k > 0; --k) {
      const uint64_t kind = rng.below(at++, 10);
      if (kind > 1) text.append("line ").append(std::to_string(rng.below(at++, 900)));
      if (kind == 3) text += "  ";
      if (k > 1 || rng.below(at++, 2)) text += "\n";
    }
    texts.push_back(text);
  }
  RepeatedUnits one(RepeatUnit::line), two(RepeatUnit::line);
  std::vector<RepeatParts> prepared(texts.size());
  for (size_t i = texts.size(); i-- > 0;) prepared[i] = two.prepare(texts[i]);
  std::set<std::string> seen;
  size_t taken_out = 0;
  for (size_t i = 0; i < texts.size(); ++i) {
    const std::string& text = texts[i];
    std::string expected;
    bool first = true, any = false;
    for (size_t begin = 0, end; begin < text.size(); begin = end + 1) {
      end = std::min(text.find('\n', begin), text.size());
      std::string line = text.substr(begin, end - begin);
      const std::string content = line.substr(0, line.find_last_not_of(' ') + 1);
      if (!content.empty() && !seen.insert(content).second) continue;
      expected += (first ? "" : "\n") + line;
      first = false;
      any = true;
    }
    if (any && text.ends_with('\n')) expected += "\n";
    EXPECT_EQ(take_out(one, text), expected) << text;
    EXPECT_EQ(cut(text, two.settle(prepared[i])), expected);
    taken_out += text.size() - expected.size();
  }
  EXPECT_EQ(one.distinct(), seen.size());
  EXPECT_GT(taken_out, 1000u);
}

TEST(RepeatedLines, MemoryIsThatOfTheHeader) {
  RepeatedUnits lines(RepeatUnit::line);
  for (size_t i = 0; i < 300; ++i) {
    std::string text;
    for (size_t k = 0; k < 1000; ++k) text.append(std::to_string(i * 1000 + k)).append("\n");
    EXPECT_TRUE(lines.settle(lines.prepare(text)).edits.empty());
    EXPECT_TRUE(lines.settle(lines.prepare(text)).nothing_left);
  }
  EXPECT_EQ(lines.distinct(), 300000u);
  EXPECT_LT(static_cast<double>(lines.memory()), 12.6 * 300000);
}

TEST(SlotTable, FindsWhatWasPutIn) {
  SlotTable<16> table(3);
  std::multimap<std::pair<size_t, uint64_t>, uint64_t> expected;
  const Rng rng{52, 0};
  for (uint64_t i = 0; i < 20000; ++i) {
    const size_t segment = rng.below(2 * i, 3);
    const uint64_t key = rng.below(2 * i + 1, 5000) * 13;  // crowded keys, so that runs wrap and merge
    const uint64_t number = key << 48 | (i + 1);
    table.insert(segment, number);
    expected.emplace(std::pair{segment, key}, number);
  }
  EXPECT_EQ(table.size(), 20000u);
  for (size_t segment = 0; segment < 3; ++segment)
    for (uint64_t key = 0; key < 65536; ++key) {
      std::multiset<uint64_t> found, there;
      table.find(segment, key << 48, [&](uint64_t number) { found.insert(number); });
      for (auto [it, last] = expected.equal_range({segment, key}); it != last; ++it) there.insert(it->second);
      ASSERT_EQ(found, there) << segment << " " << key;
    }
}

}  // namespace
}  // namespace ds
