#include "clean/funnel.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "base/error.h"
#include "base/sizes.h"
#include "clean/display.h"
#include "io/json.h"

namespace ds {
namespace {

constexpr size_t table_columns = 100, gap = 2;
// One line of the table: reason, records, their share, bytes, records left, their share.
using Cells = std::array<std::string, 6>;

std::string percent(uint64_t part, uint64_t whole) {
  if (whole == 0) return "-";
  const double value = 100 * static_cast<double>(part) / static_cast<double>(whole);
  if (part > 0 && value < 0.005) return "<0.01";
  if (part < whole && value >= 99.995) return ">99.99";
  char text[32];
  std::snprintf(text, sizeof text, "%.2f", value);
  return text;
}

// What is left after each of `taken`, which are not more than `whole`; 0 where they are.
uint64_t less(uint64_t whole, uint64_t taken) { return whole - std::min(whole, taken); }

std::vector<Cells> table_cells(const Funnel& funnel, bool short_bytes) {
  const auto bytes = [&](uint64_t n) { return short_bytes ? format_bytes(n) : grouped(n); };
  const uint64_t all = funnel.records_in;
  std::vector<Cells> lines = {{"", "records", "%", "bytes", "left", "%"},
                              {"read", grouped(all), percent(all, all), bytes(funnel.bytes_in), "", ""}};
  uint64_t left = all;
  const auto take = [&](const std::string& reason, uint64_t records, uint64_t size) {
    left = less(left, records);
    lines.push_back(
        {cat("  ", reason), grouped(records), percent(records, all), bytes(size), grouped(left), percent(left, all)});
  };
  if (funnel.bad > 0) take("bad-line", funnel.bad, funnel.bad_bytes);
  for (const auto& row : funnel.rows) take(safe_line(row.reason), row.records, row.bytes);
  lines.push_back({"kept", grouped(funnel.kept), percent(funnel.kept, all), bytes(funnel.kept_bytes), "", ""});
  if (funnel.edited > 0) lines.push_back({"  edited", grouped(funnel.edited), percent(funnel.edited, all), "", "", ""});
  return lines;
}

std::array<size_t, 6> widths_of(const std::vector<Cells>& lines) {
  std::array<size_t, 6> widths{};
  for (const Cells& cells : lines)
    for (size_t i = 0; i < cells.size(); ++i) widths[i] = std::max(widths[i], columns(cells[i]));
  return widths;
}

size_t numbers_width(const std::array<size_t, 6>& widths) {
  size_t sum = 0;
  for (size_t i = 1; i < widths.size(); ++i) sum += gap + widths[i];
  return sum;
}

}  // namespace

std::string funnel_table(const Funnel& funnel) {
  std::vector<Cells> lines = table_cells(funnel, false);
  auto widths = widths_of(lines);
  if (constexpr size_t least_reason = 16; numbers_width(widths) + std::min(widths[0], least_reason) > table_columns) {
    lines = table_cells(funnel, true);
    widths = widths_of(lines);
  }
  widths[0] = std::min(widths[0], table_columns - numbers_width(widths));
  std::string out;
  for (const Cells& cells : lines) {
    std::string line = cut(cells[0], widths[0]);
    line.append(widths[0] - columns(line), ' ');
    for (size_t i = 1; i < cells.size(); ++i) {
      if (std::all_of(cells.begin() + static_cast<std::ptrdiff_t>(i), cells.end(),
                      [](const std::string& cell) { return cell.empty(); }))
        break;
      line.append(gap + widths[i] - columns(cells[i]), ' ').append(cells[i]);
    }
    out += line + "\n";
  }
  return out;
}

std::string funnel_json(const Funnel& funnel) {
  JsonWriter w;
  w.open('{').field("records", funnel.records_in).field("bytes", funnel.bytes_in);
  w.open('{', "bad").field("records", funnel.bad).field("bytes", funnel.bad_bytes).close();
  uint64_t left = less(funnel.records_in, funnel.bad);
  w.open('[', "dropped");
  for (const auto& row : funnel.rows) {
    left = less(left, row.records);
    w.open('{').field("reason", row.reason).field("records", row.records).field("bytes", row.bytes);
    w.field("left", left).close();
  }
  w.close();
  w.open('{', "kept").field("records", funnel.kept).field("bytes", funnel.kept_bytes).close();
  return w.field("edited", funnel.edited).close().text;
}

}  // namespace ds
