// Which items of a benchmark stand in a text, word for word, as a short line or as a diluted copy.
//
// Words: those of words.h, but each Han ideograph and kana is a word of its own, since Chinese and Japanese do not mark
// words. A gram is 3 consecutive words of one text of an item. It is evidence for the items that have it, unless more
// than `overlap_common_items` have it: then it is a turn of phrase or a template, and counts nowhere.
//
// The share of an item's text in a record: of the words of the text that some evidence gram has in it, the part that
// grams which also stand in a window of the record cover; the largest over all windows of twice the words of the text.
// So a verbatim copy has 1 however long the record around it, and a copy with a foreign word every 4 words or more too;
// one with every word replaced with probability 1/5 still has 0.7. The share of an item is the largest of its texts'
// and of all of its texts' together (question and answer in one window). A record of fewer than n words also counts the
// other way round: the part of its own words that the item covers. A share counts only where the covered words have at
// least `overlap_least_letters` letters (of a word at most 7 count; an ideograph or kana counts as 3): else it is 0.
//
// The run: besides, n consecutive words of a text, n = 13 by default as in GPT-3 (Brown et al. 2020, appendix C), stand
// in the record: the whole run of such n-grams. The same two conditions hold: not in more than `overlap_common_items`
// items, and letters enough.
//
// Sources: coverage by short grams in the place of one long gram is what PaLM (8-grams, 70 %) and Llama 2 and 3 (token
// coverage, skipgrams) do on the side of the benchmark; Singh et al. 2024 (arXiv:2411.03923) measure that long n miss
// much; Yang et al. 2023 (arXiv:2311.04850) show the hole.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace ds {

// A hash a word. The three low bits are its letters: 1 to 7, 3 for an ideograph or kana.
std::vector<uint64_t> overlap_words(std::string_view text);
// Where the words [first, last) of the text stand: bytes [begin, end) of it.
struct ByteRange {
  size_t begin, end;
};
ByteRange overlap_bytes(std::string_view text, size_t first, size_t last);

constexpr size_t overlap_gram = 3;
constexpr size_t overlap_common_items = 16;
constexpr uint32_t overlap_least_letters = 24;

struct OverlapHit {
  uint32_t item;
  double share;       // 0 to 1
  uint32_t run;       // words of the longest run; 0 where no n-gram is shared
  size_t begin, end;  // where: words of the record
};

struct Overlap {
  double share = 0;              // the largest of all items
  uint32_t run = 0;              // the longest of all items
  std::vector<OverlapHit> hits;  // items with share >= threshold or a run, best first: share, run, then the first item
};

// Takes the items, then answers for any number of threads. About 30 bytes a word of the items in all.
class OverlapIndex {
 public:
  // n: 5 to 100 words; threshold in (0, 1].
  OverlapIndex(size_t n, double threshold);

  // A text of an item, as overlap_words gives it. The texts of an item come one after the other.
  // Error: more than 2^31 words in all.
  void add(uint32_t item, std::span<const uint64_t> words);
  // Ends the adding; find() answers from then on.
  void freeze();

  Overlap find(std::span<const uint64_t> words) const;

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
  // Hashes to numbers: open addressing; a slot holds half of the hash.
  struct Table {
    struct Slot {
      uint32_t tag, value;
    };
    static constexpr uint32_t absent = ~0u;
    std::vector<Slot> slots;
    void reserve(size_t count);
    void insert(uint64_t hash, uint32_t value);
    uint32_t find(uint64_t hash) const;
  };
  struct Place;
  struct Work;

  void build_grams();
  void build_runs();
  bool is_evidence(std::span<const Place> places) const;
  uint32_t group_of(uint32_t word) const;
  uint32_t text_of(const Group& group, const Vote& vote) const;
  void vote(std::span<const uint64_t> words, Work& work) const;
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
  std::vector<uint32_t> group_hint_;  // the group of word 64 * i
  std::vector<uint64_t> bitmap_;      // which grams occur at all, evidence or not
  int bitmap_shift_ = 0;
  Table grams_;                   // evidence gram -> the first of its places_
  Table runs_;                    // n-gram -> its first word
  std::vector<uint32_t> places_;  // first words of grams; the top bit ends a list
};

}  // namespace ds
