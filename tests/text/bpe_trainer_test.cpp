// BPE training against merges recorded from Hugging Face tokenizers, and against a recount after every merge.
#include "text/bpe_trainer.h"

#include <gtest/gtest.h>

#include <map>

#include "base/error.h"
#include "base/parallel.h"
#include "base/rng.h"
#include "io/json.h"
#include "text/byte_level.h"
#include "text/tokenizer.h"
#include "text/word_counts.h"

namespace ds {
namespace {

const Json& cases() {
  static const Json json = parse_json_file(DS_SOURCE_DIR "/tests/text/data/bpe_trainer_cases.json");
  return json;
}

TrainedTokenizer train(const BpeTrainerOptions& options, int repeat = 1) {
  BpeTrainer trainer(options);
  for (int i = 0; i < repeat; ++i)
    for (const Json& text : cases().find("texts")->items) trainer.add(text.text);
  return trainer.train();
}

TEST(BpeTrainer, LearnsTheMergesOfHuggingFace) {
  for (const Json& c : cases().find("cases")->items) {
    BpeTrainerOptions options;
    options.pretokenizer = c.find("pretokenizer")->text;
    options.vocab_size = c.find("vocab_size")->as_int("vocab_size");
    const TrainedTokenizer trained = train(options);
    const Json json = parse_json(trained.tokenizer_json, "trained");
    const Json& merges = *json.find("model")->find("merges");
    const Json& expected = *c.find("merges");
    ASSERT_EQ(merges.items.size(), expected.items.size()) << options.pretokenizer;
    for (size_t i = 0; i < merges.items.size(); ++i)
      EXPECT_EQ(cat(merges.items[i].items[0].text, " ", merges.items[i].items[1].text), expected.items[i].text)
          << options.pretokenizer << " merge " << i;
    EXPECT_EQ(json.find("model")->find("vocab")->members.back().first, c.find("last_token")->text);
    EXPECT_EQ(trained.vocab_size, options.vocab_size);
    const Tokenizer tokenizer = Tokenizer::parse(trained.tokenizer_json, "trained");
    EXPECT_EQ(tokenizer.vocab_size(), options.vocab_size);
    EXPECT_EQ(tokenizer.id("<|pad|>"), 2);
    if (options.pretokenizer == "qwen2") continue;  // NFC changes the text
    for (const Json& text : cases().find("texts")->items)
      EXPECT_EQ(tokenizer.decode(tokenizer.encode(text.text)), text.text);
  }
}

TEST(BpeTrainer, SameBytesForAnyThreads) {
  BpeTrainerOptions options;
  options.vocab_size = 400;
  options.max_words_memory = 12000;  // rare words are forgotten in both runs alike
  std::string bytes[2];
  for (const size_t count : {1, 2}) {
    set_threads(count);
    const TrainedTokenizer trained = train(options, 4000);
    EXPECT_GT(trained.bytes, size_t{2} << 20);
    EXPECT_GT(trained.forgotten.words, 0u);
    EXPECT_GT(trained.forgotten.occurrences, trained.forgotten.words);
    EXPECT_LT(trained.forgotten.occurrences, trained.words);
    bytes[count - 1] = trained.tokenizer_json;
  }
  set_threads(0);
  EXPECT_EQ(bytes[0], bytes[1]);
}

// Slow and plain: counts all pairs anew before each merge.
std::vector<BpeMerge> learn_by_recounting(std::vector<std::vector<int32_t>> words, const std::vector<int64_t>& counts,
                                          std::vector<std::string> tokens, size_t vocab_size, int64_t min_frequency) {
  std::vector<BpeMerge> merges;
  while (tokens.size() < vocab_size) {
    std::map<std::pair<int32_t, int32_t>, int64_t> pairs;
    for (size_t w = 0; w < words.size(); ++w)
      for (size_t i = 0; i + 1 < words[w].size(); ++i) pairs[{words[w][i], words[w][i + 1]}] += counts[w];
    const auto best = std::max_element(pairs.begin(), pairs.end(), [](auto& a, auto& b) { return a.second < b.second; });
    if (best == pairs.end() || best->second < min_frequency) break;
    const auto [left, right] = best->first;
    const std::string text = tokens[static_cast<size_t>(left)] + tokens[static_cast<size_t>(right)];
    const auto known = std::find(tokens.begin(), tokens.end(), text);
    const auto id = static_cast<int32_t>(known - tokens.begin());
    if (known == tokens.end()) tokens.push_back(text);
    merges.push_back({left, right, id});
    for (auto& word : words) {
      std::vector<int32_t> joined;
      for (size_t i = 0; i < word.size(); ++i) {
        const bool here = i + 1 < word.size() && word[i] == left && word[i + 1] == right;
        joined.push_back(here ? id : word[i]);
        i += here;
      }
      word = joined;
    }
  }
  return merges;
}

TEST(BpeTrainer, AgreesWithRecounting) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const Rng rng{seed, 1};
    uint64_t at = 0;
    std::vector<std::string> tokens = {"a", "b", "c", "d", "e", "f"};
    CountedWords words;
    std::vector<std::vector<int32_t>> plain;
    words.begins.push_back(0);
    for (int w = 0; w < 60; ++w) {
      plain.emplace_back();
      for (uint64_t n = 1 + rng.below(at++, 9); n > 0; --n) plain.back().push_back(static_cast<int32_t>(rng.below(at++, 6)));
      words.symbols.insert(words.symbols.end(), plain.back().begin(), plain.back().end());
      words.begins.push_back(words.symbols.size());
      words.counts.push_back(static_cast<int64_t>(1 + rng.below(at++, 50)));
    }
    const auto expected = learn_by_recounting(plain, words.counts, tokens, 40, 5);
    EXPECT_EQ(learn_merges(words, tokens, 40, 5), expected) << "seed " << seed;
    EXPECT_GT(expected.size(), 20u);
  }
}

