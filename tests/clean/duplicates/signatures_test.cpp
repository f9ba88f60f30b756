#include "clean/duplicates/signatures.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/parallel.h"
#include "base/rng.h"
#include "clean/clean.h"
#include "io/input.h"
#include "io/json.h"

namespace ds {
namespace {

namespace fs = std::filesystem;

using Lines = std::vector<std::string>;

template <class T>
void shuffle(std::vector<T>& items, const Rng& rng) {
  for (size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[rng.below(i, i)]);
}

struct Setting {
  std::string near = "0.8", shingle = "word:5";
  uint64_t seed = 0;
};

struct Bytes {
  std::string kept, rejects;
  bool operator==(const Bytes&) const = default;
};

class SignaturesTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("signatures_test_" + std::to_string(getpid()));
    fs::create_directories(folder_);
  }
  void TearDown() override {
    set_threads(0);
    fs::remove_all(folder_);
  }

  std::string path(const std::string& name) const { return (folder_ / name).string(); }

  std::string write(const std::string& name, const Lines& lines) const {
    std::ofstream out(path(name));
    for (const auto& line : lines) out << line << "\n";
    return path(name);
  }

  StreamOptions stream(const Lines& files) const {
    StreamOptions stream;
    stream.inputs = files;
    stream.output = path("out");
    stream.rejects = path("rejects");
    return stream;
  }

  Bytes written() const { return {read_file(path("out")), read_file(path("rejects"))}; }

  Bytes one_process(const Lines& files, const Setting& setting = {}) const {
    CleanOptions options;
    options.stream = stream(files);
    options.near = setting.near;
    options.shingle = setting.shingle;
    options.seed = setting.seed;
    Report report;
    clean(options, report);
    return written();
  }

  SignatureOptions half(const Lines& files, const Setting& setting) const {
    SignatureOptions options;
    options.stream = stream(files);
    options.near = setting.near;
    options.shingle = setting.shingle;
    options.seed = setting.seed;
    return options;
  }

  Lines signatures(const Lines& files, const Setting& setting = {}, const std::string& name = "signatures") const {
    SignatureOptions options = half(files, setting);
    options.stream.output = path(name);
    Report report;
    write_signatures(options, report);
    Lines lines;
    LineReader reader({path(name)}, 1 << 20);
    for (Line line; reader.next(line);) lines.emplace_back(line.text);
    EXPECT_EQ(report.outputs.at(0).records, lines.size());
    return lines;
  }

  Bytes joined(const Lines& files, const Lines& lines, const Setting& setting = {}, Report* report = nullptr) const {
    ClusterOptions options;
    options.records = half(files, setting);
    options.signatures = write("lines", lines);
    Report unused;
    cluster(options, report ? *report : unused);
    return written();
  }

  std::string error_of(const Lines& files, const Lines& lines) const {
    try {
      joined(files, lines);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }

  fs::path folder_;
};

// Groups of equal keys in random order, their lines too; `lonely` keeps the keys that one line only has.
Lines grouped(const Lines& lines, const Rng& rng, bool lonely) {
  std::map<std::string, Lines> by_key;
  for (const auto& line : lines) by_key[line.substr(0, 16)].push_back(line);
  std::vector<Lines> groups;
  for (auto& [key, group] : by_key)
    if (lonely || group.size() > 1) groups.push_back(std::move(group));
  shuffle(groups, rng);
  Lines all;
  for (size_t i = 0; i < groups.size(); ++i) {
    shuffle(groups[i], Rng{rng.seed, i + 1});
    all.insert(all.end(), groups[i].begin(), groups[i].end());
  }
  return all;
}

// A vocabulary with letters of several scripts, and signs that JSON escapes.
std::string word(uint64_t number) {
  static const char* const stems[] = {"alpha", "ñandú", "straße", "слово", "漢字かな", "tab\there", "quote\"s"};
  return stems[number % 7] + std::to_string(number / 7);
}

// Every kind of id: numbers, escapes, no id, several of a name, and values that name nothing.
std::string id_member(size_t i) {
  switch (i % 10) {
    case 0:
      return R"("id": )" + std::to_string(i) + ", ";
    case 1:
      return R"("id": -)" + std::to_string(i) + ".50e1, ";
    case 2:
      return R"("id": "d\u00e9\t\"\\)" + std::to_string(i) + R"(", )";
    case 3:
      return R"("id": "漢 字 )" + std::to_string(i) + R"(", )";
    case 4:
      return "";
    case 5:
      return R"("id": null, )";
    case 6:
      return R"("id": "twice", )";
    case 7:
      return R"("id": {"a": 1}, )";
    case 8:
      return R"("id": true, )";
    default:
      return R"("id": "doc)" + std::to_string(i) + R"(", )";
  }
}

