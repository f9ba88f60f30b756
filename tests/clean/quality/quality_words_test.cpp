#include "clean/quality/quality_words.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/rng.h"
#include "clean/quality/quality_characters.h"
#include "clean/quality/web_address.h"
#include "clean/quality/word_exceptions.h"

namespace ds {
namespace {

using namespace std::string_view_literals;

std::string joined_words(std::string_view text) {
  std::vector<QualityWord> words;
  split_quality_words(text, words);
  std::string joined;
  for (const auto& word : words) {
    if (!joined.empty()) joined += ' ';
    joined += text.substr(word.begin, word.size);
  }
  return joined;
}

// What spaCy 3.8's blank English pipeline makes of these.
TEST(QualityWords, AgreeWithSpacy) {
  const std::pair<const char*, const char*> cases[] = {
      {"don\u2019t", "do n\u2019t"},
      {"foo():", "foo ( ):"},
      {"''quoted''", "'' quoted ''"},
      {"C:D", "C :D"},
      {"$5", "$ 5"},
      {"9-10a.m.", "9 - 10 a.m."},
      {"x--y", "x -- y"},
      {"http://foo.com/a-b", "http://foo.com/a-b"},
      {"192.168.0.1/foo", "192.168.0.1 / foo"},
      {"my-file.txt", "my-file.txt"},
      {"12km", "12 km"},
      {"(e.g.,", "( e.g. ,"},
      {"US$5", "US$ 5"},
      {"5US$", "5 US$"},
      {"\u00ABa\u00BB", "\u00AB a \u00BB"},
      {"\u2026\u2026", "\u2026 \u2026"},
      {"%5", "% 5"},
      {"5%", "5 %"},
      {"U.S.A.", "U.S.A."},
      {"PhD.", "PhD."},
      {"AB.", "AB ."},
      {"A.", "A."},
      {"x86-64", "x86 - 64"},
      {"foo/bar", "foo / bar"},
      {"a=b", "a = b"},
      {"--long-opt", "--long - opt"},
      {"/usr/bin", "/usr / bin"},
      {"e-mail:", "e - mail :"},
      {"foo@bar.com", "foo@bar.com"},
      {"1,000.50", "1,000.50"},
      {"word.Word", "word . Word"},
      {"end.\u201DNext", "end . \u201DNext"},
      {"it\u00B4s", "it\u00B4s"},
      {"[:alpha:]", "[: alpha :]"},
      {"...foo...", "... foo ..."},
      {"Id.", "Id."},
      {"id.", "i d."},
      {"wed well", "we d well"},
      {"thats", "that s"},
      {"Couldntve", "Could nt ve"},
      {"'\u00B5.{", "' \u00B5. {"},
      {"\u65E5\u672C\u3002\uFF1F", "\u65E5\u672C \u3002 \uFF1F"},
  };
  for (const auto& [text, words] : cases) EXPECT_EQ(joined_words(text), words);
}

TEST(QualityWords, HoldAllButWhiteSpace) {
  const std::vector<std::string> atoms = {
      "a",      "B",          "9", "the", "Mr.",    "it's",   "km",     "www.a.org", ".",
      "..",     ",",          "(", ")",   "'",      "\"",     "-",      ":",         "/",
      "$",      "%",          "+", "@",   "\u2026", "\u2019", "\u00E9", "\u00B0",    "\u20AC",
      "\u4E2D", "\U0001F600", " ", " ",   "  ",     "\n",     "\u00A0", "\u3000",    std::string(1, '\0')};
  const Rng rng{3, 4};
  uint64_t drawn = 0;
  std::vector<QualityWord> words;
  for (int i = 0; i < 5000; ++i) {
    std::string text;
    for (size_t count = rng.below(drawn++, 20); count > 0; --count) text += atoms[rng.below(drawn++, atoms.size())];
    split_quality_words(text, words);
    size_t at = 0;
    for (const auto& word : words) {
      EXPECT_TRUE(strip(std::string_view(text).substr(at, word.begin - at)).empty()) << text;
      const auto spelling = std::string_view(text).substr(word.begin, word.size);
      ASSERT_GT(word.size, 0u);
      EXPECT_EQ(word.characters, count_characters(spelling));
      bool letter = false, punctuation = true, blank = false;
      for (size_t byte = 0; byte < spelling.size();) {
        const char32_t c = decode_utf8(spelling, byte);
        letter |= is_letter(c);
        punctuation &= is_punctuation(c);
        blank |= is_space(c);
      }
      EXPECT_EQ((word.kinds & word_alphabetic) != 0, letter) << spelling;
      EXPECT_EQ((word.kinds & word_punctuation) != 0, punctuation) << spelling;
      EXPECT_FALSE(blank) << spelling;
      at = word.begin + word.size;
    }
    EXPECT_TRUE(strip(std::string_view(text).substr(at)).empty()) << text;
  }
}

// What spaCy 3.8's sentencizer counts.
TEST(QualityWords, Sentences) {
  const std::pair<std::string_view, size_t> cases[] = {
      {"", 0},
      {"one", 1},
      {"One. Two.", 2},
      {"One! (Two?) Three", 3},
      {"Wait... no", 1},
      {"e.g. this. That", 2},
      {"He left.\" She came.", 2},
      {"Done.  )", 2},
      {"Done. )", 1},
      {"U.S. troops", 1},
      {"?!? Yes", 2},
      {"\u4E2D\u6587\u3002 \u4E2D", 2},
  };
  std::vector<QualityWord> words;
  for (const auto& [text, count] : cases) {
    split_quality_words(text, words);
    EXPECT_EQ(count_sentences(words), count) << text;
  }
}

TEST(QualityWords, Exceptions) {
  size_t longest = 0;
  for (const auto& exception : word_exceptions()) {
    size_t size = 0;
    for (const auto part : exception.sizes) size += part;
    EXPECT_EQ(size, exception.text.size()) << exception.text;
    EXPECT_EQ(find_exception(exception.text), &exception);
    EXPECT_TRUE(may_be_exception(exception_sizes(), exception.text)) << exception.text;
    longest = std::max(longest, size);
  }
  EXPECT_LE(longest, longest_exception);
  for (const char* word : {"", "the", "its", "Shell", "cannoT", "donate"})
    EXPECT_EQ(find_exception(word), nullptr) << word;
  EXPECT_FALSE(may_be_exception(exception_sizes(), ""));
}

TEST(QualityWords, WebAddresses) {
  for (const char* text :
       {"example.com", "http://a.bc", "ftp://8.8.8.8/x", "a.b.org:8080/x?y", "me@mail.net", "\u4E2D.com", "x:y@a.io#b"})
    EXPECT_TRUE(is_web_address(text)) << text;
  for (const char* text :
       {"", "word", "a.b", "A.Bc", "-a.com", "a-.com", "10.0.0.1", "http://192.168.1.1/a", "172.16.0.1", "8.8.8.255",
        "8.8.8", "256.1.1.1", "a.com:1", "a..com", "@.", "http://", "a.com\\"})
    EXPECT_FALSE(is_web_address(text)) << text;
}

TEST(QualityCharacters, TablesAgreeWithUnicode) {
  for (char32_t c = 0; c < 0x20000; ++c) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    const uint32_t kinds = character_kinds(c);
    EXPECT_EQ((kinds & kind_letter) != 0, is_letter(c)) << std::hex << uint32_t{c};
    EXPECT_EQ((kinds & kind_punctuation) != 0, is_punctuation(c)) << std::hex << uint32_t{c};
    EXPECT_EQ((kinds & kind_blank) != 0, is_space(c) || (c >= 0x1C && c <= 0x1F)) << std::hex << uint32_t{c};
    if (c < 0x80) {
      EXPECT_EQ((kinds & kind_lower) != 0, c >= 'a' && c <= 'z');
      EXPECT_EQ((kinds & kind_upper) != 0, c >= 'A' && c <= 'Z');
      EXPECT_EQ((kinds & kind_plain_sign) != 0,
                c == 0x7F || is_punctuation(c) || is_symbol(c) || (c < ' ' && c != '\t' && c != '\n'));
    }
  }
}

TEST(QualityCharacters, StripAndLines) {
  EXPECT_EQ(strip("\u3000\x1F a \u00A0\n"), "a");
  EXPECT_EQ(strip(" \u2003 "), "");
  EXPECT_EQ(strip_left(" a "), "a ");
  const std::string_view text =
      "one\r\ntwo\rthree\v\f\x1C\x1D\x1E four\x1F\u0085\u2028\u2029 five\u00E9 six, and more of it\n\nend";
  std::vector<std::string> lines;
  for (size_t at = 0; at < text.size();) lines.emplace_back(next_line(text, at));
  const std::vector<std::string> want = {
      "one", "two", "three", "", "", "", "", " four\x1F", "", "", " five\u00E9 six, and more of it", "", "end"};
  EXPECT_EQ(lines, want);
}

}  // namespace
}  // namespace ds
