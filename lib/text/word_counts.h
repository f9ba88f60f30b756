// Counts of short byte strings: one arena of bytes and one flat table.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ds {

// Words keep the order in which they were first added.
class WordCounts {
 public:
  void add(std::string_view word, int64_t count);
  size_t size() const { return entries_.size(); }
  size_t bytes() const { return bytes_.size(); }

  template <class Visit>  // visit(word, count)
  void for_each(Visit&& visit) const {
    for (const Entry& entry : entries_) visit(std::string_view(bytes_).substr(entry.begin, entry.length), entry.count);
  }

  // Memory that the words take here and then as symbols of a BPE trainer (measured at its peak), by their number and
  // lengths alone.
  size_t cost() const { return cost_; }

  // Forgets the rarest words, of equally rare ones the later, until what is left costs at most `keep`; and any that alone
  // costs more.
  struct Forgotten {
    uint64_t words = 0, occurrences = 0;
  };
  Forgotten forget_rarest(size_t keep);

 private:
  struct Entry {
    uint64_t hash;
    size_t begin;
    uint32_t length;
    int64_t count;
  };
  static size_t cost_of(const Entry& entry) {  // a long word gets an index of its pairs
    return 96 + size_t{entry.length} * (entry.length > 256 ? 48 : 24);
  }
  void rehash(size_t slots);
  std::string bytes_;
  size_t cost_ = 0;
  std::vector<Entry> entries_;
  std::vector<uint32_t> slots_;  // index of an entry + 1, 0 where free
};

}  // namespace ds
