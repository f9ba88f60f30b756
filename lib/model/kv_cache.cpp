// Pages of keys and values.
#include "model/kv_cache.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "base/parallel.h"
#include "base/sizes.h"
#include "model/rope.h"

namespace ds {

namespace {

// Heads and columns of what a cache keeps of a position; and in i8, how many scales a key and a value have.
struct CacheShape {
  int64_t heads, k, v, k_scales, v_scales;
};

bool is_latent(const Config& config, CacheUse use) { return config.is_mla() && use == CacheUse::inference; }

CacheShape cache_shape(const Config& config, const CacheOptions& options) {
  if (!is_latent(config, options.use))
    return {config.kv_heads(), config.head_dim, config.v_head_dim, scale_parts(config.head_dim), scale_parts(config.v_head_dim)};
  const int64_t lora = config.kv_lora_rank, key = lora + config.qk_rope_head_dim;
  return {1, key, lora, scale_parts(key, lora), scale_parts(lora)};
}

// Numbers in f32 of each page and head that a layer's pattern keeps.
int64_t state_size(const Config& config, int64_t layer) {
  return config.is_sliding(layer) ? 0 : pattern_state_size(config.pattern, config.head_dim, config.v_head_dim);
}

// The layers of one kind, which number their pages together.
struct Pool {
  std::vector<int64_t> layers;      // none: it has no pages
  int64_t pages = 0;
  Tensor table;                     // i32[sequences, blocks]; -1: none
  std::vector<int32_t> references;  // of the pages that were ever taken; those behind them were not touched yet
  std::vector<int32_t> free;        // those that nobody holds any more, the last one is taken next

  int64_t left() const { return pages - static_cast<int64_t>(references.size() - free.size()); }
  int32_t& entry(int64_t sequence, int64_t block) const { return table.i32()[sequence * table.shape[1] + block]; }
  bool is_held(int32_t page) const {
    return page >= 0 && static_cast<size_t>(page) < references.size() && references[static_cast<size_t>(page)] > 0;
  }
  void hold(int32_t page) {
    if (page >= 0) ++references[static_cast<size_t>(page)];
  }
  void let_go(int32_t page) {
    if (page >= 0 && --references[static_cast<size_t>(page)] == 0) free.push_back(page);
  }
};

}  // namespace

struct KvCache::Impl {
  Config config;
  int64_t rotated = 0;                           // positions that have rotations
  int64_t sequences, max_positions, blocks;      // blocks: of the longest sequence
  int64_t k_scales, v_scales;                    // of a key and a value in i8
  bool latent;
  Arena arena, tables;
  std::vector<Tensor> k, v, state;               // a layer each
  Pool full, window;
  std::vector<bool> windowed;                    // a layer each
  int64_t window_keys;                           // that a row of a windowed layer sees
  RopeTables rope, local_rope;                   // local_rope: of the sliding layers, where they have a base of their own
  std::vector<bool> is_local;                    // a layer each
  std::vector<int64_t> have, dropped;            // of each sequence: blocks with pages; first ones without a windowed page

  Impl(int64_t s, int64_t m, Device device) : sequences(s), max_positions(m), arena(device), tables(device) {}

  size_t index(int64_t sequence) const {
    require(sequence >= 0 && sequence < sequences, "sequence ", sequence, " of a cache of ", sequences);
    return static_cast<size_t>(sequence);
  }
  int64_t blocks_of(int64_t length) const {
    require(length >= 0 && length <= max_positions, "a sequence of ", length, " tokens in a cache of ", max_positions, " positions");
    return (length + kKeyBlock - 1) / kKeyBlock;
  }

  Tensor make_pages(DType dtype, int64_t pages, int64_t heads, int64_t rows, int64_t columns, int64_t scales) {
    Tensor t = arena.make_uninitialized(dtype, {pages, heads, rows, columns});
    if (dtype != DType::i8) return t;
    t.scales = arena.make_uninitialized(DType::f32, {pages, heads, scales, kKeyBlock}).data;
    t.scale_dtype = DType::f32;
    return t;
  }
  // Zeros, so that what lies behind a sequence's end never depends on who had the page before.
  static void clear(const Tensor& t, int32_t page, int64_t scales) {
    const auto clear_at = [&](const void* all, int64_t bytes) {
      std::memset(static_cast<char*>(const_cast<void*>(all)) + page * bytes, 0, static_cast<size_t>(bytes));
    };
    clear_at(t.data, t.shape[1] * t.shape[2] * t.shape[3] * dtype_bits(t.dtype) / 8);
    if (t.scales) clear_at(t.scales, t.shape[1] * scales * kKeyBlock * static_cast<int64_t>(sizeof(float)));
  }
  // A page that nobody holds, now held once; -1 where the pool has no layers.
  int32_t take(Pool& pool) const {
    if (pool.layers.empty()) return -1;
    auto page = static_cast<int32_t>(pool.references.size());
    if (pool.free.empty()) {
      pool.references.push_back(0);
    } else {
      page = pool.free.back();
      pool.free.pop_back();
    }
    pool.references[static_cast<size_t>(page)] = 1;
    // On all threads: memory that was never touched comes slowly from the system.
    parallel_for(pool.layers.size(), 1, [&](size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i) {
        const auto layer = static_cast<size_t>(pool.layers[i]);
        clear(k[layer], page, k_scales);
        clear(v[layer], page, v_scales);
      }
    });
    return page;
  }
  void check_held(CachePage page) const {
    require((page.full == -1 || full.is_held(page.full)) && (page.window == -1 || window.is_held(page.window)), "the pages ", page.full,
            " and ", page.window, " of the cache are held by no one");
  }
  // Rotations of positions [0, length) are there; a model with room for 128K positions seldom sees the last.
  void rotate_to(int64_t length) {
    if (length <= rotated || !rope.cos) return;
    const int64_t end = std::min(max_positions, std::max<int64_t>(1024, 2 * length));
    fill_rope_tables(config, rotated, end, rope, false);
    if (local_rope.cos) fill_rope_tables(config, rotated, end, local_rope, true);
    rotated = end;
  }
  void give_back(Pool& pool, int64_t sequence, int64_t block) const {
    if (pool.layers.empty()) return;
    pool.let_go(pool.entry(sequence, block));
    pool.entry(sequence, block) = -1;
  }
};

