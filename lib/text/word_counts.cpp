#include "text/word_counts.h"

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "base/hash.h"

namespace ds {

void WordCounts::add(std::string_view word, int64_t count) {
  if ((entries_.size() + 1) * 3 > slots_.size() * 2) rehash(std::max<size_t>(1024, slots_.size() * 2));
  const uint64_t hash = hash64(word);
  size_t slot = hash & (slots_.size() - 1);
  for (; slots_[slot]; slot = (slot + 1) & (slots_.size() - 1)) {
    Entry& entry = entries_[slots_[slot] - 1];
    if (entry.hash == hash && std::string_view(bytes_).substr(entry.begin, entry.length) == word) {
      entry.count += count;
      return;
    }
  }
  require(entries_.size() < std::numeric_limits<uint32_t>::max() - 1 && word.size() < (size_t{1} << 32),
          "too many or too long words to count");
  entries_.push_back({hash, bytes_.size(), static_cast<uint32_t>(word.size()), count});
  bytes_ += word;
  slots_[slot] = static_cast<uint32_t>(entries_.size());
}

void WordCounts::rehash(size_t slots) {
  slots_.assign(slots, 0);
  for (size_t i = 0; i < entries_.size(); ++i) {
    size_t slot = entries_[i].hash & (slots - 1);
    while (slots_[slot]) slot = (slot + 1) & (slots - 1);
    slots_[slot] = static_cast<uint32_t>(i + 1);
  }
}

size_t WordCounts::forget_rarest(size_t keep) {
  if (entries_.size() <= keep) return 0;
  std::vector<int64_t> counts;
  for (const Entry& entry : entries_) counts.push_back(entry.count);
  std::nth_element(counts.begin(), counts.begin() + static_cast<ptrdiff_t>(counts.size() - keep - 1), counts.end());
  const int64_t threshold = counts[counts.size() - keep - 1];
  const size_t before = entries_.size();
  std::string bytes;
  std::vector<Entry> entries;
  for (Entry entry : entries_) {
    if (entry.count <= threshold) continue;
    const size_t begin = bytes.size();
    bytes.append(bytes_, entry.begin, entry.length);
    entry.begin = begin;
    entries.push_back(entry);
  }
  bytes_ = std::move(bytes);
  entries_ = std::move(entries);
  rehash(slots_.size());
  return before - entries_.size();
}

}  // namespace ds
