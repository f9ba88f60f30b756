// A trie of strings: one hash table from (node, byte) to node.
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

#include "text/flat_map.h"

namespace ds {

class ByteTrie {
 public:
  // The last value of equal strings stays. The empty string is not kept.
  void insert(std::string_view text, int32_t value) {
    uint32_t node = 0;
    for (const char c : text) {
      uint32_t& next = edges_[key(node, c)];
      if (next == 0) {
        next = static_cast<uint32_t>(values_.size());
        values_.push_back(-1);
      }
      node = next;
    }
    if (node) values_[node] = value;
  }
  // Calls visit(length, value) for every string that `text` begins with, the shortest first.
  template <class Visit>
  void for_each_prefix(std::string_view text, Visit&& visit) const {
    uint32_t node = 0;
    for (size_t at = 0; at < text.size();) {
      const uint32_t* next = edges_.find(key(node, text[at]));
      if (!next) return;
      node = *next;
      ++at;
      if (values_[node] >= 0) visit(at, values_[node]);
    }
  }

 private:
  static uint64_t key(uint32_t node, char c) { return uint64_t{node} << 8 | static_cast<uint8_t>(c); }
  FlatMap<uint32_t> edges_;
  std::vector<int32_t> values_ = {-1};
};

}  // namespace ds
