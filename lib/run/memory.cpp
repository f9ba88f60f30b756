#include "run/memory.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>

#include "base/error.h"
#include "tensor/ops.h"

namespace ds {

static int64_t blocks_of(int64_t positions) { return (positions + kKeyBlock - 1) / kKeyBlock; }

uint64_t activation_bytes(const Config& c, int64_t batch_tokens) {
  const int64_t heads = c.num_attention_heads;
  int64_t row = 4 * c.hidden_size + heads * c.head_dim + c.kv_heads() * (c.head_dim + c.v_head_dim) + heads * (c.v_head_dim + 1);
  if (c.is_mla()) row += 2 * c.q_lora_rank + 2 * c.kv_lora_rank + c.qk_rope_head_dim + heads * (c.qk_nope_head_dim + c.v_head_dim);
  int64_t dense = 0, sparse = 0;
  for (int64_t layer = 0; layer < c.num_hidden_layers; ++layer)
    if (c.is_moe(layer))
      sparse = 3 * c.moe_intermediate_size * c.n_shared_experts + 2 * c.n_routed_experts +
               c.router.top_k * (2 * c.hidden_size + 3 * c.moe_intermediate_size);
    else
      dense = 3 * c.intermediate_size;
  const int64_t logits = std::clamp<int64_t>((int64_t{1} << 24) / c.vocab_size, 32, 512) * c.vocab_size;
  return 4 * static_cast<uint64_t>(batch_tokens * (row + 2 * c.hidden_size + std::max(dense, sparse)) + logits);
}

CachePages plan_cache(const Config& config, const CacheOptions& cache, int64_t sequences, int64_t positions, int64_t batch_tokens) {
  CachePages pages;
  if (KvCache::page_bytes(config, cache) > 0) pages.full = sequences * blocks_of(positions);
  if (KvCache::window_page_bytes(config, cache) > 0) {
    // A sequence's window may begin and end within a page; twice that, so that shared beginnings have theirs too.
    const int64_t of_window = sequences * (blocks_of(config.cache_window()) + 2) + blocks_of(batch_tokens) + 1;
    pages.window = std::min(sequences * blocks_of(positions), 2 * of_window);
  }
  return pages;
}

uint64_t cache_bytes(const Config& config, const CacheOptions& cache) {
  return static_cast<uint64_t>(cache.pages) * KvCache::page_bytes(config, cache) +
         static_cast<uint64_t>(cache.window_pages) * KvCache::window_page_bytes(config, cache);
}

void fit_cache(const Config& config, CacheOptions& cache, uint64_t budget) {
  const uint64_t full = KvCache::page_bytes(config, cache), window = KvCache::window_page_bytes(config, cache);
  require(budget >= full + window, "there is no memory for the cache of keys and values: a page of it takes ", full + window,
          " bytes, and ", budget, " are left");
  // Layers with windows get at most half of it; without others, all.
  if (window) cache.window_pages = std::min(cache.window_pages, static_cast<int64_t>((full ? budget / 2 : budget) / window));
  if (window) cache.window_pages = std::max<int64_t>(cache.window_pages, 1);
  if (full) cache.pages = std::clamp<int64_t>(cache.pages, 1, static_cast<int64_t>((budget - static_cast<uint64_t>(cache.window_pages) * window) / full));
}

uint64_t free_memory() {
  uint64_t bytes = static_cast<uint64_t>(sysconf(_SC_AVPHYS_PAGES)) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  std::ifstream info("/proc/meminfo");
  for (std::string name; info >> name;)
    if (uint64_t kilobytes = 0; name == "MemAvailable:" && info >> kilobytes) bytes = kilobytes << 10;
  std::ifstream most("/sys/fs/cgroup/memory.max"), now("/sys/fs/cgroup/memory.current");
  if (uint64_t limit = 0, used = 0; most >> limit && now >> used) bytes = std::min(bytes, limit > used ? limit - used : 0);
  return bytes;
}

}  // namespace ds
