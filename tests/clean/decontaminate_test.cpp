#include "clean/decontaminate.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/rng.h"
#include "io/jsonl.h"

namespace ds {
namespace {

namespace fs = std::filesystem;

class DecontaminateTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("decontaminate_test_" + std::to_string(getpid()));
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string write(const std::string& name, const std::string& lines) const {
    std::ofstream(folder_ / name) << lines;
    return (folder_ / name).string();
  }
  Decontaminator of(const std::string& lines, std::vector<std::string> fields = {}) const {
    DecontaminateOptions options;
    options.files = {write("bench.jsonl", lines)};
    options.fields = std::move(fields);
    return Decontaminator(options);
  }
  fs::path folder_;
};

std::string item_of(const Decontaminator& benchmarks, const std::string& text) {
  const Contamination found = benchmarks.measure(text);
  return found.hits.empty() ? "" : benchmarks.name(found.hits[0].item);
}

const std::string rabbits = "Seven rabbits crossed the frozen river before the hunters noticed their tracks";
const std::string bakery = "The bakery on the corner sold forty loaves of bread each morning during summer";
const std::string comet = "A comet with two tails was visible above the monastery for eleven nights";

TEST_F(DecontaminateTest, TextsOfAnyShape) {
  const auto benchmarks = of("{\"task_id\": \"X/1\", \"a\": {\"b\": [1, {\"c\": \"" + rabbits + "\"}]}}\n" +
                             "{\"id\": 12, \"scores\": {\"" + bakery + "\": 1}}\n" +
                             "{\"question\": \"Question: " + comet + "\", \"answer\": null}\n");
  EXPECT_EQ(benchmarks.items(), 3u);
  EXPECT_EQ(item_of(benchmarks, "Once: " + rabbits + ". End"), "\"X/1\"");
  EXPECT_EQ(item_of(benchmarks, bakery), "12");
  EXPECT_EQ(item_of(benchmarks, comet), "\"" + benchmarks.file(2) + ":3\"");
  EXPECT_EQ(item_of(benchmarks, "A text about something else entirely, which no benchmark has in it."), "");
}

TEST_F(DecontaminateTest, NamedFields) {
  const std::string line = "{\"q\": \"" + rabbits + "\", \"note\": \"" + bakery + "\"}\n";
  EXPECT_EQ(item_of(of(line, {"q"}), bakery), "");
  EXPECT_NE(item_of(of(line, {"q"}), rabbits), "");
  EXPECT_NE(item_of(of(line), bakery), "");
  EXPECT_THROW(of(line, {"q", "nothing"}), Error);
}

TEST_F(DecontaminateTest, WhatIsNoEvidence) {
  std::string lines;
  const std::string prompt = "Read the passage below and answer the question that follows with one short sentence only";
  for (int i = 0; i < 40; ++i)
    lines +=
        "{\"prompt\": \"" + prompt + "\", \"n\": \"item" + std::to_string(i) + " " + (i == 5 ? rabbits : "") +
        "\", \"source\": \"see https://example.org/the/history/of/bread/and/how/it/was/made/in/the/middle/ages\"}\n";
  const auto benchmarks = of(lines);
  EXPECT_EQ(item_of(benchmarks, prompt), "");
  EXPECT_EQ(item_of(benchmarks, "https://example.org/the/history/of/bread/and/how/it/was/made/in/the/middle/ages"), "");
  EXPECT_NE(item_of(benchmarks, prompt + " " + rabbits), "");
  // A passage of 20 of 1000 items is no template: it belongs to the first.
  lines.clear();
  for (int i = 0; i < 1000; ++i)
    lines += "{\"id\": " + std::to_string(i) + ", \"passage\": \"" +
             (i >= 300 && i < 320 ? rabbits : "passage number " + std::to_string(i)) + "\"}\n";
  EXPECT_EQ(item_of(of(lines), rabbits), "300");
}

TEST_F(DecontaminateTest, ExcerptDetailsAndSummary) {
  auto benchmarks = of("{\"id\": \"r\", \"q\": \"" + rabbits + "\"}\n{\"id\": \"b\", \"q\": \"" + bakery + "\"}\n");
  const std::string text = "Été: \"" + rabbits + "\"!";
  const Contamination found = benchmarks.measure(text);
  ASSERT_EQ(found.hits.size(), 1u);
  EXPECT_EQ(found.excerpt, rabbits);
  EXPECT_EQ(text.substr(found.offset, rabbits.size()), rabbits);
  JsonWriter details;
  details.open('{').field("reason", "contamination");
  benchmarks.describe(found, details);
  const Json json = parse_json(details.close().text, "details");
  EXPECT_EQ(json.find("contamination")->as_double("x"), 1);
  EXPECT_EQ(json.find("run")->as_int("x"), 12);  // the whole text, which has fewer than 13 words
  EXPECT_EQ(json.find("item")->as_string("x"), "r");
  EXPECT_EQ(json.find("benchmark")->as_string("x"), benchmarks.file(0));
  EXPECT_EQ(json.find("excerpt")->as_string("x"), rabbits);

  for (int i = 0; i < 12; ++i) benchmarks.count(found, std::to_string(i));
  benchmarks.count(benchmarks.measure("nothing of it here"), "99");
  const Json summary = parse_json(benchmarks.summary(), "summary");
  EXPECT_EQ(summary.find("records_hit")->as_int("x"), 12);
  const Json& file = summary.find("benchmarks")->items.at(0);
  EXPECT_EQ(file.find("items")->as_int("x"), 2);
  EXPECT_EQ(file.find("items_hit")->as_int("x"), 1);
  const Json& hit = file.find("hits")->items.at(0);
  EXPECT_EQ(hit.find("item")->as_string("x"), "r");
  EXPECT_EQ(hit.find("line")->as_int("x"), 1);
  EXPECT_EQ(hit.find("records")->as_int("x"), 12);
  EXPECT_EQ(hit.find("first")->items.size(), 10u);
  EXPECT_EQ(hit.find("first")->items[9].text, "9");
}

TEST_F(DecontaminateTest, LongExcerptsAreCutBetweenCharacters) {
  std::string item;
  for (int i = 0; i < 60; ++i)
    item += "été" + std::string{static_cast<char>('a' + i % 7), static_cast<char>('a' + i / 7)} + " ";
  const auto benchmarks = of("{\"q\": \"" + item + "\"}\n");
  JsonWriter details;
  details.open('{');
  benchmarks.describe(benchmarks.measure(item), details);
  const std::string cut = parse_json(details.close().text, "x").find("excerpt")->as_string("x");
  EXPECT_TRUE(item.starts_with(cut));
  EXPECT_GT(cut.size(), 196u);
  EXPECT_LE(cut.size(), 200u);
}

TEST_F(DecontaminateTest, BadFiles) {
  const auto message = [&](const std::string& lines) -> std::string {
    try {
      of(lines);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_NE(message("{\"q\": \"a\"}\n[1]\n").find("bench.jsonl:2"), std::string::npos);
  EXPECT_NE(message("").find("no record"), std::string::npos);
  DecontaminateOptions options;
  options.files = {(folder_ / "absent.jsonl").string()};
  EXPECT_THROW(Decontaminator{options}, Error);
}

using Words = std::vector<std::string>;

Words words_of(const std::string& text) {
  std::istringstream in(text);
  Words words;
  for (std::string word; in >> word;) words.push_back(word);
  return words;
}

std::string joined(const Words& words) {
  std::string text;
  for (const auto& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

struct Item {
  std::string question, answer;
};

// Copies of items as they occur, put into other texts.
class Planter {
 public:
  explicit Planter(std::vector<std::string> hosts) : hosts_(std::move(hosts)) {
    for (const auto& host : hosts_)
      for (const auto& word : words_of(host)) foreign_.push_back(word);
  }
  size_t below(size_t bound) { return Rng{11, 4}.below(position_++, bound); }
  std::string foreign() { return foreign_[below(foreign_.size())]; }
  std::string with_insertions(const std::string& text, size_t every) {
    Words out;
    for (const auto& word : words_of(text)) {
      out.push_back(word);
      if (out.size() % (every + 1) == every) out.push_back(foreign());
    }
    return joined(out);
  }
  std::string with_substitutions(const std::string& text, size_t percent) {
    Words words = words_of(text);
    for (auto& word : words)
      if (below(100) < percent) word = foreign();
    return joined(words);
  }
  std::string reformatted(const std::string& text) {
    std::string out;
    for (const char c : text)
      out += c == ' ' ? below(2) ? "\n  " : " " : std::string(1, static_cast<char>(below(2) ? toupper(c) : c));
    return out;
  }
  std::string planted(const std::string& copy) {
    const std::string& host = hosts_[below(hosts_.size())];
    const size_t at = std::min(host.size(), host.find(' ', host.size() / 2));
    return host.substr(0, at) + "\n" + copy + "\n" + host.substr(at);
  }
  const std::vector<std::string>& hosts() const { return hosts_; }

 private:
  std::vector<std::string> hosts_;
  Words foreign_;
  uint64_t position_ = 0;
};

// The shares of items found, by kind of copy, with a table for the reader.
class Recall {
 public:
  Recall(const Decontaminator& benchmarks, Planter& planter, std::vector<Item> items)
      : benchmarks_(benchmarks), planter_(planter), items_(std::move(items)) {}
  double operator()(const char* kind, const std::function<std::string(const Item&)>& copy) {
    size_t found = 0, all = 0;
    for (const Item& item : items_) {
      const std::string text = copy(item);
      if (words_of(text).size() < 3) continue;
      ++all;
      found += !benchmarks_.measure(planter_.planted(text)).hits.empty();
    }
    const double recall = all == 0 ? 0 : static_cast<double>(found) / static_cast<double>(all);
    std::cout << "  " << kind << ": " << found << " of " << all << "\n";
    return recall;
  }

 private:
  const Decontaminator& benchmarks_;
  Planter& planter_;
  std::vector<Item> items_;
};

std::string both(const Item& item) { return item.question + " " + item.answer; }

std::string shared_folder() {
  const char* named = std::getenv("DS_SHARED");
  return named ? named : std::string(DS_SOURCE_DIR) + "/../shared";
}

// Real items in real texts. The same table over a whole documentation corpus stands in the man page.
TEST_F(DecontaminateTest, FindsPlantedItemsOfRealBenchmarks) {
  const std::string data = shared_folder() + "/data/";
  if (!fs::exists(data + "gsm8k/test.jsonl")) GTEST_SKIP() << "no benchmark files at " << data;
  std::vector<std::string> hosts;
  for_each_record({data + "neardup/docs.jsonl.zst"}, size_t{1} << 26, nullptr, [&](Record&& record) {
    if (hosts.size() < 300) hosts.push_back(record.required_string("text"));
  });
  DecontaminateOptions options;
  for (const char* name : {"gsm8k/test.jsonl", "humaneval/HumanEval.jsonl", "lambada_openai/test.jsonl",
                           "arc_easy/test.jsonl", "openbookqa/test.jsonl"})
    options.files.push_back(data + name);
  const Decontaminator benchmarks(options);

  // Texts without a plant, other documents and other benchmarks.
  size_t wrong = 0;
  for (const std::string& host : hosts) wrong += !benchmarks.measure(host).hits.empty();
  EXPECT_LE(wrong, 1u) << "of " << hosts.size() << " documents";
  size_t boolq = 0;
  wrong = 0;
  for_each_record({data + "boolq/test.jsonl.zst"}, size_t{1} << 26, nullptr, [&](Record&& record) {
    ++boolq;
    wrong += !benchmarks.measure(record.required_string("query")).hits.empty();
  });
  EXPECT_LE(static_cast<double>(wrong), 0.005 * static_cast<double>(boolq)) << "of boolq";

  std::vector<Item> long_items, short_items;
  size_t row = 0;
  for (const auto& [file, question, answer] :
       {std::tuple{0, "question", "answer"}, {1, "prompt", "canonical_solution"}, {2, "context", "continuation"}})
    for_each_record({options.files[file]}, size_t{1} << 26, nullptr, [&, q = question, a = answer](Record&& record) {
      if (row++ % 20 == 0) long_items.push_back({record.required_string(q), record.required_string(a)});
    });
  for (const size_t file : {3, 4})
    for_each_record({options.files[file]}, size_t{1} << 26, nullptr, [&](Record&& record) {
      std::string question = record.required_string("query");
      if (question.starts_with("Question: ")) question = question.substr(10);
      if (row++ % 5 == 0 && words_of(question).size() < 13) short_items.push_back({question, ""});
    });
  Planter planter(hosts);
  std::cout << "items of 13 words and more\n";
  Recall recall(benchmarks, planter, long_items);
  EXPECT_EQ(recall("verbatim", both), 1);
  EXPECT_EQ(recall("the question alone", [](const Item& item) { return item.question; }), 1);
  EXPECT_EQ(recall("case and white space changed", [&](const Item& item) { return planter.reformatted(both(item)); }),
            1);
  for (const size_t every : {12, 8, 6, 4})
    EXPECT_EQ(recall(("a foreign word after every " + std::to_string(every)).c_str(),
                     [&](const Item& item) { return planter.with_insertions(both(item), every); }),
              1);
  EXPECT_EQ(recall("10 % of the words replaced",
                   [&](const Item& item) { return planter.with_substitutions(both(item), 10); }),
            1);
  EXPECT_GE(recall("20 % of the words replaced",
                   [&](const Item& item) { return planter.with_substitutions(both(item), 20); }),
            0.94);
  EXPECT_GE(recall("the second half of the question",
                   [](const Item& item) {
                     const Words words = words_of(item.question);
                     return joined(Words(words.begin() + words.size() / 2, words.end()));
                   }),
            0.9);
  std::cout << "questions of fewer than 13 words\n";
  Recall short_recall(benchmarks, planter, short_items);
  EXPECT_EQ(short_recall("on a line", [](const Item& item) { return item.question; }), 1);
  EXPECT_GE(short_recall("inside a line", [](const Item& item) { return "So " + item.question + " We say."; }), 0.6);
}

}  // namespace
}  // namespace ds
