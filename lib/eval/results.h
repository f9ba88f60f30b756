// What an evaluation found: one file a model, with the value of every item, so that two of them can be compared in pairs.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "eval/statistics.h"
#include "io/json.h"

namespace ds {

// One task. `values` has one number an item: for "bits_per_byte" its bits, with `weights` its bytes; for "acc" 0 or 1.
struct TaskResult {
  std::string task, metric;                // "cloze", "acc"
  bool higher_is_better = true;
  double chance = -1;                      // of a guess; negative where it has no meaning
  Estimate estimate;
  std::vector<std::string> ids;
  std::vector<double> values, weights;     // weights empty: all 1
};

// How many tokens each expert of a layer got.
struct ExpertLoad {
  int64_t layer = 0;
  std::vector<uint64_t> tokens;
  double max_over_mean() const;
  double utilisation() const;              // share of experts with more than half of the mean
  int64_t dead() const;                    // experts without a token
};

struct Results {
  std::string model;                       // its name, for tables
  std::string history;                     // ds.history of the model file, JSON, or empty
  uint64_t model_bytes = 0;                // of its weight files
  std::vector<TaskResult> tasks;
  std::vector<ExpertLoad> expert_load;
};

std::string results_json(const Results& results);
Results load_results(const std::string& path);

// One line of a comparison: b against a on the items that both have (they must be the same items in the same order).
struct Comparison {
  std::string task, metric;
  bool higher_is_better = true;
  Estimate a, b, difference;               // difference = b - a, paired
  double relative() const { return a.value != 0 ? difference.value / a.value : 0; }
  bool worse(double z) const;              // b is worse than a by more than z standard errors
};
std::vector<Comparison> compare_results(const Results& a, const Results& b);

}  // namespace ds
