#include "clean/clean.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/parallel.h"
#include "base/rng.h"
#include "clean/filters.h"
#include "clean/lexicon.h"
#include "clean/quality/repetition.h"
#include "io/input.h"
#include "io/json.h"
#include "text/words.h"

namespace ds {
namespace {

namespace fs = std::filesystem;

// Types a value for a filter of the table.
void set(CleanOptions& options, std::string_view filter, const std::string& value) {
  options.limits.resize(filter_table.size());
  for (size_t i = 0; i < filter_table.size(); ++i)
    if (filter == filter_table[i].option) {
      options.limits[i] = value;
      return;
    }
  FAIL() << "no filter " << filter;
}

struct Outcome {
  std::vector<std::string> kept, rejects;  // lines
  Report report;
};

class CleanTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("clean_test_" + std::to_string(getpid()));
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string path(const std::string& name) const { return (folder_ / name).string(); }

  std::string write(const std::string& name, const std::vector<std::string>& lines) const {
    std::ofstream out(path(name));
    for (const auto& line : lines) out << line << "\n";
    return path(name);
  }

  std::vector<std::string> lines_of(const std::string& name) const {
    std::vector<std::string> lines;
    std::istringstream in(read_file(path(name)));
    for (std::string line; std::getline(in, line);) lines.push_back(line);
    return lines;
  }

  Outcome run(CleanOptions options, const std::string& input) const {
    options.stream.inputs = {input};
    options.stream.output = path("kept.jsonl");
    options.stream.rejects = path("rejects.jsonl");
    Outcome outcome;
    clean(options, outcome.report);
    outcome.kept = lines_of("kept.jsonl");
    outcome.rejects = lines_of("rejects.jsonl");
    return outcome;
  }

