#include "clean/duplicates/substrings.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/rng.h"

namespace ds {
namespace {

std::string mask_of(const std::string& text, const TextRemoval& removal) {
  std::string mask(text.size(), '.');
  size_t at = 0, bytes = 0;
  for (const TextEdit& edit : removal.edits) {
    EXPECT_TRUE(edit.begin >= at && edit.begin < edit.end && edit.end <= text.size() && edit.replacement.empty());
    mask.replace(edit.begin, edit.end - edit.begin, edit.end - edit.begin, 'x');
    at = edit.end;
    bytes += edit.end - edit.begin;
  }
  EXPECT_EQ(removal.bytes, bytes);
  return mask;
}

// What the header says, by sets of strings: each passage of whole characters of at least `least` bytes (up to 3 more:
// longer ones are made of these) that stood in a text before, or that far left in this one.
struct Plain {
  size_t least;
  std::set<std::string> seen{};

  std::string mask(const std::string& text) {
    std::string mask(text.size(), '.');
    std::map<std::string, size_t> first;
    const auto inside = [&](size_t at) { return at < text.size() && (text[at] & 0xC0) == 0x80; };
    for (size_t begin = 0; begin < text.size(); ++begin)
      for (size_t size = least; size < least + 4 && begin + size <= text.size(); ++size) {
        if (inside(begin) || inside(begin + size)) continue;
        const std::string passage = text.substr(begin, size);
        const size_t before = first.try_emplace(passage, begin).first->second;
        if (seen.contains(passage) || before + least <= begin) mask.replace(begin, size, size, 'x');
      }
    for (const auto& [passage, begin] : first) seen.insert(passage);
    return mask;
  }
};

// Texts of random letters in which passages of all lengths come again, some of them with a changed character.
std::vector<std::string> random_texts(uint64_t stream, size_t count, const std::vector<std::string>& letters) {
  const Rng rng{55, stream};
  uint64_t at = 0;
  const auto next = [&](uint64_t bound) { return rng.below(at++, bound); };
  std::vector<std::string> texts;
  std::vector<std::vector<size_t>> whole;  // indices of letters of all texts
  for (size_t i = 0; i < count; ++i) {
    std::vector<size_t> text;
    for (uint64_t parts = next(5); parts > 0; --parts) {
      const auto& from = i > 0 && next(3) ? whole[next(i)] : text;
      const uint64_t size = next(120);
      if (from.empty() || next(3) == 0) {
        for (uint64_t k = 0; k < size; ++k) text.push_back(next(letters.size()));
      } else {
        const size_t begin = next(from.size());
        std::vector<size_t> copy(from.begin() + static_cast<ptrdiff_t>(begin),
                                 from.begin() + static_cast<ptrdiff_t>(std::min<size_t>(from.size(), begin + size)));
        if (!copy.empty() && next(4) == 0) copy[next(copy.size())] = next(letters.size());
        text.insert(text.end(), copy.begin(), copy.end());
      }
    }
    whole.push_back(text);
    texts.emplace_back();
    for (const size_t letter : text) texts.back() += letters[letter];
  }
  return texts;
}

TEST(RepeatedSubstrings, AreThoseOfSetsOfStrings) {
  const std::vector<std::vector<std::string>> alphabets{
      {"a", "b", "c", "d", "e", "f", "g", "h", " ", ".", "\n", std::string(1, '\0')},
      {"中", "文", "字", "é", "ê", "a", "😀", "😁", "，", "。"},
      {"丁", "丂", "七", "丄", "丅"}};  // all begin with the same two bytes
  size_t exact = 0, total = 0, all_bytes = 0, removed = 0;
  for (uint64_t stream = 0; stream < 150; ++stream) {
    const size_t least = 32 + stream % 20;
    RepeatedSubstrings passages(least, false);
    Plain plain{least};
    for (const std::string& text : random_texts(stream, 40, alphabets[stream % alphabets.size()])) {
      const TextRemoval removal = passages.settle(text, passages.prepare(text));
      const std::string mask = mask_of(text, removal), expected = plain.mask(text);
      ++total;
      if (passages.work().common == 0) {
        ASSERT_EQ(mask, expected) << stream << "\n" << text;
        ++exact;
      }
      for (size_t i = 0; i < text.size(); ++i)
        ASSERT_TRUE(mask[i] == '.' || expected[i] == 'x')
            << "what did not stand before was taken out: " << i << " " << text;
      EXPECT_EQ(
          removal.nothing_left, removal.bytes > 0 && [&] {
            for (size_t i = 0; i < text.size(); ++i)
              if (mask[i] == '.' && text[i] != ' ' && text[i] != '\n') return false;
            return true;
          }());
      all_bytes += text.size();
      removed += removal.bytes;
    }
  }
  EXPECT_GT(exact, total / 2);
  EXPECT_GT(removed, all_bytes / 5);
  EXPECT_LT(removed, all_bytes / 5 * 4);
}

std::string letters(uint64_t stream, size_t size) {
  const Rng rng{56, stream};
  std::string text(size, ' ');
  for (size_t i = 0; i < size; ++i) text[i] = static_cast<char>('a' + rng.below(i, 26));
  return text;
}

TEST(RepeatedSubstrings, AtTheLengthAndNotBelow) {
  const std::string passage = letters(1, 200);
  RepeatedSubstrings passages(200, false);
  const auto settle = [&](const std::string& text) {
    return mask_of(text, passages.settle(text, passages.prepare(text)));
  };
  const std::string first = "A" + passage + "B";
  EXPECT_EQ(settle(first), std::string(202, '.'));
  EXPECT_EQ(settle("CD" + passage + "E"), ".." + std::string(200, 'x') + ".");
  EXPECT_EQ(settle("F" + passage.substr(1) + "G"), std::string(201, '.'));
  EXPECT_EQ(settle(first), std::string(202, 'x'));
  // Twice in one text: the second goes.
  const std::string other = letters(2, 250);
  EXPECT_EQ(settle(other + "-" + other), std::string(251, '.') + std::string(250, 'x'));
  // What overlaps itself stays: a period is no earlier place until min_length bytes lie between.
  std::string period = letters(13, 100);
  EXPECT_EQ(settle(period + period + period + period.substr(0, 99)), std::string(399, '.'));
  period = letters(14, 100);
  EXPECT_EQ(settle(period + period + period + period), std::string(200, '.') + std::string(200, 'x'));
  EXPECT_EQ(settle(std::string(500, 'a')), std::string(200, '.') + std::string(300, 'x'));
  EXPECT_TRUE(passages.prepare("").empty());
  EXPECT_TRUE(passages.settle("", {}).edits.empty());
}

TEST(RepeatedSubstrings, DoNotCrossFromTextToText) {
  const std::string a = letters(3, 150), b = letters(4, 150);
  RepeatedSubstrings passages(200, false);
  for (const std::string& text : {letters(5, 100) + a, b + letters(6, 100)})
    passages.settle(text, passages.prepare(text));
  const std::string joined = a + b;
  EXPECT_TRUE(passages.settle(joined, passages.prepare(joined)).edits.empty());
  const std::string broken = letters(7, 300) + '\xFF';
  EXPECT_THROW(passages.prepare(broken), Error);
}

TEST(RepeatedSubstrings, ALongCopyGoesWhole) {  // longer than what is read from the file at once
  const std::string book = letters(8, 3000000);
  RepeatedSubstrings passages(200, false);
  EXPECT_TRUE(passages.settle(book, passages.prepare(book)).edits.empty());
  const uint64_t spilled = passages.spilled(), memory = passages.memory();
  const std::string again = "x" + book.substr(1000) + "y";
  const TextRemoval removal = passages.settle(again, passages.prepare(again));
  ASSERT_EQ(removal.edits.size(), 1u);
  EXPECT_EQ(removal.edits[0].begin, 1u);
  EXPECT_EQ(removal.edits[0].end, again.size() - 1);
  EXPECT_FALSE(removal.nothing_left);
  EXPECT_TRUE(passages.settle(book, passages.prepare(book)).nothing_left);
  EXPECT_LT(passages.spilled(), spilled + again.size() + 2);  // a text that is all repeats is not kept
  EXPECT_LT(memory, book.size() / 6 + 400000);                // 12.5 bytes every 76, and what an empty table has
}

TEST(RepeatedSubstrings, WholeSentences) {
  const std::string one = letters(10, 60) + ". ", two = letters(11, 70) + "! ", three = letters(12, 80) + ".";
  RepeatedSubstrings passages(64, true);
  const auto settle = [&](const std::string& text) {
    return mask_of(text, passages.settle(text, passages.prepare(text)));
  };
  EXPECT_EQ(settle(one + two + three), std::string(one.size() + two.size() + three.size(), '.'));
  // The half of `one` and `three` that come too are no whole sentences.
  const std::string text = "Mine" + one.substr(20) + two + three.substr(0, 40) + " ends else.";
  const size_t begin = text.find(two);
  const std::string mask = settle(text);
  EXPECT_EQ(mask.find('x'), begin - 1);  // with the space before it
  EXPECT_EQ(mask.rfind('x'), begin + two.size() - 1);
  EXPECT_EQ(settle("No. " + one.substr(10) + "Yes."), std::string(4 + one.size() - 10 + 4, '.'));
}

TEST(RepeatedSubstrings, TheOrderOfPreparingDoesNotMatter) {
  const auto texts = random_texts(99, 60, {"a", "b", "c", "d", "é", "中"});
  RepeatedSubstrings one(40, false), two(40, false);
  std::vector<std::vector<TextAnchor>> prepared(texts.size());
  for (size_t i = texts.size(); i-- > 0;) prepared[i] = two.prepare(texts[i]);
  for (size_t i = 0; i < texts.size(); ++i)
    EXPECT_EQ(mask_of(texts[i], one.settle(texts[i], one.prepare(texts[i]))),
              mask_of(texts[i], two.settle(texts[i], prepared[i])));
}

// Runs and periods make every place look like the next; what is compared stays in proportion to the text.
TEST(RepeatedSubstrings, HardTextsTakeLinearTime) {
  std::vector<std::string> hard{std::string(1000000, 'a')};
  for (const size_t period : {2, 5, 7, 50, 199, 200, 201, 3000}) {
    std::string text;
    while (text.size() < 1000000) text += letters(period, period);
    hard.push_back(text);
  }
  std::string runs, bits = "ab", lines;
  for (uint64_t i = 0; runs.size() < 1000000; ++i) runs += std::string(150 + i % 49, '-') + std::to_string(i);
  for (uint64_t i = 0; lines.size() < 1000000; ++i) {
    for (size_t k = 0; k < 20 + i % 17; ++k) lines += "abcde";
    lines += std::to_string(i * 7919);
  }
  while (bits.size() < 1000000) {  // Thue and Morse
    std::string other = bits;
    for (char& c : other) c = c == 'a' ? 'b' : 'a';
    bits += other;
  }
  hard.insert(hard.end(), {runs, lines, bits});
  RepeatedSubstrings passages(200, false);
  for (const std::string& text : hard) {
    const auto before = passages.work();
    for (int round = 0; round < 2; ++round) {
      const TextRemoval removal = passages.settle(text, passages.prepare(text));
      EXPECT_TRUE(round == 0 || removal.nothing_left) << text.substr(0, 300);
    }
    const auto work = passages.work();
    EXPECT_LT(work.bytes - before.bytes, 150 * text.size()) << text.substr(0, 300);
    EXPECT_LT(work.compared - before.compared, 2 * text.size()) << text.substr(0, 300);
  }
}

TEST(RepeatedSubstrings, LengthsThatMakeNoSenseAreRefused) {
  EXPECT_THROW(RepeatedSubstrings(31, false), UsageError);
  EXPECT_THROW(RepeatedSubstrings((size_t{1} << 20) + 1, false), UsageError);
  RepeatedSubstrings least(32, false), most(size_t{1} << 20, false);
  EXPECT_TRUE(most.prepare("short").empty());
}

}  // namespace
}  // namespace ds
