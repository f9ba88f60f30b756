#include "run/memory.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>

#include "base/error.h"
#include "base/sizes.h"
#include "model/decoder.h"
#include "tensor/ops.h"

namespace ds {

static int64_t blocks_of(int64_t positions) { return (positions + kKeyBlock - 1) / kKeyBlock; }

// The program with its libraries and threads (20 MB were seen) and the ends of the 2 MiB pages in which large memory lies; and
// what a tokenizer keeps of each token (strings, merges, what reading its file leaves behind; 290 to 350 bytes were seen).
constexpr uint64_t kProgramBytes = uint64_t{40} << 20, kTokenBytes = 400;

int64_t logit_rows(const Config& config, int64_t rows) {
  // About 64 MB of logits; not too few rows, for every chunk reads the whole head.
  return std::min<int64_t>(rows, std::clamp<int64_t>((int64_t{1} << 24) / config.vocab_size, 32, 512));
}

static void set_cache_bytes(const Config& config, MemoryPlan& plan) {
  const auto bytes = [](int64_t pages, size_t each) { return checked_mul(static_cast<size_t>(pages), each, "bytes of the cache"); };
  plan.cache = checked_add(bytes(plan.options.pages, KvCache::page_bytes(config, plan.options)),
                           bytes(plan.options.window_pages, KvCache::window_page_bytes(config, plan.options)), "bytes of the cache");
}

uint64_t reading_bytes(int64_t n, int64_t k, int64_t bits, int64_t group) {
  const size_t values = checked_mul(static_cast<size_t>(n), static_cast<size_t>(k), "a weight");
  const size_t stored = checked_mul(values, static_cast<size_t>(bits), "a weight") / 8;
  return group ? stored + values + values / static_cast<size_t>(group) * 9 : stored;
}

MemoryPlan plan_memory(const Config& config, const MemoryNeeds& n) {
  MemoryPlan plan;
  plan.options.dtype = n.kv_cache_dtype;
  plan.weights = n.weight_bytes;
  plan.reading = n.reading_bytes;
  const auto all = static_cast<int64_t>(checked_mul(static_cast<size_t>(n.sequences), static_cast<size_t>(blocks_of(n.positions)), "pages of the cache"));
  if (KvCache::page_bytes(config, plan.options) > 0) plan.options.pages = all;
  if (KvCache::window_page_bytes(config, plan.options) > 0) {
    // A window may begin and end within a page, and before a pass its rows have theirs.
    const int64_t of_window = blocks_of(config.cache_window()) + 2, of_pass = blocks_of(n.batch_tokens) + 1;
    plan.options.window_pages = std::min(all, 2 * (n.sequences * of_window + of_pass));
    plan.least_window_pages = std::min(blocks_of(n.positions), of_window + of_pass);
  }
  set_cache_bytes(config, plan);
  const uint64_t rotations = static_cast<uint64_t>(n.positions) * static_cast<uint64_t>(config.rope_dim()) * sizeof(float);
  plan.positions = rotations * (config.rope_local_base_freq > 0 ? 2 : 1) + static_cast<uint64_t>(all) * 2 * sizeof(int32_t);

  // A pass has no more rows than there are positions.
  const int64_t rows = n.positions < n.batch_tokens ? std::min(n.batch_tokens, n.sequences * n.positions) : n.batch_tokens;
  const int64_t widest = std::max({config.hidden_size, config.intermediate_size, config.num_attention_heads * std::max(config.head_dim, config.v_head_dim)});
  plan.activations = activation_bytes(config, rows, n.sequences, n.positions);
  // Products by 8-bit activations keep the rounded ones, and adapters a row in, the low-rank one and a row out.
  if (config.quantization.bits) plan.activations += static_cast<uint64_t>(rows * widest);
  if (n.adapters) plan.activations += static_cast<uint64_t>(rows * std::max(1, config.router.top_k) * 3 * widest) * sizeof(float);
  constexpr int64_t kGuessedRows = 16;
  plan.activations += static_cast<uint64_t>(logit_rows(config, std::max(n.sequences, kGuessedRows)) * (config.vocab_size + config.hidden_size)) * sizeof(float);
  plan.process = kProgramBytes + static_cast<uint64_t>(n.tokens) * kTokenBytes;
  return plan;
}

// Bytes of the smallest cache in which a sequence can begin.
static uint64_t least_cache(const Config& config, const MemoryPlan& plan) {
  return KvCache::page_bytes(config, plan.options) + static_cast<uint64_t>(plan.least_window_pages) * KvCache::window_page_bytes(config, plan.options);
}

void limit_cache(const Config& config, MemoryPlan& plan, uint64_t bytes) {
  CacheOptions& cache = plan.options;
  const uint64_t full = KvCache::page_bytes(config, cache), window = KvCache::window_page_bytes(config, cache), least = least_cache(config, plan);
  require(bytes >= least, "there is no memory for the cache of keys and values: it takes ", format_bytes(least), " at least, and ",
          format_bytes(bytes), " are left");
  // Layers with windows get at most half of it, but what a sequence needs; without others, all.
  if (window) cache.window_pages = std::clamp(static_cast<int64_t>((full ? bytes / 2 : bytes) / window), plan.least_window_pages, cache.window_pages);
  if (full) cache.pages = std::clamp<int64_t>(static_cast<int64_t>((bytes - static_cast<uint64_t>(cache.window_pages) * window) / full), 1, cache.pages);
  set_cache_bytes(config, plan);
}

void limit_memory(const Config& config, MemoryPlan& plan, uint64_t bytes) {
  const uint64_t others = plan.weights + plan.process + plan.activations + plan.positions, cache = least_cache(config, plan);
  const uint64_t least = std::max(others + cache, plan.weights + plan.process + plan.reading);
  require(bytes >= least, "a memory of ", format_bytes(bytes), " is too little, ", format_bytes(least), " are needed: weights ",
          format_bytes(plan.weights), ", activations ", format_bytes(plan.activations), " (less with a smaller --batch-tokens), tables of positions ",
          format_bytes(plan.positions), " (less with a smaller --context), program and tokenizer ", format_bytes(plan.process), ", the smallest cache ",
          format_bytes(cache), "; and to read the model ", format_bytes(plan.reading), " besides the weights");
  limit_cache(config, plan, bytes - others);
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
