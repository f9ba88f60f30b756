#include "clean/duplicates/clusters.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <numeric>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/rng.h"
#include "clean/clean.h"
#include "io/input.h"
#include "io/json.h"

namespace ds {
namespace {

namespace fs = std::filesystem;
using Set = std::set<uint64_t>;

class ClustersTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("clusters_test_" + std::to_string(getpid()));
    fs::create_directories(folder_);
    // Chains of edited copies, so that a cluster is more than the neighbours of one record.
    const Rng pick{21, 0};
    for (uint64_t i = 0; i < 240; ++i) {
      Set set;
      const Rng rng{22, i};
      if (i % 4 != 0)
        for (const uint64_t element : sets_[pick.below(i, i)]) {
          if (rng.uniform(element) >= 0.08) set.insert(element);
        }
      while (set.size() < 30 + i % 7) set.insert(rng.below(1000 + set.size() * 1000 + i, 1u << 30));
      sets_.push_back(set);
    }
    std::ofstream out(input());
    for (size_t i = 0; i < sets_.size(); ++i) {
      std::string text;
      for (const uint64_t element : sets_[i]) text += "w" + std::to_string(element) + " ";
      texts_.push_back(text);
      out << "{\"id\": " << i << ", \"score\": " << score(i) << ", \"text\": \"" << text << "\"}\n";
    }
  }
  void TearDown() override { fs::remove_all(folder_); }

  static int score(size_t i) { return static_cast<int>(i * 7919 % 101); }
  std::string input() const { return (folder_ / "in.jsonl").string(); }

  double jaccard_of(size_t a, size_t b) const {
    size_t common = 0;
    for (const uint64_t element : sets_[a]) common += sets_[b].contains(element);
    return static_cast<double>(common) / static_cast<double>(sets_[a].size() + sets_[b].size() - common);
  }

  // The first record of each one's connected component, by all pairs.
  std::vector<size_t> components(double threshold) const {
    std::vector<size_t> of(sets_.size());
    std::iota(of.begin(), of.end(), size_t{0});
    for (bool changed = true; changed;) {
      changed = false;
      for (size_t i = 0; i < sets_.size(); ++i)
        for (size_t j = 0; j < i; ++j)
          if (of[i] != of[j] && jaccard_of(i, j) >= threshold) {
            of[i] = of[j] = std::min(of[i], of[j]);
            changed = true;
          }
    }
    return of;
  }

  // Ids that stay, and for the others the "clean" object.
  std::set<size_t> run(const std::string& keep, std::map<size_t, Json>& dropped) const {
    CleanOptions options;
    options.near = "0.8";
    options.shingle = "word:1";
    options.keep = keep;
    options.stream.inputs = {input()};
    options.stream.output = (folder_ / "kept.jsonl").string();
    options.stream.rejects = (folder_ / "rejects.jsonl").string();
    Report report;
    clean(options, report);
    std::set<size_t> kept;
    const auto each = [&](const std::string& file, auto take) {
      std::istringstream in(read_file(file));
      for (std::string line; std::getline(in, line);) {
        const Json json = parse_json(line, file);
        take(static_cast<size_t>(json.find("id")->as_int("id")), json);
      }
    };
    each(options.stream.output, [&](size_t id, const Json&) { kept.insert(id); });
    each(options.stream.rejects, [&](size_t id, const Json& json) { dropped[id] = *json.find("clean"); });
    EXPECT_EQ(kept.size() + dropped.size(), sets_.size());
    return kept;
  }

  fs::path folder_;
  std::vector<Set> sets_;
  std::vector<std::string> texts_;
};

TEST_F(ClustersTest, OneOfEachConnectedComponentStays) {
  const std::vector<size_t> of = components(0.8);
  std::map<size_t, size_t> longest, best, size;
  for (size_t i = 0; i < of.size(); ++i) {
    ++size[of[i]];
    const auto better = [&](std::map<size_t, size_t>& winner, auto value) {
      const auto [found, added] = winner.try_emplace(of[i], i);
      if (!added && value(i) > value(found->second)) found->second = i;
    };
    better(longest, [&](size_t k) { return static_cast<double>(texts_[k].size()); });
    better(best, [&](size_t k) { return static_cast<double>(score(k)); });
  }
  EXPECT_LT(size.size(), of.size() - 50);
  for (const auto& [keep, winners] : {std::pair(std::string("longest"), longest), {"best:score", best}}) {
    std::map<size_t, Json> dropped;
    std::set<size_t> expected;
    for (const auto& [first, winner] : winners) expected.insert(winner);
    EXPECT_EQ(run(keep, dropped), expected) << keep;
    for (const auto& [id, why] : dropped) {
      const size_t winner = winners.at(of[id]);
      EXPECT_EQ(why.find("of")->as_int("of"), static_cast<int64_t>(winner));
      EXPECT_EQ(why.find("cluster")->as_int("cluster"), static_cast<int64_t>(of[id]));
      EXPECT_EQ(why.find("jaccard")->as_double("jaccard"), jaccard_of(id, winner));
    }
  }
  std::map<size_t, Json> dropped;
  std::set<size_t> alone;
  for (const auto& [first, count] : size)
    if (count == 1) alone.insert(first);
  EXPECT_EQ(run("none", dropped), alone);
}

TEST_F(ClustersTest, WhatIsNoFileOrNoRuleIsRefused) {
  std::map<size_t, Json> dropped;
  EXPECT_THROW(run("shortest", dropped), UsageError);
  EXPECT_THROW(run("best:", dropped), UsageError);
  EXPECT_THROW(run("best:nowhere", dropped), Error);  // no record has it
  CleanOptions options;
  options.exact = true;
  options.keep = "longest";
  Report report;
  EXPECT_THROW(clean(options, report), UsageError);  // standard input
}

}  // namespace
}  // namespace ds
