// Lines and paragraphs that stood before, in an earlier record of the stream or in the same one: which bytes to take
// out.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "clean/duplicates/slot_table.h"
#include "io/text_edit.h"

namespace ds {

// What is to be taken out of a text.
struct TextRemoval {
  std::vector<TextEdit> edits;  // in order, apart from each other, each with an empty replacement
  size_t bytes = 0;             // how many bytes they take out
  bool nothing_left = false;    // something was taken out, and nothing but white space stays
};

// A line ends at a line feed or at the end of the text; white space (Unicode's) at both ends, so a carriage return too,
// does not count. A paragraph is a run of lines that hold more than white space; it is compared by its lines.
enum class RepeatUnit : uint8_t { line, paragraph };

// The lines or paragraphs of a text, as settle() needs them.
struct RepeatParts {
  struct Part {
    size_t begin, end;  // without the line end
    uint64_t hash;      // one of the two below where it is not to be looked up
  };
  static constexpr uint64_t blank = 0, left_alone = 1;
  size_t text_size = 0;
  std::vector<Part> parts;
};

// Keeps the first of equal lines (paragraphs) and takes out the others, in the order of the stream. Compared is
// exactly, but for white space at the ends of lines, by XXH3-64: among a billion different lines the chance that any
// one is taken for another is 3 %. What is shorter than `min_characters` (white space at the ends apart) is left alone,
// and so are blank lines. A line goes with its line end and a paragraph with the blank lines after it, or before it
// where it was the last; so a text ends as it ended before. Memory: 10 to 12.5 bytes for each different line.
class RepeatedUnits {
 public:
  explicit RepeatedUnits(RepeatUnit unit, size_t min_characters = 1);

  // The half that may run on any thread, before or after the records before it are settled.
  RepeatParts prepare(std::string_view text) const;
  // In the order of the stream, for records that are kept: looks up each part, and remembers those that are new.
  TextRemoval settle(const RepeatParts& parts);

  uint64_t distinct() const { return seen_.size(); }
  uint64_t memory() const { return seen_.memory(); }  // bytes

 private:
  bool is_new(uint64_t hash);

  RepeatUnit unit_;
  size_t min_characters_;
  SlotTable<64> seen_;
};

}  // namespace ds
