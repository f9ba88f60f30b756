// Constraints by regular expressions and choices. RE2 is the reference.
#include "run/constraint/constraint.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "run/constraint/vocabulary.h"
#include "text/regex.h"

namespace ds {
namespace {

using Kind = ConstraintSpec::Kind;

const char* const kPatterns[] = {
    "a*b|c", "(a|b)*abb", "[a-c]{2,4}", "(ab?c){0,3}", "a.c", "[^ab]+", "\\d{2}-\\d{2}", "\\w+[ \\n]\\w*", "(|a)(b|)", "((a*)*b)*",
    "(a|ab)(c|bcd)(d*)", "x{0}", "[a\\-c]*", "[]a]b?", "é+|[à-ü]b", "[^\\d_]a", "\\x61\\.\\n?", "^abc$", "(^a|b)c", "a(b|c$)",
    "(a{2,3}){1,2}", "a{,2}", "a{b", "(?:ab)+?", "\\D\\W[^\\W\\d]", "[\\w-]+c", "你[好-爱]?", "a$|b", "(a|b$)*", "\\pL+1", "[\\p{N}b]*", ""};

TEST(RegexConstraint, AcceptsWhatRe2Accepts) {
  const std::string_view pieces[] = {"a", "b", "c", "d", "ab", "1", "2", "-", " ", "\n", ".", "é", "à", "你", "好", "{", "x", "]", "_", "²"};
  for (const char* pattern : kPatterns) {
    SCOPED_TRACE(pattern);
    const auto constraint = compiled(Kind::regex, pattern);
    const Regex reference("\\A(?:" + std::string(pattern) + ")\\z", "test");
    const Rng rng{1, 2};
    uint64_t at = 0;
    for (int i = 0; i < 1500; ++i) {
      std::string text;
      for (uint64_t n = rng.below(at++, 7); n > 0; --n) text += pieces[rng.below(at++, std::size(pieces))];
      ASSERT_EQ(matches(*constraint, text), reference.search(text)) << text;
    }
    for (uint64_t seed = 0; seed < 20; ++seed) {
      const auto text = random_answer(constraint, seed, 12);
      ASSERT_TRUE(text);
      EXPECT_TRUE(matches(*constraint, *text)) << *text;
      EXPECT_TRUE(reference.search(*text)) << *text;
    }
  }
}

// As in Python, the vertical tab is a space, which it is not to RE2.
TEST(RegexConstraint, Spaces) {
  const auto space = compiled(Kind::regex, "\\s"), other = compiled(Kind::regex, "\\S");
  for (int c = 0; c < 128; ++c) {
    const std::string text(1, static_cast<char>(c));
    EXPECT_EQ(matches(*space, text), c == ' ' || (c >= 9 && c <= 13)) << c;
    EXPECT_NE(matches(*space, text), matches(*other, text)) << c;
  }
}

// The mask of a state holds just the tokens whose bytes can be accepted.
TEST(RegexConstraint, MasksAreThoseTokensThatAreAccepted) {
  const auto trie = small_vocabulary();
  for (const char* pattern : kPatterns) {
    ConstraintState state(compiled(Kind::regex, pattern), trie);
    std::vector<uint64_t> bits(trie->words());
    const Rng rng{5, 5};
    for (int i = 0; i < 8; ++i) {
      state.mask(bits);
      std::vector<int32_t> allowed;
      for (int32_t id = 0; id < static_cast<int32_t>(trie->vocab_size()); ++id) {
        ConstraintState copy = state;
        const bool in_mask = bits[static_cast<size_t>(id) / 64] >> (id % 64) & 1;
        ASSERT_EQ(copy.accept(id), in_mask) << pattern << " token " << id;
        if (in_mask && id != kEnd) allowed.push_back(id);
      }
      if (allowed.empty()) break;
      ASSERT_TRUE(state.accept(allowed[rng.below(i, allowed.size())]));
    }
  }
}

TEST(RegexConstraint, RefusesByLineAndColumn) {
  EXPECT_EQ(error_of(Kind::regex, "a(?=b)"), "regex:1:2: look-around is not supported");
  EXPECT_EQ(error_of(Kind::regex, "(a)\\1"), "regex:1:4: back references are not supported");
  EXPECT_EQ(error_of(Kind::regex, "\\bx"), "regex:1:1: word boundaries are not supported");
  EXPECT_EQ(error_of(Kind::regex, "(ab"), "regex:1:1: a '(' that is not closed");
  EXPECT_EQ(error_of(Kind::regex, "a**"), "regex:1:3: a repetition of a repetition");
  EXPECT_EQ(error_of(Kind::regex, "a{1,1000000}"), "regex:1:2: more than 1000 repetitions");
  EXPECT_NE(error_of(Kind::regex, "((a{1000}){1000}){1000}").find("too large"), std::string::npos);
  EXPECT_NE(error_of(Kind::regex, "(((){1000}){1000}){1000}").find("too large"), std::string::npos);
  EXPECT_NE(error_of(Kind::regex, std::string(5000, '(')).find("too deeply"), std::string::npos);
  EXPECT_EQ(error_of(Kind::regex, "a$b"), "regex: no text is ever complete");
}

TEST(RegexConstraint, EndsWhenItMust) {
  ConstraintState state(compiled(Kind::regex, "ab?"), small_vocabulary());
  EXPECT_FALSE(state.may_end());
  EXPECT_FALSE(state.accept(kEnd));
  ASSERT_TRUE(state.accept('a'));
  EXPECT_TRUE(state.may_end());
  EXPECT_FALSE(state.must_end());
  ConstraintState copy = state;
  ASSERT_TRUE(copy.accept('b'));
  EXPECT_TRUE(copy.must_end());
  EXPECT_FALSE(state.must_end());
  EXPECT_TRUE(copy.accept(kEnd));
  EXPECT_FALSE(copy.accept('a'));
}

TEST(ChoiceConstraint, IsOneOfTheStrings) {
  const auto constraint = compiled(Kind::choice, R"(["yes", "no", "not at all", "\u00e9\n"])");
  for (const char* text : {"yes", "no", "not at all", "é\n"}) EXPECT_TRUE(matches(*constraint, text)) << text;
  for (const char* text : {"", "ye", "not", "nono", "é"}) EXPECT_FALSE(matches(*constraint, text)) << text;
  EXPECT_EQ(error_of(Kind::choice, "[]"), "choice: an array of strings is expected, with one at least");
}

// Memory that was learnt is let go, and states that are under way do not notice.
TEST(RegexConstraint, StatesOutliveWhatWasLearnt) {
  const auto constraint = compiled(Kind::regex, "(.*a.{14}|b*c)");
  ConstraintState state(constraint, small_vocabulary());
  ASSERT_TRUE(state.accept_bytes("bbb"));
  const Rng rng{3, 3};
  std::string text;
  for (uint64_t i = 0; i < 150'000; ++i) text += rng.below(i, 2) ? 'a' : 'x';
  const bool ends = text[text.size() - 15] == 'a';
  EXPECT_EQ(matches(*constraint, text), ends);
  std::vector<uint64_t> bits(small_vocabulary()->words());
  state.mask(bits);
  ASSERT_TRUE(state.accept('c'));
  EXPECT_TRUE(state.may_end());
}

}  // namespace
}  // namespace ds
