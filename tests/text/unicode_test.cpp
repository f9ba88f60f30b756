#include "text/unicode.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "base/hash.h"
#include "text/words.h"

namespace ds {
namespace {

std::vector<char32_t> decode_all(std::string_view text) {
  std::vector<char32_t> characters;
  for (size_t at = 0; at < text.size();) characters.push_back(decode_utf8(text, at));
  return characters;
}

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  WordReader reader(text);
  for (std::string_view word; reader.next(word);) words.emplace_back(word);
  return words;
}

TEST(Unicode, EveryCharacterSurvivesARoundTrip) {
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    std::string bytes;
    append_utf8(bytes, c);
    size_t at = 0;
    ASSERT_EQ(decode_utf8(bytes, at), c);
    ASSERT_EQ(at, bytes.size());
    ASSERT_TRUE(is_valid_utf8(bytes));
  }
}

TEST(Unicode, BadBytesAreReplacedByMaximalParts) {
  // The Unicode Standard 15, table 3-8 and section 3.9.
  const char32_t r = replacement_character;
  EXPECT_EQ(decode_all("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41"), (std::vector<char32_t>{r, r, r, r, r, r, r, r, 'A'}));
  EXPECT_EQ(decode_all("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41"), (std::vector<char32_t>{r, r, r, r, r, r, r, r, 'A'}));
  EXPECT_EQ(decode_all("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"), (std::vector<char32_t>{r, r, r, r, 'A'}));
  EXPECT_EQ(decode_all("\xF4\x91\x92\x93\xFF\x41"), (std::vector<char32_t>{r, r, r, r, r, 'A'}));
  EXPECT_FALSE(is_valid_utf8("a\xC3"));
  EXPECT_FALSE(is_valid_utf8("\xED\xA0\x80"));
  EXPECT_TRUE(is_valid_utf8("\xEF\xBF\xBD"));
}

TEST(Unicode, CategoriesOfKnownCharacters) {
  for (char32_t c : U"aZéßΩжאبक中あ한ǅʰª") {
    if (c != 0) {
      EXPECT_TRUE(is_letter(c)) << static_cast<uint32_t>(c);
    }
  }
  for (char32_t c : U"7٣²½Ⅷ㊿") {
    if (c != 0) {
      EXPECT_TRUE(is_number(c) && is_word(c) && !is_letter(c)) << static_cast<uint32_t>(c);
    }
  }
  EXPECT_TRUE(is_mark(0x301) && !is_word(0x301));  // combining acute accent
  EXPECT_TRUE(is_word('_') && is_punctuation('_') && !is_letter('_'));
  EXPECT_TRUE(!is_word(0x203F) && is_punctuation(0x203F));  // the undertie is of the underscore's category
  EXPECT_TRUE(is_symbol('+') && is_symbol(0x20AC) && !is_word(0x20AC));
  EXPECT_FALSE(is_word(0x110000) || is_word(0xD800));
}

TEST(Unicode, WhiteSpaceIsTheProperty) {
  // PropList.txt: White_Space.
  std::vector<char32_t> expected = {9, 10, 11, 12, 13, 32, 0x85, 0xA0, 0x1680};
  for (char32_t c = 0x2000; c <= 0x200A; ++c) expected.push_back(c);
  expected.insert(expected.end(), {0x2028, 0x2029, 0x202F, 0x205F, 0x3000});
  std::vector<char32_t> found;
  for (char32_t c = 0; c <= 0x10FFFF; ++c)
    if (is_space(c)) found.push_back(c);
  EXPECT_EQ(found, expected);
}

TEST(Unicode, LowerCaseIsOneCharacterToOne) {
  EXPECT_EQ(to_lower(U'A'), U'a');
  EXPECT_EQ(to_lower(U'É'), U'é');
  EXPECT_EQ(to_lower(U'Σ'), U'σ');
  EXPECT_EQ(to_lower(U'ǅ'), U'ǆ');
  EXPECT_EQ(to_lower(U'ß'), U'ß');
  EXPECT_EQ(to_upper(U'ж'), U'Ж');
  EXPECT_EQ(to_lower(0x10400), char32_t{0x10428});  // Deseret
}

TEST(Unicode, NormalFormC) {
  EXPECT_EQ(nfc("plain"), "plain");
  EXPECT_EQ(nfc("e\xCC\x81"), "\xC3\xA9");
  EXPECT_EQ(nfc("\xE2\x84\xAB"), "\xC3\x85");                              // Angstrom sign
  EXPECT_EQ(nfc("\xE1\x84\x92\xE1\x85\xA1\xE1\x86\xAB"), "\xED\x95\x9C");  // Hangul
  EXPECT_EQ(nfc("\xE0\xA5\x98"), "\xE0\xA4\x95\xE0\xA4\xBC");              // a composition exclusion
  EXPECT_EQ(nfc(std::string_view("a\0\xC3\xA9", 4)), std::string("a\0\xC3\xA9", 4));
  EXPECT_THROW(nfc("\xFF"), Error);
}

TEST(Words, AreRunsOfWordCharacters) {
  EXPECT_EQ(words_of("Don't STOP: x_1, 3.14!"), (std::vector<std::string>{"don", "t", "stop", "x_1", "3", "14"}));
  EXPECT_EQ(words_of("ÉTÉ à Œuvre"), (std::vector<std::string>{"été", "à", "œuvre"}));
  EXPECT_EQ(words_of("私は学生です。はい"), (std::vector<std::string>{"私は学生です", "はい"}));
  EXPECT_EQ(words_of("mixed中文ABC x²"), (std::vector<std::string>{"mixed中文abc", "x²"}));
  EXPECT_EQ(words_of("cafe\xCC\x81s"), (std::vector<std::string>{"cafe", "s"}));  // a combining mark is no \w
  EXPECT_TRUE(words_of("").empty());
  EXPECT_TRUE(words_of(" -- ¡… ").empty());
}

TEST(Words, LowerCaseIsTheFullMapping) {
  EXPECT_EQ(words_of("İSTANBUL xİ"), (std::vector<std::string>{"i", "stanbul", "xi"}));
  EXPECT_EQ(words_of("ΟΔΟΣ ΣΟΦΟΣ, Σ ΑΣ'Α ΑΣ'"), (std::vector<std::string>{"οδος", "σοφος", "σ", "ασ", "α", "ας"}));
  EXPECT_EQ(words_of("Straße ᾈ"), (std::vector<std::string>{"straße", "ᾀ"}));
}

TEST(Words, AgreeWithTheDefinitionOnEveryCharacter) {
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    std::string text = "a", lower;
    append_utf8(text, c);
    append_utf8(lower, to_lower(c));
    text += "b";
    if (c == 0x130) continue;  // two characters: LowerCaseIsTheFullMapping
    const auto expected = is_word(c) ? std::vector<std::string>{"a" + lower + "b"} : std::vector<std::string>{"a", "b"};
    ASSERT_EQ(words_of(text), expected) << static_cast<uint32_t>(c);
  }
}

TEST(Words, HashesAreThoseOfTheWords) {
  EXPECT_EQ(word_hashes("Été, été"), (std::vector<uint64_t>{hash64("été"), hash64("été")}));
}

}  // namespace
}  // namespace ds
