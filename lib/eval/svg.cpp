#include "eval/svg.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "base/error.h"

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
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      default: out += c;
    }
  }
  return out;
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
  constexpr double kWidth = 760, kHeight = 300, kLeft = 56, kRight = 12, kTop = 12, kBottom = 44;
  static constexpr std::array<const char*, 4> kColours = {"#1f6feb", "#d29922", "#2da44e", "#8250df"};
  double x0 = HUGE_VAL, x1 = -HUGE_VAL, y0 = HUGE_VAL, y1 = -HUGE_VAL;
  for (const auto& s : series)
    for (const auto& [x, y] : s.points) x0 = std::min(x0, x), x1 = std::max(x1, x), y0 = std::min(y0, y), y1 = std::max(y1, y);
  if (!(x0 <= x1)) return "<p>no data</p>";
  if (x1 == x0) x1 = x0 + 1;
  if (y1 == y0) y1 = y0 + 1;
  const double y_step = tick_step(y1 - y0), x_step = tick_step(x1 - x0);
  y0 = std::floor(y0 / y_step) * y_step;
  y1 = std::ceil(y1 / y_step) * y_step;
  const auto px = [&](double x) { return kLeft + (x - x0) / (x1 - x0) * (kWidth - kLeft - kRight); };
  const auto py = [&](double y) { return kHeight - kBottom - (y - y0) / (y1 - y0) * (kHeight - kTop - kBottom); };
  std::string svg = cat("<svg viewBox=\"0 0 ", kWidth, " ", kHeight, "\" role=\"img\" aria-label=\"", html_escaped(y_title), " over ",
                        html_escaped(x_title), "\">\n");
  for (double y = y0; y <= y1 + y_step / 2; y += y_step)
    svg += cat("<line class=\"grid\" x1=\"", kLeft, "\" x2=\"", kWidth - kRight, "\" y1=\"", fixed(py(y), 1), "\" y2=\"", fixed(py(y), 1),
               "\"/><text x=\"", kLeft - 6, "\" y=\"", fixed(py(y) + 4, 1), "\" text-anchor=\"end\">", tick_text(y, y_step), "</text>\n");
  for (double x = std::ceil(x0 / x_step) * x_step; x <= x1 + x_step / 1e6; x += x_step)
    svg += cat("<text x=\"", fixed(px(x), 1), "\" y=\"", kHeight - kBottom + 18, "\" text-anchor=\"middle\">", tick_text(x, x_step), "</text>\n");
  svg += cat("<text x=\"", (kLeft + kWidth - kRight) / 2, "\" y=\"", kHeight - 6, "\" text-anchor=\"middle\">", html_escaped(x_title), "</text>\n");
  svg += cat("<text transform=\"translate(14 ", (kTop + kHeight - kBottom) / 2, ") rotate(-90)\" text-anchor=\"middle\">", html_escaped(y_title), "</text>\n");
  for (size_t i = 0; i < series.size(); ++i) {
    const char* const colour = kColours[i % kColours.size()];
    svg += cat("<polyline fill=\"none\" stroke=\"", colour, "\" stroke-width=\"1.6\" points=\"");
    for (const auto& [x, y] : series[i].points) svg += cat(fixed(px(x), 1), ",", fixed(py(y), 1), " ");
    svg += "\"/>\n";
    if (series.size() > 1)
      svg += cat("<text x=\"", kWidth - kRight - 4, "\" y=\"", kTop + 14 + 16 * static_cast<double>(i), "\" text-anchor=\"end\" style=\"fill:", colour,
                 "\">", html_escaped(series[i].name), "</text>\n");
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
  std::string svg = cat("<svg viewBox=\"0 0 ", kWidth, " ", height, "\" role=\"img\" aria-label=\"tokens of each expert over the layer's mean\">\n");
  for (size_t r = 0; r < rows.size(); ++r) {
    const double y = kRow * static_cast<double>(r), cell = (kWidth - kLabel) / static_cast<double>(std::max<size_t>(rows[r].values.size(), 1));
    svg += cat("<text x=\"0\" y=\"", y + 16, "\">", html_escaped(rows[r].name), "</text>\n");
    for (size_t e = 0; e < rows[r].values.size(); ++e)
      svg += cat("<rect x=\"", fixed(kLabel + cell * static_cast<double>(e), 2), "\" y=\"", y + 2, "\" width=\"", fixed(cell, 2), "\" height=\"",
                 kRow - 4, "\" fill=\"", heat_colour(rows[r].values[e]), "\"><title>expert ", e, ": ", fixed(rows[r].values[e], 2),
                 " of the mean</title></rect>\n");
  }
  const double y = height - 20;
  svg += cat("<text x=\"", kLabel, "\" y=\"", y + 14, "\">0</text>");
  for (int i = 0; i <= 40; ++i)
    svg += cat("<rect x=\"", kLabel + 14 + i * 4, "\" y=\"", y + 3, "\" width=\"4\" height=\"12\" fill=\"", heat_colour(i / 20.0), "\"/>");
  return svg + cat("<text x=\"", kLabel + 184, "\" y=\"", y + 14, "\">2 x the mean</text>\n</svg>\n");
}

}  // namespace ds
