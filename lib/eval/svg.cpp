#include "eval/svg.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "base/error.h"
#include "text/unicode.h"

namespace ds {

std::string fixed(double value, int digits) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}

std::string html_escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        if (const auto byte = static_cast<unsigned char>(c); (byte < 0x20 && c != '\n' && c != '\t') || byte == 0x7F)
          out += "\uFFFD";
        else
          out += c;
    }
  }
  return out;
}

std::string grouped(uint64_t number) {
  std::string digits = std::to_string(number);
  for (size_t at = digits.size(); at > 3; at -= 3) digits.insert(at - 3, 1, ',');
  return digits;
}

std::string short_number(double value) {
  static constexpr const char* units[] = {"", "k", "M", "G", "T", "P"};
  size_t unit = 0;
  while (std::fabs(value) >= 999.5 && unit + 1 < std::size(units)) value /= 1000, ++unit;
  char text[32];
  std::snprintf(text, sizeof text, "%.3g%s", value, units[unit]);
  return text;
}

std::string percent(uint64_t part, uint64_t whole) {
  if (whole == 0) return "-";
  const double value = 100 * static_cast<double>(part) / static_cast<double>(whole);
  if (part > 0 && value < 0.005) return "<0.01";
  return part < whole && value >= 99.995 ? ">99.99" : fixed(value, 2);
}

// A step of 1, 2 or 5 times a power of ten that cuts the range into about five.
static double tick_step(double range) {
  const double raw = range / 5;
  double power = 1;
  while (power > raw) power /= 10;
  while (power * 10 <= raw) power *= 10;
  for (const double factor : {1.0, 2.0, 5.0, 10.0})
    if (power * factor >= raw) return power * factor;
  return power * 10;
}

static std::string tick_text(double value, double step) {
  int digits = 0;
  for (double s = step; s < 0.999 && digits < 6; s *= 10) ++digits;
  return fixed(value, digits);
}

std::string line_chart(const std::vector<Series>& series, const std::string& x_title, const std::string& y_title) {
  constexpr double kWidth = 760, kHeight = 300, kLeft = 72, kRight = 12, kTop = 12, kBottom = 44;
  static constexpr std::array<const char*, 4> kColours = {"#1f6feb", "#d29922", "#2da44e", "#8250df"};
  double x0 = HUGE_VAL, x1 = -HUGE_VAL, y0 = HUGE_VAL, y1 = -HUGE_VAL;
  for (const auto& s : series)
    for (const auto& [x, y] : s.points)
      x0 = std::min(x0, x), x1 = std::max(x1, x), y0 = std::min(y0, y), y1 = std::max(y1, y);
  if (!(x0 <= x1)) return "<p>no data</p>";
  // What is flat but for rounding is drawn as flat: its ticks would lie closer than numbers do.
  const auto widen = [](double from, double& to) {
    if (to - from <= 1e-6 * std::max(std::fabs(from), std::fabs(to))) to = from + (from == 0 ? 1 : std::fabs(from));
  };
  widen(x0, x1), widen(y0, y1);
  const double y_step = tick_step(y1 - y0), x_step = tick_step(x1 - x0);
  y0 = std::floor(y0 / y_step) * y_step;
  y1 = std::ceil(y1 / y_step) * y_step;
  const auto px = [&](double x) { return kLeft + (x - x0) / (x1 - x0) * (kWidth - kLeft - kRight); };
  const auto py = [&](double y) { return kHeight - kBottom - (y - y0) / (y1 - y0) * (kHeight - kTop - kBottom); };
  std::string svg = cat("<svg viewBox=\"0 0 ", kWidth, " ", kHeight, "\" role=\"img\" aria-label=\"",
                        html_escaped(y_title), " over ", html_escaped(x_title), "\">\n");
  for (double y = y0; y <= y1 + y_step / 2; y += y_step)
    svg += cat("<line class=\"grid\" x1=\"", kLeft, "\" x2=\"", kWidth - kRight, "\" y1=\"", fixed(py(y), 1),
               "\" y2=\"", fixed(py(y), 1), "\"/><text x=\"", kLeft - 6, "\" y=\"", fixed(py(y) + 4, 1),
               "\" text-anchor=\"end\">", tick_text(y, y_step), "</text>\n");
  for (double x = std::ceil(x0 / x_step) * x_step; x <= x1 + x_step / 1e6; x += x_step)
    svg += cat("<text x=\"", fixed(px(x), 1), "\" y=\"", kHeight - kBottom + 18, "\" text-anchor=\"middle\">",
               tick_text(x, x_step), "</text>\n");
  svg += cat("<text x=\"", (kLeft + kWidth - kRight) / 2, "\" y=\"", kHeight - 6, "\" text-anchor=\"middle\">",
             html_escaped(x_title), "</text>\n");
  svg += cat("<text transform=\"translate(14 ", (kTop + kHeight - kBottom) / 2,
             ") rotate(-90)\" text-anchor=\"middle\">", html_escaped(y_title), "</text>\n");
  for (size_t i = 0; i < series.size(); ++i) {
    const char* const colour = kColours[i % kColours.size()];
    svg += cat("<polyline fill=\"none\" stroke=\"", colour, "\" stroke-width=\"1.6\" points=\"");
    for (const auto& [x, y] : series[i].points) svg += cat(fixed(px(x), 1), ",", fixed(py(y), 1), " ");
    svg += "\"/>\n";
    if (series.size() > 1)
      svg += cat("<text x=\"", kWidth - kRight - 4, "\" y=\"", kTop + 14 + 16 * static_cast<double>(i),
                 "\" text-anchor=\"end\" style=\"fill:", colour, "\">", html_escaped(series[i].name), "</text>\n");
  }
  return svg + "</svg>\n";
}

