// Words and phrases that mark abuse: a small list that is compiled in, or a file. Entries and texts are compared in
// units (text/units.h): lower-case words, and single characters of Chinese, Japanese and Korean. So an entry in Latin
// script matches whole words only, and one in CJK characters any run of them in the text.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/flat_map.h"

namespace ds {

// Immutable after the last add(); then all threads may use it at once.
class Lexicon {
 public:
  // One entry: a word, a phrase, a run of CJK characters, or a mixture. False where it has no unit: nothing is added.
  bool add(std::string_view entry);
  bool empty() const { return entries_ == 0; }
  // How many of a text's units stand in entries, from left to right, the longest entry first, none counted twice. A
  // unit that begins no entry costs about a nanosecond.
  size_t covered(std::span<const uint64_t> units) const;

 private:
  struct Entry {
    uint32_t begin, size;  // of the units after the first, in rest_
  };
  size_t longest_match(std::span<const uint64_t> units) const;  // 0: none begins here
  bool may_begin(uint64_t unit) const { return filter_[unit >> 6 & (filter_.size() - 1)] >> (unit & 63) & 1; }
  void note_first(uint64_t unit);

  size_t entries_ = 0;
  std::vector<uint64_t> filter_ = std::vector<uint64_t>(512);  // a bit for the hash of each first unit
  FlatMap<uint32_t> group_of_;                                 // first unit -> its place in groups_
  std::vector<std::vector<Entry>> groups_;                     // the longest first
  std::vector<uint64_t> rest_;
};

// English and Chinese (both ways of writing it).
Lexicon builtin_lexicon();
// One entry a line, in any case; empty lines, lines that begin with # and lines without a letter or digit are skipped.
// Error where the file has no entry.
Lexicon read_lexicon(const std::string& path);

// Units that stand in entries / all units; 0 for no units. A CJK character counts as much as a word.
double lexicon_share(std::span<const uint64_t> units, const Lexicon& lexicon);
// The same of a text whose word hashes (words.h) are at hand: they are its units where it has no CJK character.
double lexicon_share(std::string_view text, std::span<const uint64_t> word_hashes, const Lexicon& lexicon);

}  // namespace ds
