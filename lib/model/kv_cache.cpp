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
  Arena arena, tables;
  std::vector<Tensor> k, v;                      // a layer each
  Tensor table;                                  // i32[sequences, pages_per_sequence]; -1: none
  RopeTables rope;
  std::vector<int64_t> pages_of;                 // pages that each sequence has
  std::vector<int32_t> free;                     // released pages, the last one is taken next
  int32_t fresh = 0;                             // pages from here on were never used

  Impl(int64_t s, int64_t m, Device device) : sequences(s), max_positions(m), arena(device), tables(device) {}
};

KvCache::KvCache(const Config& config, int64_t sequences, int64_t max_positions, Device device)
    : impl_(new Impl(sequences, max_positions, device)) {
  require(device == Device::cpu, "the cache of keys and values is on the CPU so far");
  require(sequences > 0 && max_positions > 0 && max_positions < (int64_t{1} << 31), "a cache of ", sequences, " sequences and ",
          max_positions, " positions");
  Impl& m = *impl_;
  m.pages_per_sequence = (max_positions + kKeyBlock - 1) / kKeyBlock;
  const size_t total = checked_mul(static_cast<size_t>(sequences), static_cast<size_t>(m.pages_per_sequence), "pages of a cache");
  require(total < (size_t{1} << 31), "a cache of ", sequences, " sequences and ", max_positions, " positions is too large");
  const int64_t pages = static_cast<int64_t>(total), heads = config.kv_heads();
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    m.k.push_back(m.arena.make_uninitialized(DType::f32, {pages, heads, config.head_dim, kKeyBlock}));
    m.v.push_back(m.arena.make_uninitialized(DType::f32, {pages, heads, kKeyBlock, config.v_head_dim}));
  }
  m.table = m.tables.make_uninitialized(DType::i32, {sequences, m.pages_per_sequence});
  std::fill_n(m.table.i32(), m.table.elements(), -1);
  m.rope = make_rope_tables(config, max_positions, m.tables);
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
size_t KvCache::bytes_per_position(const Config& config) {
  return static_cast<size_t>(config.num_hidden_layers * config.kv_heads() * (config.head_dim + config.v_head_dim)) * sizeof(float);
}
Tensor KvCache::k_pages(int64_t layer) const { return impl_->k.at(static_cast<size_t>(layer)); }
Tensor KvCache::v_pages(int64_t layer) const { return impl_->v.at(static_cast<size_t>(layer)); }
Tensor KvCache::page_table() const { return impl_->table; }
Tensor KvCache::cos() const { return impl_->rope.cos; }
Tensor KvCache::sin() const { return impl_->rope.sin; }

}  // namespace ds