// Records of which two of three are edited copies of earlier ones; a few that are bad, and of other forms.
Lines random_records(size_t count, uint64_t seed) {
  std::vector<std::vector<uint64_t>> texts;
  Lines records;
  for (size_t i = 0; i < count; ++i) {
    const Rng rng{seed, i};
    std::vector<uint64_t> words;
    if (i > 0 && rng.uniform(0) < 0.67) {
      words = texts[rng.below(1, texts.size())];
      const uint64_t edits = rng.below(2, 7);
      for (uint64_t k = 0; k < edits && !words.empty(); ++k)
        words[rng.below(10 + k, words.size())] = rng.below(20 + k, 9999);
    } else {
      words.resize(rng.below(3, 120));
      for (size_t k = 0; k < words.size(); ++k) words[k] = rng.below(100 + k, 9999);
    }
    std::string text;
    for (const uint64_t w : words) text += word(w) + " ";
    texts.push_back(std::move(words));
    const std::string id = id_member(rng.below(4, 1000000));
    if (i % 41 == 40)
      records.push_back("{" + id + R"("question": )" + json_string(text) + R"(, "answer": "yes"})");
    else
      records.push_back("{" + id + R"("text": )" + json_string(text) + "}");
    if (i % 50 == 49) records.push_back("{" + id + R"("body": "no text"})");
    if (i % 60 == 59) records.push_back("{" + id + R"("text": 7})");
    if (i % 70 == 69) records.push_back("no record");
    if (i % 90 == 89) records.push_back("");
  }
  return records;
}

TEST_F(SignaturesTest, TheTwoHalvesGiveTheBytesOfTheOneProcessRun) {
  const std::vector<Setting> settings = {{"0.8", "word:5", 0},   {"0.8", "word:5", 7}, {"0.5", "word:3", 0},
                                         {"0.95", "char:13", 1}, {"0.3", "word:1", 2}, {"1", "word:5", 0},
                                         {"0.7", "unit:5", 3}};
  uint64_t seed = 0;
  for (const Setting& setting : settings) {
    SCOPED_TRACE(setting.near + " " + setting.shingle);
    const Rng rng{++seed, 0};
    const Lines files = {write("b.jsonl", random_records(400, seed)), write("a.jsonl", random_records(200, seed + 100)),
                         write("none.jsonl", {})};
    const Bytes expected = one_process(files, setting);
    ASSERT_NE(expected.rejects.find("near-duplicate"), std::string::npos);
    ASSERT_NE(expected.rejects.find("\"error\""), std::string::npos);
    // The first half of each file on its own, as machines of a cluster do it.
    Lines lines;
    for (const auto& file : files)
      for (auto& line : signatures({file}, setting)) lines.push_back(std::move(line));
    Lines sorted = lines;
    std::sort(sorted.begin(), sorted.end());
    EXPECT_EQ(joined(files, sorted, setting), expected);
    EXPECT_EQ(joined(files, grouped(lines, rng, true), setting), expected);
    set_threads(4);
    EXPECT_EQ(joined(files, grouped(lines, rng, false), setting), expected);
    EXPECT_EQ(signatures(files, setting), lines);
    set_threads(1);
    EXPECT_EQ(signatures(files, setting), lines);
    set_threads(0);
  }
}

// Another order of the records makes others the earlier ones; the lines of the first half need not know.
TEST_F(SignaturesTest, TheOrderOfTheFilesDecides) {
  Lines records = random_records(150, 5);
  for (size_t i = 0; i < records.size(); ++i)  // ids that do not depend on the place
    if (records[i].starts_with('{')) records[i] = "{\"name\": " + std::to_string(i) + ", " + records[i].substr(1);
  const Lines middle(records.begin(), records.begin() + 80), end(records.begin() + 80, records.end());
  const Lines files = {write("1", middle), write("2", end)}, other = {files[1], files[0]};
  const auto run = [&](const Lines& order, bool halves, const Lines& lines) {
    CleanOptions options;
    options.stream = stream(order);
    options.near = "0.8";
    options.id_field = "name";
    ClusterOptions join;
    join.records = half(order, {});
    join.records.id_field = "name";
    join.signatures = write("lines", lines);
    Report report;
    halves ? cluster(join, report) : clean(options, report);
    return written();
  };
  SignatureOptions map = half(files, {});
  map.id_field = "name";
  map.stream.output = path("signatures");
  Report report;
  write_signatures(map, report);
  Lines lines;
  LineReader reader({path("signatures")}, 1 << 20);
  for (Line line; reader.next(line);) lines.emplace_back(line.text);
  std::sort(lines.begin(), lines.end());
  EXPECT_EQ(run(files, true, lines), run(files, false, {}));
  EXPECT_EQ(run(other, true, lines), run(other, false, {}));
  EXPECT_NE(run(files, true, lines), run(other, true, lines));
}

TEST_F(SignaturesTest, ALineForEachKey) {
  const std::string file =
      write("f", {R"({"id": "x\ty", "text": "a b c d e f"})", R"({"text": "g h"})", R"({"id": 1.50, "text": ""})"});
  const Lines lines = signatures({file});
  ASSERT_EQ(lines.size(), 45u);
  for (size_t i = 0; i < lines.size(); ++i) {
    EXPECT_EQ(lines[i].find_first_not_of("0123456789abcdef"), 16u);
    const std::string id = i < 15 ? R"("x\ty")" : i < 30 ? json_string(file + ":2") : "1.50";
    EXPECT_EQ(lines[i].substr(16), "\t" + id);
  }
  EXPECT_EQ(signatures({file}, {}, "signatures.zst"), lines);
}