  fs::path folder_;
};

std::string record(const std::string& id, const std::string& text) {
  return "{\"id\": " + json_string(id) + ", \"n\": 1.50, \"text\": " + json_string(text) + "}";
}

Json clean_of(const std::string& line) {
  const Json json = parse_json(line, "reject");
  const Json* found = json.find("clean");
  return found ? *found : Json{};
}

std::string text_member(const Json& json, const char* key) {
  const Json* found = json.find(key);
  return found ? found->text : "(none)";
}

const std::string ten = "one two three four five six seven eight nine ten";

TEST_F(CleanTest, WithoutAFilterEveryByteStays) {
  const std::vector<std::string> lines = {record("a", "x"), "{ \"text\" : \"\" , \"n\":1e400 }", record("a", "x")};
  const auto outcome = run({}, write("in.jsonl", lines));
  EXPECT_EQ(outcome.kept, lines);
  EXPECT_TRUE(outcome.rejects.empty());
  EXPECT_EQ(outcome.report.kept, 3u);
}

TEST_F(CleanTest, ExactDuplicatesNameTheFirst) {
  const std::vector<std::string> lines = {record("a", ten), record("b", ten + "!"), record("c", ten), record("d", ten)};
  CleanOptions options;
  options.exact = true;
  const auto outcome = run(options, write("in.jsonl", lines));
  EXPECT_EQ(outcome.kept, (std::vector<std::string>{lines[0], lines[1]}));
  ASSERT_EQ(outcome.rejects.size(), 2u);
  for (const auto& line : outcome.rejects) {
    EXPECT_EQ(text_member(clean_of(line), "reason"), "exact-duplicate");
    EXPECT_EQ(text_member(clean_of(line), "of"), "a");
  }
  // A reject is the record, byte for byte, and one more field.
  EXPECT_EQ(outcome.rejects[0].substr(0, lines[2].size() - 1), lines[2].substr(0, lines[2].size() - 1));
  EXPECT_EQ(outcome.report.reasons.at("exact-duplicate"), 2u);
}

TEST_F(CleanTest, ADroppedRecordStillHasDuplicates) {
  // b is near a; c is near b, and not near a.
  std::vector<std::string> words;
  for (int i = 0; i < 100; ++i) words.push_back(std::string("w").append(std::to_string(i)));
  const auto text = [&](int begin, int end) {
    std::string joined;
    for (int i = begin; i < end; ++i) joined += words[i] + " ";
    return joined;
  };
  const std::vector<std::string> lines = {record("a", text(0, 60)), record("b", text(6, 66)), record("c", text(12, 72)),
                                          record("e", text(70, 100))};
  CleanOptions options;
  options.near = "0.8";
  const auto outcome = run(options, write("in.jsonl", lines));
  ASSERT_EQ(outcome.rejects.size(), 2u);
  EXPECT_EQ(outcome.kept, (std::vector<std::string>{lines[0], lines[3]}));
  const Json b = clean_of(outcome.rejects[0]), c = clean_of(outcome.rejects[1]);
  EXPECT_EQ(text_member(b, "of"), "a");
  EXPECT_EQ(text_member(c, "of"), "b");
  EXPECT_EQ(text_member(c, "cluster"), "a");
  EXPECT_EQ(b.find("jaccard")->as_double("jaccard"), 50.0 / 62.0);  // 56 shingles each, 50 in common
}

TEST_F(CleanTest, RecordsWithoutAnIdAreNamedByTheirPlace) {
  const std::string input = write("in.jsonl", {"{\"text\": \"a b c\"}", "{\"text\": \"A, b c\", \"id\": 7}",
                                               "{\"text\": \"d\", \"id\": 7}", "{\"text\": \"D\", \"id\": 8}"});
  CleanOptions options;
  options.near = "1";
  const auto outcome = run(options, input);
  ASSERT_EQ(outcome.rejects.size(), 2u);
  EXPECT_EQ(text_member(clean_of(outcome.rejects[0]), "of"), input + ":1");
  const Json by_number = clean_of(outcome.rejects[1]);
  EXPECT_EQ(by_number.find("of")->type, Json::Type::number);
  EXPECT_EQ(text_member(by_number, "of"), "7");
}

TEST_F(CleanTest, RulesAreTriedInTheirOrder) {
  const std::string repeated = "go go go go go go go go go go go go";
  const std::vector<std::string> lines = {record("long", ten),
                                          record("repeated", repeated),
                                          record("again", repeated),
                                          record("short", "too short"),
                                          record("rude", "you stupid word here now ok"),
                                          record("many", ten + " eleven twelve thirteen fourteen")};
  std::ofstream(path("words")) << "# bad\nSTUPID\n\n";
  CleanOptions options;
  options.exact = true;
  set(options, "--repetition", "0.8");
  set(options, "--min-words", "5");
  set(options, "--max-words", "12");
  set(options, "--toxicity", "0");
  options.lexicon = path("words");
  const auto outcome = run(options, write("in.jsonl", lines));
  EXPECT_EQ(outcome.kept, (std::vector<std::string>{lines[0]}));
  std::map<std::string, std::string> reasons;
  for (const auto& line : outcome.rejects)
    reasons[parse_json(line, "").find("id")->text] = text_member(clean_of(line), "reason");
  EXPECT_EQ(reasons, (std::map<std::string, std::string>{{"repeated", "repetition"},
                                                         {"again", "exact-duplicate"},
                                                         {"short", "min-words"},
                                                         {"rude", "toxicity"},
                                                         {"many", "max-words"}}));
  EXPECT_EQ(clean_of(outcome.rejects[0]).find("repetition")->as_double(""), 1 - 1.0 / 8);
  EXPECT_EQ(clean_of(outcome.rejects[3]).find("toxicity")->as_double(""), 1.0 / 6);
  EXPECT_EQ(outcome.report.dropped, 5u);
  EXPECT_EQ(outcome.report.read, outcome.report.kept + outcome.report.dropped + outcome.report.bad);
}

TEST_F(CleanTest, BadLinesEndTheRunOrAreRejected) {
  const std::string input = write("in.jsonl", {record("a", "x"), "{\"id\": 1}", "{\"text\": 5}", "nonsense"});
  CleanOptions options;
  set(options, "--min-words", "1");
  const auto outcome = run(options, input);
  EXPECT_EQ(outcome.kept.size(), 1u);
  EXPECT_EQ(outcome.rejects.size(), 3u);
  EXPECT_EQ(outcome.report.bad, 3u);
  options.stream.inputs = {input};
  options.stream.output = path("never.jsonl");
  Report report;
  try {
    clean(options, report);
    FAIL() << "a record without text was accepted";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find(input + ":2"), std::string::npos) << error.what();
  }
  EXPECT_FALSE(fs::exists(path("never.jsonl")));
}

TEST_F(CleanTest, ThreadsDoNotChangeTheBytes) {
  std::vector<std::string> lines;
  const Rng rng{11, 0};
  for (uint64_t i = 0; i < 3000; ++i) {
    std::string text;
    for (uint64_t k = 0; k < 5 + i % 20; ++k)
      text.append("w").append(std::to_string(rng.below(100 * (i / 3) + k, 40))).append(" ");
    lines.push_back(record(std::to_string(i), text));
  }
  const std::string input = write("in.jsonl", lines);
  CleanOptions options;
  options.exact = true;
  options.near = "0.5";
  set(options, "--min-words", "7");
  const size_t before = threads();
  set_threads(1);
  const auto one = run(options, input);
  set_threads(4);
  const auto four = run(options, input);
  set_threads(before);
  EXPECT_EQ(one.kept, four.kept);
  EXPECT_EQ(one.rejects, four.rejects);
  EXPECT_GT(one.rejects.size(), 100u);
  EXPECT_EQ(one.kept.size() + one.rejects.size(), lines.size());
}

