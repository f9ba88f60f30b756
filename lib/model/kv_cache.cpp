// Pages of keys and values.
#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/sizes.h"
#include "model/decoder.h"
#include "model/rope.h"

namespace ds {

struct KvCache::Impl {
  int64_t sequences, max_positions, pages_per_sequence;
  bool latent;
  Arena arena, tables;
  std::vector<Tensor> k, v;                      // a layer each
  Tensor table;                                  // i32[sequences, pages_per_sequence]; -1: none
  RopeTables rope, local_rope;                   // local_rope: of the sliding layers, where they have a base of their own
  std::vector<bool> is_local;                    // a layer each
  std::vector<int64_t> pages_of;                 // pages that each sequence has
  std::vector<int32_t> free;                     // released pages, the last one is taken next
  int32_t fresh = 0;                             // pages from here on were never used

  Impl(int64_t s, int64_t m, Device device) : sequences(s), max_positions(m), arena(device), tables(device) {}
};

// Heads and columns of what a cache keeps of a position.
struct CacheShape {
  int64_t heads, k, v;
};
static CacheShape cache_shape(const Config& config, CacheUse use) {
  if (config.is_mla() && use == CacheUse::inference) return {1, config.kv_lora_rank + config.qk_rope_head_dim, config.kv_lora_rank};
  return {config.kv_heads(), config.head_dim, config.v_head_dim};
}

KvCache::KvCache(const Config& config, int64_t sequences, int64_t max_positions, CacheUse use, Device device)
    : impl_(new Impl(sequences, max_positions, device)) {
  require(device == Device::cpu, "the cache of keys and values is on the CPU so far");
  require(sequences > 0 && max_positions > 0 && max_positions < (int64_t{1} << 31), "a cache of ", sequences, " sequences and ",
          max_positions, " positions");
  Impl& m = *impl_;
  m.pages_per_sequence = (max_positions + kKeyBlock - 1) / kKeyBlock;
  const size_t total = checked_mul(static_cast<size_t>(sequences), static_cast<size_t>(m.pages_per_sequence), "pages of a cache");
  require(total < (size_t{1} << 31), "a cache of ", sequences, " sequences and ", max_positions, " positions is too large");
  const int64_t pages = static_cast<int64_t>(total);
  const CacheShape shape = cache_shape(config, use);
  m.latent = config.is_mla() && use == CacheUse::inference;
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    m.k.push_back(m.arena.make_uninitialized(DType::f32, {pages, shape.heads, shape.k, kKeyBlock}));
    m.v.push_back(m.arena.make_uninitialized(DType::f32, {pages, shape.heads, kKeyBlock, shape.v}));
    m.is_local.push_back(config.rope_local_base_freq > 0 && config.is_sliding(layer));
  }
  m.table = m.tables.make_uninitialized(DType::i32, {sequences, m.pages_per_sequence});
  std::fill_n(m.table.i32(), m.table.elements(), -1);
  m.rope = make_rope_tables(config, max_positions, m.tables);
  if (std::find(m.is_local.begin(), m.is_local.end(), true) != m.is_local.end())
    m.local_rope = make_rope_tables(config, max_positions, m.tables, true);
  m.pages_of.assign(static_cast<size_t>(sequences), 0);
}
KvCache::~KvCache() = default;
KvCache::KvCache(KvCache&&) noexcept = default;

void KvCache::reserve(int64_t sequence, int64_t length) {
  Impl& m = *impl_;
  require(sequence >= 0 && sequence < m.sequences, "sequence ", sequence, " of a cache of ", m.sequences);
  require(length >= 0 && length <= m.max_positions, "a sequence of ", length, " tokens in a cache of ", m.max_positions,
          " positions");
  int64_t& have = m.pages_of[static_cast<size_t>(sequence)];
  for (const int64_t need = (length + kKeyBlock - 1) / kKeyBlock; have < need; ++have) {
    int32_t page = m.fresh;
    if (m.free.empty()) {
      ++m.fresh;
    } else {
      page = m.free.back();
      m.free.pop_back();
    }
    m.table.i32()[sequence * m.pages_per_sequence + have] = page;
    // Zeros, so that what lies behind a sequence's end never depends on who had the page before.
    for (const auto* side : {&m.k, &m.v})
      for (const Tensor& t : *side) {
        const size_t bytes = static_cast<size_t>(t.shape[1] * t.shape[2] * t.shape[3]) * sizeof(float);
        std::memset(t.as<char>() + static_cast<size_t>(page) * bytes, 0, bytes);
      }
  }
}

void KvCache::release(int64_t sequence) {
  Impl& m = *impl_;
  require(sequence >= 0 && sequence < m.sequences, "sequence ", sequence, " of a cache of ", m.sequences);
  int32_t* const table = m.table.i32() + sequence * m.pages_per_sequence;
  for (int64_t& have = m.pages_of[static_cast<size_t>(sequence)]; have > 0; --have) {
    m.free.push_back(table[have - 1]);
    table[have - 1] = -1;
  }
}

int64_t KvCache::sequences() const { return impl_->sequences; }
int64_t KvCache::max_positions() const { return impl_->max_positions; }
size_t KvCache::bytes_per_position(const Config& config, CacheUse use) {
  const CacheShape shape = cache_shape(config, use);
  return static_cast<size_t>(config.num_hidden_layers * shape.heads * (shape.k + shape.v)) * sizeof(float);
}
bool KvCache::latent() const { return impl_->latent; }
Tensor KvCache::k_pages(int64_t layer) const { return impl_->k.at(static_cast<size_t>(layer)); }
Tensor KvCache::v_pages(int64_t layer) const { return impl_->v.at(static_cast<size_t>(layer)); }
Tensor KvCache::page_table() const { return impl_->table; }
Tensor KvCache::cos(int64_t layer) const {
  return impl_->is_local.at(static_cast<size_t>(layer)) ? impl_->local_rope.cos : impl_->rope.cos;
}
Tensor KvCache::sin(int64_t layer) const {
  return impl_->is_local.at(static_cast<size_t>(layer)) ? impl_->local_rope.sin : impl_->rope.sin;
}

}  // namespace ds