TEST_F(SignaturesTest, OnlyRecordsThatShareAKeyEnterTheIndex) {
  Lines records;
  for (size_t i = 0; i < 300; ++i) {
    std::string text;
    for (size_t k = 0; k < 30; ++k) text += std::to_string(i * 30 + k) + " ";
    records.push_back("{\"id\": " + std::to_string(i) + ", \"text\": \"" + text + "\"}");
  }
  records.push_back("{\"id\": 300, " + records[17].substr(records[17].find("\"text\"")));
  const Lines files = {write("f", records)};
  Lines lines = signatures(files);
  std::sort(lines.begin(), lines.end());
  Report report;
  EXPECT_EQ(joined(files, lines, {}, &report), one_process(files));
  EXPECT_EQ(report.dropped, 1u);
  ASSERT_EQ(report.results.size(), 1u);
  EXPECT_TRUE(
      report.results[0].second.starts_with(R"({"shared_ids": 2, "distinct_texts": 1, "proposed": 1, "compared": 1, )"))
      << report.results[0].second;
}

TEST_F(SignaturesTest, LinesThatAreNoSignaturesAreNamed) {
  const Lines files = {write("f", {R"({"id": 1, "text": "a"})", R"({"id": 2, "text": "a"})"})};
  const std::string good = "0123456789abcdef\t1";
  for (const std::string bad :
       {"", "0123456789abcdef", "0123456789abcdef\t", "0123456789abcdeg\t1", "0123456789abcdef 1", "123456789abcdef\t1",
        "0123456789abcdef0\t1", "-123456789abcdef\t1", "0x23456789abcdef\t1", "\t1", " 123456789abcdef\t1"}) {
    EXPECT_EQ(error_of(files, {good, "0123456789abcdef\t2", bad}),
              path("lines") + ":3: expected a line of ds-clean signatures: 16 hexadecimal digits, a tab and an id")
        << bad;
  }
  EXPECT_EQ(error_of(files, {}), "");
  EXPECT_EQ(error_of(files, {good}), "");
  EXPECT_EQ(error_of(files, {good, "0123456789abcdef\t2"}), "");
}

TEST_F(SignaturesTest, LinesThatAreNotSortedAreAnError) {
  const Lines files = {write("f", {R"({"id": 1, "text": "a b"})", R"({"id": 2, "text": "a b"})"})};
  EXPECT_EQ(error_of(files, signatures(files)),
            path("lines") + ":16: the key " + signatures(files)[15].substr(0, 16) +
                " comes again after other keys: sort the lines, so that equal keys stand together");
  // The key 0 is a key as any other.
  EXPECT_NE(error_of(files, {"0000000000000000\t1", "0000000000000001\t1", "0000000000000000\t2"}), "");
}

// Of many keys a sample is watched: sorted lines are never refused, and a set that was not sorted does not pass.
TEST_F(SignaturesTest, ManyKeys) {
  const Lines files = {write("f", {R"({"id": 1, "text": "a"})"})};
  Lines lines;
  for (size_t i = 0; i < 300000; ++i) {
    char key[17];
    snprintf(key, sizeof key, "%016llx", static_cast<unsigned long long>(Rng{3, 0}.bits(i)));
    lines.push_back(std::string(key) + "\t\"x\"");
  }
  EXPECT_EQ(error_of(files, lines), "");
  lines.insert(lines.end(), lines.begin(), lines.begin() + 1000);
  EXPECT_NE(error_of(files, lines).find("comes again after other keys"), std::string::npos);
}

TEST_F(SignaturesTest, IdsWithoutARecordAreAnError) {
  Lines records;
  for (size_t i = 0; i < 4; ++i) records.push_back(R"({"text": "the same words in every one of these"})");
  const Lines files = {write("f", records)};
  Lines lines = signatures(files);
  std::sort(lines.begin(), lines.end());
  EXPECT_EQ(error_of(files, lines), "");
  const std::string other = write("g", records);
  EXPECT_TRUE(error_of({other}, lines).starts_with("4 of the 4 ids that share a key belong to no record"))
      << error_of({other}, lines);
  EXPECT_EQ(error_of({files[0], other}, lines), "");
}

TEST_F(SignaturesTest, OneStreamCannotBeTwoInputs) {
  ClusterOptions options;
  options.records = half({"-"}, {});
  Report report;
  EXPECT_THROW(cluster(options, report), UsageError);
  options.records.stream.inputs = {"a", "-"};
  EXPECT_THROW(cluster(options, report), UsageError);
  SignatureOptions map = half({write("f", {})}, {});
  map.stream.rejects = map.stream.output;
  EXPECT_THROW(write_signatures(map, report), UsageError);
  map = half({path("f")}, {"1.5"});
  EXPECT_THROW(write_signatures(map, report), UsageError);
}

}  // namespace
}  // namespace ds
