// A set of 64-bit hashes whose memory is kept from one text to the next.
#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace ds {

class HashSet {
 public:
  // Empties the set and makes room for `most` hashes.
  void reset(size_t most) {
    const size_t slots = std::bit_ceil(2 * most + 2);
    slots_.assign(slots, 0);
    shift_ = 64 - std::countr_zero(slots);
  }
  // True where the hash is new.
  bool insert(uint64_t hash) {
    hash += hash == 0;  // 0 marks a free slot
    for (size_t slot = home(hash);; slot = (slot + 1) & (slots_.size() - 1)) {
      if (slots_[slot] == hash) return false;
      if (slots_[slot] != 0) continue;
      slots_[slot] = hash;
      return true;
    }
  }

 private:
  size_t home(uint64_t hash) const { return static_cast<size_t>(hash * 0x9e3779b97f4a7c15u >> shift_); }

  std::vector<uint64_t> slots_;
  int shift_ = 64;
};

}  // namespace ds
