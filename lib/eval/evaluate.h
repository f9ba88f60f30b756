// The verbs of ds-eval.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "io/report.h"

namespace ds {

struct EvaluateOptions {
  std::string model;                          // a model folder
  std::string name;                           // in tables; empty: the folder's name
  std::string tasks = "bits_per_byte,cloze";  // comma-separated
  std::vector<std::string> data;              // held-out JSONL with "text"
  std::vector<std::string> training;          // `baseline`: what the count-based model is fitted on
  int64_t cloze_items = 400;
  uint64_t seed = 0;
  std::string output = "-";
};
// Measures a model on held-out text and writes a results file (eval/results.h), expert load included.
void evaluate(const EvaluateOptions& options, Report& report);
// The same file for the order-5 count-based model fitted on `training`.
void evaluate_baseline(const EvaluateOptions& options, Report& report);

struct CompareOptions {
  std::string a, b;                           // results files
  double z = 2;                               // standard errors beyond which a loss is a regression
  double max_regression = 0;                  // relative losses up to this pass, 0.03 being 3 %
};
// Prints the paired comparison as a table. Returns 3 where b is worse than a by more than both limits, else 0.
int compare_files(const CompareOptions& options);

}  // namespace ds
