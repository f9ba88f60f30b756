// Small charts as inline SVG, for a report that is one file.
#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace ds {

struct Series {
  std::string name;
  std::vector<std::pair<double, double>> points;  // x rising
};
// Lines over linear axes, with ticks, axis titles and a legend where there is more than one series.
std::string line_chart(const std::vector<Series>& series, const std::string& x_title, const std::string& y_title);

// A row of cells a layer, a cell an expert; colour is load over the layer's mean (0 white, 1 mid, 2 and more dark).
struct HeatRow {
  std::string name;
  std::vector<double> values;                     // relative to the row's mean
};
std::string heat_map(const std::vector<HeatRow>& rows);

// &, <, > and quotes as entities.
std::string html_escaped(const std::string& text);
// "%.*f" and the like, without a locale.
std::string fixed(double value, int digits);

}  // namespace ds
