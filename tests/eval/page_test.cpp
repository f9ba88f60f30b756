#include "eval/page.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "base/error.h"
#include "eval/cleaning.h"
#include "io/input.h"
#include "io/json.h"
#include "io/output.h"

namespace ds {
namespace {

namespace fs = std::filesystem;

const std::string funnel =
    R"({"records": 10, "bytes": 1000, "bad": {"records": 1, "bytes": 7}, "dropped": [)"
    R"({"reason": "repetition", "records": 2, "bytes": 200, "left": 7}, {"reason": "<script>|x", "records": 3, "bytes": 300, "left": 4}],)"
    R"( "kept": {"records": 4, "bytes": 400}, "edited": 1})";

std::string signal(const std::string& edges = "[1, 2, 4]", const std::string& bins = "[3, 4]",
                   const std::string& kind = "\"count\"") {
  return cat(R"({"kind": )", kind,
             R"(, "meaning": "words & <more>", "count": 7, "mean": 2.5, "min": 1, "max": 3, "zeros": 0, )",
             R"("quantiles": {"p01": 1, "p05": 1, "p25": 1, "p50": 2, "p75": 3, "p95": 3, "p99": 3}, "edges": )", edges,
             ", \"bins\": ", bins, "}");
}

std::string report(const std::string& sections) {
  return cat(R"({"tool": "ds-clean", "command": "", "records": {"read": 10, "kept": 4, "dropped": 5, "bad": 1}, )",
             R"("reasons": {"repetition": 2, "<script>|x": 3})", sections.empty() ? "" : ", ", sections, "}");
}

const std::string whole =
    report(cat(R"("rules": {"repetition": 0.3, "min_words": 2}, "funnel": )", funnel, R"(, "signals": {"words": )",
               signal(), R"(, "lang": {"count": 7, "languages": {"en": 5, "<i>": 2}}})"));

class PageTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("page_test_" + std::to_string(getpid()));
    fs::create_directories(folder_);
    options_.html = path("page.html");
    options_.markdown = path("page.md");
  }
  void TearDown() override { fs::remove_all(folder_); }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }

  std::string stage(const std::string& name, const std::string& json) const {
    write_file(path(name), json);
    return path(name);
  }
  std::string html() const {
    Report report;
    write_page(options_, report);
    return read_file(options_.html);
  }

  fs::path folder_;
  PageOptions options_;
};