// Long words are merged by an index of their pairs. Few letters make tokens of one text by several ways.
TEST(BpeTrainer, AgreesWithRecountingInLongWords) {
  size_t made_twice = 0;
  for (uint64_t seed = 0; seed < 6; ++seed) {
    const Rng rng{seed, 2};
    uint64_t at = 0;
    std::vector<std::string> tokens = {"a", "b", "ab", "aba"};
    CountedWords words;
    std::vector<std::vector<int32_t>> plain;
    words.begins.push_back(0);
    for (int w = 0; w < 6; ++w) {
      plain.emplace_back();
      for (uint64_t n = w % 2 ? 20 : 250 + rng.below(at++, 600); n > 0; --n)
        plain.back().push_back(rng.below(at++, 3) ? 0 : 1);
      words.symbols.insert(words.symbols.end(), plain.back().begin(), plain.back().end());
      words.begins.push_back(words.symbols.size());
      words.counts.push_back(static_cast<int64_t>(1 + rng.below(at++, 3)));
    }
    const auto expected = learn_by_recounting(plain, words.counts, tokens, 150, 1);
    made_twice += expected.size() - (150 - tokens.size());
    EXPECT_EQ(learn_merges(words, tokens, 150, 1), expected) << "seed " << seed;
  }
  EXPECT_GT(made_twice, 0u);
}

TEST(BpeTrainer, TakesALongPieceInLinearTime) {
  const Rng rng{1, 3};
  std::string text;
  for (uint64_t i = 0; i < 1000000; ++i) text += static_cast<char>('a' + rng.below(i, 26));
  BpeTrainer trainer({.vocab_size = 6000});  // read through at each merge it would take minutes
  trainer.add(text);
  const TrainedTokenizer trained = trainer.train();
  EXPECT_EQ(trained.vocab_size, 6000);
  EXPECT_EQ(trained.words, 1u);
}

TEST(BpeTrainer, StopsWhereNoPairIsLeft) {
  BpeTrainer trainer({.vocab_size = 1000});
  trainer.add("ab ab");
  const TrainedTokenizer trained = trainer.train();
  EXPECT_EQ(trained.vocab_size, 3 + 256 + 2);  // "ab", " ab"
  BpeTrainer empty({.vocab_size = 1000});
  EXPECT_EQ(empty.train().vocab_size, 259);
}

