#include "clean/funnel.h"

#include <gtest/gtest.h>

#include <sstream>
#include <string>
#include <vector>

#include "clean/display.h"
#include "io/json.h"

namespace ds {
namespace {

Funnel example() {
  Funnel funnel{.records_in = 1234567, .bytes_in = 9876543210, .bad = 3, .bad_bytes = 120};
  funnel.rows = {{"exact-duplicate", 234567, 1876543210},
                 {"near-duplicate", 400000, 3000000000},
                 {"repetition", 0, 0},
                 {"min-words", 17, 1000}};
  funnel.kept = 599980;
  funnel.kept_bytes = 4999998880;
  funnel.edited = 12;
  return funnel;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

TEST(FunnelTable, Example) {
  EXPECT_EQ(funnel_table(example()),
            "                     records       %          bytes       left       %\n"
            "read               1,234,567  100.00  9,876,543,210\n"
            "  bad-line                 3   <0.01            120  1,234,564  >99.99\n"
            "  exact-duplicate    234,567   19.00  1,876,543,210    999,997   81.00\n"
            "  near-duplicate     400,000   32.40  3,000,000,000    599,997   48.60\n"
            "  repetition               0    0.00              0    599,997   48.60\n"
            "  min-words               17   <0.01          1,000    599,980   48.60\n"
            "kept                 599,980   48.60  4,999,998,880\n"
            "  edited                  12   <0.01\n");
}

TEST(FunnelTable, NothingCameIn) {
  EXPECT_EQ(funnel_table(Funnel{.rows = {{"repetition", 0, 0}}}),
            "              records  %  bytes  left  %\n"
            "read                0  -      0\n"
            "  repetition        0  -      0     0  -\n"
            "kept                0  -      0\n");
}

TEST(FunnelTable, NeverWiderThanAHundredColumns) {
  constexpr uint64_t most = ~uint64_t{0};
  Funnel funnel{.records_in = most,
                .bytes_in = most,
                .bad = most,
                .bad_bytes = most,
                .kept = most,
                .kept_bytes = most,
                .edited = most};
  funnel.rows = {{std::string(300, 'x'), most, most},
                 {"中文的理由中文的理由中文的理由中文的理由中文的理由", 1, 1},
                 {"", most, most}};
  for (const uint64_t bytes : {most, uint64_t{1} << 40, uint64_t{1000}}) {
    funnel.bytes_in = funnel.bad_bytes = funnel.kept_bytes = bytes;
    for (auto& row : funnel.rows) row.bytes = bytes;
    for (const auto& line : lines_of(funnel_table(funnel))) EXPECT_LE(columns(line), 100u) << line;
  }
}

TEST(FunnelTable, AReasonCannotReachTheTerminal) {
  Funnel funnel = example();
  funnel.rows[0].reason =
      "\x1b[31mred\x1b[0m\nread 5\t\xc2\x9b"
      "2J";
  const std::string table = funnel_table(funnel);
  EXPECT_EQ(lines_of(table).size(), 9u);
  for (const char c : table) EXPECT_TRUE(c == '\n' || static_cast<unsigned char>(c) >= 0x20);
  EXPECT_EQ(table.find("\xc2\x9b"), std::string::npos);
  EXPECT_NE(table.find("<U+001B>[31mred"), std::string::npos);
}

TEST(FunnelJson, HasEveryNumber) {
  const Json json = parse_json(funnel_json(example()), "json");
  EXPECT_EQ(json.find("records")->text, "1234567");
  EXPECT_EQ(json.find("bytes")->text, "9876543210");
  EXPECT_EQ(json.find("bad")->find("records")->text, "3");
  EXPECT_EQ(json.find("bad")->find("bytes")->text, "120");
  EXPECT_EQ(json.find("kept")->find("records")->text, "599980");
  EXPECT_EQ(json.find("kept")->find("bytes")->text, "4999998880");
  EXPECT_EQ(json.find("edited")->text, "12");
  const auto& dropped = json.find("dropped")->items;
  ASSERT_EQ(dropped.size(), 4u);
  const char* const left[] = {"999997", "599997", "599997", "599980"};
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(dropped[i].find("reason")->text, example().rows[i].reason);
    EXPECT_EQ(dropped[i].find("records")->text, std::to_string(example().rows[i].records));
    EXPECT_EQ(dropped[i].find("bytes")->text, std::to_string(example().rows[i].bytes));
    EXPECT_EQ(dropped[i].find("left")->text, left[i]);
  }
}

TEST(Grouped, ThreeDigitsAtATime) {
  EXPECT_EQ(grouped(0), "0");
  EXPECT_EQ(grouped(999), "999");
  EXPECT_EQ(grouped(1000), "1,000");
  EXPECT_EQ(grouped(123456), "123,456");
  EXPECT_EQ(grouped(~uint64_t{0}), "18,446,744,073,709,551,615");
}

}  // namespace
}  // namespace ds
