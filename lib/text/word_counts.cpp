#include "text/word_counts.h"

#include <algorithm>
#include <limits>
#include <numeric>

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
  cost_ += cost_of(entries_.back());
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

WordCounts::Forgotten WordCounts::forget_rarest(size_t keep) {
  if (cost() <= keep) return {};
  std::vector<uint32_t> order(entries_.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [this](uint32_t a, uint32_t b) { return entries_[a].count > entries_[b].count; });
  Forgotten forgotten;
  size_t kept = 0, left = keep;
  bool full = false;
  for (const uint32_t i : order) {
    const size_t cost = cost_of(entries_[i]);
    full = full || (cost > left && cost <= keep);  // one that could never stay makes no others go
    if (full || cost > keep) {
      ++forgotten.words;
      forgotten.occurrences += static_cast<uint64_t>(entries_[i].count);
    } else {
      left -= cost;
      order[kept++] = i;
    }
  }
  order.resize(kept);
  cost_ = keep - left;
  std::sort(order.begin(), order.end());  // in the order in which they were added
  std::string bytes;
  std::vector<Entry> entries;
  for (const uint32_t i : order) {
    Entry entry = entries_[i];
    const size_t begin = bytes.size();
    bytes.append(bytes_, entry.begin, entry.length);
    entry.begin = begin;
    entries.push_back(entry);
  }
  bytes_ = std::move(bytes);
  entries_ = std::move(entries);
  rehash(slots_.size());
  return forgotten;
}

}  // namespace ds
