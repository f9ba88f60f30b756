#include "text/overlap.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/parallel.h"
#include "base/rng.h"
#include "text/words.h"

namespace ds {
namespace {

using Words = std::vector<std::string>;

std::string joined(const Words& words, const std::string& space = " ") {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : space) + word;
  return text;
}

// Numbers one after the other.
struct Dice {
  Rng rng;
  uint64_t position = 0;
  size_t below(size_t bound) { return rng.below(position++, bound); }
};

// A word of one to nine letters, the same for the same number.
std::string word_of(size_t number) {
  const Rng rng{1, number};
  std::string word;
  for (size_t i = 0, size = 1 + rng.below(100, 9); i < size; ++i) word += static_cast<char>('a' + rng.below(i, 26));
  return word + static_cast<char>('a' + number % 26);
}

size_t evidence(const std::string& word) { return std::min<size_t>(word.size(), 7); }

// What overlap.h says, in strings and without any index. Words are ASCII letters; no line has less than the whole text.
class Reference {
 public:
  struct Hit {
    uint32_t item;
    double share = 0;
    uint32_t run = 0;
    bool operator==(const Hit&) const = default;
  };
  Reference(size_t n, double threshold, std::vector<std::vector<Words>> items)
      : n_(n), threshold_(threshold), items_(std::move(items)) {
    for (size_t i = 0; i < items_.size(); ++i)
      for (const Words& text : items_[i]) {
        for (size_t at = 0; at + 3 <= text.size(); ++at) having_[part(text, at, 3)].insert(i);
        const size_t length = std::min(n_, text.size());
        for (size_t at = 0; length >= 3 && at + length <= text.size(); ++at) runs_[part(text, at, length)].insert(i);
      }
  }

  std::vector<Hit> hits(const Words& record, double& largest) const {
    std::vector<Hit> hits;
    largest = 0;
    const auto runs = runs_of(record);
    for (uint32_t i = 0; i < items_.size(); ++i) {
      Hit hit{i, record.size() < 3 ? 0 : share(items_[i], record), 0};
      if (runs.count(i)) hit.run = runs.at(i);
      if (hit.run > 0 && hit.run < n_) hit.share = 1;
      largest = std::max(largest, hit.share);
      if (hit.run > 0 || hit.share >= threshold_) hits.push_back(hit);
    }
    std::stable_sort(hits.begin(), hits.end(),
                     [](const Hit& a, const Hit& b) { return a.share != b.share ? a.share > b.share : a.run > b.run; });
    return hits;
  }

 private:
  static Words part(const Words& words, size_t at, size_t length) {
    return Words(words.begin() + at, words.begin() + at + length);
  }
  bool is_evidence(const Words& text, size_t at) const {
    return at + 3 <= text.size() && having_.at(part(text, at, 3)).size() <= 16;
  }

  double share(const std::vector<Words>& texts, const Words& record) const {
    double best = 0;
    for (const Words& text : texts) best = std::max(best, share_of({text}, record));
    best = std::max(best, share_of(texts, record));
    if (record.size() >= n_) return best;
    size_t covered = 0, letters = 0;
    for (size_t w = 0; w < record.size(); ++w) {
      bool is = false;
      for (size_t at = w < 2 ? 0 : w - 2; at <= w && at + 3 <= record.size(); ++at)
        for (const Words& text : texts)
          for (size_t t = 0; t + 3 <= text.size(); ++t)
            is = is || (is_evidence(text, t) && part(text, t, 3) == part(record, at, 3));
      covered += is;
      letters += is ? evidence(record[w]) : 0;
    }
    const double share = static_cast<double>(covered) / static_cast<double>(record.size());
    return covered >= 5 && static_cast<double>(letters) * share >= 20 ? std::max(best, share) : best;
  }

