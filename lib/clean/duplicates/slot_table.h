// A table of 64-bit numbers in which nothing but the numbers is stored: open addressing, linear probing.
#pragma once
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace ds {

// A number is found by its upper `key_bits`; several may share them. The caller spreads keys over segments; each grows
// by itself, by a quarter at a time, so that the whole never stands in memory twice: 10 to 12.5 bytes a number.
// The key bits must be uniform (a hash). The number 0 is reserved.
template <int key_bits>
class SlotTable {
 public:
  explicit SlotTable(size_t segments) : segments_(segments) {}

  // Calls visit(number) for every number of the segment with the key bits of `key`.
  template <class Visit>
  void find(size_t segment, uint64_t key, Visit&& visit) const {
    const std::vector<uint64_t>& slots = segments_[segment].slots;
    if (slots.empty()) return;
    for (size_t at = home(slots, key); slots[at] != 0; at = at + 1 == slots.size() ? 0 : at + 1)
      if (((slots[at] ^ key) & key_mask) == 0) visit(slots[at]);
  }
  void insert(size_t segment, uint64_t number) {
    Segment& to = segments_[segment];
    if ((to.used + 1) * 5 > to.slots.size() * 4) grow(to);
    place(to.slots, number);
    ++to.used;
    ++size_;
  }
  // Asks for the memory of a later find() or insert().
  void prefetch(size_t segment, uint64_t key) const {
    const std::vector<uint64_t>& slots = segments_[segment].slots;
    if (!slots.empty()) __builtin_prefetch(slots.data() + home(slots, key));
  }
  uint64_t size() const { return size_; }
  uint64_t memory() const {  // bytes
    uint64_t bytes = segments_.size() * sizeof(Segment);
    for (const Segment& segment : segments_) bytes += segment.slots.size() * sizeof(uint64_t);
    return bytes;
  }

 private:
  static constexpr uint64_t key_mask = ~uint64_t{0} << (64 - key_bits);
  struct Segment {
    std::vector<uint64_t> slots;
    size_t used = 0;
  };
  static size_t home(const std::vector<uint64_t>& slots, uint64_t key) {
    return static_cast<size_t>((static_cast<unsigned __int128>(key & key_mask) * slots.size()) >> 64);
  }
  static void place(std::vector<uint64_t>& slots, uint64_t number) {
    size_t at = home(slots, number);
    while (slots[at] != 0) at = at + 1 == slots.size() ? 0 : at + 1;
    slots[at] = number;
  }
  static void grow(Segment& segment) {
    std::vector<uint64_t> slots(segment.slots.size() + segment.slots.size() / 4 + 8);
    for (const uint64_t number : segment.slots)
      if (number != 0) place(slots, number);
    segment.slots = std::move(slots);
  }

  std::vector<Segment> segments_;
  uint64_t size_ = 0;
};

}  // namespace ds
