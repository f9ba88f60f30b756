// Which items of a benchmark stand in a text: word for word, as a short line, or as a diluted copy.
//
// Words are those of words.h, but each Han ideograph and kana is a word of its own, as Chinese and Japanese do not mark
// words. The evidence of a word is its number of letters, at most 7; 3 for an ideograph or kana, 1 for a number.
//
// A gram is 3 consecutive words of a text of an item. Grams that more than 16 items have are turns of phrase or
// templates and count nowhere. A window of the record covers those words of a text that stand in a gram which also
// stands in the window. The share of a text is the part covered of the words that have a gram at all, the largest over
// all windows of twice as many words as the text has; so a verbatim copy has 1, however long the record around it, a
// copy with a foreign word after every 4 has 1 too, and one with each fifth word replaced about 0.7. It counts only
// where the evidence times the share is at least 20, the evidence being that of the words covered in the text or that
// of their copies in the record, whichever is less: little text must match better. The share of an item is the largest
// of its texts, and of all its texts taken together. A record of fewer than n words counts the other way round too, by
// the part of its own words that the item covers.
//
// A run is n consecutive words of a text that stand in the record too (13 by default, as in GPT-3: Brown et al. 2020,
// appendix C), of an evidence of at least 20, and in at most 16 items; longer runs are counted as one. A text of 5 to
// n-1 words is a run of its own where it stands in the record in whole, and has the share 1; so is one of 3 words or
// more and an evidence of 10 or more where it fills a line of the record, or lines.
//
// Coverage by short grams, seen from the benchmark, is the measure of PaLM (8-grams), Llama 2 and 3 (tokens in common
// n-grams); Singh et al. 2024 (arXiv:2411.03923) find that long n-grams miss much, Yang et al. 2023 (arXiv:2311.04850)
// that light rewriting gets past them. A text rewritten so that no 3 words stay together is not found here either.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace ds {

// A hash a word. The three low bits are its evidence.
std::vector<uint64_t> overlap_words(std::string_view text);

struct ByteRange {
  size_t begin, end;
};
// Where words of the text stand, given by their numbers from 0; at its end for those that it does not have.
std::vector<ByteRange> overlap_places(std::string_view text, std::span<const size_t> words);

constexpr size_t overlap_gram = 3;
constexpr size_t overlap_common_items = 16;
constexpr size_t overlap_least_words = 5;
constexpr uint32_t overlap_least_evidence = 20, overlap_line_evidence = 10;

struct OverlapHit {
  uint32_t item;
  double share;       // 0 to 1
  uint32_t run;       // words of the longest run; 0 where there is none
  size_t begin, end;  // where: bytes of the text
};

struct Overlap {
  double share = 0;              // the largest of all items
  uint32_t run = 0;              // the longest of all items
  std::vector<OverlapHit> hits;  // items with share >= threshold or a run, best first: share, run, then the first item
};

// Takes the items, then answers on any number of threads. Holds about 25 bytes a word of the items.
class OverlapIndex {
 public:
  // n: 5 to 100 words; threshold in (0, 1].
  OverlapIndex(size_t n, double threshold);

  // A text of an item, as overlap_words gives it. The texts of an item come one after the other.
  // Error: more than 2^31 words in all.
  void add(uint32_t item, std::span<const uint64_t> words);
  // Ends the adding; find() answers from then on.
  void freeze();

  Overlap find(std::string_view text) const;

  size_t words() const { return weights_.size(); }
  // Bytes held.
  size_t memory() const;

 private:
  // Words of the items are numbered one after the other over all texts.
  struct Text {
    uint32_t begin, end;  // its words
    uint32_t coverable;   // how many of them some evidence gram has
  };
  struct Group {  // the texts of an item: a range of texts_
    uint32_t begin, end, item, coverable;
  };
  struct Vote {  // a gram of the record at word `at` stands in the item at word `from`
    uint32_t group, at, from;
  };
  struct Run {  // words of the record
    uint32_t group, begin, length;
  };
  // A set of hashes that takes some for its own that are not: asked first, as it is small.
  struct Bits {
    std::vector<uint64_t> words{0};
    int shift = 58;
    void reserve(size_t count);
    const uint64_t* word(uint64_t hash) const { return &words[hash >> shift >> 6]; }
    bool has(uint64_t hash) const { return *word(hash) >> (hash >> shift & 63) & 1; }
    void add(uint64_t hash) { words[hash >> shift >> 6] |= uint64_t{1} << (hash >> shift & 63); }
  };
  // Hashes to numbers: open addressing; a slot holds half of the hash.
  struct Table {
    struct Slot {
      uint32_t tag, value;
    };
    static constexpr uint32_t absent = ~0u;
    std::vector<Slot> slots;
    void reserve(size_t count);
    // The high half of the hash, scaled to the number of slots; the tag is the low half.
    const Slot* home(uint64_t hash) const { return slots.data() + ((hash >> 32) * slots.size() >> 32); }
    void insert(uint64_t hash, uint32_t value);
    uint32_t find(uint64_t hash) const;
  };
  struct Place;
  struct Work;

  void build_grams();
  void build_runs();
  bool is_evidence(std::span<const Place> places) const;
  uint32_t group_of(uint32_t word) const;
  uint32_t run_length(const Text& text) const { return std::min(text.end - text.begin, static_cast<uint32_t>(n_)); }
  uint32_t text_of(const Group& group, const Vote& vote) const;
  void vote(std::span<const uint64_t> words, Work& work) const;
  void take_places(uint32_t place, uint32_t at, Work& work) const;
  void take_runs(std::span<const uint64_t> words, size_t end, size_t in_row, Work& work) const;
  void take_lines(std::string_view text, Work& work) const;
  void put_in_order(Work& work) const;
  OverlapHit score_group(uint32_t group, std::span<const Vote> votes, std::span<const Run> runs,
                         std::span<const uint64_t> record, Work& work) const;
  void score_window(std::span<const Vote> votes, std::span<const uint64_t> record, uint32_t begin, uint32_t end,
                    uint32_t coverable, Work& work, OverlapHit& hit) const;
  void score_record(std::span<const Vote> votes, std::span<const uint64_t> record, OverlapHit& hit) const;

  size_t n_;
  double threshold_;
  std::vector<uint64_t> pending_;  // the words of the items until freeze()
  std::vector<uint8_t> weights_;   // letters of each word; 0 where no evidence gram has it
  std::vector<Text> texts_;
  std::vector<Group> groups_;
  std::vector<uint32_t> group_ends_, group_hint_;  // the word after each group; the group of word 32 * i
  Bits gram_bits_, short_bits_;                    // of all grams, evidence or not; of the texts of fewer than n words
  Table grams_;                                    // evidence gram -> its place, or the first of its places_
  Table runs_;                                     // n-grams, and texts of fewer words -> the first word
  std::vector<uint32_t> places_;                   // first words of grams; the top bit ends a list
};

}  // namespace ds
