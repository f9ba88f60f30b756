#include "eval/svg.h"

#include <gtest/gtest.h>

namespace ds {
namespace {

size_t count_of(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

TEST(Numbers, AsPeopleReadThem) {
  EXPECT_EQ(grouped(0), "0");
  EXPECT_EQ(grouped(1234567), "1,234,567");
  EXPECT_EQ(short_number(0), "0");
  EXPECT_EQ(short_number(0.01234), "0.0123");
  EXPECT_EQ(short_number(12.34), "12.3");
  EXPECT_EQ(short_number(999.4), "999");
  EXPECT_EQ(short_number(999.6), "1k");
  EXPECT_EQ(short_number(1234567), "1.23M");
  EXPECT_EQ(short_number(1e12), "1T");
  EXPECT_EQ(percent(0, 0), "-");
  EXPECT_EQ(percent(0, 7), "0.00");
  EXPECT_EQ(percent(1, 3), "33.33");
  EXPECT_EQ(percent(1, 1000000), "<0.01");
  EXPECT_EQ(percent(999999, 1000000), ">99.99");
  EXPECT_EQ(percent(7, 7), "100.00");
}

TEST(Escaped, NothingIsMarkup) {
  EXPECT_EQ(html_escaped("<a href=\"x\">&</a>"), "&lt;a href=&quot;x&quot;&gt;&amp;&lt;/a&gt;");
  EXPECT_EQ(html_escaped("\x1b[0m\x7f\nn\tt中"), "\ufffd[0m\ufffd\nn\tt中");
}

TEST(BarChart, PartsAndLossesAreSharesOfTheWidth) {
  const std::string svg = bar_chart({{"read", "8", 1, 0}, {"<b>", "-2", 0.75, 0.25}, {"odd", "", 0.9, 7}}, "t<", "d&");
  EXPECT_NE(svg.find("role=\"img\"><title>t&lt;</title><desc>d&amp;</desc>"), std::string::npos);
  EXPECT_NE(svg.find("class=\"part\" x=\"0.00%\" width=\"75.00%\""), std::string::npos);
  EXPECT_NE(svg.find("class=\"lost\" x=\"75.00%\" width=\"25.00%\""), std::string::npos);
  EXPECT_NE(svg.find("class=\"lost\" x=\"90.00%\" width=\"10.00%\""), std::string::npos);
  EXPECT_EQ(count_of(svg, "class=\"lost\""), 2u);
  EXPECT_NE(svg.find("&lt;b&gt;"), std::string::npos);
  EXPECT_NE(bar_chart({{std::string(100, 'x'), "", 1, 0}}, "", "").find(">" + std::string(36, 'x') + "…<"),
            std::string::npos);
}

// The chart's numbers, read back: x and width of each bar with that class.
TEST(HistogramChart, BarsMarksAndColours) {
  const Histogram histogram{.edges = {0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16},
                            .bins = {4, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 16},
                            .marks = {{3, Threshold::Drops::below}, {13, Threshold::Drops::above}, {99, {}}}};
  const std::string svg = histogram_chart(histogram, "words: <words>", "median 3");
  EXPECT_NE(svg.find("<title>words: &lt;words&gt;</title><desc>median 3</desc>"), std::string::npos);
  EXPECT_EQ(count_of(svg, "<rect"), 11u);
  EXPECT_EQ(count_of(svg, "class=\"lost\""), 3u) << "0, 2, and 14 to 16";
  EXPECT_EQ(count_of(svg, "class=\"mark\""), 2u) << "99 is outside";
  EXPECT_NE(svg.find("x1=\"25.00%\" x2=\"25.00%\""), std::string::npos) << "3 is the edge behind three of twelve bins";
  EXPECT_NE(svg.find("x1=\"87.50%\" x2=\"87.50%\""), std::string::npos) << "13 is the middle of the eleventh";
  EXPECT_NE(svg.find("<title>14 to 16: 16 (55.17 %)</title>"), std::string::npos);
  // The square root of a quarter of the highest is half its height.
  EXPECT_NE(svg.find("y=\"16.0\" height=\"78.0\""), std::string::npos);
  EXPECT_NE(svg.find("y=\"55.0\" height=\"39.0\""), std::string::npos);
}

TEST(HistogramChart, ManyBinsAreDrawnTogether) {
  Histogram histogram{.edges = {0}, .bins = {}};
  for (int i = 1; i <= 241; ++i) histogram.edges.push_back(i), histogram.bins.push_back(1);
  EXPECT_EQ(count_of(histogram_chart(histogram, "", ""), "<rect"), 49u);  // of 5, the last of 1
  histogram.edges = {0}, histogram.bins.clear();
  for (int i = 1; i <= 60; ++i) histogram.edges.push_back(i), histogram.bins.push_back(1);
  EXPECT_EQ(count_of(histogram_chart(histogram, "", ""), "<rect"), 60u);
}

TEST(HistogramChart, AGapAfterZero) {
  Histogram histogram{.edges = {0}, .bins = {5}, .marks = {{0.5, Threshold::Drops::unknown}}};
  for (int i = 1; i <= 100; ++i) histogram.edges.push_back(i), histogram.bins.push_back(i < 95 ? 0 : 1);
  const std::string without = histogram_chart(histogram, "", "");
  EXPECT_EQ(without.find("…"), std::string::npos);
  histogram.gap_after_zero = true;
  const std::string with = histogram_chart(histogram, "", "");
  EXPECT_NE(with.find("…"), std::string::npos);
  EXPECT_NE(with.find("<title>0 to 1: 5 ("), std::string::npos);
  EXPECT_NE(with.find("<title>95 to 96: 1 ("), std::string::npos);
  EXPECT_EQ(count_of(with, "class=\"mark\""), 1u);
}

TEST(HistogramChart, OneBin) {
  const std::string svg = histogram_chart({.edges = {0, 1}, .bins = {0}, .marks = {{1, {}}, {0, {}}}}, "", "");
  EXPECT_EQ(count_of(svg, "<rect"), 0u);
  EXPECT_EQ(count_of(svg, "class=\"mark\""), 2u);
}

}  // namespace
}  // namespace ds