// White at 0, blue at the mean, dark red at twice the mean and beyond.
static std::string heat_colour(double value) {
  const auto mix = [](double t, std::array<int, 3> a, std::array<int, 3> b) {
    char text[16];
    const auto channel = [&](int i) { return static_cast<int>(std::lround(a[i] + (b[i] - a[i]) * t)); };
    std::snprintf(text, sizeof text, "#%02x%02x%02x", channel(0), channel(1), channel(2));
    return std::string(text);
  };
  const double v = std::clamp(value, 0.0, 2.0);
  return v <= 1 ? mix(v, {255, 255, 255}, {84, 148, 218}) : mix(v - 1, {84, 148, 218}, {158, 24, 48});
}

std::string heat_map(const std::vector<HeatRow>& rows) {
  constexpr double kWidth = 760, kLabel = 70, kRow = 24;
  const double height = kRow * static_cast<double>(rows.size()) + 30;
  std::string svg = cat("<svg viewBox=\"0 0 ", kWidth, " ", height,
                        "\" role=\"img\" aria-label=\"tokens of each expert over the layer's mean\">\n");
  for (size_t r = 0; r < rows.size(); ++r) {
    const double y = kRow * static_cast<double>(r),
                 cell = (kWidth - kLabel) / static_cast<double>(std::max<size_t>(rows[r].values.size(), 1));
    svg += cat("<text x=\"0\" y=\"", y + 16, "\">", html_escaped(rows[r].name), "</text>\n");
    for (size_t e = 0; e < rows[r].values.size(); ++e)
      svg += cat("<rect x=\"", fixed(kLabel + cell * static_cast<double>(e), 2), "\" y=\"", y + 2, "\" width=\"",
                 fixed(cell, 2), "\" height=\"", kRow - 4, "\" fill=\"", heat_colour(rows[r].values[e]),
                 "\"><title>expert ", e, ": ", fixed(rows[r].values[e], 2), " of the mean</title></rect>\n");
  }
  const double y = height - 20;
  svg += cat("<text x=\"", kLabel, "\" y=\"", y + 14, "\">0</text>");
  for (int i = 0; i <= 40; ++i)
    svg += cat("<rect x=\"", kLabel + 14 + i * 4, "\" y=\"", y + 3, "\" width=\"4\" height=\"12\" fill=\"",
               heat_colour(i / 20.0), "\"/>");
  return svg + cat("<text x=\"", kLabel + 184, "\" y=\"", y + 14, "\">2 x the mean</text>\n</svg>\n");
}

static std::string percentage(double share) { return fixed(100 * share, 2) + "%"; }

static std::string rectangle(double x, double width, double y, double height, const char* colour) {
  return cat("<rect class=\"", colour, "\" x=\"", percentage(x), "\" width=\"", percentage(width), "\" y=\"",
             fixed(y, 1), "\" height=\"", fixed(height, 1), "\"");
}

// Without a viewBox nothing is scaled: x is in percent of the width, y in pixels.
static std::string fluid_svg(double height, const std::string& title, const std::string& description) {
  return cat("<svg style=\"height:", height, "px\" role=\"img\"><title>", html_escaped(title), "</title><desc>",
             html_escaped(description), "</desc>\n");
}

// Names come from rules that users write; what is longer than fits beside the note ends in "…".
static std::string chart_name(const std::string& name) {
  constexpr int most = 36;
  size_t end = 0;
  for (int i = 0; i < most && end < name.size(); ++i) decode_utf8(name, end);
  return html_escaped(end < name.size() ? cat(name.substr(0, end), "…") : name);
}

std::string bar_chart(const std::vector<Bar>& bars, const std::string& title, const std::string& description) {
  constexpr double row = 36, bar_top = 19, bar_height = 11;
  std::string svg = fluid_svg(row * static_cast<double>(bars.size()), title, description);
  for (size_t i = 0; i < bars.size(); ++i) {
    const Bar& bar = bars[i];
    const double y = row * static_cast<double>(i);
    const double part = std::clamp(bar.part, 0.0, 1.0), lost = std::clamp(bar.lost, 0.0, 1 - part);
    svg += cat("<text class=\"name\" x=\"0\" y=\"", y + 13, "\">", chart_name(bar.name), "</text><text x=\"100%\" y=\"",
               y + 13, "\" text-anchor=\"end\">", html_escaped(bar.note), "</text>");
    svg += rectangle(0, 1, y + bar_top, bar_height, "track") + "/>";
    if (part > 0) svg += rectangle(0, part, y + bar_top, bar_height, "part") + "/>";
    if (lost > 0) svg += rectangle(part, lost, y + bar_top, bar_height, "lost") + "/>";
    svg += '\n';
  }
  return svg + "</svg>\n";
}

