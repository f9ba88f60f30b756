#include "eval/page.h"

#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "base/sizes.h"
#include "eval/cleaning.h"
#include "eval/svg.h"
#include "eval/training_curves.h"
#include "io/input.h"
#include "io/json.h"
#include "io/output.h"

namespace ds {

namespace {

struct Table {
  std::vector<std::string> head;
  std::vector<std::vector<std::string>> rows;
  size_t numbers = SIZE_MAX;  // columns from this one on are numbers, set to the right
  bool folded = false;        // in the HTML it is opened by a click: the chart says the same
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
  Section s{.title = "Bits per byte of held-out text",
            .text = "Lower is better; ± is one standard error over documents.",
            .table = {},
            .chart = ""};
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
    if (parsed.ec != std::errc() || parsed.ptr != end)
      throw UsageError(cat("--baseline ", baseline, ": write NAME=NUMBER, such as 'gzip -9=2.37'"));
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
        s.table.rows.push_back({r.model, t.task, t.metric, plus_minus(t.estimate, 4),
                                t.chance >= 0 ? fixed(t.chance, 4) : "", std::to_string(t.estimate.n)});
  return s;
}

static Section comparison_section(const std::vector<Results>& all) {
  Section s{.title = "Paired comparison",
            .text = "Both models on the same items; the difference's standard error is of the pairs.",
            .table = {},
            .chart = ""};
  s.table.head = {"task", "from", "to", "difference", "relative", "weights"};
  for (size_t i = 1; i < all.size(); ++i) {
    if (all[i].tasks.empty() || all[i].model_bytes == 0) continue;
    for (const Comparison& c : compare_results(all[0], all[i]))
      s.table.rows.push_back({c.task, cat(all[0].model, " ", fixed(c.a.value, 4)),
                              cat(all[i].model, " ", fixed(c.b.value, 4)), plus_minus(c.difference, 4),
                              fixed(100 * c.relative(), 2) + " %",
                              cat(format_bytes(all[0].model_bytes), " → ", format_bytes(all[i].model_bytes))});
  }
  return s;
}

static Section load_section(const Results& r) {
  Section s{.title = "Expert load on held-out text: " + r.model,
            .text = "Tokens of each expert over the mean of its layer.",
            .table = {},
            .chart = ""};
  s.table.head = {"layer", "experts", "dead", "max / mean", "utilisation (share above half the mean)"};
  std::vector<HeatRow> heat;
  for (const ExpertLoad& load : r.expert_load) {
    uint64_t sum = 0;
    for (const uint64_t n : load.tokens) sum += n;
    HeatRow row{cat("layer ", load.layer), {}};
    for (const uint64_t n : load.tokens)
      row.values.push_back(
          sum ? static_cast<double>(n) * static_cast<double>(load.tokens.size()) / static_cast<double>(sum) : 0);
    heat.push_back(std::move(row));
    s.table.rows.push_back({std::to_string(load.layer), std::to_string(load.tokens.size()), std::to_string(load.dead()),
                            fixed(load.max_over_mean(), 2), fixed(100 * load.utilisation(), 1) + " %"});
  }
  s.chart = heat_map(heat);
  return s;
}

static Section training_section(const std::string& path) {
  const TrainingCurves curves = training_curves(path);
  return {.title = "Training", .text = curves.text, .table = {}, .chart = curves.charts};
}

// A --report file of a stage.
struct Stage {
  std::string path;
  Json json;
};

static std::string tool_of(const Json& report) {
  const Json* const tool = report.find("tool");
  return tool ? tool->text : std::string();
}

static Section funnel_section(const FunnelReport& funnel, const std::string& name) {
  Section s{.title = "Funnel: " + name, .text = "", .table = {}, .chart = ""};
  s.text = cat("Of ", grouped(funnel.records), " records (", format_bytes(funnel.bytes), ") ", grouped(funnel.kept),
               " were kept (", percent(funnel.kept, funnel.records), " %, ", format_bytes(funnel.kept_bytes), ")",
               funnel.edited > 0 ? cat(", ", grouped(funnel.edited), " of them edited") : "", ".");
  s.table = {.head = {"filter", "records", "% of input", "bytes", "left", "% left"}, .rows = {}, .numbers = 1};
  const auto share = [&](uint64_t n) {
    return funnel.records ? static_cast<double>(n) / static_cast<double>(funnel.records) : 0;
  };
  std::vector<Bar> bars = {{"read", grouped(funnel.records), share(funnel.records), 0}};
  s.table.rows.push_back(
      {"read", grouped(funnel.records), percent(funnel.records, funnel.records), grouped(funnel.bytes), "", ""});
  for (const auto& step : funnel.steps) {
    bars.push_back({step.reason, cat("−", grouped(step.records), " (", percent(step.records, funnel.records), " %)"),
                    share(step.left), share(step.records)});
    s.table.rows.push_back({step.reason, grouped(step.records), percent(step.records, funnel.records),
                            grouped(step.bytes), grouped(step.left), percent(step.left, funnel.records)});
  }
  bars.push_back(
      {"kept", cat(grouped(funnel.kept), " (", percent(funnel.kept, funnel.records), " %)"), share(funnel.kept), 0});
  s.table.rows.push_back(
      {"kept", grouped(funnel.kept), percent(funnel.kept, funnel.records), grouped(funnel.kept_bytes), "", ""});
  s.chart = "<p>A bar is what was left after a filter, in blue, and what it took, in orange.</p>\n";
  s.chart += bar_chart(bars, "Records left after each filter", "The same numbers stand in the table below.");
  return s;
}

static std::string threshold_text(const Threshold& threshold) {
  const std::string at = short_number(threshold.at);
  switch (threshold.drops) {
    case Threshold::Drops::below:
      return cat("dropped below ", at);
    case Threshold::Drops::above:
      return cat("dropped above ", at);
    case Threshold::Drops::unknown:
      break;
  }
  return cat("threshold ", at);
}

static std::string signal_figure(const SignalReport& signal) {
  Histogram histogram{signal.edges, signal.bins, {}, signal.kind != "share"};
  std::string facts = cat("median ", short_number(signal.p50), " · 90 % from ", short_number(signal.p05), " to ",
                          short_number(signal.p95));
  if (signal.zeros > 0) facts += cat(" · ", percent(signal.zeros, signal.count), " % are 0");
  for (const Threshold& threshold : signal.thresholds) {
    facts += cat(" · ", threshold_text(threshold));
    histogram.marks.push_back(threshold);
  }
  const std::string title = cat(signal.name, ": ", signal.meaning);
  return cat("<figure><figcaption><b>", html_escaped(signal.name), "</b> ", html_escaped(signal.meaning),
             "</figcaption>\n", histogram_chart(histogram, title, facts), "<p>", html_escaped(facts),
             "</p></figure>\n");
}

static Section signals_section(const std::vector<SignalReport>& signals, const std::string& name) {
  Section s{.title = "Signals: " + name, .text = "", .table = {}, .chart = ""};
  s.text = "What was measured of each text, over all records for which it was.";
  s.table = {.head = {"signal", "records", "zeros", "mean", "min", "5 %", "median", "95 %", "max", "rules"},
             .rows = {},
             .numbers = 1,
             .folded = true};
  s.chart =
      "<p>How often each value occurred. Heights are square roots of counts, so that rare values are seen; the number "
      "at the top left "
      "is the count of the highest bar. Axes of counts and ratios are logarithmic; … stands for a gap after 0. A "
      "dashed line is a "
      "threshold of the run's rules; orange bars lie wholly on the side that is dropped.</p>\n<div "
      "class=\"multiples\">\n";
  for (const SignalReport& signal : signals) {
    std::string rules;
    for (const Threshold& threshold : signal.thresholds)
      rules += cat(rules.empty() ? "" : ", ", threshold_text(threshold));
    s.table.rows.push_back({signal.name, grouped(signal.count), grouped(signal.zeros), short_number(signal.mean),
                            short_number(signal.min), short_number(signal.p05), short_number(signal.p50),
                            short_number(signal.p95), short_number(signal.max), rules});
    s.chart += signal_figure(signal);
  }
  s.chart += "</div>\n";
  return s;
}

static Section languages_section(const std::vector<std::pair<std::string, uint64_t>>& languages,
                                 const std::string& name) {
  constexpr size_t most = 20;
  Section s{.title = "Languages: " + name, .text = "", .table = {}, .chart = ""};
  s.table = {.head = {"language", "records", "%"}, .rows = {}, .numbers = 1, .folded = true};
  uint64_t all = 0, others = 0;
  for (const auto& [code, records] : languages) all += records;
  std::vector<Bar> bars;
  const auto add = [&](const std::string& code, uint64_t records) {
    bars.push_back({code, cat(grouped(records), " (", percent(records, all), " %)"),
                    static_cast<double>(records) / static_cast<double>(all), 0});
    s.table.rows.push_back({code, grouped(records), percent(records, all)});
  };
  for (size_t i = 0; i < languages.size(); ++i)
    if (i < most)
      add(languages[i].first, languages[i].second);
    else
      others += languages[i].second;
  if (others > 0) add(cat(languages.size() - most, " others"), others);
  s.chart = bar_chart(bars, "Records of each language", "The same numbers stand in the table below.");
  return s;
}

static void add_cleaning(const std::vector<Stage>& stages, std::vector<Section>& sections) {
  const auto cleaned =
      std::count_if(stages.begin(), stages.end(), [](const Stage& stage) { return tool_of(stage.json) == "ds-clean"; });
  for (const Stage& stage : stages) {
    if (tool_of(stage.json) != "ds-clean") continue;
    const CleaningReport cleaning = read_cleaning(stage.json, stage.path);
    const std::string name = cleaned > 1 ? cat("ds-clean, ", stage.path) : "ds-clean";
    if (cleaning.funnel) sections.push_back(funnel_section(*cleaning.funnel, name));
    if (!cleaning.languages.empty()) sections.push_back(languages_section(cleaning.languages, name));
    if (!cleaning.signals.empty()) sections.push_back(signals_section(cleaning.signals, name));
  }
}

// The reasons that took most; the funnel of a stage has them all.
static std::string main_reasons(const Json& reasons, const std::string& path) {
  constexpr size_t most = 5;
  std::vector<std::pair<int64_t, std::string>> counted;
  for (const auto& [reason, count] : reasons.members) counted.emplace_back(-count.as_int(path), reason);
  std::sort(counted.begin(), counted.end());
  std::string why;
  for (size_t i = 0; i < std::min(most, counted.size()); ++i)
    why += cat(why.empty() ? "" : ", ", counted[i].second, " ", -counted[i].first);
  if (counted.size() > most) why += cat(" and ", counted.size() - most, " more reasons");
  return why;
}

static Section pipeline_section(const std::vector<Stage>& stages) {
  Section s{.title = "Pipeline", .text = "What each stage read, kept and dropped.", .table = {}, .chart = ""};
  s.table.head = {"stage", "read", "kept", "dropped", "why", "seconds"};
  for (const auto& [path, json] : stages) {
    const auto text = [](const Json* object, const char* key) {
      const Json* const found = object ? object->find(key) : nullptr;
      return found ? found->text : std::string();
    };
    const Json* const records = json.find("records");
    const Json* const reasons = json.find("reasons");
    const std::string why = reasons ? main_reasons(*reasons, path) : "";
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
    s.table.rows.push_back({tool_of(json) + (command.empty() ? "" : " " + command), count("read"), count("kept"),
                            count("dropped"), why, fixed(total, 1)});
  }
  return s;
}

// Text that Markdown could take for a table's border, markup or HTML.
static std::string markdown_escaped(const std::string& text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i], next = i + 1 < text.size() ? text[i + 1] : ' ';
    if (c == '<' && !(next >= '0' && next <= '9'))
      out += "&lt;";
    else if (c == '&')
      out += "&amp;";
    else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F)
      out += ' ';
    else if (c == '|' || c == '\\' || c == '`' || c == '*' || c == '[')
      out += {'\\', c};
    else
      out += c;
  }
  return out;
}

