// Oniguruma's syntax through PCRE2, and the scanners against the patterns that they stand for.
#include "text/pattern.h"

#include <gtest/gtest.h>

#include <ctime>
#include <random>

#include "base/error.h"
#include "text/scanners.h"
#include "text/splits.h"
#include "text/unicode.h"

namespace ds {
namespace {

// The pieces of an isolated Split, joined by a bar; what the library tokenizers 0.23.3 gave for these is written below.
std::string pieces(const std::string& pattern, const std::string& text) {
  std::vector<TextRange> ranges = {{0, text.size()}};
  MatchSteps steps(text.size());
  apply_split({Finder(Pattern(pattern, "p")), SplitBehavior::isolated, false}, text, steps, ranges);
  std::string out;
  for (const auto& [begin, end] : ranges) {
    if (!out.empty()) out += '|';
    out.append(text, begin, end - begin);
  }
  return out;
}

TEST(Pattern, TranslatesOnigurumaSyntax) {
  EXPECT_EQ(pieces(R"(\p{N}{1,3}+)", "12345678 9"), "12345678| |9");
  EXPECT_EQ(pieces("a{,2}b", "aaab"), "a|aab");
  EXPECT_EQ(pieces("[a-z&&[^b]]+", "aabca"), "aa|b|ca");
  EXPECT_EQ(pieces(R"([\S]+)", " ab c"), " |ab| |c");
  EXPECT_EQ(pieces(R"(\h+)", "xyzabc12"), "xyz|abc12");
  EXPECT_EQ(pieces("(?m:a.b)", "a\nb"), "a\nb");
  EXPECT_EQ(pieces("a.b", "a\rb"), "a\rb");
  EXPECT_EQ(pieces("a$", "a\nb"), "a|\nb");
  EXPECT_EQ(pieces("a$", "a\r\nb"), "a\r\nb");
  EXPECT_EQ(pieces("^b", "a\nb"), "a\n|b");
  EXPECT_EQ(pieces("[[:punct:]]+", "a$+!"), "a|$+!");
  EXPECT_EQ(pieces(R"([^\W\d]+)", "ab12 c"), "ab|12 |c");
  EXPECT_EQ(pieces(R"(\bab\b)", "ab abc"), "ab| abc");
  EXPECT_EQ(pieces("(?i)s", "\u017fS"), "\u017f|S");
  EXPECT_EQ(pieces(R"([\u3040-\u30ff]+)", "x\u3042\u30a2"), "x|\u3042\u30a2");
  EXPECT_EQ(pieces(R"(\p{^L}+)", "ab12"), "ab|12");
  EXPECT_EQ(pieces(R"(\p{Letter}+)", "ab1"), "ab|1");
  EXPECT_EQ(pieces("x*", "axxb"), "a|xx|b");
  EXPECT_EQ(pieces("(?=b)", "abab"), "a|ba|b");
  EXPECT_EQ(pieces("[^[a-c]x]+", "abxd"), "abx|d");
  EXPECT_EQ(pieces(R"([\p{L}&&[^\p{Han}]]+)", "ab\u4e2d"), "ab|\u4e2d");
  EXPECT_EQ(pieces(R"(\w+)", ">\u00b2a"), ">|\u00b2a");
  EXPECT_EQ(pieces(R"([\w]+)", ">\u00b2a"), ">\u00b2|a");
  EXPECT_EQ(pieces(R"(\s)", "a\u180eb"), "a\u180eb");
  EXPECT_EQ(pieces(R"(\p{Lo})", "a\U00031350\u0897"), "a|\U00031350|\u0897");  // U+31350: Unicode 15, an ideograph
  EXPECT_EQ(pieces(R"(\p{Han}|\p{Mn})", "a\U00031350\u0897b"), "a|\U00031350|\u0897|b");
  for (const char* bad :
       {"(", ")", "[a", "a{2,1}", "\\", "(?~a)", "(*COMMIT)", R"(\K)", R"([\B])", R"(\p{Klingon})", R"(\u12)"})
    EXPECT_THROW(Pattern(bad, "p"), Error) << bad;
}

// A pattern that backtracks without end is an error, not a hang.
TEST(Pattern, LimitsItsSteps) {
  size_t begin = 0, end = 0;
  for (const char* bad :
       {"(a+)+[bc]", "a*a*a*a*a*[bc]", "a{0,200}a{0,200}a{0,200}[bc]", "(?:a|a)*[bc]", "(?:a?){40}[bc]"})
  {
    MatchSteps steps(5000);
    EXPECT_THROW(Pattern(bad, "p").find(std::string(5000, 'a'), 0, steps, begin, end), Error) << bad;
  }
  EXPECT_THROW(Pattern(std::string(300, '(') + std::string(300, ')'), "p"), Error);
  EXPECT_THROW(Pattern(std::string(300, '['), "p"), Error);
}

// The steps of all matches of a text count together, those of compiled code are few: 100 kB are an error, or done, in
// a few seconds of processor time where the library's own limits let minutes pass.
TEST(Pattern, LimitsTheStepsOfAText) {
  const std::string run(100'000, 'a');
  std::string runs, short_runs;
  for (int i = 0; i < 50; ++i) runs += std::string(1999, 'a') + "x";
  for (int i = 0; i < 1600; ++i) short_runs += std::string(62, 'a') + "x";
  const auto message = [](const std::string& pattern, const std::string& text) -> std::string {
    try {
      pieces(pattern, text);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  for (const char* bad : {"(?=a*b)a", "(?=a*+b)a", "(?=(?>a*)b)a", "a(?=[a-c]*d)|x", "(?<=a)(?=a*b)", "a*a*[bc]", "a*[bc]|ab",
                          R"((?=\p{L}*+b)a)", "(?=[a-z]*[a-z]*b)a"})
    for (const std::string* text : std::initializer_list<const std::string*>{&run, &runs, &short_runs}) {
      const std::clock_t start = std::clock();
      const std::string error = message(bad, *text);
      EXPECT_LT(static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC, 4) << bad;
      if (text == &run) {
        EXPECT_EQ(error, cat("p: the pattern ", bad, " takes too many steps in a text of 100000 bytes"));
      }
    }
}

TEST(Pattern, UsualPatternsTakeFewSteps) {
  std::mt19937 random(5);
  const char* words[] = {"the ", "\u4e2d\u6587", "12345 ", "don't ", "\n\n    ", "Stra\u00dfe, ", "x+=1;", "\u043f\u0440\u0438 ", "=========="};
  std::string text;
  while (text.size() < 500'000) text += words[random() % std::size(words)];
  text += std::string(15'000, ' ') + std::string(20'000, '=') + std::string(20'000, '7') + std::string(20'000, 'Q');
  for (const char* pattern :
       {R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
        R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s)",
        R"(\s?\p{L}+)", R"([\x{4e00}-\x{9fa5}]+)", R"(\w+|[^\w\s]+)", R"(\s+$)"}) {
    std::vector<TextRange> ranges = {{0, text.size()}};
    MatchSteps steps(text.size());
    const uint64_t all = steps.left;
    apply_split({Finder(Pattern(pattern, "p")), SplitBehavior::isolated, false}, text, steps, ranges);
    EXPECT_LT(all - steps.left, all / 2) << pattern;
    EXPECT_GT(ranges.size(), 100u) << pattern;
  }
}

// A match longer than the window that compiled code sees is found all the same.
TEST(Pattern, FindsLongMatches) {
  const std::string text = "x" + std::string(25000, 'a') + std::string(25000, 'b') + "c";
  EXPECT_EQ(pieces("a+b+", text), "x|" + text.substr(1, 50000) + "|c");
  EXPECT_EQ(pieces("a+c+", text), text);
  const std::string spaces(1500, ' ');  // a window ends within them
  EXPECT_EQ(pieces("\\s+$|x", "x" + spaces + "y" + spaces), "x|" + spaces + "y|" + spaces);
  EXPECT_EQ(pieces("\\s+z|$", spaces + "y"), spaces + "y");
}

TEST(Scanners, MatchTheirPatterns) {
  std::mt19937 random(7);
  const std::vector<std::string> parts = {
      "a",      "B",       "the",        " ",          "  ",     "\n",     "\r\n",   "\t",         "'s",
      "'LL",    "'\u017f", "'",          "1",          "234567", "\u0662", "\u2167", "\u4e2d",     "\u30a2",
      "\u30fb", "\u3099",  "\u0301",     "\u093f",     "$",      "-",      "!?",     "\u00a0",     "\u3000",
      "\u200b", "\u0007",  "\U0001f642", "\U00031350", "\u0897", "\u00e9", "_",      "\U000e0001", "\u0378"};
  const auto pattern_pieces = [](const std::vector<std::string_view>& patterns, const std::string& text) {
    std::vector<TextRange> ranges = {{0, text.size()}};
    MatchSteps steps(text.size());
    for (const std::string_view pattern : patterns)
      apply_split({Finder(Pattern(pattern, "p")), SplitBehavior::isolated, false}, text, steps, ranges);
    return ranges;
  };
  for (int i = 0; i < 1500; ++i) {
    std::string text;
    for (size_t n = random() % 14 + 1; n > 0; --n) {
      if (random() % 4)
        text += parts[random() % parts.size()];
      else
        append_utf8(text, random() % 8 ? random() % 0x3000 : random() % 0x30000);
    }
    const auto check = [&](std::vector<TextRange> scanned, std::vector<TextRange> expected, std::string_view name) {
      const auto same = [](const TextRange& a, const TextRange& b) { return a.begin == b.begin && a.end == b.end; };
      ASSERT_TRUE(std::equal(scanned.begin(), scanned.end(), expected.begin(), expected.end(), same))
          << name << ": " << text;
    };
    for (const std::string_view pattern : {gpt2_pattern, llama3_pattern, qwen2_pattern, deepseek3_patterns[2]}) {
      std::vector<TextRange> scanned;
      scanner_of(pattern)(text, {0, text.size()}, scanned);
      check(scanned, pattern_pieces({pattern}, text), pattern);
    }
    std::vector<TextRange> scanned;
    scan_deepseek3(text, {0, text.size()}, scanned);
    check(scanned, pattern_pieces({std::begin(deepseek3_patterns), std::end(deepseek3_patterns)}, text), "deepseek3");
  }
}

}  // namespace
}  // namespace ds