KvCache::KvCache(const Config& config, int64_t sequences, int64_t max_positions, const CacheOptions& options)
    : impl_(new Impl(sequences, max_positions, options.device)) {
  require(options.device == Device::cpu, "the cache of keys and values is on the CPU so far");
  require(options.dtype == DType::f32 || (options.dtype == DType::i8 && options.use == CacheUse::inference),
          "a cache of keys and values in ", dtype_name(options.dtype), "; f32 is supported, and for inference i8");
  require(sequences > 0 && max_positions > 0 && max_positions < (int64_t{1} << 31), "a cache of ", sequences, " sequences and ",
          max_positions, " positions");
  Impl& m = *impl_;
  m.blocks = m.blocks_of(max_positions);
  const size_t all = checked_mul(static_cast<size_t>(sequences), static_cast<size_t>(m.blocks), "pages of a cache");
  require(all < (size_t{1} << 31), "a cache of ", sequences, " sequences and ", max_positions, " positions is too large");
  const auto make_pool = [&](Pool& pool, int64_t pages) {
    if (pool.layers.empty()) return;
    pool.pages = pages ? pages : static_cast<int64_t>(all);
    require(pool.pages > 0 && pool.pages < (int64_t{1} << 31), "a cache of ", pages, " pages");
    pool.table = m.tables.make_uninitialized(DType::i32, {sequences, m.blocks});
    std::fill_n(pool.table.i32(), pool.table.elements(), -1);
  };
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    m.windowed.push_back(config.is_windowed(layer));
    (m.windowed.back() ? m.window : m.full).layers.push_back(layer);
    m.is_local.push_back(config.rope_local_base_freq > 0 && config.is_sliding(layer));
  }
  make_pool(m.full, options.pages);
  make_pool(m.window, options.window_pages);
  const CacheShape shape = cache_shape(config, options);
  m.latent = is_latent(config, options.use);
  m.window_keys = config.cache_window();
  m.k_scales = shape.k_scales;
  m.v_scales = shape.v_scales;
  for (const bool windowed : m.windowed) {
    const int64_t pages = windowed ? m.window.pages : m.full.pages;
    m.k.push_back(m.make_pages(options.dtype, pages, shape.heads, shape.k, kKeyBlock, shape.k_scales));
    m.v.push_back(m.make_pages(options.dtype, pages, shape.heads, kKeyBlock, shape.v, shape.v_scales));
    const int64_t state = state_size(config, static_cast<int64_t>(m.state.size()));
    m.state.push_back(state ? m.arena.make_uninitialized(DType::f32, {pages, shape.heads, state}) : Tensor{});
  }
  const auto make_table = [&] { return m.tables.make_uninitialized(DType::f32, {max_positions, config.rope_dim() / 2}); };
  m.config = config;
  if (config.positions == Positions::rope) m.rope = {make_table(), make_table()};
  if (std::find(m.is_local.begin(), m.is_local.end(), true) != m.is_local.end()) m.local_rope = {make_table(), make_table()};
  m.have.assign(static_cast<size_t>(sequences), 0);
  m.dropped.assign(static_cast<size_t>(sequences), 0);
}
KvCache::~KvCache() = default;
KvCache::KvCache(KvCache&&) noexcept = default;

// ---- Pages of a sequence ----

bool KvCache::reserve(int64_t sequence, int64_t length) {
  Impl& m = *impl_;
  int64_t& have = m.have[m.index(sequence)];
  const int64_t need = m.blocks_of(length);
  for (const Pool* pool : {&m.full, &m.window})
    if (!pool->layers.empty() && need - have > pool->left()) return false;
  m.rotate_to(length);
  for (; have < need; ++have)
    for (Pool* pool : {&m.full, &m.window})
      if (!pool->layers.empty()) pool->entry(sequence, have) = m.take(*pool);
  return true;
}

