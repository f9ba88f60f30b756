// Causal attention over pages of keys and values: softmax in one pass over the keys, in the order of their absolute
// position (online softmax: Milakov & Gimelshein, arXiv 1805.02867; blocks: FlashAttention, arXiv 2205.14135).
//
// Positions are cut into sections, and these into spans. An item (a query head of a row) goes through the spans of a
// section one after the other; then the sections' results are merged in order. All of this depends on the row's position
// alone, so rows beside it, chunks and threads change nothing: a long sequence's sections can be computed by different
// threads. Items of a tile share the loads of keys and values.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/attention.cpp"
#include <hwy/foreach_target.h>
#include "tensor/cpu/attention.h"

#ifndef DS_TENSOR_CPU_ATTENTION_TILE_
#define DS_TENSOR_CPU_ATTENTION_TILE_
namespace ds::cpu {

constexpr size_t kTileItems = 48, kLeastItems = 4, kSpanBlocks = 4, kSpanKeys = kSpanBlocks * kKeyBlock, kSectionKeys = 1024;

struct AttentionItem {
  size_t first_key, position;  // it sees the keys first_key .. position
  size_t begin, end;           // those of them in the current span, from the span's first
  float top, sum;              // the greatest score of the section so far, and the sum of exp(score - top)
};

// The keys and values of a span, and where those of the one after it are (of this one again at the end), if they are to be
// asked for in time.
struct AttentionSpan {
  const float *keys[kSpanBlocks], *values[kSpanBlocks], *next_keys[kSpanBlocks], *next_values[kSpanBlocks];
  bool fetching;
};

// A few items of one sequence and one kv head: items first_item .. first_item + count - 1 of the rows from `row` on, item i
// being head i % group of row i / group.
struct AttentionTile {
  size_t row, first_item, count, kv_head;
  int32_t sequence;
  size_t first_section, sections;  // those that any of its items sees
};

// The results of a section, or of all so far: exp(score - top) summed, and with the values.
struct AttentionResult {
  float top[kTileItems], sum[kTileItems];  // sum 0: nothing seen
  std::vector<float> out;                  // [count][v_head_dim]
};

struct AttentionScratch {
  std::vector<float> q;  // [count][head_dim], scaled
  AttentionItem items[kTileItems];
  std::vector<float> keys, values;  // of a span of i8 pages, in f32: blocks as they lie in pages
  alignas(64) float scores[kTileItems * kSpanKeys];
};

}  // namespace ds::cpu
#endif

#include "tensor/cpu/attention_span-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ds::cpu::HWY_NAMESPACE {

static void scale_row(const float* x, float factor, float* y, size_t n) {
  for (size_t i = 0; i < n; i += kLanes) store(load(x + i, n - i) * factor, y + i, n - i);
}
static void divide_row(const float* x, float divisor, float* y, size_t n) {
  for (size_t i = 0; i < n; i += kLanes) store(load(x + i, n - i) / divisor, y + i, n - i);
}

static void load_tile(const AttentionPages& a, const AttentionTile& tile, const Matrix& q, AttentionScratch& s) {
  s.q.resize(tile.count * a.head_dim);
  for (size_t r = 0; r < tile.count; ++r) {
    const size_t token = tile.row + (tile.first_item + r) / a.group, head = tile.kv_head * a.group + (tile.first_item + r) % a.group;
    const size_t position = static_cast<size_t>(a.position[token]);
    s.items[r] = {a.first_key(position, tile.kv_head), position, 0, 0, 0, 0};
    scale_row(q.row(token) + head * a.head_dim, a.spec.scale, s.q.data() + r * a.head_dim, a.head_dim);
  }
}

// What the items see of the span from `key` on: true where it is something. They stand in the order of their positions,
// so that those who do are side by side: [first, last).
static bool enter_span(const AttentionTile& tile, AttentionScratch& s, size_t key, size_t& first, size_t& last, size_t& blocks) {
  first = tile.count, last = 0, blocks = 0;
  for (size_t r = 0; r < tile.count; ++r) {
    AttentionItem& item = s.items[r];
    item.begin = std::max(item.first_key, key) - key;
    item.end = item.position < key ? 0 : std::min(item.position + 1 - key, kSpanKeys);
    if (item.begin >= item.end) {
      item.begin = item.end = 0;
      continue;
    }
    first = std::min(first, r);
    last = r + 1;
    blocks = std::max(blocks, (item.end + kKeyBlock - 1) / kKeyBlock);
  }
  return first < last;
}

// The entries of the span from `key` on; what the tile's items do not see, positions outside lowest .. highest, may have none.
static void find_entries(const AttentionPages& a, const AttentionTile& tile, size_t key, size_t lowest, size_t highest, size_t* entries) {
  for (size_t b = 0; b < kSpanBlocks; ++b)
    entries[b] = a.entry(tile.sequence, std::clamp(key / kKeyBlock + b, lowest / kKeyBlock, highest / kKeyBlock), tile.kv_head);
}