// The shared pairs are every pair of Jaccard >= 0.5, found without this code.
TEST_F(CleanTest, NearDuplicatesOfRealDocumentsAreThoseOfBruteForce) {
  const char* shared = std::getenv("DS_SHARED");
  const fs::path data = fs::path(shared ? shared : DS_SOURCE_DIR "/../shared") / "data" / "neardup";
  if (!fs::exists(data / "pairs.tsv")) GTEST_SKIP() << data << " is not there";
  std::map<std::string, size_t> place;
  {
    std::istringstream in(read_file((data / "docs.jsonl.zst").string()));
    for (std::string line; std::getline(in, line);)
      place.emplace(parse_json(line, "docs").find("id")->text, place.size());
  }
  for (const double threshold : {0.8, 0.55}) {
    std::map<std::string, std::pair<std::string, double>> expected;
    std::istringstream in(read_file((data / "pairs.tsv").string()));
    std::string a, b;
    for (double value; in >> a >> b >> value;) {
      if (value < threshold) continue;
      if (place.at(a) > place.at(b)) std::swap(a, b);
      const auto [found, added] = expected.try_emplace(b, a, value);
      auto& best = found->second;
      if (value > best.second || (value == best.second && place.at(a) < place.at(best.first))) best = {a, value};
    }
    CleanOptions options;
    options.near = std::to_string(threshold);
    const auto outcome = run(options, (data / "docs.jsonl.zst").string());
    EXPECT_EQ(outcome.kept.size() + outcome.rejects.size(), place.size());
    EXPECT_EQ(outcome.rejects.size(), expected.size());
    for (const auto& line : outcome.rejects) {
      const std::string id = parse_json(line, "reject").find("id")->text;
      ASSERT_TRUE(expected.contains(id)) << id;
      const Json signal = clean_of(line);
      EXPECT_EQ(text_member(signal, "of"), expected[id].first) << id;
      EXPECT_NEAR(signal.find("jaccard")->as_double(""), expected[id].second, 5.1e-7) << id;
    }
  }
}

TEST_F(CleanTest, ARuleMustNotTakeAFiltersName) {
  for (const char* name : {"near-duplicate", "language", "min-words", "pii"}) {
    std::ofstream(path("policy.toml")) << "[[rule]]\nname = \"" << name << "\"\ndrop_if = \"words < 3\"\n";
    CleanOptions options;
    options.rules = path("policy.toml");
    EXPECT_THROW(run(options, write("in.jsonl", {record("a", "x")})), UsageError) << name;
  }
}

double limit_of(const std::vector<Limit>& limits, const std::string& reason) {
  for (const Limit& limit : limits)
    if (limit.reason() == reason) return limit.value;
  return -1;
}

TEST(Filters, PresetsFillWhatWasNotTyped) {
  EXPECT_TRUE(limits({}, {}).empty());
  CleanOptions options;
  set(options, "--repetition", "off");
  set(options, "--max-top-2-gram", "0.5");
  const auto found = limits(options.limits, {"pretrain", "gopher-repetition"});
  EXPECT_EQ(limit_of(found, "repetition"), -1);
  EXPECT_EQ(limit_of(found, "min-words"), 50);
  EXPECT_EQ(limit_of(found, "max-top-2-gram"), 0.5);
  EXPECT_EQ(limit_of(found, "max-top-3-gram"), 0.18);
  EXPECT_EQ(found.size(), 14u);  // 13 of Gopher's and one of pretrain
}

TEST(Filters, ValuesThatMakeNoSenseAreRefused) {
  const auto refused = [](const char* filter, const char* value) {
    CleanOptions options;
    set(options, filter, value);
    EXPECT_THROW(limits(options.limits, {}), UsageError) << filter << " " << value;
  };
  for (const char* bad : {"2", "-0.1", "inf", "nan", "x", "0.5x", "0.8 "}) refused("--repetition", bad);
  for (const char* bad : {"-1", "1.5", "9999999999999999999999"}) refused("--min-words", bad);
  CleanOptions options;
  set(options, "--min-words", "10");
  set(options, "--max-words", "9");
  EXPECT_THROW(limits(options.limits, {}), UsageError);
  EXPECT_THROW(limits({}, {"demo"}), UsageError);
}

