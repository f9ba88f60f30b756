#include "clean/sample.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "base/error.h"
#include "base/parallel.h"
#include "clean/clean.h"
#include "clean/display.h"
#include "io/input.h"
#include "io/json.h"
#include "io/record.h"

namespace ds {
namespace {

namespace fs = std::filesystem;

class SampleTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("sample_test_" + std::to_string(getpid()));
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string path(const std::string& name) const { return (folder_ / name).string(); }

  std::string write(const std::string& name, const std::string& bytes) const {
    std::ofstream(path(name)) << bytes;
    return path(name);
  }

  std::string run(SampleOptions options, const std::string& rejects) const {
    options.inputs = {write("rejects.jsonl", rejects)};
    options.output = path("out");
    Report report;
    sample_rejects(options, report);
    std::string out = read_file(path("out"));
    fs::remove(path("out"));
    return out;
  }

  std::string error_of(const SampleOptions& options, const std::string& rejects) const {
    try {
      run(options, rejects);
    } catch (const Error& error) {
      EXPECT_FALSE(fs::exists(path("out")));
      return error.what();
    }
    return "no error";
  }

  fs::path folder_;
};

std::string reject(const std::string& id, const std::string& reason, const std::string& text,
                   const std::string& details = "") {
  return cat("{\"id\": ", json_string(id), ", \"text\": ", json_string(text),
             ", \"clean\": {\"reason\": ", json_string(reason), details, "}}\n");
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

const std::string three =
    reject("d1", "near-duplicate", "one two\nthree\n", R"(, "of": "d0", "jaccard": 0.8315, "cluster": "d0")") +
    reject("d2", "repetition", "again and again", R"(, "repetition": 0.9)") +
    "{\"line\": 7, \"file\": \"in.jsonl\", \"error\": \"in.jsonl:7: expected an object\", \"raw\": \"[1]\"}\n";

TEST_F(SampleTest, ShowsReasonDetailsAndText) {
  EXPECT_EQ(run({}, three),
            "3 of 3 rejects\n"
            "\n1. d1  near-duplicate  of d0  jaccard 0.8315  cluster d0\n    one two\n    three\n"
            "\n2. d2  repetition  repetition 0.9\n    again and again\n"
            "\n3. bad-line  in.jsonl:7: expected an object\n    [1]\n");
  EXPECT_EQ(run({.reasons = {"repetition"}}, three),
            "1 of 1 rejects with the reason repetition; 3 in all\n"
            "\n1. d2  repetition  repetition 0.9\n    again and again\n");
  EXPECT_EQ(run({.reasons = {"bad-line", "repetition"}, .n = 0}, three),
            "0 of 2 rejects with the reason bad-line or repetition; 3 in all\n");
}

TEST_F(SampleTest, JsonIsTheRejectsThemselves) {
  EXPECT_EQ(run({.json = true}, three), three);
  EXPECT_EQ(run({.reasons = {"repetition"}, .json = true}, three), lines_of(three)[1] + "\n");
  EXPECT_EQ(run({.n = 0, .json = true}, three), "");
}

TEST_F(SampleTest, NoRejects) {
  EXPECT_EQ(run({}, ""), "0 of 0 rejects\n");
  EXPECT_EQ(error_of({.reasons = {"x"}}, ""), "no reject has the reason 'x'; found: no rejects at all");
}

TEST_F(SampleTest, AnUnknownReasonListsTheOthers) {
  EXPECT_EQ(error_of({.reasons = {"repetition", "toxic\x1b"}}, three),
            "no reject has the reason 'toxic<U+001B>'; found: bad-line (1), near-duplicate (1), repetition (1)");
}

TEST_F(SampleTest, AFileThatIsNoRejectsFile) {
  for (const char* const line :
       {R"({"id": 1, "text": "kept"})", R"({"id": 1, "clean": {"words": 3}})", R"({"clean": {"reason": 3}})",
        R"({"line": 1, "file": "f", "error": "e"})", R"({"line": "1", "file": "f", "error": "e", "raw": ""})"})
    EXPECT_EQ(error_of({}, three + line),
              path("rejects.jsonl") +
                  ":4: no \"clean\": {\"reason\": ...}; expected a file that ds-clean wrote as --rejects");
  EXPECT_TRUE(error_of({}, three + "{\"clean\": [1]}\n").starts_with(path("rejects.jsonl") + ":4"));
  EXPECT_TRUE(error_of({}, three + "not json\n").starts_with(path("rejects.jsonl") + ":4"));
  EXPECT_TRUE(error_of({}, "\n").starts_with(path("rejects.jsonl") + ":1"));
}

TEST_F(SampleTest, OtherFieldsNumbersAsIdsAndNoId) {
  const std::string record = R"({"key": 12345678901234567890, "body": "words", "clean": {"reason": "r"}})"
                             "\n";
  EXPECT_EQ(run({.text_field = "body", .id_field = "key"}, record),
            "1 of 1 rejects\n\n1. 12345678901234567890  r\n    words\n");
  EXPECT_EQ(run({}, R"({"messages": [], "clean": {"reason": "r"}})"
                    "\n"),
            "1 of 1 rejects\n\n1. (no id)  r\n    {\"messages\": [], \"clean\": {\"reason\": \"r\"}}\n");
}

TEST_F(SampleTest, NothingThatARecordSaysReachesTheTerminal) {
  const std::string evil =
      "\x1b[2J\x1b]0;title\x07\xc2\x9b"
      "31m\xe2\x80\xae\r\x08\x7f\ntab\there";
  const std::string page =
      run({}, reject(evil, evil, evil + evil, cat(", ", json_string(evil), ": ", json_string(evil))) +
                  cat("{\"line\": 1, \"file\": \"f\", \"error\": ", json_string(evil), ", \"raw\": ", json_string(evil),
                      "}\n"));
  for (const char c : page) EXPECT_TRUE(c == '\n' || (static_cast<unsigned char>(c) >= 0x20 && c != '\x7f'));
  EXPECT_EQ(page.find("\xc2\x9b"), std::string::npos);
  EXPECT_EQ(page.find("\xe2\x80\xae"), std::string::npos);
  for (const auto& line : lines_of(page)) EXPECT_LE(columns(line), 100u) << line;
}

TEST_F(SampleTest, LongTextsShowBothEnds) {
  std::string text;
  for (int i = 0; i < 3000; ++i) text += "中";
  const std::string whole = "b" + text + "e";
  const std::string page = run({.max_chars = 30}, reject("d", "r", whole));
  EXPECT_EQ(page, cat("1 of 1 rejects\n\n1. d  r\n    b", text.substr(0, 3 * 19),
                      "\n    [... 2,972 characters ...]\n    ", text.substr(0, 3 * 9), "e\n"));
  std::string all;
  for (const auto& line : lines_of(run({.max_chars = 0}, reject("d", "r", whole))))
    if (line.starts_with("    ")) all += line.substr(4);
  EXPECT_EQ(all, whole);
  EXPECT_EQ(run({.max_chars = 3002}, reject("d", "r", whole)).find("..."), std::string::npos);
  EXPECT_NE(run({.max_chars = 1}, reject("d", "r", whole)).find("    b\n    [... 3,001 characters ...]\n"),
            std::string::npos);
}

TEST_F(SampleTest, BadLinesAsDsCleanWritesThem) {
  const std::string input = std::string("not json\n") + "\xff\xfe\x1b bytes\n" + "[" + std::string(3 << 20, 'x') + "\n";
  CleanOptions clean_options;
  clean_options.stream.inputs = {write("in.jsonl", input)};
  clean_options.stream.output = path("kept.jsonl");
  clean_options.stream.rejects = path("bad.jsonl");
  clean_options.stream.max_record_bytes = 1 << 20;
  Report report;
  clean(clean_options, report);
  const std::string rejects = read_file(path("bad.jsonl"));
  // The third is longer than any record may be: its beginning is shown.
  const std::string page = run({.max_chars = 20, .max_record_bytes = 1 << 20}, rejects);
  EXPECT_TRUE(page.starts_with("3 of 3 rejects\n\n1. bad-line  "));
  EXPECT_NE(page.find("    not json\n"), std::string::npos);
  EXPECT_NE(page.find("    \ufffd\ufffd<U+001B> bytes\n"), std::string::npos);
  EXPECT_NE(page.find("the line is longer than 1048576 bytes\n    [xxxxxxxxxxxxx\n    [... 3,052 characters ...]\n"
                      "    xxxxxx\n    [... the rest is too long to show ...]\n"),
            std::string::npos)
      << page;
  for (const auto& line : lines_of(run({.json = true, .max_record_bytes = 1 << 20}, rejects)))
    EXPECT_NO_THROW(parse_json(line, "line"));
}

TEST_F(SampleTest, LinesThatAreTooLongToHold) {
  const std::string big(2 << 20, 'x');
  const SampleOptions options{.max_record_bytes = 1 << 10};
  EXPECT_EQ(error_of(options, three + reject("d", "r", big)),
            path("rejects.jsonl") + ":4: the line is longer than 1049600 bytes");
  // The beginning ends between two characters, whatever stands where it is cut.
  std::string raw;
  for (int i = 0; i < 4094; ++i) raw += 'a';
  for (const std::string next : {"\x01", "\"", "é", "中", "😀"}) {
    const std::string line = cat(
        "{\"line\": 1, \"file\": \"f\", \"error\": \"raw\\\": \\\"\", \"raw\": ", json_string(raw + next + big), "}\n");
    const std::string out = run({.json = true, .max_record_bytes = 1 << 10}, line + three);
    const Json json = parse_json(lines_of(out).at(0), "out");
    EXPECT_TRUE((raw + next + big).starts_with(json.find("raw")->text));
    EXPECT_GE(json.find("raw")->text.size(), 4094u);
    EXPECT_EQ(lines_of(out).size(), 4u);
  }
}

std::string numbered(int n) {
  std::string rejects;
  for (int i = 0; i < n; ++i) rejects += reject(std::to_string(i), i % 3 ? "wanted" : "other", "t");
  return rejects;
}

std::vector<int> ids_of(const std::string& lines) {
  std::vector<int> ids;
  for (const auto& line : lines_of(lines)) ids.push_back(std::stoi(*Record(line, "out", 1).string("id")));
  return ids;
}

TEST_F(SampleTest, UniformOverSeedsAndInOrder) {
  constexpr int records = 45, n = 7, seeds = 3000;
  const std::string rejects = numbered(records);
  std::map<int, int> seen;
  std::map<std::pair<int, int>, int> pairs;
  for (uint64_t seed = 0; seed < seeds; ++seed) {
    const auto ids = ids_of(run({.reasons = {"wanted"}, .n = n, .seed = seed, .json = true}, rejects));
    ASSERT_EQ(ids.size(), static_cast<size_t>(n));
    for (size_t i = 0; i < ids.size(); ++i) {
      EXPECT_NE(ids[i] % 3, 0);
      if (i > 0) {
        EXPECT_LT(ids[i - 1], ids[i]);
        ++pairs[{ids[i - 1], ids[i]}];
      }
      ++seen[ids[i]];
    }
  }
  constexpr int matching = records - records / 3;
  ASSERT_EQ(seen.size(), static_cast<size_t>(matching));
  // Chi-square with 29 degrees of freedom (a little less spread, as a record is drawn once a sample): P(> 58.3) =
  // 0.001.
  const double expected = static_cast<double>(seeds) * n / matching;
  double chi_square = 0;
  for (const auto& [id, count] : seen) chi_square += (count - expected) * (count - expected) / expected;
  EXPECT_LT(chi_square, 58.3);
  EXPECT_GT(chi_square, 5);       // the seeds differ
  EXPECT_GT(pairs.size(), 300u);  // of 435: neighbours in the sample are not tied to each other
}

TEST_F(SampleTest, TheSameForEveryThreadCountAndAnotherForAnotherSeed) {
  const std::string rejects = numbered(5000);
  const SampleOptions options{.n = 50, .seed = 3};
  set_threads(1);
  const std::string one = run(options, rejects);
  set_threads(4);
  EXPECT_EQ(run(options, rejects), one);
  set_threads(0);
  EXPECT_NE(run({.n = 50, .seed = 4}, rejects), one);
  EXPECT_EQ(ids_of(run({.n = 5001, .json = true}, rejects)).size(), 5000u);
}

}  // namespace
}  // namespace ds
