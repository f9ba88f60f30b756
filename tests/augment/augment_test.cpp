// ds-augment: neighbours against brute force, paraphrases and grades by their rules, the same bytes for any threads.
#include "augment/augment.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>

#include <unistd.h>

#include "augment/embedding.h"
#include "augment/grade.h"
#include "augment/neighbors.h"
#include "augment/paraphrase.h"
#include "augment/records.h"
#include "base/error.h"
#include "base/parallel.h"
#include "base/rng.h"
#include "io/input.h"
#include "io/json.h"
#include "io/output.h"
#include "io/report.h"

namespace ds {
namespace {

std::string words(uint64_t stream, size_t count, uint64_t vocabulary = 300) {
  const Rng rng{11, stream};
  std::string text;
  for (uint64_t i = 0; i < count; ++i) text += cat(i ? " " : "", "w", rng.below(i, vocabulary), i % 9 == 8 ? "." : "");
  return text;
}

std::vector<std::string> corpus(size_t count) {
  std::vector<std::string> texts;
  for (size_t i = 0; i < count; ++i) {
    texts.push_back(words(i / 3, 40) + (i % 3 ? cat(" extra", i) : ""));
    if (i % 10 == 0) texts.push_back(texts.back());  // the same text again
  }
  texts.push_back("");
  return texts;
}

class Files : public testing::Test {
 protected:
  std::filesystem::path folder = std::filesystem::temp_directory_path() /
                                 cat("ds_augment_", testing::UnitTest::GetInstance()->random_seed(), "_", getpid());
  void SetUp() override { std::filesystem::create_directories(folder); }
  void TearDown() override { std::filesystem::remove_all(folder); }
  std::string path(const std::string& name) const { return (folder / name).string(); }
  std::vector<Json> read(const std::string& name) const {
    std::vector<Json> out;
    const std::string bytes = read_file(path(name));
    for (size_t at = 0; at < bytes.size();) {
      const size_t end = bytes.find('\n', at);
      out.push_back(parse_json(std::string_view(bytes).substr(at, end - at), name));
      at = end + 1;
    }
    return out;
  }
  AugmentOptions options(const std::vector<std::string>& texts, const std::string& output) const {
    std::string lines;
    for (size_t i = 0; i < texts.size(); ++i)
      lines += cat("{\"id\": ", i, ", \"n\": 1.50, \"text\": ", json_string(texts[i]), ", \"z\": null}\n");
    write_file(path("in.jsonl"), lines);
    AugmentOptions o;
    o.inputs = {path("in.jsonl")};
    o.output = path(output);
    return o;
  }
};

TEST(Embedding, IsOfNormOneAndReflectsSharedWords) {
  const Embeddings e = embed_texts({"the cat sat", "the cat sat", "the cat ran", "other words wholly", ""}, 256, 1);
  EXPECT_NEAR(cosine(e, 0, 0), 1, 1e-6);
  EXPECT_EQ(cosine(e, 0, 1), cosine(e, 0, 0));
  EXPECT_GT(cosine(e, 0, 2), 0.15);
  EXPECT_LT(cosine(e, 0, 2), 0.9);
  EXPECT_NEAR(cosine(e, 0, 3), 0, 0.25);
  EXPECT_EQ(cosine(e, 4, 4), 0);
}

TEST(Neighbors, AreThoseOfBruteForce) {
  const std::vector<std::string> texts = corpus(200);
  const Embeddings e = embed_texts({texts.begin(), texts.end()}, 64, 3);
  const auto found = nearest_neighbors(e, 5);
  for (size_t i = 0; i < texts.size(); ++i) {
    std::vector<Neighbor> expected;
    for (uint32_t j = 0; j < texts.size(); ++j)
      if (j != i && !texts[i].empty() && !texts[j].empty()) expected.push_back({j, cosine(e, i, j)});
    std::stable_sort(expected.begin(), expected.end(), [](auto& a, auto& b) { return a.cosine > b.cosine; });
    expected.resize(std::min<size_t>(5, expected.size()));
    EXPECT_EQ(found[i], expected) << i;
  }
}

TEST(Paraphrase, CutsChoosesAndReplaces) {
  const std::string text = "Begin here. It costs 1.5 units! Really?\n\nNew paragraph without end\n\n  \nLast one.";
  EXPECT_EQ(sentences(text), (std::vector<std::string_view>{"Begin here.", "It costs 1.5 units!", "Really?",
                                                            "New paragraph without end", "Last one."}));
  EXPECT_EQ(synonym("begin"), "start");
  EXPECT_EQ(synonym("zebra"), "");
  std::set<std::string> seen;
  for (uint64_t stream = 0; stream < 60; ++stream) {
    const std::string out = paraphrase(text, {"Really?"}, 0.5, 1, stream);
    EXPECT_EQ(out, paraphrase(text, {"Really?"}, 0.5, 1, stream));
    EXPECT_FALSE(out.empty());
    EXPECT_EQ(out.find("Really?"), std::string::npos);
    seen.insert(out);
  }
  EXPECT_GT(seen.size(), 15u);
  EXPECT_TRUE(std::any_of(seen.begin(), seen.end(), [](auto& s) { return s.find("Start here.") != std::string::npos; }));
  EXPECT_EQ(paraphrase("Really?", {"Really?"}, 1, 1, 1), "");
  EXPECT_EQ(paraphrase("--allow big_thing /begin/ can't-get", {}, 1, 1, 1), "--allow big_thing /begin/ can't-get");
}

TEST_F(Files, ExpandAppendsOnlyNearNeighbours) {
  const std::string base = words(1, 198);
  AugmentOptions o = options({base + " One tail here.", base + " Another tail.", words(2, 200, 9000)}, "out.jsonl");
  Report report;
  expand(o, report);
  const auto out = read("out.jsonl");
  ASSERT_EQ(out.size(), 3u);
  EXPECT_EQ(out[0].find("text")->text, base + " One tail here.\n\nAnother tail.");
  EXPECT_EQ(out[0].find("augment")->find("expanded_with")->items[0].text, "1");
  EXPECT_GT(out[0].find("augment")->find("cosine")->items[0].as_double("cosine"), 0.9);
  EXPECT_EQ(out[0].find("n")->text, "1.50");
  const std::string lines = read_file(path("out.jsonl")), in = read_file(path("in.jsonl"));
  EXPECT_NE(lines.find(in.substr(in.rfind("{\"id\": 2"))), std::string::npos);  // untouched, byte for byte
}

TEST_F(Files, EveryVerbGivesTheSameBytesForAnyThreads) {
  using Verb = void (*)(const AugmentOptions&, Report&);
  for (const Verb verb : {Verb(embed), Verb(neighbors), Verb(expand), Verb(grade)}) {
    std::string bytes[2];
    for (const size_t count : {1, 2}) {
      set_threads(count);
      AugmentOptions o = options(corpus(120), "out.jsonl");
      o.dimension = 32;
      o.threshold = 0.5;
      Report report;
      verb(o, report);
      bytes[count - 1] = read_file(path("out.jsonl"));
    }
    set_threads(0);
    EXPECT_EQ(bytes[0], bytes[1]);
    EXPECT_GT(bytes[0].size(), read_file(path("in.jsonl")).size());
  }
}

TEST_F(Files, GradeKeepsWhatExpandSaidAndRanksBySurprise) {
  std::vector<std::string> texts;
  for (size_t i = 0; i < 90; ++i) texts.push_back(i % 3 == 0 ? words(5, 60) : words(i, 60, i % 3 == 1 ? 300 : 100000));
  AugmentOptions o = options(texts, "expanded.jsonl");
  Report report;
  expand(o, report);
  o.inputs = {path("expanded.jsonl")};
  o.output = path("out.jsonl");
  grade(o, report);
  size_t easy_repeated = 0, kept = 0;
  const auto out = read("out.jsonl");
  for (size_t i = 0; i < out.size(); ++i) {
    const Json& a = *out[i].find("augment");
    kept += a.find("expanded_with") != nullptr;
    easy_repeated += i % 3 == 0 && a.find("grade")->text == "easy";
    EXPECT_TRUE(i % 3 != 2 || a.find("grade")->text == "hard") << i;
    EXPECT_NEAR(a.find("weight")->as_double("w"), 1 + 0.5 * (a.find("difficulty")->as_double("d") - 0.5), 2e-6);
  }
  EXPECT_EQ(easy_repeated, 30u);
  const std::string expanded = read_file(path("expanded.jsonl"));
  size_t before = 0;
  for (size_t at = 0; (at = expanded.find("expanded_with", at)) != std::string::npos; ++at) ++before;
  EXPECT_EQ(kept, before);
}

TEST(Grade, RisesWithBitsAndWithComplexity) {
  std::vector<double> bits, complexities;
  for (int i = 0; i < 30; ++i) bits.push_back(i), complexities.push_back(0.5);
  auto grades = grade_texts(bits, complexities, 1);
  for (size_t i = 1; i < grades.size(); ++i) {
    EXPECT_GT(grades[i].difficulty, grades[i - 1].difficulty);
    EXPECT_GT(grades[i].weight, grades[i - 1].weight);
  }
  EXPECT_STREQ(grades[9].grade, "easy");
  EXPECT_STREQ(grades[10].grade, "medium");
  EXPECT_STREQ(grades[20].grade, "hard");
  std::swap(bits, complexities);
  grades = grade_texts(bits, complexities, 1);
  for (size_t i = 1; i < grades.size(); ++i) EXPECT_GT(grades[i].difficulty, grades[i - 1].difficulty);
  EXPECT_LT(complexity("a a a. a a a."), complexity("Extraordinary circumstances notwithstanding everybody remained"));
  EXPECT_EQ(complexity(""), 0);
}

TEST_F(Files, SplitDependsOnTheIdAlone) {
  AugmentOptions o = options(corpus(2000), "train.jsonl");
  o.held_out_file = path("held.jsonl");
  o.held_out = 0.2;
  Report report;
  split(o, report);
  const auto train = read("train.jsonl"), held = read("held.jsonl");
  EXPECT_EQ(train.size() + held.size(), corpus(2000).size());
  EXPECT_NEAR(static_cast<double>(held.size()), 0.2 * static_cast<double>(corpus(2000).size()), 60);
  // The held-out records again, among others: all held out again.
  o.inputs = {path("held.jsonl")};
  o.output = path("none.jsonl");
  o.held_out_file = path("held2.jsonl");
  split(o, report);
  EXPECT_EQ(read_file(path("held2.jsonl")), read_file(path("held.jsonl")));
  EXPECT_EQ(read_file(path("none.jsonl")), "");
}

TEST_F(Files, RefusesWhatCannotBe) {
  AugmentOptions o = options({"a"}, "out.jsonl");
  Report report;
  o.dimension = 4;
  EXPECT_THROW(embed(o, report), UsageError);
  o.dimension = 64;
  o.threshold = 1.5;
  EXPECT_THROW(expand(o, report), UsageError);
  o.spread = 2;
  EXPECT_THROW(grade(o, report), UsageError);
  EXPECT_THROW(split(o, report), UsageError);
  o.text_field = "body";
  EXPECT_THROW(embed(o, report), Error);
  EXPECT_FALSE(std::filesystem::exists(path("out.jsonl")));
}

}  // namespace
}  // namespace ds
