#include "eval/evaluate.h"

#include <algorithm>
#include <filesystem>

#include "base/log.h"
#include "eval/results.h"
#include "eval/svg.h"
#include "eval/tasks.h"
#include "io/jsonl.h"
#include "io/output.h"

namespace ds {

namespace fs = std::filesystem;

static std::vector<Document> load_documents(const std::vector<std::string>& files, Report& report) {
  std::vector<Document> documents;
  for_each_record(files, size_t{64} << 20, &report, [&](Record&& record) {
    const auto id = record.string("id");
    documents.push_back({id ? *id : record.where(), record.required_string("text")});
  });
  return documents;
}

static std::vector<std::string> split_names(const std::string& list) {
  std::vector<std::string> names;
  size_t begin = 0;
  while (begin <= list.size()) {
    const size_t comma = std::min(list.find(',', begin), list.size());
    if (comma > begin) names.push_back(list.substr(begin, comma - begin));
    begin = comma + 1;
  }
  return names;
}

static uint64_t weight_bytes(const std::string& folder) {
  uint64_t bytes = 0;
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.path().extension() == ".safetensors") bytes += entry.file_size();
  return bytes;
}

static void write_results(const Results& results, const std::string& path, Report& report) {
  OutputFile out(path);
  out.write(results_json(results));
  out.commit();
  report.outputs.push_back({out.path(), out.bytes(), 0, out.hash()});
  for (const TaskResult& t : results.tasks)
    info(results.model, ": ", t.task, " ", t.metric, " ", fixed(t.estimate.value, 4), " ± ", fixed(std::max(t.estimate.stderr_, 0.0), 4));
}

void evaluate(const EvaluateOptions& options, Report& report) {
  const auto names = split_names(options.tasks);
  for (const auto& name : names)
    if (name != "bits_per_byte" && name != "cloze")
      throw UsageError(cat("--tasks: no task '", name, "'; there are bits_per_byte and cloze"));
  if (names.empty()) throw UsageError("--tasks names no task");
  const auto documents = load_documents(options.data, report);
  Engine engine(options.model);
  Results results;
  results.model = options.name.empty() ? fs::path(options.model).lexically_normal().filename().string() : options.name;
  if (results.model.empty()) results.model = fs::absolute(options.model).parent_path().filename().string();
  results.model_bytes = weight_bytes(options.model);
  if (const auto found = engine.model.metadata.find("ds.history"); found != engine.model.metadata.end()) results.history = found->second;
  for (const auto& name : names) {
    const auto stage = report.stage(name);
    if (name == "bits_per_byte") {
      ExpertLoadCounter counter(engine);
      results.tasks.push_back(bits_per_byte(engine, documents));
      results.expert_load = counter.collect();
    } else {
      const auto items = make_cloze(documents, static_cast<size_t>(std::max<int64_t>(options.cloze_items, 0)), options.seed);
      require(!items.empty(), "cloze: the data hold fewer than four texts of at least 58 words");
      results.tasks.push_back(cloze(engine, items));
    }
  }
  write_results(results, options.output, report);
}

void evaluate_baseline(const EvaluateOptions& options, Report& report) {
  if (options.training.empty()) throw UsageError("ds-eval baseline: give --training FILE.jsonl, what the counts are fitted on");
  const auto training = load_documents(options.training, report);
  const auto documents = load_documents(options.data, report);
  Results results;
  results.model = options.name.empty() ? "order-5 counts" : options.name;
  const auto stage = report.stage("fit and score");
  results.tasks.push_back(ngram_bits_per_byte(training, documents));
  write_results(results, options.output, report);
}

int compare_files(const CompareOptions& options) {
  const Results a = load_results(options.a), b = load_results(options.b);
  OutputFile out("-");
  out.write(cat("task\tmetric\t", a.model, "\t", b.model, "\tdifference\tstderr\trelative\tverdict\n"));
  bool regression = false;
  for (const Comparison& c : compare_results(a, b)) {
    const double loss = c.higher_is_better ? -c.relative() : c.relative();
    const bool worse = c.worse(options.z) && loss > options.max_regression;
    const bool better = !c.worse(options.z) && loss < 0 && std::max(c.difference.value, -c.difference.value) > options.z * std::max(c.difference.stderr_, 0.0);
    regression |= worse;
    out.write(cat(c.task, "\t", c.metric, "\t", fixed(c.a.value, 4), "\t", fixed(c.b.value, 4), "\t", fixed(c.difference.value, 4), "\t",
                  c.difference.stderr_ >= 0 ? fixed(c.difference.stderr_, 4) : "N/A", "\t", fixed(100 * c.relative(), 2), "%\t",
                  worse ? "worse" : better ? "better" : "same", "\n"));
  }
  out.commit();
  return regression ? 3 : 0;
}

}  // namespace ds
