#include "clean/explain.h"

#include <gtest/gtest.h>

#include <charconv>
#include <set>
#include <sstream>

#include "base/error.h"

namespace ds {
namespace {

const Record& record() {
  static const Record one(R"({"id": 1, "text": "x"})", "corpus.jsonl", 12);
  return one;
}

TEST(Explain, AlignsWhatWasMeasured) {
  Signals signals;
  signals[Signal::words] = 31;
  signals[Signal::repetition] = 5.0 / 6;
  signals[Signal::lang_score] = 1;
  signals.lang = "zh";
  EXPECT_EQ(explain_table(record(), signals, {{Signal::words, "min-words 50 drops it"}}),
            "corpus.jsonl:12\n"
            "signal      value     note                   meaning\n"
            "words       31        min-words 50 drops it  words: runs of letters, digits and _; each CJK character\n"
            "repetition  0.833333                         share of the word 5-grams that occurred before in "
            "the text\n"
            "lang        zh                               language\n"
            "lang_score  1                                how sure the language is\n");
  // Without notes there is no column for them.
  EXPECT_EQ(explain_table(record(), signals),
            "corpus.jsonl:12\n"
            "signal      value     meaning\n"
            "words       31        words: runs of letters, digits and _; each CJK character\n"
            "repetition  0.833333  share of the word 5-grams that occurred before in the text\n"
            "lang        zh        language\n"
            "lang_score  1         how sure the language is\n");
}

TEST(Explain, NotesAreJoinedAndCountedInCharacters) {
  Signals signals;
  signals[Signal::words] = 2;
  EXPECT_EQ(
      explain_table(record(), signals, {{Signal::words, "é"}, {Signal::tokens, "no tokenizer"}, {Signal::words, "b"}}),
      "corpus.jsonl:12\n"
      "signal  value  note          meaning\n"
      "words   2      é, b          words: runs of letters, digits and _; each CJK character\n"
      "tokens  -      no tokenizer  tokens of the tokenizer\n");
}

TEST(Explain, SaysWhereNothingWasMeasured) {
  EXPECT_EQ(explain_table(record(), Signals()), "corpus.jsonl:12\nno signal was measured\n");
}

// Every signal has its line, whose value reads back to six digits.
TEST(Explain, ShowsEverySignal) {
  Signals signals;
  for (size_t i = 0; i < signal_count; ++i) signals.values[i] = 1.0 / static_cast<double>(i + 1);
  std::istringstream in(explain_table(record(), signals));
  std::string line;
  std::getline(in, line);
  std::getline(in, line);
  const size_t value_column = line.find("value"), meaning_column = line.find("meaning");
  for (size_t i = 0; i < signal_count; ++i) {
    ASSERT_TRUE(std::getline(in, line));
    EXPECT_TRUE(line.starts_with(cat(signal_table[i].name, " "))) << line;
    double value = 0;
    std::from_chars(line.data() + value_column, line.data() + line.size(), value);
    EXPECT_NEAR(value, signals.values[i], 1e-5 * signals.values[i]) << line;
    EXPECT_EQ(line.substr(meaning_column), signal_table[i].meaning);
  }
  EXPECT_FALSE(std::getline(in, line));
}

}  // namespace
}  // namespace ds
