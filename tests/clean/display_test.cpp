#include "clean/display.h"

#include <gtest/gtest.h>

#include <sstream>

#include "base/rng.h"
#include "text/unicode.h"

namespace ds {
namespace {

TEST(SafeLine, KeepsWhatCanBeRead) {
  for (const char* const text : {"", "a", "Fußball – ça va?", "中文，标点。", "مرحبا می‌خواهم",
                                 "x² ≤ ∑ €5 😀", "نص\u00a0ثابت", "ก็"})
    EXPECT_EQ(safe_line(text), text);
  EXPECT_EQ(safe_line("a\tb"), "a    b");
}

TEST(SafeLine, NamesWhatMovesTheTerminal) {
  using namespace std::string_literals;
  EXPECT_EQ(safe_line("\x1b[2J"), "<U+001B>[2J");
  EXPECT_EQ(safe_line("a\0b"s), "a<U+0000>b");
  EXPECT_EQ(safe_line("\r\n\b\x7f"), "<U+000D><U+000A><U+0008><U+007F>");
  EXPECT_EQ(safe_line("\u009b31m\u0085"), "<U+009B>31m<U+0085>");
  EXPECT_EQ(safe_line("\u202egnp\u2066\u2028\ufeff\U000e0041"), "<U+202E>gnp<U+2066><U+2028><U+FEFF><U+E0041>");
  EXPECT_EQ(safe_line("\xff\xc3"), "\ufffd\ufffd");
}

TEST(SafeLine, NoControlOfAnyKindPasses) {
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string text;
    append_utf8(text, c);
    const std::string safe = safe_line(text);
    const bool control = c < 0x20 || (c >= 0x7F && c < 0xA0);
    const bool turns = (c >= 0x202A && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069) || c == 0x200E || c == 0x200F;
    if (control || turns) {
      ASSERT_EQ(safe.find(text), std::string::npos) << std::hex << static_cast<uint32_t>(c);
    }
    ASSERT_EQ(safe_line(safe), safe);
  }
}

// The reference is Unicode's EastAsianWidth.txt, as Python's unicodedata has it.
TEST(Columns, WideAndZeroWidth) {
  EXPECT_EQ(columns("abc"), 3u);
  EXPECT_EQ(columns("中文，。"), 8u);
  EXPECT_EQ(columns("한글ｶﾅ"), 6u);
  EXPECT_EQ(columns("e\u0301\u200d"), 1u);
  EXPECT_EQ(columns("😀é…"), 4u);
  EXPECT_EQ(columns("\u3000"), 2u);
}

TEST(Cut, FitsAndSaysSo) {
  EXPECT_EQ(cut("", 1), "");
  EXPECT_EQ(cut("abc", 3), "abc");
  EXPECT_EQ(cut("abcd", 3), "ab…");
  EXPECT_EQ(cut("中文字", 5), "中文…");
  EXPECT_EQ(cut("中文字", 4), "中…");
  EXPECT_EQ(cut("中", 1), "…");
}

TEST(Wrapped, BreaksAtSpacesAndInsideWhatHasNone) {
  EXPECT_EQ(wrapped("", 2, 10), "\n");
  EXPECT_EQ(wrapped("one two three", 2, 10), "  one two\n  three\n");
  EXPECT_EQ(wrapped("12345678 12345678", 2, 10), "  12345678\n  12345678\n");
  EXPECT_EQ(wrapped("1234567890ab", 2, 10), "  12345678\n  90ab\n");
  EXPECT_EQ(wrapped("a 1234567890ab", 2, 10), "  a\n  12345678\n  90ab\n");
  EXPECT_EQ(wrapped("中文字中文字", 1, 8), " 中文字\n 中文字\n");
  EXPECT_EQ(wrapped("    code here", 0, 9), "    code\nhere\n");
  EXPECT_EQ(wrapped("one            two", 0, 6), "one\ntwo\n");
}

TEST(Wrapped, RandomTextsKeepEveryCharacterAndFit) {
  static const char* const pieces[] = {"a", "bc", " ", "  ", "中", "é", "e\u0301", "longerword", "😀", " "};
  const Rng rng{1, 2};
  uint64_t at = 0;
  for (int round = 0; round < 500; ++round) {
    std::string text;
    for (uint64_t n = rng.below(at++, 60); n > 0; --n) text += pieces[rng.below(at++, std::size(pieces))];
    const size_t indent = rng.below(at++, 5), width = indent + 2 + rng.below(at++, 30);
    std::string words, shown;
    for (const char c : text)
      if (c != ' ') words += c;
    std::istringstream in(wrapped(text, indent, width));
    for (std::string line; std::getline(in, line);) {
      ASSERT_LE(columns(line), width) << text;
      for (const char c : line)
        if (c != ' ') shown += c;
    }
    ASSERT_EQ(shown, words);
  }
}

}  // namespace
}  // namespace ds