size_t count_of(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

TEST_F(PageTest, NeedsSomethingToShow) {
  EXPECT_THROW(html(), UsageError);
  options_.baselines = {"gzip=2"};
  EXPECT_THROW(html(), UsageError);
}

TEST_F(PageTest, AStageAloneShowsFunnelLanguagesAndSignals) {
  options_.reports = {stage("clean.json", whole)};
  const std::string page = html(), text = read_file(options_.markdown);
  EXPECT_EQ(count_of(page, "<h2>"), 4u);
  for (const char* const title : {"Pipeline", "Funnel: ds-clean", "Languages: ds-clean", "Signals: ds-clean"})
    EXPECT_EQ(count_of(page, cat("<h2>", title, "</h2>")), 1u) << title;
  EXPECT_EQ(count_of(page, "<figure>"), 1u);
  EXPECT_EQ(count_of(page, "class=\"mark\""), 1u);
  EXPECT_NE(page.find("dropped below 2"), std::string::npos);
  EXPECT_NE(text.find("| filter | records | % of input | bytes | left | % left |\n"
                      "| --- | ---: | ---: | ---: | ---: | ---: |\n"
                      "| read | 10 | 100.00 | 1,000 |  |  |\n"
                      "| bad-line | 1 | 10.00 | 7 | 9 | 90.00 |\n"
                      "| repetition | 2 | 20.00 | 200 | 7 | 70.00 |\n"
                      "| &lt;script>\\|x | 3 | 30.00 | 300 | 4 | 40.00 |\n"
                      "| kept | 4 | 40.00 | 400 |  |  |\n"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("| words | 7 | 0 | 2.5 | 1 | 1 | 2 | 3 | 3 | dropped below 2 |\n"), std::string::npos) << text;
  EXPECT_NE(text.find("| en | 5 | 71.43 |\n| &lt;i> | 2 | 28.57 |\n"), std::string::npos) << text;
}

TEST_F(PageTest, NothingIsMarkupThatTheReportDidNotMean) {
  options_.reports = {stage("clean.json", whole)};
  options_.title = "<script>alert(1)</script>";
  const std::string page = html();
  for (const char* const evil : {"<script", "<more>", "<i>", "http:", "https:", "url(", "src="})
    EXPECT_EQ(page.find(evil), std::string::npos) << evil;
  // Every element that is opened is closed, in order.
  std::vector<std::string> open;
  for (size_t at = page.find('<'); at != std::string::npos; at = page.find('<', at + 1)) {
    const size_t end = page.find('>', at);
    ASSERT_NE(end, std::string::npos);
    std::string tag = page.substr(at + 1, end - at - 1);
    if (tag.starts_with('!') || tag.ends_with('/') || tag.starts_with("meta")) continue;
    if (tag.starts_with('/')) {
      ASSERT_FALSE(open.empty());
      EXPECT_EQ("/" + open.back(), tag);
      open.pop_back();
    } else {
      open.push_back(tag.substr(0, tag.find(' ')));
    }
  }
  EXPECT_TRUE(open.empty());
}

TEST_F(PageTest, ReportsWithoutTheSectionsAndOfOtherTools) {
  options_.reports = {stage("old.json", report("")),
                      stage("other.json", R"({"tool": "ds-train", "signals": 3, "funnel": 4})")};
  EXPECT_EQ(count_of(html(), "<h2>"), 1u);
  options_.reports = {stage("a.json", whole), stage("b.json", whole)};
  const std::string page = html();
  EXPECT_EQ(count_of(page, cat("<h2>Funnel: ds-clean, ", path("a.json"), "</h2>")), 1u);
  EXPECT_EQ(count_of(page, cat("<h2>Signals: ds-clean, ", path("b.json"), "</h2>")), 1u);
}

TEST_F(PageTest, NothingCameIn) {
  options_.reports = {stage(
      "empty.json",
      report(R"("signals": {}, "funnel": {"records": 0, "bytes": 0, "bad": {"records": 0, "bytes": 0}, "dropped": [], )"
             R"("kept": {"records": 0, "bytes": 0}, "edited": 0})"))};
  const std::string page = html();
  EXPECT_EQ(count_of(page, "<h2>"), 2u);
  EXPECT_EQ(page.find("nan"), std::string::npos);
}

TEST(Cleaning, ThresholdsOfTheRules) {
  const auto thresholds = [](const std::string& rules) {
    const Json json = parse_json(report(cat(R"("rules": )", rules, R"(, "signals": {"words": )", signal(), "}")), "r");
    const CleaningReport cleaning = read_cleaning(json, "r");
    std::string found;
    for (const Threshold& t : cleaning.signals.at(0).thresholds)
      found += cat(t.drops == Threshold::Drops::below   ? "<"
                   : t.drops == Threshold::Drops::above ? ">"
                                                        : "=",
                   t.at, " ");
    return found;
  };
  EXPECT_EQ(thresholds("{}"), "");
  EXPECT_EQ(thresholds(R"({"words": 5, "exact": true, "wordss": 3, "min_wor": 2})"), "=5 ");
  EXPECT_EQ(thresholds(R"({"min_words": 5, "max-words": 9.5})"), "<5 >9.5 ");
  EXPECT_EQ(thresholds(R"({"words": {"min": 1, "max": 2}, "length": {"words-min": 3, "deep": {"words_max": 4}}})"),
            "<1 >2 <3 >4 ");
  EXPECT_EQ(thresholds(R"({"words": "off", "min_words": null, "words_max": [3]})"), "");
}

TEST(Cleaning, SectionsThatAreNotAsWritten) {
  const auto error = [](const std::string& sections) {
    try {
      read_cleaning(parse_json(report(sections), "r"), "r.json");
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string("no error");
  };
  const auto signals = [&](const std::string& one) { return error(cat(R"("signals": {"words": )", one, "}")); };
  EXPECT_EQ(signals(signal()), "no error");
  EXPECT_EQ(signals(signal("[1, 2]")), "r.json: signals.words: expected one edge more than bins, found 2 and 2");
  EXPECT_EQ(signals(signal("[1]", "[]")), "r.json: signals.words: expected one edge more than bins, found 1 and 0");
  EXPECT_EQ(signals(signal("[1, 1, 4]")), "r.json: signals.words: the edges do not rise");
  EXPECT_EQ(signals(signal("[1, 2, 4]", "[3, -4]")), "r.json: signals.words.bins: expected a number from 0, not -4");
  EXPECT_EQ(signals(signal("[1, 2, \"4\"]")), "r.json: signals.words.edges: expected a number, found a string");
  EXPECT_EQ(signals("3"), "r.json: signals.words: no member \"kind\"");
  EXPECT_EQ(error(R"("funnel": {"records": 1})"), "r.json: funnel: no member \"bytes\"");
  EXPECT_EQ(error(R"("funnel": [])"), "r.json: funnel: no member \"records\"");
  EXPECT_EQ(error(R"("signals": {"lang": {"languages": {"en": "x"}}})"),
            "r.json: signals.lang.languages.en: expected an integer, found a string");
}

}  // namespace
}  // namespace ds
