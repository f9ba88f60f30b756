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
  std::vector<double> values;  // relative to the row's mean
};
std::string heat_map(const std::vector<HeatRow>& rows);

// The charts below are as wide as their place on the page, and their letters keep their size. They take their colours
// from the page: classes part, lost, track and mark.

// Horizontal bars, one below the other: a name and a note above each; of the whole, `part` in one colour and `lost`
// beside it in another (shares of 1).
struct Bar {
  std::string name, note;
  double part = 0, lost = 0;
};
std::string bar_chart(const std::vector<Bar>& bars, const std::string& title, const std::string& description);

// A small histogram. Bins are drawn equally wide (so that edges that grow by a factor make a logarithmic axis), several
// as one where there are more than 60; heights are square roots of counts, so that rare values are seen beside frequent
// ones. A run of empty bins between a first bin at 0 and the next is drawn as a gap where `gap_after_zero` says so.
// Bins that lie wholly on the dropped side of a mark have the colour `lost`; a mark outside the edges is not drawn.
struct Threshold {
  double at = 0;
  enum class Drops : uint8_t { unknown, below, above } drops = Drops::unknown;
};
struct Histogram {
  std::vector<double> edges;   // rising, one more than bins
  std::vector<uint64_t> bins;  // at least one
  std::vector<Threshold> marks;
  bool gap_after_zero = false;
};
std::string histogram_chart(const Histogram& histogram, const std::string& title, const std::string& description);

// 1234567 -> "1,234,567"; 1234567.0 -> "1.23M", 0.01234 -> "0.0123": three significant digits.
std::string grouped(uint64_t number);
std::string short_number(double value);
// 100 * part / whole with two digits, "<0.01" and ">99.99" for what is not 0 or all but rounds to it; "-" where
// whole is 0.
std::string percent(uint64_t part, uint64_t whole);

// &, <, > and double quotes as entities; control characters, which HTML does not allow, as U+FFFD.
std::string html_escaped(const std::string& text);
// "%.*f" and the like, without a locale.
std::string fixed(double value, int digits);

}  // namespace ds
