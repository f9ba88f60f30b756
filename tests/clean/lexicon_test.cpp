#include "clean/lexicon.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/rng.h"
#include "text/units.h"
#include "text/words.h"

namespace ds {
namespace {

double share(std::string_view text, const Lexicon& lexicon) {
  const double found = lexicon_share(text, word_hashes(text), lexicon);
  EXPECT_EQ(found, lexicon_share(unit_hashes(text), lexicon)) << text;
  return found;
}

Lexicon lexicon_of(const std::vector<std::string>& entries) {
  Lexicon lexicon;
  for (const auto& entry : entries) EXPECT_TRUE(lexicon.add(entry)) << entry;
  return lexicon;
}

TEST(LexiconEntries, WordsMatchWhole) {
  const Lexicon lexicon = lexicon_of({"Bother", "naïve"});
  EXPECT_EQ(share("BOTHER! said Pooh", lexicon), 1.0 / 3);
  EXPECT_EQ(share("Brother, bothers, bother_", lexicon), 0);
  EXPECT_EQ(share("NAÏVE", lexicon), 1);
  EXPECT_EQ(share("", lexicon), 0);
  EXPECT_EQ(share("...", lexicon), 0);
  EXPECT_EQ(share(std::string_view("bother\0bother", 13), lexicon), 1);
}

TEST(LexiconEntries, PhrasesCountAllTheirWords) {
  const Lexicon lexicon = lexicon_of({"piece of cake", "piece", "cake and tea", "cake-walk"});
  EXPECT_EQ(share("a piece of cake", lexicon), 3.0 / 4);  // the longest
  EXPECT_EQ(share("a piece, of bread", lexicon), 1.0 / 4);
  EXPECT_EQ(share("piece of cake and tea", lexicon), 3.0 / 5);  // from left to right, none twice
  EXPECT_EQ(share("piece of", lexicon), 1.0 / 2);               // the text ends inside an entry
  EXPECT_EQ(share("Cake\nwalk cake", lexicon), 2.0 / 3);        // any separator
  EXPECT_EQ(share("of cake", lexicon), 0);
}

TEST(LexiconEntries, CjkMatchesInsideRuns) {
  const Lexicon lexicon = lexicon_of({"坏蛋", "坏", "ばか", "바보", "傻B", "bad 人"});
  EXPECT_EQ(share("你是坏蛋吗", lexicon), 2.0 / 5);
  EXPECT_EQ(share("坏人", lexicon), 1.0 / 2);
  EXPECT_EQ(share("お前はばかだ hello", lexicon), 2.0 / 7);
  EXPECT_EQ(share("이 바보야", lexicon), 2.0 / 4);
  EXPECT_EQ(share("你个傻b啊", lexicon), 2.0 / 5);
  EXPECT_EQ(share("你个傻big啊", lexicon), 0);
  EXPECT_EQ(share("bad人", lexicon), 1);
  EXPECT_EQ(share("好人好事", lexicon), 0);
}

// Against a search that tries every entry at every place.
TEST(LexiconEntries, AgreesWithTheObviousSearch) {
  const char* alphabet[] = {"a", "b", "c", "一", "二", "三"};
  for (uint64_t stream = 0; stream < 200; ++stream) {
    const Rng rng{11, stream};
    uint64_t at = 0;
    const auto sequence = [&](size_t longest) {
      std::vector<std::string> units(1 + rng.below(at++, longest));
      for (auto& unit : units) unit = alphabet[rng.below(at++, std::size(alphabet))];
      return units;
    };
    const auto text_of = [](const std::vector<std::string>& units) {
      std::string text;
      for (const auto& unit : units) text += unit + " ";
      return text;
    };
    std::vector<std::vector<std::string>> entries(1 + rng.below(at++, 8));
    Lexicon lexicon;
    for (auto& entry : entries) lexicon.add(text_of(entry = sequence(4)));
    const auto text = sequence(60);
    size_t expected = 0;
    for (size_t i = 0; i < text.size();) {
      size_t longest = 0;
      for (const auto& entry : entries)
        if (i + entry.size() <= text.size() && std::equal(entry.begin(), entry.end(), text.begin() + i))
          longest = std::max(longest, entry.size());
      expected += longest;
      i += std::max<size_t>(longest, 1);
    }
    EXPECT_EQ(share(text_of(text), lexicon), static_cast<double>(expected) / static_cast<double>(text.size()));
  }
}

TEST(LexiconEntries, ManyEntries) {
  Lexicon lexicon;
  for (int i = 0; i < 20000; ++i) lexicon.add("word" + std::to_string(i));
  for (int i = 0; i < 40000; i += 7) ASSERT_EQ(share("word" + std::to_string(i), lexicon), i < 20000 ? 1 : 0) << i;
}

TEST(LexiconFile, OneEntryALine) {
  const auto path = (std::filesystem::temp_directory_path() / ("lexicon_test_" + std::to_string(getpid()))).string();
  const auto read = [&](const std::string& content) {
    std::ofstream(path, std::ios::binary) << content;
    return read_lexicon(path);
  };
  const Lexicon lexicon = read("# comment\r\n\n  Bother \r\nTwo Words\n🖕\n--\n坏蛋");
  EXPECT_EQ(share("bother two words two 坏蛋", lexicon), 5.0 / 6);
  EXPECT_EQ(share("comment", lexicon), 0);
  for (const char* empty : {"", "\n", "# only\n", "🖕\n"}) {
    try {
      read(empty);
      ADD_FAILURE() << empty;
    } catch (const Error& error) {
      EXPECT_EQ(error.what(), path + ": the lexicon has no words");
    }
  }
  std::filesystem::remove(path);
  EXPECT_THROW(read_lexicon(path), Error);
}

TEST(BuiltinLexicon, KnowsAbuseInEnglishAndChinese) {
  const Lexicon lexicon = builtin_lexicon();
  for (const char* text :
       {"What an asshole!", "go kill yourself", "你这个傻逼", "他就是個賤人", "他妈的，滚犊子", "傻B", "MOTHERFUCKER"})
    EXPECT_GT(share(text, lexicon), 0) << text;
}

// Innocent words that hold an abusive one, and innocent neighbours that make one.
TEST(BuiltinLexicon, LeavesInnocentTextsAlone) {
  const Lexicon lexicon = builtin_lexicon();
  for (const char* text : {"Scunthorpe, assassin, class, cocktail, shiitake, Dickens, Sussex",
                           "a chink in the armour of a Maine coon",
                           "Hoe gaat het met u?",
                           "Filmen är slut",
                           "Le train a du retard",
                           "et fag på skolen",
                           "spic and span",
                           "今天是生日你妈妈做了蛋糕",
                           "你妈逼你相亲了吗",
                           "第二逼近法",
                           "自我操作系统",
                           "大脑残留的记忆",
                           "做体操你可以",
                           "杂种优势",
                           "公司在体操馆",
                           "操作系统 操场 情操",
                           "智障儿童教育",
                           "尼玛县",
                           "去死海旅游",
                           "垃圾分类",
                           "他妈妈的手机"})
    EXPECT_EQ(share(text, lexicon), 0) << text;
}

}  // namespace
}  // namespace ds
