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

  template <class Visit>  // visit(word, count)
  void for_each(Visit&& visit) const {
    for (const Entry& entry : entries_) visit(std::string_view(bytes_).substr(entry.begin, entry.length), entry.count);
  }

  // Forgets words of the lowest counts, whole counts at a time, until at most `keep` remain; how many it forgot.
  size_t forget_rarest(size_t keep);

 private:
  struct Entry {
    uint64_t hash;
    size_t begin;
    uint32_t length;
    int64_t count;
  };
  void rehash(size_t slots);
  std::string bytes_;
  std::vector<Entry> entries_;
  std::vector<uint32_t> slots_;  // index of an entry + 1, 0 where free
};

}  // namespace ds