  double share_of(const std::vector<Words>& texts, const Words& record) const {
    size_t size = 0, coverable = 0;
    for (const Words& text : texts) {
      if (text.size() < 3) continue;  // such texts are no part of an item
      size += text.size();
      for (size_t w = 0; w < text.size(); ++w)
        coverable +=
            is_evidence(text, w) || (w >= 1 && is_evidence(text, w - 1)) || (w >= 2 && is_evidence(text, w - 2));
    }
    double best = 0;
    for (size_t begin = 0; begin < record.size(); ++begin) {
      const Words window = part(record, begin, std::min(2 * size, record.size() - begin));
      std::set<Words> grams;
      for (size_t at = 0; at + 3 <= window.size(); ++at) grams.insert(part(window, at, 3));
      size_t covered = 0, letters = 0, letters_here = 0;
      std::set<Words> shared;
      for (const Words& text : texts) {
        std::vector<bool> is(text.size());
        for (size_t t = 0; t + 3 <= text.size(); ++t)
          if (is_evidence(text, t) && grams.count(part(text, t, 3))) {
            shared.insert(part(text, t, 3));
            is[t] = is[t + 1] = is[t + 2] = true;
          }
        for (size_t w = 0; w < text.size(); ++w) {
          covered += is[w];
          letters += is[w] ? evidence(text[w]) : 0;
        }
      }
      std::vector<bool> here(window.size());
      for (size_t at = 0; at + 3 <= window.size(); ++at)
        if (shared.count(part(window, at, 3))) here[at] = here[at + 1] = here[at + 2] = true;
      for (size_t w = 0; w < window.size(); ++w) letters_here += here[w] ? evidence(window[w]) : 0;
      const double share = static_cast<double>(covered) / static_cast<double>(std::max<size_t>(coverable, 1));
      if (covered >= 5 && static_cast<double>(std::min(letters, letters_here)) * share >= 20)
        best = std::max(best, share);
    }
    return best;
  }

  // The longest run of each item that is the first to have it.
  std::map<uint32_t, uint32_t> runs_of(const Words& record) const {
    std::map<uint32_t, uint32_t> longest;
    for (size_t length = 3; length <= n_; ++length) {
      uint32_t stretch = 0;
      size_t before = ~size_t{0};
      for (size_t at = 0; at + length <= record.size(); ++at) {
        const Words run = part(record, at, length);
        const auto found = runs_.find(run);
        size_t letters = 0;
        for (const std::string& word : run) letters += evidence(word);
        const bool lines = length < n_ && length == record.size() && letters >= 10;
        const bool is = found != runs_.end() && found->second.size() <= 16 && ((letters >= 20 && length >= 5) || lines);
        if (!is) {
          before = ~size_t{0};
          continue;
        }
        const size_t item = *found->second.begin();
        stretch = item == before && length == n_ ? stretch + 1 : static_cast<uint32_t>(length);
        before = item;
        longest[static_cast<uint32_t>(item)] = std::max(longest[static_cast<uint32_t>(item)], stretch);
      }
    }
    return longest;
  }

