// ds-eval: numbers about a model.
#include "cli/app.h"
#include "eval/evaluate.h"
#include "eval/page.h"

int main(int argc, char** argv) {
  using namespace ds;
  App app("ds-eval", "Measure models on held-out text, compare them in pairs, and report.");
  EvaluateOptions options;
  CompareOptions compare;
  PageOptions page;
  const auto measured = [&options](void (*measure)(const EvaluateOptions&, Report&)) {
    return [&options, measure](const CommonOptions& common, Report& report) {
      options.seed = common.seed;
      measure(options, report);
      return 0;
    };
  };
  app.verb("run", "measure a model on held-out text", {"ds-eval run --model DIR --data heldout.jsonl -o results.json"},
           measured(evaluate))
      .option("--model", options.model, "model folder", "DIR").required()
      .option("--data", options.data, "held-out JSONL with \"text\"; may be given several times", "FILE").required()
      .option("--tasks", options.tasks, "comma-separated: bits_per_byte, cloze (four choices made from the data, chance 0.25)", "NAMES")
      .option("--cloze-items", options.cloze_items, "cloze questions at most", "N")
      .option("--name", options.name, "the model's name in tables (default: its folder's)")
      .option("-o,--output", options.output, "results file", "FILE");
  app.verb("baseline", "measure an order-5 count-based byte model on held-out text",
           {"ds-eval baseline --training train.jsonl --data heldout.jsonl -o counts.json"}, measured(evaluate_baseline))
      .option("--training", options.training, "JSONL with \"text\" to fit the counts on", "FILE").required()
      .option("--data", options.data, "held-out JSONL with \"text\"", "FILE").required()
      .option("--name", options.name, "its name in tables (default: order-5 counts)")
      .option("-o,--output", options.output, "results file", "FILE");
  app.verb("compare", "compare two results files in pairs; exit 3 where the second is worse", {"ds-eval compare full.json 4bit.json --max-regression 0.03"},
           [&compare](const CommonOptions&, Report&) { return compare_files(compare); })
      .option("A", compare.a, "results file of the baseline", "FILE").required()
      .option("B", compare.b, "results file that must not be worse", "FILE").required()
      .option("--z", compare.z, "standard errors beyond which a loss counts", "Z")
      .option("--max-regression", compare.max_regression, "relative loss that is let pass; 0.03 is 3 %", "SHARE");
  app.verb("report", "one page of results, training and pipeline",
           {"ds-eval report --results full.json --results 4bit.json --metrics OUT/metrics.jsonl --html report.html",
            "ds-eval report --stage clean.report.json --title Cleaning --html clean.html"},
           [&page](const CommonOptions&, Report& report) {
             write_page(page, report);
             return 0;
           })
      .option("--results", page.results, "results files; the first is what others are compared with", "FILE")
      .option("--metrics", page.metrics, "metrics.jsonl of ds-train, for the loss curve", "FILE")
      .option("--stage", page.reports, "--report files of the pipeline's stages, in order; of ds-clean the funnel and histograms too", "FILE")
      .option("--baseline", page.baselines, "bits per byte of something else, such as 'gzip -9=2.37'", "NAME=NUMBER")
      .option("--title", page.title, "heading")
      .option("--html", page.html, "page to write", "FILE")
      .option("--markdown", page.markdown, "the same as Markdown", "FILE");
  return app.run(argc, argv);
}