TEST(Filters, ALimitDropsWhatIsBeyondItAndNotWhatIsUnknown) {
  CleanOptions options;
  set(options, "--min-words", "3");
  set(options, "--max-digit-ratio", "0.5");
  const auto found = limits(options.limits, {});
  Signals signals;
  EXPECT_EQ(first_failed(found, signals), nullptr);
  signals[Signal::words] = 3;
  signals[Signal::digit_ratio] = 0.5;
  EXPECT_EQ(first_failed(found, signals), nullptr);
  signals[Signal::digit_ratio] = 0.51;
  EXPECT_EQ(first_failed(found, signals)->reason(), "max-digit-ratio");
  signals[Signal::words] = 2;
  EXPECT_EQ(first_failed(found, signals)->reason(), "min-words");
  EXPECT_EQ(groups_of(found), SignalGroup::words | SignalGroup::ratios);
}

TEST_F(CleanTest, WrongOptionsAreRefusedBeforeAnythingIsRead) {
  const auto refused = [&](auto set_wrong) {
    CleanOptions options;
    options.stream.inputs = {path("absent.jsonl")};
    set_wrong(options);
    Report report;
    EXPECT_THROW(clean(options, report), UsageError);
  };
  for (const char* bad : {"0", "1.5", "-1", "x", "nan", "0.5x", "0.8 "}) refused([&](auto& o) { o.near = bad; });
  refused([](auto& o) { o.near = "0.8", o.shingle = "line:3"; });
  refused([](auto& o) { o.lexicon = "words"; });
  refused([](auto& o) { o.keep = "longest"; });
  refused([](auto& o) { o.exact = true, o.keep = "best"; });
  refused([](auto& o) { o.index = "folder"; });
  refused([](auto& o) { o.pii = "hide"; });
  refused([](auto& o) { o.exact = true, o.exact_on = "lines"; });
}

TEST(Repetition, IsTheShareOfRepeatedFiveGrams) {
  EXPECT_EQ(repetition_ratio(word_hashes("")), 0);
  EXPECT_EQ(repetition_ratio(word_hashes("a b c d")), 0);
  EXPECT_EQ(repetition_ratio(word_hashes(ten)), 0);
  EXPECT_EQ(repetition_ratio(word_hashes(ten + " " + ten)), 1 - 10.0 / 16);  // 16 of them, 10 different ones
  // Against sets of strings.
  for (uint64_t stream = 0; stream < 50; ++stream) {
    std::vector<std::string> words;
    std::string text;
    for (uint64_t i = 0; i < 5 + stream; ++i) {
      words.push_back(std::string("w").append(std::to_string(Rng{12, stream}.below(i, 2))));
      text += words.back() + " ";
    }
    std::set<std::vector<std::string>> distinct;
    for (size_t i = 0; i + 5 <= words.size(); ++i) distinct.insert({words.begin() + i, words.begin() + i + 5});
    EXPECT_EQ(repetition_ratio(word_hashes(text)),
              1 - static_cast<double>(distinct.size()) / static_cast<double>(words.size() - 4));
  }
}

TEST(Lexicon, CountsWholeWords) {
  const Lexicon lexicon = builtin_lexicon();
  EXPECT_EQ(lexicon_share(word_hashes("The bitch went home"), lexicon), 0.25);
  EXPECT_EQ(lexicon_share(word_hashes("Scunthorpe, assassin, class, cocktail"), lexicon), 0);
  EXPECT_EQ(lexicon_share({}, lexicon), 0);
}

// A lexicon is a crude judge; these bounds are about what the built-in one reaches on labelled posts.
TEST(Lexicon, FindsMostOfTheLabelledAbuse) {
  const char* shared = std::getenv("DS_SHARED");
  const fs::path file = fs::path(shared ? shared : DS_SOURCE_DIR "/../shared") / "data/toxicity/labelled.jsonl.zst";
  if (!fs::exists(file)) GTEST_SKIP() << file << " is not there";
  const Lexicon lexicon = builtin_lexicon();
  size_t toxic = 0, found = 0, right = 0;
  std::istringstream in(read_file(file.string()));
  for (std::string line; std::getline(in, line);) {
    const Json json = parse_json(line, "labelled");
    const bool flagged = lexicon_share(word_hashes(json.find("text")->text), lexicon) > 0;
    const bool label = json.find("toxic")->boolean;
    toxic += label;
    found += flagged;
    right += label && flagged;
  }
  const double recall = static_cast<double>(right) / static_cast<double>(toxic);
  const double precision = static_cast<double>(right) / static_cast<double>(found);
  RecordProperty("recall", std::to_string(recall));
  RecordProperty("precision", std::to_string(precision));
  EXPECT_GT(recall, 0.8);
  EXPECT_GT(precision, 0.95);
}

}  // namespace
}  // namespace ds