static std::string markdown(const std::string& title, const std::vector<Section>& sections) {
  std::string out = "# " + markdown_escaped(title) + "\n";
  for (const Section& s : sections) {
    out += "\n## " + markdown_escaped(s.title) + "\n\n";
    if (!s.text.empty()) out += markdown_escaped(s.text) + "\n\n";
    if (s.table.rows.empty()) continue;
    const auto row = [&](const std::vector<std::string>& cells) {
      for (const auto& cell : cells) out += "| " + cell + " ";
      out += "|\n";
    };
    row(s.table.head);
    std::vector<std::string> rule(s.table.head.size(), "---");
    for (size_t i = s.table.numbers; i < rule.size(); ++i) rule[i] = "---:";
    row(rule);
    for (std::vector<std::string> cells : s.table.rows) {
      for (auto& cell : cells) cell = markdown_escaped(cell);
      row(cells);
    }
  }
  return out;
}

static constexpr const char* style =
    ":root{color-scheme:light dark}\n"
    "body{font:16px/1.5 system-ui,sans-serif;max-width:820px;margin:2rem auto;padding:0 1rem;color:#1f2328}\n"
    "h1{font-size:1.7rem}h2{font-size:1.2rem;margin-top:2.2rem;border-bottom:1px solid #d0d7de;padding-bottom:.2rem}\n"
    "h1,h2{overflow-wrap:anywhere}\n"
    "table{border-collapse:collapse;font-size:.9rem;display:block;overflow-x:auto}"
    "td:first-child{white-space:nowrap}"
    "th,td{padding:.3rem .7rem;border-bottom:1px solid #d0d7de;text-align:left;vertical-align:top}"
    ".n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}\n"
    "svg{width:100%;height:auto;margin:.8rem 0;overflow:visible}svg text{font:12px system-ui,sans-serif;fill:#57606a}"
    "svg .name{font-size:13px;fill:#1f2328}svg .grid{stroke:#d8dee4}\n"
    ".part{fill:#1f6feb}.lost{fill:#d1600f}.track{fill:#eaeef2}.mark{stroke:#a40e26;stroke-width:2;stroke-dasharray:4 "
    "2}\n"
    // Many small charts use the width that a wide window has.
    ".multiples{display:grid;grid-template-columns:repeat(auto-fill,minmax(250px,1fr));gap:1.2rem 1.8rem}"
    "@media(min-width:1000px){.multiples{--width:min(94vw,1560px);margin:0 calc((820px - var(--width))/2)}}\n"
    "figure{margin:0;display:flex;flex-direction:column}figcaption,figure p{font-size:.8rem;line-height:1.35}"
    "figure svg{margin:.4rem 0 .2rem;flex:none}figure svg text{font-size:11px}figure p{margin:0;color:#57606a}\n"
    "figcaption{flex:1}summary{cursor:pointer;margin:1rem 0 .5rem}\n"
    "@media(prefers-color-scheme:dark){body{background:#0d1117;color:#e6edf3}th,td,h2{border-color:#30363d}"
    "svg text,figure p{fill:#9198a1;color:#9198a1}svg .name{fill:#e6edf3}svg .grid{stroke:#30363d}"
    ".part{fill:#4493f8}.lost{fill:#e0823d}.track{fill:#21262d}.mark{stroke:#ff7b72}}\n";