void KvCache::drop_before(int64_t sequence, int64_t position) {
  Impl& m = *impl_;
  const size_t s = m.index(sequence);
  require(position >= 0, "windows before position ", position);
  if (m.window.layers.empty()) return;
  const int64_t first_key = std::max<int64_t>(0, position + 1 - m.window_keys);
  for (const int64_t end = std::min(m.have[s], first_key / kKeyBlock); m.dropped[s] < end; ++m.dropped[s])
    m.give_back(m.window, sequence, m.dropped[s]);
}

void KvCache::truncate(int64_t sequence, int64_t length) {
  Impl& m = *impl_;
  const size_t s = m.index(sequence);
  for (const int64_t need = m.blocks_of(length); m.have[s] > need; --m.have[s])
    for (Pool* pool : {&m.full, &m.window}) m.give_back(*pool, sequence, m.have[s] - 1);
  m.dropped[s] = std::min(m.dropped[s], m.have[s]);
}

void KvCache::release(int64_t sequence) { truncate(sequence, 0); }

// ---- Sharing ----

void KvCache::adopt(int64_t sequence, std::span<const CachePage> pages) {
  Impl& m = *impl_;
  const size_t s = m.index(sequence);
  require(m.have[s] == 0, "sequence ", sequence, " of the cache has ", m.have[s], " pages, and cannot begin with others");
  require(pages.size() <= static_cast<size_t>(m.blocks), pages.size(), " pages for a sequence of at most ", m.blocks);
  for (const CachePage& page : pages) {
    require((page.full >= 0) == has_full_layers(), "a sequence cannot begin with the page ", page.full, " of layers that keep all keys");
    m.check_held(page);
  }
  for (const CachePage& page : pages) {
    hold(page);
    if (has_full_layers()) m.full.entry(sequence, m.have[s]) = page.full;
    if (has_window_layers()) m.window.entry(sequence, m.have[s]) = page.window;
    ++m.have[s];
  }
}

CachePage KvCache::page(int64_t sequence, int64_t block) const {
  const Impl& m = *impl_;
  m.index(sequence);
  require(block >= 0 && block < m.blocks, "block ", block, " of a sequence of at most ", m.blocks);
  return {has_full_layers() ? m.full.entry(sequence, block) : -1, has_window_layers() ? m.window.entry(sequence, block) : -1};
}

void KvCache::hold(CachePage page) {
  impl_->check_held(page);
  impl_->full.hold(page.full);
  impl_->window.hold(page.window);
}

void KvCache::let_go(CachePage page) {
  impl_->check_held(page);
  impl_->full.let_go(page.full);
  impl_->window.let_go(page.window);
}

// ---- What it is ----

int64_t KvCache::sequences() const { return impl_->sequences; }
int64_t KvCache::max_positions() const { return impl_->max_positions; }
bool KvCache::has_full_layers() const { return !impl_->full.layers.empty(); }
bool KvCache::has_window_layers() const { return !impl_->window.layers.empty(); }
int64_t KvCache::pages() const { return impl_->full.pages; }
int64_t KvCache::window_pages() const { return impl_->window.pages; }
int64_t KvCache::free_pages() const { return impl_->full.left(); }
int64_t KvCache::free_window_pages() const { return impl_->window.left(); }

static size_t bytes_of(const Config& config, const CacheOptions& options, bool windowed) {
  int64_t layers = 0, state = 0;
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    if (config.is_windowed(layer) != windowed) continue;
    layers += 1;
    state += state_size(config, layer);
  }
  const CacheShape shape = cache_shape(config, options);
  const int64_t bits = (shape.k + shape.v) * dtype_bits(options.dtype) + (options.dtype == DType::i8 ? (shape.k_scales + shape.v_scales) * 32 : 0);
  return static_cast<size_t>(layers * shape.heads * kKeyBlock * (bits / 8) + state * shape.heads * static_cast<int64_t>(sizeof(float)));
}
size_t KvCache::page_bytes(const Config& config, const CacheOptions& options) { return bytes_of(config, options, false); }
size_t KvCache::window_page_bytes(const Config& config, const CacheOptions& options) { return bytes_of(config, options, true); }

bool KvCache::latent() const { return impl_->latent; }
Tensor KvCache::k_pages(int64_t layer) const { return impl_->k.at(static_cast<size_t>(layer)); }
Tensor KvCache::v_pages(int64_t layer) const { return impl_->v.at(static_cast<size_t>(layer)); }
Tensor KvCache::pattern_state(int64_t layer) const { return impl_->state.at(static_cast<size_t>(layer)); }
Tensor KvCache::page_table(int64_t layer) const {
  return impl_->windowed.at(static_cast<size_t>(layer)) ? impl_->window.table : impl_->full.table;
}
Tensor KvCache::cos(int64_t layer) const {
  return impl_->is_local.at(static_cast<size_t>(layer)) ? impl_->local_rope.cos : impl_->rope.cos;
}
Tensor KvCache::sin(int64_t layer) const {
  return impl_->is_local.at(static_cast<size_t>(layer)) ? impl_->local_rope.sin : impl_->rope.sin;
}

}  // namespace ds
