#include "eval/page.h"

#include <charconv>

#include "base/error.h"
#include "base/sizes.h"
#include "eval/svg.h"
#include "io/input.h"
#include "io/json.h"
#include "io/output.h"

namespace ds {

namespace {

struct Table {
  std::vector<std::string> head;
  std::vector<std::vector<std::string>> rows;
};

// What the page says, before it is HTML or Markdown. A chart stands in the HTML only.
struct Section {
  std::string title, text;
  Table table;
  std::string chart;
};

}  // namespace

static std::string plus_minus(const Estimate& e, int digits) {
  return e.stderr_ >= 0 ? fixed(e.value, digits) + " ± " + fixed(e.stderr_, digits) : fixed(e.value, digits);
}

static const TaskResult* find_task(const Results& results, const std::string& task) {
  for (const auto& t : results.tasks)
    if (t.task == task) return &t;
  return nullptr;
}

static Section bits_section(const std::vector<Results>& all, const std::vector<std::string>& baselines) {
  Section s{.title = "Bits per byte of held-out text", .text = "Lower is better; ± is one standard error over documents.", .table = {}, .chart = ""};
  s.table.head = {"model", "bits per byte", "documents"};
  for (const Results& r : all)
    if (const TaskResult* const t = find_task(r, "bits_per_byte"))
      s.table.rows.push_back({r.model, plus_minus(t->estimate, 4), std::to_string(t->estimate.n)});
  for (const std::string& baseline : baselines) {
    const size_t equals = baseline.rfind('=');
    double value = 0;
    const char* const end = baseline.data() + baseline.size();
    const auto parsed = equals == std::string::npos ? std::from_chars_result{nullptr, std::errc::invalid_argument}
                                                    : std::from_chars(baseline.data() + equals + 1, end, value);
    if (parsed.ec != std::errc() || parsed.ptr != end) throw UsageError(cat("--baseline ", baseline, ": write NAME=NUMBER, such as 'gzip -9=2.37'"));
    s.table.rows.push_back({baseline.substr(0, equals), fixed(value, 4), "the same text in one stream"});
  }
  return s;
}

static Section tasks_section(const std::vector<Results>& all) {
  Section s{.title = "Multiple choice", .text = "", .table = {}, .chart = ""};
  s.table.head = {"model", "task", "metric", "value", "chance", "items"};
  for (const Results& r : all)
    for (const TaskResult& t : r.tasks)
      if (t.task != "bits_per_byte")
        s.table.rows.push_back({r.model, t.task, t.metric, plus_minus(t.estimate, 4), t.chance >= 0 ? fixed(t.chance, 4) : "", std::to_string(t.estimate.n)});
  return s;
}

static Section comparison_section(const std::vector<Results>& all) {
  Section s{.title = "Paired comparison", .text = "Both models on the same items; the difference's standard error is of the pairs.", .table = {}, .chart = ""};
  s.table.head = {"task", "from", "to", "difference", "relative", "weights"};
  for (size_t i = 1; i < all.size(); ++i) {
    if (all[i].tasks.empty() || all[i].model_bytes == 0) continue;
    for (const Comparison& c : compare_results(all[0], all[i]))
      s.table.rows.push_back({c.task, cat(all[0].model, " ", fixed(c.a.value, 4)), cat(all[i].model, " ", fixed(c.b.value, 4)),
                              plus_minus(c.difference, 4), fixed(100 * c.relative(), 2) + " %",
                              cat(format_bytes(all[0].model_bytes), " → ", format_bytes(all[i].model_bytes))});
  }
  return s;
}

static Section load_section(const Results& r) {
  Section s{.title = "Expert load on held-out text: " + r.model, .text = "Tokens of each expert over the mean of its layer.", .table = {}, .chart = ""};
  s.table.head = {"layer", "experts", "dead", "max / mean", "utilisation (share above half the mean)"};
  std::vector<HeatRow> heat;
  for (const ExpertLoad& load : r.expert_load) {
    uint64_t sum = 0;
    for (const uint64_t n : load.tokens) sum += n;
    HeatRow row{cat("layer ", load.layer), {}};
    for (const uint64_t n : load.tokens)
      row.values.push_back(sum ? static_cast<double>(n) * static_cast<double>(load.tokens.size()) / static_cast<double>(sum) : 0);
    heat.push_back(std::move(row));
    s.table.rows.push_back({std::to_string(load.layer), std::to_string(load.tokens.size()), std::to_string(load.dead()),
                            fixed(load.max_over_mean(), 2), fixed(100 * load.utilisation(), 1) + " %"});
  }
  s.chart = heat_map(heat);
  return s;
}

static Section training_section(const std::string& path) {
  Section s{.title = "Training", .text = "", .table = {}, .chart = ""};
  Series loss{"loss", {}};
  Line line;
  LineReader reader({path}, size_t{16} << 20);
  double tokens = 0;
  while (reader.next(line)) {
    const std::string where = cat(path, ":", line.number);
    const Json json = parse_json(line.text, where);
    const Json *const step = json.find("step"), *const value = json.find("loss"), *const count = json.find("tokens");
    require(step && value, where, ": a metrics line has \"step\" and \"loss\"");
    loss.points.emplace_back(step->as_double(where), value->as_double(where));
    if (count) tokens = std::max(tokens, count->as_double(where));
  }
  require(!loss.points.empty(), path, " has no lines");
  // Means over at most 400 stretches: a curve that can be read and a page that stays small.
  const size_t stretch = (loss.points.size() + 399) / 400;
  Series smooth{"loss", {}};
  for (size_t i = 0; i < loss.points.size(); i += stretch) {
    const size_t end = std::min(loss.points.size(), i + stretch);
    double sum = 0;
    for (size_t j = i; j < end; ++j) sum += loss.points[j].second;
    smooth.points.emplace_back(loss.points[end - 1].first, sum / static_cast<double>(end - i));
  }
  s.text = cat(loss.points.size(), " steps; training loss in nats per token, from ", fixed(loss.points.front().second, 3), " to ",
               fixed(smooth.points.back().second, 3), ".");
  s.chart = line_chart({smooth}, "step", "loss (nats per token)");
  return s;
}

static Section pipeline_section(const std::vector<std::string>& paths) {
  Section s{.title = "Pipeline", .text = "What each stage read, kept and dropped.", .table = {}, .chart = ""};
  s.table.head = {"stage", "read", "kept", "dropped", "why", "seconds"};
  for (const std::string& path : paths) {
    const Json json = parse_json_file(path);
    const auto text = [](const Json* object, const char* key) {
      const Json* const found = object ? object->find(key) : nullptr;
      return found ? found->text : std::string();
    };
    const Json* const records = json.find("records");
    std::string why;
    if (const Json* const reasons = json.find("reasons"))
      for (const auto& [reason, count] : reasons->members) why += cat(why.empty() ? "" : ", ", reason, " ", count.text);
    const Json* const machine = json.find("machine");
    const Json* const seconds = machine ? machine->find("seconds") : nullptr;
    double total = 0;
    if (seconds)
      for (const auto& [stage, value] : seconds->members) total += value.as_double(path);
    const std::string command = text(&json, "command");
    const auto count = [&](const char* key) {
      const std::string n = text(records, key);
      return n == "0" ? std::string() : n;
    };
    s.table.rows.push_back({text(&json, "tool") + (command.empty() ? "" : " " + command), count("read"), count("kept"), count("dropped"), why,
                            fixed(total, 1)});
  }
  return s;
}

static std::string markdown(const std::string& title, const std::vector<Section>& sections) {
  std::string out = "# " + title + "\n";
  for (const Section& s : sections) {
    out += "\n## " + s.title + "\n\n";
    if (!s.text.empty()) out += s.text + "\n\n";
    if (s.table.rows.empty()) continue;
    const auto row = [&](const std::vector<std::string>& cells) {
      for (const auto& cell : cells) out += "| " + cell + " ";
      out += "|\n";
    };
    row(s.table.head);
    row(std::vector<std::string>(s.table.head.size(), "---"));
    for (const auto& cells : s.table.rows) row(cells);
  }
  return out;
}

static std::string html(const std::string& title, const std::vector<Section>& sections) {
  std::string out = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\n<title>" +
                    html_escaped(title) + "</title>\n<style>\n"
                    "body{font:16px/1.5 system-ui,sans-serif;max-width:820px;margin:2rem auto;padding:0 1rem;color:#1f2328}\n"
                    "h1{font-size:1.7rem}h2{font-size:1.2rem;margin-top:2.2rem;border-bottom:1px solid #d0d7de;padding-bottom:.2rem}\n"
                    "table{border-collapse:collapse;font-size:.9rem;display:block;overflow-x:auto}th,td{padding:.3rem .7rem;border-bottom:1px solid #d0d7de;text-align:left;vertical-align:top}\n"
                    "svg{width:100%;height:auto;margin:.8rem 0}svg text{font:12px system-ui,sans-serif;fill:#57606a}svg .grid{stroke:#d8dee4}\n"
                    "@media(prefers-color-scheme:dark){body{background:#0d1117;color:#e6edf3}th,td,h2{border-color:#30363d}svg text{fill:#9198a1}svg .grid{stroke:#30363d}}\n"
                    "</style></head><body>\n<h1>" + html_escaped(title) + "</h1>\n";
  for (const Section& s : sections) {
    out += "<h2>" + html_escaped(s.title) + "</h2>\n";
    if (!s.text.empty()) out += "<p>" + html_escaped(s.text) + "</p>\n";
    out += s.chart;
    if (s.table.rows.empty()) continue;
    out += "<table><thead><tr>";
    for (const auto& cell : s.table.head) out += "<th>" + html_escaped(cell) + "</th>";
    out += "</tr></thead><tbody>\n";
    for (const auto& cells : s.table.rows) {
      out += "<tr>";
      for (const auto& cell : cells) out += "<td>" + html_escaped(cell) + "</td>";
      out += "</tr>\n";
    }
    out += "</tbody></table>\n";
  }
  return out + "</body></html>\n";
}

void write_page(const PageOptions& options, Report& report) {
  if (options.results.empty()) throw UsageError("ds-eval report needs at least one --results FILE");
  std::vector<Results> all;
  for (const auto& path : options.results) all.push_back(load_results(path));
  std::vector<Section> sections = {bits_section(all, options.baselines)};
  const auto add = [&](Section s) {
    if (!s.table.rows.empty() || !s.chart.empty()) sections.push_back(std::move(s));
  };
  add(tasks_section(all));
  if (all.size() > 1) add(comparison_section(all));
  if (!options.metrics.empty()) add(training_section(options.metrics));
  for (const Results& r : all)
    if (!r.expert_load.empty()) add(load_section(r));
  if (!options.reports.empty()) add(pipeline_section(options.reports));
  const auto write = [&](const std::string& path, const std::string& text) {
    if (path.empty()) return;
    OutputFile out(path);
    out.write(text);
    out.commit();
    report.outputs.push_back({path, out.bytes(), 0, out.hash()});
  };
  write(options.markdown, markdown(options.title, sections));
  write(options.html, html(options.title, sections));
}

}  // namespace ds
