#include "eval/results.h"

#include <algorithm>

#include "base/error.h"

namespace ds {

double ExpertLoad::max_over_mean() const {
  uint64_t sum = 0, largest = 0;
  for (const uint64_t n : tokens) sum += n, largest = std::max(largest, n);
  return sum ? static_cast<double>(largest) * static_cast<double>(tokens.size()) / static_cast<double>(sum) : 0;
}

double ExpertLoad::utilisation() const {
  uint64_t sum = 0, used = 0;
  for (const uint64_t n : tokens) sum += n;
  for (const uint64_t n : tokens) used += 2 * n * tokens.size() > sum;
  return tokens.empty() ? 0 : static_cast<double>(used) / static_cast<double>(tokens.size());
}

int64_t ExpertLoad::dead() const { return std::count(tokens.begin(), tokens.end(), uint64_t{0}); }

static void write_task(JsonWriter& w, const TaskResult& t) {
  w.open('{').field("task", t.task).field("metric", t.metric).field("higher_is_better", t.higher_is_better);
  if (t.chance >= 0) w.field("chance", t.chance);
  w.field(t.metric + ",none", t.estimate.value);
  w.key(t.metric + "_stderr,none");
  t.estimate.stderr_ >= 0 ? w.value(t.estimate.stderr_) : w.value("N/A");
  w.field("n", t.estimate.n);
  w.open('[', "ids");
  for (const auto& id : t.ids) w.value(id);
  w.close().open('[', "values");
  for (const double v : t.values) w.value(v);
  w.close().open('[', "weights");
  for (const double v : t.weights) w.value(v);
  w.close().close();
}

std::string results_json(const Results& results) {
  JsonWriter w;
  w.open('{').field("format", "ds-eval results 1").field("model", results.model).field("model_bytes", results.model_bytes);
  if (!results.history.empty()) w.key("history").raw(results.history);
  w.open('[', "tasks");
  for (const auto& task : results.tasks) write_task(w, task);
  w.close().open('[', "expert_load");
  for (const auto& load : results.expert_load) {
    w.open('{').field("layer", load.layer).field("max_over_mean", load.max_over_mean());
    w.field("utilisation", load.utilisation()).field("dead", load.dead()).open('[', "tokens");
    for (const uint64_t n : load.tokens) w.value(n);
    w.close().close();
  }
  w.close().close();
  return w.text + "\n";
}

static const Json& member(const Json& object, std::string_view key, const std::string& where) {
  const Json* const found = object.find(key);
  require(found != nullptr, where, ": no \"", key, "\": is this a results file of ds-eval?");
  return *found;
}

static std::vector<double> numbers(const Json& array, const std::string& where) {
  std::vector<double> out;
  for (const Json& item : array.items) out.push_back(item.as_double(where));
  return out;
}

static TaskResult read_task(const Json& json, const std::string& where) {
  TaskResult t;
  t.task = member(json, "task", where).as_string(where);
  t.metric = member(json, "metric", where).as_string(where);
  t.higher_is_better = member(json, "higher_is_better", where).as_bool(where);
  if (const Json* const chance = json.find("chance")) t.chance = chance->as_double(where);
  for (const Json& id : member(json, "ids", where).items) t.ids.push_back(id.as_string(where));
  t.values = numbers(member(json, "values", where), where);
  t.weights = numbers(member(json, "weights", where), where);
  require(t.ids.size() == t.values.size() && (t.weights.empty() || t.weights.size() == t.values.size()), where, ": task ",
          t.task, " has ", t.ids.size(), " ids, ", t.values.size(), " values and ", t.weights.size(), " weights");
  t.estimate = t.weights.empty() ? mean_estimate(t.values) : ratio_estimate(t.values, t.weights);
  return t;
}

Results load_results(const std::string& path) {
  const Json json = parse_json_file(path);
  Results r;
  r.model = member(json, "model", path).as_string(path);
  r.model_bytes = static_cast<uint64_t>(member(json, "model_bytes", path).as_int(path));
  for (const Json& task : member(json, "tasks", path).items) r.tasks.push_back(read_task(task, path));
  for (const Json& item : member(json, "expert_load", path).items) {
    ExpertLoad load;
    load.layer = member(item, "layer", path).as_int(path);
    for (const Json& n : member(item, "tokens", path).items) load.tokens.push_back(static_cast<uint64_t>(n.as_int(path)));
    r.expert_load.push_back(std::move(load));
  }
  return r;
}

bool Comparison::worse(double z) const {
  const double loss = higher_is_better ? -difference.value : difference.value;
  return loss > z * std::max(difference.stderr_, 0.0) && loss > 0;
}

std::vector<Comparison> compare_results(const Results& a, const Results& b) {
  std::vector<Comparison> lines;
  for (const TaskResult& ta : a.tasks) {
    const auto tb = std::find_if(b.tasks.begin(), b.tasks.end(),
                                 [&](const TaskResult& t) { return t.task == ta.task && t.metric == ta.metric; });
    if (tb == b.tasks.end()) continue;
    require(ta.ids == tb->ids && ta.weights == tb->weights, "task ", ta.task, ": ", a.model, " and ", b.model,
            " were not measured on the same items; run both on the same data");
    Comparison c{ta.task, ta.metric, ta.higher_is_better, ta.estimate, tb->estimate, {}};
    c.difference = ta.weights.empty() ? paired_mean_difference(tb->values, ta.values)
                                      : paired_ratio_difference(tb->values, ta.values, ta.weights);
    lines.push_back(std::move(c));
  }
  require(!lines.empty(), "the two results files have no task in common");
  return lines;
}

}  // namespace ds
