#include "eval/training_curves.h"

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "eval/svg.h"
#include "io/input.h"
#include "io/json.h"

namespace ds {

namespace {

// What the lines of a file say. Points are (step, value).
struct Metrics {
  Series loss{"training", {}}, eval_loss{"held out", {}}, learning_rate{"learning rate", {}}, gradient_norm{"gradient norm", {}},
      max_over_mean{"highest load / mean", {}};
  std::vector<std::vector<std::vector<double>>> expert_load;  // step, layer, expert
  uint64_t steps = 0, skipped = 0;
};

void add_point(Series& series, double step, const Json& line, const char* key, const std::string& where) {
  const Json* const value = line.find(key);
  if (value && value->type == Json::Type::number) series.points.emplace_back(step, value->as_double(cat(where, ": ", key)));
}

std::vector<std::vector<double>> load_of(const Json& line, const std::string& where) {
  std::vector<std::vector<double>> layers;
  const Json* const load = line.find("expert_load");
  if (!load) return layers;
  for (const Json& layer : load->items) {
    layers.emplace_back();
    for (const Json& count : layer.items) layers.back().push_back(count.as_double(cat(where, ": expert_load")));
  }
  return layers;
}

Metrics read_metrics(const std::string& path) {
  Metrics m;
  Line line;
  LineReader reader({path}, size_t{16} << 20);
  while (reader.next(line)) {
    const std::string where = cat(path, ":", line.number);
    const Json json = parse_json(line.text, where);
    const Json* const number = json.find("step");
    require(number && json.find("loss"), where, ": a metrics line has \"step\" and \"loss\"");
    const double step = number->as_double(cat(where, ": step"));
    ++m.steps;
    const Json* const skipped = json.find("skipped");
    if (skipped && skipped->type == Json::Type::boolean && skipped->boolean) ++m.skipped;
    add_point(m.loss, step, json, "loss", where);
    add_point(m.eval_loss, step, json, "eval_loss", where);
    add_point(m.learning_rate, step, json, "learning_rate", where);
    add_point(m.gradient_norm, step, json, "gradient_norm", where);
    add_point(m.max_over_mean, step, json, "expert_load_max_mean", where);
    if (auto load = load_of(json, where); !load.empty()) m.expert_load.push_back(std::move(load));
  }
  require(m.steps > 0, path, " has no lines");
  return m;
}

// Means over at most 400 stretches: a curve that can be read and a page that stays small.
Series smoothed(const Series& raw) {
  const size_t stretch = (raw.points.size() + 399) / 400;
  Series out{raw.name, {}};
  for (size_t i = 0; i < raw.points.size(); i += stretch) {
    const size_t end = std::min(raw.points.size(), i + stretch);
    double sum = 0;
    for (size_t j = i; j < end; ++j) sum += raw.points[j].second;
    out.points.emplace_back(raw.points[end - 1].first, sum / static_cast<double>(end - i));
  }
  return out;
}

// Load over the layer's mean, of the last tenth of the steps.
std::vector<HeatRow> heat_of(const std::vector<std::vector<std::vector<double>>>& load) {
  std::vector<HeatRow> rows;
  const size_t first = load.size() - (load.size() + 9) / 10;
  for (size_t layer = 0; layer < load.back().size(); ++layer) {
    HeatRow row{cat("MoE ", layer + 1), std::vector<double>(load.back()[layer].size())};
    double total = 0;
    for (size_t step = first; step < load.size(); ++step) {
      if (load[step].size() <= layer || load[step][layer].size() != row.values.size()) continue;
      for (size_t e = 0; e < row.values.size(); ++e) row.values[e] += load[step][layer][e], total += load[step][layer][e];
    }
    for (double& value : row.values) value = total > 0 ? value * static_cast<double>(row.values.size()) / total : 0;
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace

TrainingCurves training_curves(const std::string& path) {
  const Metrics m = read_metrics(path);
  TrainingCurves curves;
  curves.text = cat(grouped(m.steps), " steps");
  if (!m.loss.points.empty()) {
    std::vector<Series> losses = {smoothed(m.loss)};
    curves.text += cat("; training loss in nats per token, from ", fixed(m.loss.points.front().second, 3), " to ",
                       fixed(losses[0].points.back().second, 3));
    if (!m.eval_loss.points.empty()) {
      losses.push_back(m.eval_loss);
      curves.text += cat("; held out, at the last look, ", fixed(m.eval_loss.points.back().second, 3));
    }
    curves.charts += line_chart(losses, "step", "loss (nats per token)");
  }
  curves.text += m.skipped ? cat("; ", grouped(m.skipped), m.skipped == 1 ? " step was left out." : " steps were left out.") : ".";
  if (!m.learning_rate.points.empty()) curves.charts += line_chart({smoothed(m.learning_rate)}, "step", "learning rate");
  if (!m.gradient_norm.points.empty()) curves.charts += line_chart({smoothed(m.gradient_norm)}, "step", "gradient norm, before clipping");
  if (!m.max_over_mean.points.empty()) curves.charts += line_chart({smoothed(m.max_over_mean)}, "step", "highest expert load / mean");
  if (!m.expert_load.empty()) curves.charts += heat_map(heat_of(m.expert_load));
  return curves;
}

}  // namespace ds