  size_t n_;
  double threshold_;
  std::vector<std::vector<Words>> items_;
  std::map<Words, std::set<size_t>> having_, runs_;
};

OverlapIndex index_of(size_t n, double threshold, const std::vector<std::vector<Words>>& items) {
  OverlapIndex index(n, threshold);
  for (uint32_t i = 0; i < items.size(); ++i)
    for (const Words& text : items[i]) index.add(i, overlap_words(joined(text)));
  index.freeze();
  return index;
}

TEST(Overlap, IsWhatTheDefinitionSays) {
  size_t with_share = 0, with_run = 0, with_short = 0, below = 0, common = 0;
  for (uint64_t round = 0; round < 60; ++round) {
    Dice dice{{round, 7}};
    const size_t longest = dice.below(2) == 0 ? 12 : 50, n = 5 + dice.below(9);
    const size_t vocabulary = 6 + dice.below(longest == 12 ? 60 : 500);
    const auto some_words = [&](size_t most) {
      Words words(dice.below(most + 1));
      for (std::string& word : words) word = word_of(dice.below(vocabulary));
      return words;
    };
    std::vector<std::vector<Words>> items(1 + dice.below(22));
    const Words shared = some_words(8);
    for (auto& texts : items) {
      texts.resize(1 + dice.below(3));
      for (Words& text : texts) {
        text = some_words(longest);
        if (dice.below(3) == 0) text.insert(text.end(), shared.begin(), shared.end());
      }
    }
    const Reference reference(n, 0.5, items);
    const OverlapIndex index = index_of(n, 0.5, items);
    for (int r = 0; r < 8; ++r) {
      Words record = some_words(40);
      for (size_t copies = dice.below(4); copies > 0; --copies) {
        // A copy of a part of a text, some of its words replaced or with others between.
        const Words& text = items[dice.below(items.size())][0];
        const size_t at = dice.below(record.size() + 1);
        Words copy;
        const size_t harm = dice.below(3);
        for (size_t w = dice.below(2) * dice.below(text.size() + 1); w < text.size(); ++w) {
          copy.push_back(harm == 1 && dice.below(6) == 0 ? word_of(dice.below(vocabulary)) : text[w]);
          if (harm == 2 && dice.below(4) == 0) copy.push_back(word_of(dice.below(vocabulary)));
        }
        if (dice.below(4) == 0)
          record = copy;
        else
          record.insert(record.begin() + at, copy.begin(), copy.end());
      }
      double largest;
      const auto expected = reference.hits(record, largest);
      const Overlap found = index.find(joined(record));
      std::vector<Reference::Hit> hits;
      for (const OverlapHit& hit : found.hits) hits.push_back({hit.item, hit.share, hit.run});
      ASSERT_EQ(found.share, largest) << "round " << round << ", n " << n << ": " << joined(record);
      ASSERT_EQ(hits.size(), expected.size()) << "round " << round << ", n " << n << ": " << joined(record);
      for (size_t i = 0; i < hits.size(); ++i) {
        EXPECT_EQ(hits[i].item, expected[i].item) << "round " << round << ": " << joined(record);
        EXPECT_EQ(hits[i].share, expected[i].share) << "round " << round << ": " << joined(record);
        EXPECT_EQ(hits[i].run, expected[i].run) << "round " << round << ": " << joined(record);
        with_share += hits[i].share >= 0.5;
        with_run += hits[i].run >= n;
        with_short += hits[i].run > 0 && hits[i].run < n;
      }
      below += largest > 0 && largest < 0.5;
      common += items.size() > 16;
    }
  }
  // The cases were there.
  EXPECT_GT(with_share, 200u);
  EXPECT_GT(with_run, 100u);
  EXPECT_GT(with_short, 20u);
  EXPECT_GT(below, 3u);
  EXPECT_GT(common, 100u);
}

// The words of overlap_words are those of WordReader where there is no ideograph, wherever they lie in the text.
TEST(OverlapWords, AreThoseOfWords) {
  const std::vector<std::string> pieces = {"a",       "B",
                                           "the",     "Contamination",
                                           "x_1",     " ",
                                           "  ",      "\n",
                                           ".",       "-",
                                           "'",       "é",
                                           "ÉCOLE",   "ß",
                                           "İ",       "ΟΔΟΣ",
                                           "д",       "7",
                                           "19",      "²",
                                           "\t",      std::string(1, '\0'),
                                           "\xff",    "\xe2\x82",
                                           "…",       "averyveryverylongwordindeed",
                                           "_",       "@[`{/:",
                                           "ÅNGSTRÖM"};
  std::map<std::string, uint64_t> hash_of;
  std::map<uint64_t, std::string> word_of_hash;
  size_t total = 0;
  for (uint64_t round = 0; round < 2000; ++round) {
    Dice dice{{round, 3}};
    std::string text;
    for (size_t i = dice.below(30); i > 0; --i) text += pieces[dice.below(pieces.size())];
    Words expected;
    WordReader reader(text);
    for (std::string_view word; reader.next(word);) expected.emplace_back(word);
    const auto hashes = overlap_words(text);
    ASSERT_EQ(hashes.size(), expected.size()) << text;
    total += hashes.size();
    for (size_t i = 0; i < hashes.size(); ++i) {
      EXPECT_EQ(hash_of.try_emplace(expected[i], hashes[i]).first->second, hashes[i]) << expected[i] << " in " << text;
      EXPECT_EQ(word_of_hash.try_emplace(hashes[i], expected[i]).first->second, expected[i]);
    }
  }
  EXPECT_GT(total, 5000u);
}

TEST(OverlapWords, EvidenceIsInTheLowBits) {
  const auto bits = [](std::string_view text) {
    std::vector<uint64_t> all;
    for (const uint64_t word : overlap_words(text)) all.push_back(word & 7);
    return all;
  };
  EXPECT_EQ(bits("a to the word seven eleven ancients eighteen_or_more"),
            (std::vector<uint64_t>{1, 2, 3, 4, 5, 6, 7, 7}));
  EXPECT_EQ(bits("7 2024 123456789 v2 été 漢字かなカナ"), (std::vector<uint64_t>{1, 1, 1, 2, 3, 3, 3, 3, 3, 3, 3}));
}

TEST(OverlapWords, IdeographsAreWords) {
  EXPECT_EQ(overlap_words("我喜欢读书"), overlap_words("我 喜 欢 读 书"));
  EXPECT_EQ(overlap_words("第3章abc").size(), 4u);
  EXPECT_EQ(overlap_words("ひらがな・カタカナ").size(), 8u);
  EXPECT_EQ(overlap_words("한국어 문장").size(), 2u);  // Korean has spaces
}

TEST(OverlapWords, Edges) {
  EXPECT_TRUE(overlap_words("").empty());
  EXPECT_TRUE(overlap_words(std::string(1000, ' ')).empty());
  EXPECT_TRUE(overlap_words(std::string(1000, '\0')).empty());
  EXPECT_EQ(overlap_words("x").size(), 1u);
  const std::string longest(1 << 20, 'z');
  EXPECT_EQ(overlap_words(longest).size(), 1u);
  EXPECT_NE(overlap_words(longest), overlap_words(longest + "z"));
  EXPECT_EQ(overlap_words(longest), overlap_words(" " + longest + "."));
}

TEST(OverlapWords, Places) {
  const std::string text = "One, two\n 漢字 (three) éa";
  const std::vector<size_t> asked = {4, 0, 2, 2, 5, 9};
  const auto places = overlap_places(text, asked);
  const auto at = [&](size_t i) { return text.substr(places[i].begin, places[i].end - places[i].begin); };
  EXPECT_EQ(at(0), "three");
  EXPECT_EQ(at(1), "One");
  EXPECT_EQ(at(2), "漢");
  EXPECT_EQ(at(3), "漢");
  EXPECT_EQ(at(4), "éa");
  EXPECT_EQ(places[5].begin, text.size());
}

TEST(Overlap, ShortTextsAsLines) {
  OverlapIndex index(13, 0.5);
  index.add(7, overlap_words("What animal eats plants?"));             // evidence 19
  index.add(8, overlap_words("Which is recyclable?"));                 // 14
  index.add(9, overlap_words("It is so"));                             // 6: too little
  index.add(10, overlap_words("Wind can cause erosion of the soil"));  // 7 words
  index.freeze();
  const auto item = [&](std::string_view text) {
    const Overlap found = index.find(text);
    return found.hits.empty() ? 0u : found.hits[0].item;
  };
  EXPECT_EQ(item("what ANIMAL eats -- plants"), 7u);
  EXPECT_EQ(item("Quiz\n* What animal eats plants?\nB"), 7u);
  EXPECT_EQ(item("We ask what animal eats plants and why."), 0u);
  EXPECT_EQ(item("Which is\nrecyclable?\n"), 8u);
  EXPECT_EQ(item("Which is recyclable? Glass."), 0u);
  EXPECT_EQ(item("It is so"), 0u);
  EXPECT_EQ(item("As wind can cause erosion of the soil, trees are planted."), 10u);
}

TEST(Overlap, ChineseByCharacters) {
  OverlapIndex index(13, 0.5);
  index.add(0, overlap_words("小明有五个苹果，他给了小红两个苹果，请问小明现在还剩下几个苹果？"));
  index.freeze();
  EXPECT_EQ(index.find("题目：小明有五个苹果,他给了小红两个苹果，请问小明现在还剩下几个苹果?答案是三个。").share, 1);
  EXPECT_GE(index.find("小明有五个大苹果，他给了那小红两个红苹果，请问问小明现在那还剩下几个苹果").share, 0.7);
  EXPECT_TRUE(index.find("今天的天气很好，我们去公园里散步，看见了许多美丽的花。").hits.empty());
}

TEST(Overlap, WhereItStands) {
  OverlapIndex index(13, 0.5);
  const std::string item =
      "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May";
  index.add(3, overlap_words(item));
  index.freeze();
  const std::string before = "Some text before, of many words that have nothing to do with it.\n\n", after = "\nMore.";
  const Overlap found = index.find(before + item + after);
  ASSERT_EQ(found.hits.size(), 1u);
  EXPECT_EQ(found.hits[0].item, 3u);
  EXPECT_EQ(found.hits[0].share, 1);
  EXPECT_EQ(found.hits[0].run, 20u);
  EXPECT_EQ(found.hits[0].begin, before.size());
  EXPECT_EQ(found.hits[0].end, before.size() + item.size());
}

TEST(Overlap, EmptyIndexAndTexts) {
  OverlapIndex empty(13, 0.5);
  empty.freeze();
  EXPECT_TRUE(empty.find("some text of several words").hits.empty());
  OverlapIndex index(13, 0.5);
  index.add(0, {});
  index.add(1, overlap_words("two words"));
  index.add(2, overlap_words("an item of the benchmark with enough of evidence"));
  index.freeze();
  for (const std::string& text : {std::string(), std::string("a"), std::string(100, '\0'), std::string("\xff\xfe")})
    EXPECT_TRUE(index.find(text).hits.empty());
  EXPECT_EQ(index.find("an item of the benchmark with enough of evidence").hits.at(0).item, 2u);
}

TEST(Overlap, WrongOptions) {
  EXPECT_THROW(OverlapIndex(4, 0.5), UsageError);
  EXPECT_THROW(OverlapIndex(101, 0.5), UsageError);
  EXPECT_THROW(OverlapIndex(13, 0), UsageError);
  EXPECT_THROW(OverlapIndex(13, 1.5), UsageError);
  EXPECT_THROW(OverlapIndex(13, 0.0 / 0.0), UsageError);
}

TEST(Overlap, MemoryAndThreads) {
  Dice dice{{5, 5}};
  OverlapIndex index(13, 0.5);
  std::vector<std::string> texts;
  for (uint32_t i = 0; i < 5000; ++i) {
    Words words(60);
    for (std::string& word : words) word = word_of(dice.below(20000));
    texts.push_back(joined(words));
    index.add(i, overlap_words(texts.back()));
  }
  index.freeze();
  EXPECT_EQ(index.words(), 300000u);
  EXPECT_LT(static_cast<double>(index.memory()) / 300000, 32);  // what the header says, with room for powers of two
  std::vector<Overlap> found(texts.size());
  parallel_for(texts.size(), 16, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) found[i] = index.find("Before. " + texts[i] + " After.");
  });
  for (uint32_t i = 0; i < texts.size(); ++i) {
    ASSERT_EQ(found[i].hits.size(), 1u);
    EXPECT_EQ(found[i].hits[0].item, i);
    EXPECT_EQ(found[i].hits[0].run, 60u);
  }
}

}  // namespace
}  // namespace ds
