// The report of a whole pipeline, as Markdown and as one self-contained HTML page.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "eval/results.h"
#include "io/report.h"

namespace ds {

// At least one of results, metrics and reports is given.
struct PageOptions {
  std::string title = "Evaluation";
  std::vector<std::string> results;    // results files; the first is what the others are compared with
  std::string metrics;                 // metrics.jsonl of ds-train, for the loss curve; may be empty
  std::vector<std::string> reports;    // --report files of the stages, in pipeline order; of ds-clean the funnel and
                                       // the histograms of its signals are shown too, where the report has them
  std::vector<std::string> baselines;  // NAME=BITS_PER_BYTE of other compressors or models
  std::string html = "report.html", markdown;
};
void write_page(const PageOptions& options, Report& report);

}  // namespace ds
