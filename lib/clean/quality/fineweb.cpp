#include <algorithm>

#include "base/hash.h"
#include "clean/quality/hash_set.h"
#include "clean/quality/quality_characters.h"
#include "clean/quality/text_signals.h"

namespace ds {

constexpr size_t short_line = 30;  // characters

static bool is_short(std::string_view line) {
  constexpr size_t widest = 4;  // bytes of a character
  return line.size() <= short_line || (line.size() <= widest * short_line && count_characters(line) <= short_line);
}

void measure_fineweb(std::string_view text, size_t words, Signals& signals) {
  thread_local HashSet seen;
  const auto newlines = static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
  seen.reset(newlines + 1);
  size_t lines = 0, punctuated = 0, brief = 0, duplicates = 0;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const auto line = text.substr(begin, end - begin);
    begin = end + 1;
    if (strip_left(line).empty()) continue;
    ++lines;
    punctuated += (character_kinds(last_character(line)) & kind_line_stop) != 0;
    brief += is_short(line);
    if (!seen.insert(hash64(line))) duplicates += count_characters(line);
  }
  const auto share = [](size_t part, size_t whole) {
    return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
  };
  signals[Signal::punctuated_lines] = share(punctuated, lines);
  signals[Signal::short_lines] = share(brief, lines);
  signals[Signal::duplicate_characters] = share(duplicates, count_characters(text) - newlines);
  signals[Signal::newlines_per_word] = share(newlines, words);
}

}  // namespace ds
