// How a text is cut at what a pattern finds in it: the behaviours of the pre-tokenizer Split.
#pragma once
#include <algorithm>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/pattern.h"
#include "text/scanners.h"

namespace ds {

// What becomes of a match between two stretches: a piece of its own, nothing, the end or the beginning of a neighbour,
// or one piece with the matches that touch it.
enum class SplitBehavior { isolated, removed, merged_with_previous, merged_with_next, contiguous };
SplitBehavior parse_split_behavior(const std::string& name, const std::string& where);

// A regular expression, a text, or a kind of single character.
class Finder {
 public:
  explicit Finder(Pattern pattern) : pattern_(std::move(pattern)) {}
  explicit Finder(std::string literal) : literal_(std::move(literal)) {}
  explicit Finder(bool (*character)(char32_t)) : character_(character) {}

  // `text` as find() wants it, where that takes a copy (in scratch); places stay.
  std::string_view prepare(std::string_view text, std::string& scratch) const;
  // The first match at or after `from`.
  bool find(std::string_view text, size_t from, MatchSteps& steps, size_t& begin, size_t& end) const;

 private:
  std::optional<Pattern> pattern_;
  std::string literal_;
  bool (*character_)(char32_t) = nullptr;
};

// What hostile replacements may make of a text: real ones stay far below (NFKD makes 11 times the bytes at most). At most
// `growth` bytes of each byte, and of a small text as of one of 64 KiB; `part` of the tokenizer is named otherwise.
struct GrowthLimit {
  static constexpr size_t growth = 64;
  GrowthLimit(size_t bytes, const char* part) : limit(std::max(bytes, size_t{1} << 16) * growth), part(part) {}
  void check(size_t bytes) const;
  size_t limit;
  const char* part;
};

struct Split {
  Finder finder;
  SplitBehavior behavior = SplitBehavior::isolated;
  bool invert = false;  // what lies between matches counts as the match
};

// Cuts each of `ranges` of a text as if it were a text by itself; no piece is empty.
void apply_split(const Split& split, std::string_view text, MatchSteps& steps, std::vector<TextRange>& ranges);

// Calls visit(begin, end) for the matches that HF's engine visits: none overlaps, no empty one right after a match.
void for_each_match(const Finder& finder, std::string_view prepared, MatchSteps& steps,
                    const std::function<void(size_t, size_t)>& visit);

}  // namespace ds
