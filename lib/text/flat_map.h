// A hash map from 64-bit keys to small values in one flat table: open addressing, linear probing.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace ds {

// The key ~0 is reserved. Values are trivially copyable. Pointers are valid until the next insertion.
template <class Value>
class FlatMap {
 public:
  explicit FlatMap(size_t expected = 0) { rehash(slots_for(expected)); }

  const Value* find(uint64_t key) const {
    for (size_t slot = home(key);; slot = (slot + 1) & mask_) {
      if (slots_[slot].key == key) return &slots_[slot].value;
      if (slots_[slot].key == empty) return nullptr;
    }
  }
  Value* find(uint64_t key) { return const_cast<Value*>(static_cast<const FlatMap*>(this)->find(key)); }

  // The value of a key, value-initialised where it is new.
  Value& operator[](uint64_t key) {
    for (size_t slot = home(key);; slot = (slot + 1) & mask_) {
      if (slots_[slot].key == key) return slots_[slot].value;
      if (slots_[slot].key != empty) continue;
      if ((size_ + 1) * 3 > slots_.size() * 2) {
        rehash(slots_.size() * 2);
        return (*this)[key];
      }
      ++size_;
      slots_[slot].key = key;
      return slots_[slot].value;
    }
  }

  size_t size() const { return size_; }
  void clear() {
    slots_.assign(slots_.size(), Slot{});
    size_ = 0;
  }
  // Calls visit(key, value) for every entry, in table order.
  template <class Visit>
  void for_each(Visit&& visit) const {
    for (const Slot& slot : slots_)
      if (slot.key != empty) visit(slot.key, slot.value);
  }

 private:
  static constexpr uint64_t empty = ~uint64_t{0};
  struct Slot {
    uint64_t key = empty;
    Value value{};
  };
  static size_t slots_for(size_t expected) {
    size_t slots = 16;
    while (slots * 2 < expected * 3) slots *= 2;
    return slots;
  }
  size_t home(uint64_t key) const {
    key ^= key >> 32;
    return static_cast<size_t>((key * 0x9e3779b97f4a7c15u) >> shift_);
  }
  void rehash(size_t count) {
    std::vector<Slot> old = std::move(slots_);
    slots_.assign(count, Slot{});
    mask_ = count - 1;
    shift_ = 64;
    while (count > 1) count /= 2, --shift_;
    for (const Slot& slot : old) {
      if (slot.key == empty) continue;
      size_t at = home(slot.key);
      while (slots_[at].key != empty) at = (at + 1) & mask_;
      slots_[at] = slot;
    }
  }

  std::vector<Slot> slots_;
  size_t mask_ = 0, size_ = 0;
  int shift_ = 64;
};

}  // namespace ds
