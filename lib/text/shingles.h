// Shingles: the set of n consecutive words or characters of a text, as 64-bit hashes, and the Jaccard index of two sets
// (Broder, "On the resemblance and containment of documents", 1997).
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ds {

// word: n words as words.h defines them. unit: the same, but each CJK character is a word (units.h). character: n
// characters of the text in lower case, each run of white space as one space, none at the ends.
struct ShingleKind {
  enum class Unit : uint8_t { word, unit, character } unit = Unit::word;
  size_t size = 5;
};

// "word:5", "unit:5", "char:13"; sizes 1 to 1000. Anything else is a UsageError.
ShingleKind parse_shingle_kind(std::string_view text);
std::string shingle_kind_name(ShingleKind kind);

// The shingles of a text in their order, with repeats; `out` is replaced. A text of fewer than n words (characters)
// makes one shingle of them all; an empty one too.
void shingle_sequence(std::string_view text, ShingleKind kind, std::vector<uint64_t>& out);
// The same from the text's word hashes (words.h).
void word_shingle_sequence(std::span<const uint64_t> words, size_t n, std::vector<uint64_t>& out);

// Sorted and distinct.
using ShingleSet = std::vector<uint64_t>;
ShingleSet shingles(std::string_view text, ShingleKind kind);

// A set of shingles to look others up in, made anew by each assign() without new memory.
class ShingleTable {
 public:
  void assign(std::span<const uint64_t> shingles);  // repeats count once
  size_t size() const { return distinct_.size(); }
  std::span<const uint64_t> distinct() const { return distinct_; }  // in the order of their first occurrence
  bool contains(uint64_t shingle) const;

 private:
  std::vector<uint64_t> slots_, distinct_;
  int shift_ = 64;
};

// Size of the intersection of two sorted sets; any value below `at_least` may be returned as 0 (it stops early).
size_t intersection_size(std::span<const uint64_t> a, std::span<const uint64_t> b, size_t at_least = 0);

// double(intersection) / union; sets are never empty.
inline double jaccard(size_t intersection, size_t a, size_t b) {
  return static_cast<double>(intersection) / static_cast<double>(a + b - intersection);
}
double jaccard(std::span<const uint64_t> a, std::span<const uint64_t> b);

}  // namespace ds
