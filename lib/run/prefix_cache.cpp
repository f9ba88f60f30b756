#include "run/prefix_cache.h"

#include <algorithm>

#include "tensor/ops.h"

namespace ds {

Hash128 block_key(Hash128 before, std::span<const int32_t> tokens, std::span<const uint8_t> forms) {
  Hasher hasher;
  hasher.update(&before, sizeof before);
  hasher.update(tokens.data(), tokens.size_bytes());
  hasher.update(forms.data(), forms.size_bytes());
  return hasher.digest();
}

Hash128 first_key(int32_t adapter) { return {static_cast<uint64_t>(static_cast<int64_t>(adapter)), 0}; }

std::vector<CachePage> PrefixCache::find(std::span<const Hash128> keys) {
  std::vector<CachePage> pages;
  for (const Hash128& key : keys) {
    const auto at = entries_.find(key);
    if (at == entries_.end()) break;
    pages.push_back(at->second.page);
  }
  // A row at the end of n blocks sees the last `window` keys: their blocks must have their pages of windowed layers.
  const auto first_seen = [&](size_t blocks) {
    const int64_t position = static_cast<int64_t>(blocks) * kKeyBlock;
    return static_cast<size_t>(std::max<int64_t>(0, position - window_ + 1) / kKeyBlock);
  };
  if (cache_.has_window_layers()) {
    const auto whole = [&](size_t blocks) {
      for (size_t b = first_seen(blocks); b < blocks; ++b)
        if (pages[b].window < 0) return false;
      return true;
    };
    while (!pages.empty() && !whole(pages.size())) pages.pop_back();
    for (size_t b = 0; b < std::min(first_seen(pages.size()), pages.size()); ++b) pages[b].window = -1;
  }
  // The first block in front: what stands at the end of a run is let go before what leads to it.
  for (size_t b = pages.size(); b-- > 0;) used_.splice(used_.begin(), used_, entries_.at(keys[b]).used);
  return pages;
}

void PrefixCache::add(Hash128 key, CachePage page) {
  if (entries_.contains(key)) return;
  cache_.hold(page);
  used_.push_front(key);
  entries_.emplace(key, Entry{page, used_.begin()});
}

bool PrefixCache::evict() {
  if (used_.empty()) return false;
  const auto at = entries_.find(used_.back());
  cache_.let_go(at->second.page);
  entries_.erase(at);
  used_.pop_back();
  return true;
}

void PrefixCache::clear() {
  while (evict()) {
  }
}

}  // namespace ds
