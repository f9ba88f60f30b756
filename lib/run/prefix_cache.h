// Blocks of tokens whose keys and values are still in the cache, found again by what they and all before them hold. It
// references pages of a KvCache that outlives it.
#pragma once
#include <cstdint>
#include <list>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/hash.h"
#include "model/kv_cache.h"

namespace ds {

// What identifies the contents of a sequence's block: its tokens and all before them, and how they were computed. `forms`
// has a 1 for each generated token where the cache depends on that (latent attention), and is empty otherwise.
Hash128 block_key(Hash128 before, std::span<const int32_t> tokens, std::span<const uint8_t> forms);
// The key before the first block: of the adapter.
Hash128 first_key(int32_t adapter);

class PrefixCache {
 public:
  // `window`: of the model's windowed layers; 0 where it has none.
  PrefixCache(KvCache& cache, int64_t window) : cache_(cache), window_(window) {}
  ~PrefixCache() { clear(); }
  PrefixCache(const PrefixCache&) = delete;
  PrefixCache& operator=(const PrefixCache&) = delete;

  // The pages of the longest run of blocks from the first one on that are there. Pages of windowed layers which no later row
  // sees are left out.
  std::vector<CachePage> find(std::span<const Hash128> keys);
  bool has(Hash128 key) const { return entries_.contains(key); }
  // Keeps a block; does nothing where it is there already.
  void add(Hash128 key, CachePage page);
  // Lets go of the block that was not asked for the longest; false where there is none.
  bool evict();
  void clear();
  int64_t blocks() const { return static_cast<int64_t>(entries_.size()); }

 private:
  struct KeyHash {
    size_t operator()(const Hash128& key) const { return static_cast<size_t>(key.low); }
  };
  struct Entry {
    CachePage page;
    std::list<Hash128>::iterator used;
  };
  KvCache& cache_;
  int64_t window_;
  std::list<Hash128> used_;                                     // the one asked for last in front
  std::unordered_map<Hash128, Entry, KeyHash> entries_;
};

}  // namespace ds
