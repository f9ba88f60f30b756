// ds-clean learn: trains a text classifier on labelled records and measures it on records that it did not see.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "io/report.h"
#include "text/classifier_trainer.h"

namespace ds {

struct LearnOptions {
  std::vector<std::string> inputs = {"-"};
  size_t max_record_bytes = size_t{64} << 20;
  std::string output;  // the model; a name that ends in .ftz is quantized
  std::string text_field = "text";
  std::string label_field = "label";  // a string, a boolean or a number, taken as it is written
  std::string positive;         // the label that precision, recall and AUC are about; empty: true, where the labels are
                                // true and false; with other labels only the accuracy is measured
  double held_out = 0.1;        // share of the distinct texts that is not trained on; in (0, 1)
  ClassifierTraining training;  // `quantize` is set by the name of the output
};

// How well scores tell positive records from negative ones, where a record with score >= threshold is called positive.
struct Threshold {
  double threshold = 0;
  double precision = 0, recall = 0, f1 = 0;  // 0 where nothing is called positive (nothing is positive)
};
struct BinaryMetrics {
  uint64_t positive = 0, negative = 0;  // records
  double auc = 0;                       // area under the ROC curve: the probability that a positive record scores
                                        // higher than a negative one, equal scores counting half; exact
  Threshold at_half, best;              // at 0.5; at the highest F1, of equals the highest threshold
};
// Error where one of the two kinds is missing. NaN scores are not allowed.
BinaryMetrics binary_metrics(const std::vector<std::pair<double, bool>>& scored);

struct LabelCounts {
  std::string label;
  uint64_t trained = 0, held_out = 0;
  double precision = 0, recall = 0, f1 = 0;  // of the most probable label, on the held-out records
};
struct LearnResult {
  uint64_t trained = 0, held_out = 0;  // records
  std::vector<LabelCounts> labels;     // by name
  double accuracy = 0;                 // held-out records whose most probable label is theirs / all
  std::string positive;
  std::optional<BinaryMetrics> binary;  // where there is a positive label
  uint64_t model_bytes = 0;
  std::string json() const;  // one line
};

// A text is held out by XXH3 of its words and the seed, never by its place, so equal texts stay on one side. Records
// are read into memory. The numbers are those of the file that is written, which appears whole or not at all. Adds the
// results to the report. Error for a record without text or label, for fewer than two labels, and where one side of the
// split lacks what is measured.
LearnResult learn(const LearnOptions& options, Report& report);

}  // namespace ds