namespace {

// What is drawn as one bar: some bins, or a gap that stands for many empty ones.
struct Cell {
  double low, high;
  uint64_t count;
  bool gap = false;
};

std::vector<Cell> cells_of(const Histogram& histogram) {
  constexpr size_t most_cells = 60, shortest_gap = 4;
  const auto& [edges, bins, marks, gap_after_zero] = histogram;
  std::vector<Cell> cells;
  size_t begin = 0;
  if (gap_after_zero && edges[0] == 0) {
    size_t next = 1;
    while (next < bins.size() && bins[next] == 0) ++next;
    if (next < bins.size() && next > shortest_gap) {
      cells = {{edges[0], edges[1], bins[0]}, {edges[1], edges[next], 0, true}};
      begin = next;
    }
  }
  const size_t together = (bins.size() - begin + most_cells - 1) / most_cells;
  for (size_t i = begin; i < bins.size(); i += together) {
    const size_t end = std::min(i + together, bins.size());
    Cell cell{edges[i], edges[end], 0};
    for (size_t k = i; k < end; ++k) cell.count += bins[k];
    cells.push_back(cell);
  }
  return cells;
}

bool is_dropped(const Cell& cell, const std::vector<Threshold>& marks) {
  for (const Threshold& mark : marks)
    if ((mark.drops == Threshold::Drops::below && cell.high <= mark.at) ||
        (mark.drops == Threshold::Drops::above && cell.low >= mark.at))
      return true;
  return false;
}

}  // namespace

std::string histogram_chart(const Histogram& histogram, const std::string& title, const std::string& description) {
  constexpr double height = 112, top = 16, base = 94;
  constexpr size_t least_cells = 12;  // one bin alone does not fill the chart
  const std::vector<Cell> cells = cells_of(histogram);
  const double cell_width = 1 / static_cast<double>(std::max(cells.size(), least_cells));
  const auto x_of = [&](size_t cell) { return cell_width * static_cast<double>(cell); };
  uint64_t highest = 1, all = 0;
  for (const Cell& cell : cells) highest = std::max(highest, cell.count), all += cell.count;
  std::string svg = fluid_svg(height, title, description);
  svg += cat("<text x=\"0\" y=\"11\">", grouped(highest), "</text>");
  svg += cat("<line class=\"grid\" x1=\"0\" x2=\"100%\" y1=\"", base, "\" y2=\"", base, "\"/>\n");
  for (size_t i = 0; i < cells.size(); ++i) {
    const Cell& cell = cells[i];
    if (cell.gap)
      svg += cat("<text x=\"", percentage(x_of(i) + cell_width / 2), "\" y=\"", base - 4,
                 "\" text-anchor=\"middle\">…</text>");
    if (cell.count == 0) continue;
    const double share = std::sqrt(static_cast<double>(cell.count) / static_cast<double>(highest));
    const double tall = std::max(share * (base - top), 1.0);
    svg +=
        rectangle(x_of(i), cell_width * 0.94, base - tall, tall, is_dropped(cell, histogram.marks) ? "lost" : "part");
    svg += cat("><title>", short_number(cell.low), " to ", short_number(cell.high), ": ", grouped(cell.count), " (",
               percent(cell.count, all), " %)</title></rect>\n");
  }
  for (const Threshold& mark : histogram.marks)
    for (size_t i = 0; i < cells.size(); ++i) {
      const bool last = i + 1 == cells.size();
      if (mark.at < cells[i].low || mark.at > cells[i].high || (mark.at == cells[i].high && !last)) continue;
      const double inside = (mark.at - cells[i].low) / (cells[i].high - cells[i].low);
      const std::string x = percentage(x_of(i) + cell_width * inside);
      svg += cat("<line class=\"mark\" x1=\"", x, "\" x2=\"", x, "\" y1=\"14\" y2=\"", base + 4, "\"/>\n");
    }
  const auto label = [&](size_t cell, const char* anchor) {
    const double edge = cell < cells.size() ? cells[cell].low : cells.back().high;
    return cat("<text x=\"", percentage(x_of(cell)), "\" y=\"", base + 15, "\" text-anchor=\"", anchor, "\">",
               short_number(edge), "</text>");
  };
  svg += label(0, "start");
  if (cells.size() >= 8) svg += label(cells.size() / 2, "middle");
  return svg + label(cells.size(), cells.size() >= least_cells ? "end" : "middle") + "\n</svg>\n";
}

}  // namespace ds
