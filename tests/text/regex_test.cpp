#include "text/regex.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "base/error.h"

namespace ds {
namespace {

bool found(const char* pattern, std::string_view text) { return Regex(pattern, "test").search(text); }

TEST(Regex, SearchesAnywhere) {
  EXPECT_TRUE(found("b+", "abbc"));
  EXPECT_TRUE(found("", ""));
  EXPECT_FALSE(found("^b", "abbc"));
  EXPECT_FALSE(found("a.c", "a\nc"));
  EXPECT_TRUE(found("(?s)a.c", "a\nc"));
  EXPECT_TRUE(found("(?m)^b$", "a\nb\nc"));
  EXPECT_TRUE(found("(?i)STRASSE", "strasse"));
  EXPECT_TRUE(found("^\\pL$", "\xe4\xb8\xad"));  // one character, not three bytes
  EXPECT_TRUE(found("^.$", "\xf0\x9f\x98\x80"));
  EXPECT_FALSE(found("\\w", "\xc3\xa9"));
  EXPECT_TRUE(found("a\\x00b", std::string_view("a\0b", 3)));
  EXPECT_FALSE(found("c$", std::string_view("c\0", 2)));
}

TEST(Regex, RefusesWhatIsWrongOrTooLarge) {
  for (const char* bad : {"a(", "[a", "(?=a)", "(a)\\1", "a{1001}", "\xff", "*", "((a{100}){100}){100}", "\\pL{100}"}) {
    try {
      Regex regex(bad, "p.toml: at column 3");
      ADD_FAILURE() << bad;
    } catch (const UsageError& error) {
      EXPECT_TRUE(std::string(error.what()).starts_with("p.toml: at column 3: the pattern '")) << error.what();
    }
  }
  try {
    Regex regex("\\pL{100}", "p");
    ADD_FAILURE();
  } catch (const UsageError& error) {
    EXPECT_NE(std::string(error.what()).find("too large: "), std::string::npos) << error.what();
  }
}

// Patterns that take a backtracking matcher exponential time; and one that an automaton cannot hold in memory.
TEST(Regex, IsLinear) {
  const std::string as = std::string(100'000, 'a') + "!";
  const auto begin = std::chrono::steady_clock::now();
  for (const char* pattern : {"(a+)+$", "(a*)*b", "^(a|a?)+$", "(a|b)*a(a|b){20}c"}) EXPECT_FALSE(found(pattern, as));
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  EXPECT_LT(seconds, 20);  // backtracking would take longer than the universe has been there
}

}  // namespace
}  // namespace ds