// Hugging Face tokenizers 0.23.3 learns from "ab ab ab!" with these special tokens the merges "a b" (0, 64) and
// "Ġ ab" (1, 256), into a vocabulary of 258.
TEST(BpeTrainer, ASpecialTokenMayBeTheLetterOfAByte) {
  BpeTrainer trainer({.vocab_size = 258, .special_tokens = {"a", "Ġ"}});
  trainer.add("ab ab ab!");
  const TrainedTokenizer trained = trainer.train();
  const Json json = parse_json(trained.tokenizer_json, "trained");
  const Json& vocabulary = *json.find("model")->find("vocab");
  EXPECT_EQ(vocabulary.members.size(), 258u);
  EXPECT_EQ(vocabulary.find("a")->as_int("a"), 0);
  EXPECT_EQ(vocabulary.find("Ġ")->as_int("Ġ"), 1);
  EXPECT_EQ(vocabulary.find("ab")->as_int("ab"), 256);
  EXPECT_EQ(vocabulary.find("Ġab")->as_int("Ġab"), 257);
  EXPECT_THROW(BpeTrainer({.vocab_size = 255, .special_tokens = {"a", "Ġ"}}), UsageError);
}

TEST(BpeTrainer, LeavesRarePairsAlone) {
  BpeTrainer trainer({.vocab_size = 1000, .min_frequency = 3});
  trainer.add("ab ab ab cd cd");
  EXPECT_EQ(trainer.train().merges, 1u);  // "ab"; " ab" and "cd" come twice
}

TEST(BpeTrainer, PutsBosBeforeTextsOnRequest) {
  BpeTrainerOptions options;
  options.vocab_size = 300;
  options.special_tokens = {"<s>", "</s>"};
  options.add_bos = true;
  const TrainedTokenizer trained = train(options);
  const Tokenizer tokenizer = Tokenizer::parse(trained.tokenizer_json, "trained");
  EXPECT_EQ(tokenizer.encode("the")[0], 0);
  EXPECT_NE(tokenizer.encode("the", false)[0], 0);
  const Json config = parse_json(trained.tokenizer_config_json, "config");
  EXPECT_EQ(config.find("bos_token")->text, "<s>");
  EXPECT_EQ(config.find("eos_token")->text, "</s>");
  EXPECT_EQ(config.find("pad_token"), nullptr);
}

TEST(BpeTrainer, RefusesWhatCannotBe) {
  EXPECT_THROW(BpeTrainer({.vocab_size = 258}), UsageError);
  EXPECT_THROW(BpeTrainer({.pretokenizer = "gpt5"}), UsageError);
  EXPECT_THROW(BpeTrainer({.special_tokens = {"a", "a"}}), UsageError);
  EXPECT_THROW(BpeTrainer({.special_tokens = {""}}), UsageError);
  EXPECT_THROW(BpeTrainer({.special_tokens = {"\xff"}}), UsageError);
  EXPECT_THROW(BpeTrainer({.special_tokens = {}, .add_bos = true}), UsageError);
  BpeTrainer trainer({});
  trainer.add("a\xff");
  EXPECT_THROW(trainer.train(), Error);
}

TEST(WordCounts, CountsAndForgetsTheRarest) {
  WordCounts counts;
  for (int i = 0; i < 3000; ++i)
    for (int j = 0; j <= i % 3; ++j) counts.add(cat("w", i), 1);
  counts.add("", 7);
  EXPECT_EQ(counts.size(), 3001u);
  const size_t before = counts.cost();
  EXPECT_EQ(counts.forget_rarest(before).words, 0u);
  const WordCounts::Forgotten forgotten = counts.forget_rarest(before * 5 / 6);  // of count 1, the later half
  EXPECT_EQ(forgotten.words, forgotten.occurrences);
  EXPECT_NEAR(static_cast<double>(forgotten.words), 500, 40);
  EXPECT_LE(counts.cost(), before * 5 / 6);
  EXPECT_EQ(counts.size(), 3001 - forgotten.words);
  int64_t total = 0, empty = 0;
  counts.for_each([&](std::string_view word, int64_t count) {
    total += count;
    if (word.empty()) empty = count;
  });
  EXPECT_EQ(total, 1000 * (1 + 2 + 3) + 7 - static_cast<int64_t>(forgotten.occurrences));
  EXPECT_EQ(empty, 7);
  counts.add(std::string(100000, 'x'), 50);  // never fits, and makes no other go
  EXPECT_EQ(counts.forget_rarest(before * 5 / 6).words, 1u);
}

}  // namespace
}  // namespace ds