static void find_first_entries(const AttentionPages& a, const AttentionTile& tile, size_t* entries) {
  const size_t lowest = a.first_key(static_cast<size_t>(a.position[tile.row + tile.first_item / a.group]), tile.kv_head);
  const auto highest = static_cast<size_t>(a.position[tile.row + (tile.first_item + tile.count - 1) / a.group]);
  find_entries(a, tile, lowest / kSpanKeys * kSpanKeys, lowest, highest, entries);
}

// The first `blocks` blocks of a span as f32, where they lie or, of i8 pages, in the scratch.
static void open_span(const AttentionPages& a, const size_t* entries, const size_t* next, size_t blocks, AttentionScratch& s,
                      AttentionSpan& span) {
  span.fetching = !a.rounded;  // of i8 pages, widening them asks for the next
  if (a.rounded) {
    s.keys.resize(kSpanKeys * a.head_dim);
    s.values.resize(kSpanKeys * a.v_head_dim);
    for (size_t b = 0; b < blocks; ++b) {
      widen_keys(a, entries[b], next[b], s.keys.data() + b * kKeyBlock * a.head_dim);
      widen_values(a, entries[b], next[b], s.values.data() + b * kKeyBlock * a.v_head_dim);
    }
  }
  for (size_t b = 0; b < kSpanBlocks; ++b) {
    span.keys[b] = span.next_keys[b] = a.rounded ? s.keys.data() + b * kKeyBlock * a.head_dim : a.keys<float>(entries[b]);
    span.values[b] = span.next_values[b] = a.rounded ? s.values.data() + b * kKeyBlock * a.v_head_dim : a.values<float>(entries[b]);
    if (span.fetching) span.next_keys[b] = a.keys<float>(next[b]), span.next_values[b] = a.values<float>(next[b]);
  }
}

// One section of a tile whose queries are loaded; `after` (null: unknown) is what this thread does next.
static void attend_section(const AttentionPages& a, const AttentionTile& tile, size_t section, const AttentionTile* after, AttentionScratch& s,
                           AttentionResult& result) {
  result.out.assign(tile.count * a.v_head_dim, 0.0f);
  size_t lowest = SIZE_MAX, highest = 0;
  for (size_t r = 0; r < tile.count; ++r) {
    s.items[r].top = -std::numeric_limits<float>::infinity();
    s.items[r].sum = 0;
    lowest = std::min(lowest, s.items[r].first_key);
    highest = std::max(highest, s.items[r].position);
  }
  const size_t end = std::min(highest + 1, (section + 1) * kSectionKeys);
  const size_t begin = std::max(section * kSectionKeys, lowest / kSpanKeys * kSpanKeys);
  size_t entries[kSpanBlocks], next[kSpanBlocks];
  if (begin < end) find_entries(a, tile, begin, lowest, highest, next);
  for (size_t key = begin; key < end; key += kSpanKeys) {
    std::copy(next, next + kSpanBlocks, entries);
    if (key + kSpanKeys <= highest) find_entries(a, tile, key + kSpanKeys, lowest, highest, next);
    else if (after) find_first_entries(a, *after, next);
    size_t first, last, blocks;
    if (!enter_span(tile, s, key, first, last, blocks)) continue;
    AttentionSpan span;
    open_span(a, entries, next, blocks, s, span);
    float* const out = result.out.data() + first * a.v_head_dim;
    float* const scores = s.scores + first * kSpanKeys;
    score_items(span, a.head_dim, s.q.data() + first * a.head_dim, scores, last - first, blocks);
    for (size_t r = first; r < last; ++r)
      if (s.items[r].begin < s.items[r].end)
        softmax_span(s.items[r], a.spec.softcap, s.scores + r * kSpanKeys, result.out.data() + r * a.v_head_dim, a.v_head_dim);
    add_values(span, a.v_head_dim, s.items + first, last - first, scores, out);
  }
  for (size_t r = 0; r < tile.count; ++r) result.top[r] = s.items[r].top, result.sum[r] = s.items[r].sum;
}

// total = total and then part.
static void merge_section(size_t count, size_t v_dim, const AttentionResult& part, AttentionResult& total) {
  for (size_t r = 0; r < count; ++r) {
    if (part.sum[r] == 0) continue;
    const float* const from = part.out.data() + r * v_dim;
    float* const to = total.out.data() + r * v_dim;
    if (total.sum[r] == 0) {
      total.top[r] = part.top[r], total.sum[r] = part.sum[r];
      std::copy(from, from + v_dim, to);
      continue;
    }
    const float top = std::max(total.top[r], part.top[r]);
    const float before = math::exp(total.top[r] - top), now = math::exp(part.top[r] - top);
    total.top[r] = top;
    total.sum[r] = std::fma(total.sum[r], before, part.sum[r] * now);
    for (size_t i = 0; i < v_dim; i += kLanes)
      store(mul_add(load(to + i, v_dim - i), before, load(from + i, v_dim - i) * now), to + i, v_dim - i);
  }
}