static std::string html_table(const Table& table) {
  const auto cell = [&](const char* tag, size_t column, const std::string& text) {
    return cat("<", tag, column >= table.numbers ? " class=\"n\">" : ">", html_escaped(text), "</", tag, ">");
  };
  std::string out = table.folded ? "<details><summary>As a table</summary>\n<table><thead><tr>" : "<table><thead><tr>";
  for (size_t i = 0; i < table.head.size(); ++i) out += cell("th", i, table.head[i]);
  out += "</tr></thead><tbody>\n";
  for (const auto& cells : table.rows) {
    out += "<tr>";
    for (size_t i = 0; i < cells.size(); ++i) out += cell("td", i, cells[i]);
    out += "</tr>\n";
  }
  return out + (table.folded ? "</tbody></table></details>\n" : "</tbody></table>\n");
}

static std::string html(const std::string& title, const std::vector<Section>& sections) {
  std::string out = cat(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
      "<meta name=\"viewport\" content=\"width=device-width\">\n<title>",
      html_escaped(title), "</title>\n<style>\n", style, "</style></head><body>\n<h1>", html_escaped(title), "</h1>\n");
  for (const Section& s : sections) {
    out += "<h2>" + html_escaped(s.title) + "</h2>\n";
    if (!s.text.empty()) out += "<p>" + html_escaped(s.text) + "</p>\n";
    out += s.chart;
    if (!s.table.rows.empty()) out += html_table(s.table);
  }
  return out + "</body></html>\n";
}

void write_page(const PageOptions& options, Report& report) {
  if (options.results.empty() && options.metrics.empty() && options.reports.empty())
    throw UsageError("report needs at least one of --results, --metrics and --stage");
  std::vector<Results> all;
  for (const auto& path : options.results) all.push_back(load_results(path));
  std::vector<Stage> stages;
  for (const auto& path : options.reports) stages.push_back({path, parse_json_file(path)});
  std::vector<Section> sections;
  const auto add = [&](Section s) {
    if (!s.table.rows.empty() || !s.chart.empty()) sections.push_back(std::move(s));
  };
  add(bits_section(all, options.baselines));
  add(tasks_section(all));
  if (all.size() > 1) add(comparison_section(all));
  if (!options.metrics.empty()) add(training_section(options.metrics));
  for (const Results& r : all)
    if (!r.expert_load.empty()) add(load_section(r));
  if (!stages.empty()) add(pipeline_section(stages));
  add_cleaning(stages, sections);
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
