#include "clean/explain.h"

#include <algorithm>
#include <array>
#include <cstdio>

namespace ds {
namespace {

constexpr size_t kColumns = 4;
using Row = std::array<std::string, kColumns>;

size_t width_of(std::string_view text) {  // in characters
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

// Six digits are enough to read.
std::string shown(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.6g", value);
  return text;
}

void append_row(std::string& out, const Row& row, const std::array<size_t, kColumns>& widths) {
  for (size_t c = 0; c < kColumns; ++c) {
    if (widths[c] == 0) continue;  // a column that nothing stands in
    out += row[c];
    out.append(widths[c] - width_of(row[c]) + 2, ' ');
  }
  out.erase(out.find_last_not_of(' ') + 1);
  out += '\n';
}

}  // namespace

std::string explain_table(const Record& record, const Signals& signals, const SignalNotes& notes) {
  std::vector<Row> rows;
  bool any_note = false, said_lang = signals.lang.empty();
  for (size_t i = 0; i < signal_count; ++i) {
    const auto signal = static_cast<Signal>(i);
    std::string note;
    for (const auto& [of, text] : notes)
      if (of == signal) note += (note.empty() ? "" : ", ") + text;
    if (info(signal).group == SignalGroup::language && !said_lang) {
      rows.push_back({"lang", signals.lang, "", "language"});
      said_lang = true;
    }
    if (!signals.has(signal) && note.empty()) continue;
    any_note = any_note || !note.empty();
    rows.push_back({info(signal).name, signals.has(signal) ? shown(signals[signal]) : "-", note, info(signal).meaning});
  }
  std::string out = record.where() + "\n";
  if (rows.empty()) return out + "no signal was measured\n";
  rows.insert(rows.begin(), Row{"signal", "value", any_note ? "note" : "", "meaning"});
  std::array<size_t, kColumns> widths{};
  for (const Row& row : rows)
    for (size_t c = 0; c < kColumns; ++c) widths[c] = std::max(widths[c], width_of(row[c]));
  for (const Row& row : rows) append_row(out, row, widths);
  return out;
}

}  // namespace ds