static void write_tile(const AttentionPages& a, const AttentionTile& tile, const AttentionResult& total, const Matrix& out, float* lse) {
  for (size_t r = 0; r < tile.count; ++r) {
    const size_t token = tile.row + (tile.first_item + r) / a.group, head = tile.kv_head * a.group + (tile.first_item + r) % a.group;
    divide_row(total.out.data() + r * a.v_head_dim, total.sum[r], out.row(token) + head * a.v_head_dim, a.v_head_dim);
    if (lse) lse[token * a.heads + head] = total.top[r] + math::log(total.sum[r]);
  }
}

}  // namespace ds::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "base/sizes.h"
#include "tensor/cpu/dispatch.h"

namespace ds::cpu {
HWY_EXPORT(load_tile);
HWY_EXPORT(attend_section);
HWY_EXPORT(merge_section);
HWY_EXPORT(write_tile);

static std::vector<AttentionTile> cut(const AttentionPages& a, size_t tile_items) {
  std::vector<AttentionTile> tiles;
  for (const Run& run : sequence_runs(a, std::max<size_t>(1, tile_items / a.group)))
    for (size_t kv_head = 0; kv_head < a.kv_heads; ++kv_head)
      for (size_t i = 0, items = (run.end - run.begin) * a.group; i < items; i += tile_items) {
        AttentionTile tile{run.begin, i, std::min(tile_items, items - i), kv_head, run.sequence, SIZE_MAX, 0};
        size_t last = 0;
        for (size_t t = run.begin; t < run.end; ++t) {
          const size_t position = static_cast<size_t>(a.position[t]);
          tile.first_section = std::min(tile.first_section, a.first_key(position, kv_head) / kSectionKeys);
          last = std::max(last, position / kSectionKeys);
        }
        tile.sections = last + 1 - tile.first_section;
        tiles.push_back(tile);
      }
  return tiles;
}

// Where there are fewer tiles and sections than threads, tiles are smaller: few rows whose heads share their keys (latent
// attention).
static std::vector<AttentionTile> cut(const AttentionPages& a) {
  std::vector<AttentionTile> tiles = cut(a, kTileItems);
  size_t parts = 0, largest = 0;
  for (const AttentionTile& tile : tiles) parts += tile.sections, largest = std::max(largest, tile.count);
  if (parts == 0 || parts >= threads()) return tiles;
  const size_t pieces = (threads() + parts - 1) / parts;
  return cut(a, std::max(kLeastItems, round_up((largest + pieces - 1) / pieces, kLeastItems)));
}

void attention(const Tensor& q, const Tensor& k_pages, const Tensor& v_pages, const Rows& at, const AttentionSpec& spec,
               const Tensor& out, const Tensor& lse) {
  const AttentionPages a = attention_pages("attention", k_pages, v_pages, at, spec);
  const Matrix queries = matrix("attention", q, a.tokens, a.heads * a.head_dim);
  const Matrix written = matrix("attention", out, a.tokens, a.heads * a.v_head_dim);
  float* const log_sums = lse ? f32_array("attention", lse, a.tokens * a.heads) : nullptr;
  const std::vector<AttentionTile> tiles = cut(a);
  const auto load_queries = DS_SIMD_DISPATCH(load_tile);
  const auto attend = DS_SIMD_DISPATCH(attend_section);
  const auto merge = DS_SIMD_DISPATCH(merge_section);
  const auto write = DS_SIMD_DISPATCH(write_tile);

  // With few tiles the sections are spread over the threads too: their results wait in `parts`.
  std::vector<size_t> first_part(tiles.size() + 1, 0);
  for (size_t t = 0; t < tiles.size(); ++t) first_part[t + 1] = first_part[t] + tiles[t].sections;
  std::vector<AttentionResult> parts;
  if (tiles.size() < 2 * threads() && threads() > 1 && first_part.back() > tiles.size()) {
    parts.resize(first_part.back());
    parallel_for(parts.size(), 1, [&](size_t begin, size_t end) {
      AttentionScratch scratch;
      for (size_t p = begin; p < end; ++p) {
        const size_t t = static_cast<size_t>(std::upper_bound(first_part.begin(), first_part.end(), p) - first_part.begin()) - 1;
        load_queries(a, tiles[t], queries, scratch);
        attend(a, tiles[t], tiles[t].first_section + p - first_part[t], nullptr, scratch, parts[p]);
      }
    });
  }
  parallel_for(tiles.size(), 1, [&](size_t begin, size_t end) {
    AttentionScratch scratch;
    AttentionResult part, total;
    for (size_t i = begin; i < end; ++i) {
      const size_t t = tiles.size() - 1 - i;  // the longest rows first, which leaves the short ones to even things out
      const AttentionTile& tile = tiles[t];
      std::fill(total.sum, total.sum + kTileItems, 0.0f);
      total.out.resize(tile.count * a.v_head_dim);
      if (parts.empty()) load_queries(a, tile, queries, scratch);
      for (size_t s = 0; s < tile.sections; ++s) {
        const AttentionTile* const after = s + 1 == tile.sections && i + 1 < end ? &tiles[t - 1] : nullptr;
        if (parts.empty()) attend(a, tile, tile.first_section + s, after, scratch, part);
        merge(tile.count, a.v_head_dim, parts.empty() ? part : parts[first_part[t] + s], total);
      }
      write(a, tile, total, written, log_sums);
    }
  });
}

}  // namespace ds::cpu
#endif
