// Where a text can be cut: white space at its ends, and the ends of sentences.
#pragma once
#include <cstddef>
#include <string_view>
#include <vector>

namespace ds {

// A part of a text: the bytes [begin, end).
struct TextRange {
  size_t begin = 0, end = 0;
  size_t size() const { return end - begin; }
  bool contains(const TextRange& other) const { return begin <= other.begin && other.end <= end; }
};

// Sorts ranges, and makes one of those that overlap or touch.
void merge(std::vector<TextRange>& ranges);

// Without the white space (the Unicode property White_Space) at both ends.
std::string_view trimmed(std::string_view text);

// The longest run of whole sentences inside a range; an empty range where there is none. A text can be cut at both its
// ends, on both sides of a line end, after . ! or ? and what closes quotes and brackets before white space, and after
// 。 ！ or ？ and what closes; and at each place of the white space that follows. No more than 256 bytes before the
// range are looked at to see how it begins.
TextRange whole_sentences(std::string_view text, TextRange range);

}  // namespace ds
