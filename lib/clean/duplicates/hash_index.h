// From hashes to the numbers of the records that have them: the tables of deduplication, in little memory.
//
// Linear probing in the order of the hashes: a slot's home is hash * slots / 2^32, and each run of slots is sorted. So
// equal hashes stand side by side, and the table grows in place, in steps of an eighth: it is never less than 71 %
// full, and never held twice.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>

#include "base/error.h"
#include "io/mapped_memory.h"

namespace ds {

// Slot: {uint32_t hash, value_plus_1; ...}; all zero is free. Values are below 2^32 - 1.
template <class Slot>
class HashIndex {
 public:
  // `path` empty: in memory; else in that scratch file.
  explicit HashIndex(const std::string& path = "") : memory_(path) { resize(1024); }

  // Calls visit(slot) for every slot of that hash, in the order in which they were inserted; their number.
  template <class Visit>
  size_t find(uint32_t hash, Visit&& visit) const {
    const Slot* slot = slots() + home(hash);
    while (slot->value_plus_1 != 0 && slot->hash < hash) ++slot;
    size_t found = 0;
    for (; slot->value_plus_1 != 0 && slot->hash == hash; ++slot, ++found) visit(*slot);
    return found;
  }

  // Asks for the memory of a later find() or insert().
  void prefetch(uint32_t hash) const { __builtin_prefetch(slots() + home(hash)); }

  // Puts the slot behind those of its hash, unless there are `most` of them already.
  void insert(const Slot& slot, size_t most = SIZE_MAX) {
    if (used_ + 1 > count_ / 5 * 4) resize(count_ + count_ / 8);
    // Only where thousands of hashes are next to the largest one does a run reach the end; a larger table parts them.
    Placed placed;
    for (int tries = 0; (placed = place(slot, most)) == Placed::no_room; ++tries) {
      require(tries < 16, "a deduplication table has too many hashes at its end");
      resize(count_ + count_ / 8);
    }
    used_ += placed == Placed::done;
  }

  uint64_t size() const { return used_; }
  uint64_t bytes() const { return memory_.size(); }

 private:
  static constexpr size_t spill = 4096;  // slots behind the last home, for the runs that reach over it

  Slot* slots() const { return reinterpret_cast<Slot*>(memory_.data()); }
  size_t home(uint32_t hash) const { return static_cast<size_t>((uint64_t{hash} * count_) >> 32); }

  enum class Placed : uint8_t { done, enough, no_room };

  Placed place(const Slot& slot, size_t most) {
    Slot* const end = slots() + count_ + spill - 1;  // the last one stays free, so that runs end
    Slot* at = slots() + home(slot.hash);
    while (at < end && at->value_plus_1 != 0 && at->hash < slot.hash) ++at;
    for (size_t same = 0; at < end && at->value_plus_1 != 0 && at->hash == slot.hash; ++at)
      if (++same >= most) return Placed::enough;
    Slot* free = at;
    while (free < end && free->value_plus_1 != 0) ++free;
    if (free == end) return Placed::no_room;
    std::memmove(at + 1, at, static_cast<size_t>(free - at) * sizeof(Slot));
    *at = slot;
    return Placed::done;
  }

  // All slots move to the end of the larger table, then each to its place: the i-th of n goes to no later place than
  // the end's i-th of n, since those behind it need room too; so none is overwritten before it has moved.
  void resize(size_t count) {
    require(count < (uint64_t{1} << 33), "a deduplication table is full (2^33 entries)");
    const size_t before = count_ == 0 ? 0 : count_ + spill, after = count + spill;
    memory_.grow(after * sizeof(Slot));
    Slot* const all = slots();
    size_t write = after;
    for (size_t read = before; read-- > 0;)
      if (all[read].value_plus_1 != 0) all[--write] = all[read];
    std::memset(static_cast<void*>(all), 0, std::min(before, write) * sizeof(Slot));
    count_ = count;
    size_t next = 0;
    for (size_t read = write; read < after; ++read) {
      const Slot moved = all[read];
      std::memset(static_cast<void*>(all + read), 0, sizeof(Slot));
      next = std::max(next, home(moved.hash));
      require(next <= read && next + 1 < after, "a deduplication table has too many equal entries");
      all[next++] = moved;
    }
  }

  MappedMemory memory_;
  size_t count_ = 0;  // homes
  uint64_t used_ = 0;
};

}  // namespace ds
