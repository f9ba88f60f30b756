// Causal attention over pages of keys and values: softmax in one pass over the blocks of keys, in the order of their
// absolute position (online softmax: Milakov & Gimelshein, arXiv 1805.02867; blocks: FlashAttention, arXiv 2205.14135).
// What a row computes does not depend on the rows beside it: they only share the loads of a block.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/attention.cpp"
#include <hwy/foreach_target.h>
#include "tensor/cpu/attention.h"
#include "tensor/cpu/small_product-inl.h"

#ifndef DS_TENSOR_CPU_ATTENTION_TILE_
#define DS_TENSOR_CPU_ATTENTION_TILE_
namespace ds::cpu {

constexpr size_t kTileItems = 32;

// What one query head of one row, an item, carries from block to block.
struct Item {
  size_t first_key, position;  // it sees the keys first_key .. position
  size_t begin, end;           // those of them in the current block, from the block's first
  float top, sum;              // the greatest score so far, and the sum of exp(score - top)
};

// A few items of one sequence and one kv head, and the memory to compute them.
struct AttentionTile {
  const AttentionPages* pages;
  int32_t sequence;
  size_t kv_head, count;
  Item items[kTileItems];
  alignas(64) float scores[kTileItems * kKeyBlock];  // [count][kKeyBlock]
  std::vector<float> q, out;                         // [count][head_dim], scaled; [count][v_head_dim]
};

}  // namespace ds::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace ds::cpu::HWY_NAMESPACE {

// The lanes begin <= lane < end of x, elsewhere -infinity.
static HWY_INLINE F32x16 only_lanes(const F32x16& x, size_t begin, size_t end) {
  const float lowest = -std::numeric_limits<float>::infinity();
  return select(first_lanes(begin), lowest, select(first_lanes(end), x, lowest));
}

// Turns an item's scores in the block into exp(score - top), with what came before brought to the new top.
static void softmax_step(const AttentionTile& tile, Item& item, float* scores, float* out) {
  const AttentionPages& a = *tile.pages;
  F32x16 x0 = load(scores), x1 = load(scores + kLanes);
  if (a.spec.softcap > 0) {
    const F32x16 cap = a.spec.softcap;
    x0 = tanh(x0 / cap) * cap;
    x1 = tanh(x1 / cap) * cap;
  }
  if (item.begin > 0 || item.end < kKeyBlock) {
    x0 = only_lanes(x0, item.begin, item.end);
    x1 = only_lanes(x1, std::max(item.begin, kLanes) - kLanes, std::max(item.end, kLanes) - kLanes);
  }
  const float top = std::max(item.top, reduce_max(max(x0, x1)));
  x0 = exp(x0 - top);
  x1 = exp(x1 - top);
  store(x0, scores);
  store(x1, scores + kLanes);
  const float sum = reduce_add(x0 + x1);
  if (top == item.top) {
    item.sum += sum;
    return;
  }
  const float factor = math::exp(item.top - top);
  item.sum = std::fma(item.sum, factor, sum);
  item.top = top;
  for (size_t i = 0; i < a.v_head_dim; i += kLanes) store(load(out + i, a.v_head_dim - i) * factor, out + i, a.v_head_dim - i);
}

// out += weights * values, each item over exactly the keys that it sees (the others may hold anything). Items with the
// same keys share a product; cutting the block into segments lets neighbours of a causal triangle do so.
static void add_values(AttentionTile& tile, const float* values, size_t first, size_t last) {
  const size_t v = tile.pages->v_head_dim;
  bool whole = true;
  for (size_t r = first; r < last; ++r) whole = whole && tile.items[r].begin == 0 && tile.items[r].end == kKeyBlock;
  const size_t segment = whole ? kKeyBlock : 8;
  for (size_t key = 0; key < kKeyBlock; key += segment) {
    const auto begin = [&](size_t r) { return std::max(tile.items[r].begin, key); };
    const auto end = [&](size_t r) { return std::min(tile.items[r].end, key + segment); };
    for (size_t r = first, next; r < last; r = next) {
      for (next = r + 1; next < last && begin(next) == begin(r) && end(next) == end(r); ++next) continue;
      if (begin(r) >= end(r)) continue;
      small_product({.n = v, .k = end(r) - begin(r), .a = tile.scores + begin(r), .a_row = kKeyBlock, .a_step = 1,
                     .b = values + begin(r) * v, .b_row = v, .c = tile.out.data(), .c_row = v, .accumulate = true},
                    r, next);
    }
  }
}

// Computes tile.out (not yet divided by the sums) from tile.q.
static void attend(AttentionTile& tile) {
  const AttentionPages& a = *tile.pages;
  size_t first_block = SIZE_MAX, last_block = 0;
  for (size_t r = 0; r < tile.count; ++r) {
    first_block = std::min(first_block, tile.items[r].first_key / kKeyBlock);
    last_block = std::max(last_block, tile.items[r].position / kKeyBlock);
  }
  for (size_t block = first_block; block <= last_block; ++block) {
    const size_t key = block * kKeyBlock;
    size_t first = tile.count, last = 0;  // the items that see something of this block
    for (size_t r = 0; r < tile.count; ++r) {
      Item& item = tile.items[r];
      item.begin = std::max(item.first_key, key) - key;
      item.end = item.position < key ? 0 : std::min<size_t>(item.position + 1 - key, kKeyBlock);
      if (item.begin >= item.end) continue;
      first = std::min(first, r);
      last = r + 1;
    }
    if (first >= last) continue;
    small_product({.n = kKeyBlock, .k = a.head_dim, .a = tile.q.data(), .a_row = a.head_dim, .a_step = 1,
                   .b = a.keys(tile.sequence, block, tile.kv_head), .b_row = kKeyBlock, .c = tile.scores, .c_row = kKeyBlock,
                   .accumulate = false},
                  first, last);
    for (size_t r = first; r < last; ++r)
      if (tile.items[r].begin < tile.items[r].end)
        softmax_step(tile, tile.items[r], tile.scores + r * kKeyBlock, tile.out.data() + r * a.v_head_dim);
    add_values(tile, a.values(tile.sequence, block, tile.kv_head), first, last);
  }
}

static void scale_row(const float* x, float factor, float* y, size_t n) {
  for (size_t i = 0; i < n; i += kLanes) store(load(x + i, n - i) * factor, y + i, n - i);
}
static void divide_row(const float* x, float divisor, float* y, size_t n) {
  for (size_t i = 0; i < n; i += kLanes) store(load(x + i, n - i) / divisor, y + i, n - i);
}

// One tile from q to out.
static void attention_tile(AttentionTile& tile, const Matrix& q, const Matrix& out, float* lse, size_t row, size_t first_item) {
  const AttentionPages& a = *tile.pages;
  const auto token = [&](size_t r) { return row + (first_item + r) / a.group; };
  const auto head = [&](size_t r) { return tile.kv_head * a.group + (first_item + r) % a.group; };
  std::fill(tile.out.begin(), tile.out.end(), 0.0f);
  for (size_t r = 0; r < tile.count; ++r) {
    const size_t position = static_cast<size_t>(a.position[token(r)]);
    tile.items[r] = {a.first_key(position), position, 0, 0, -std::numeric_limits<float>::infinity(), 0.0f};
    scale_row(q.row(token(r)) + head(r) * a.head_dim, a.spec.scale, tile.q.data() + r * a.head_dim, a.head_dim);
  }
  attend(tile);
  for (size_t r = 0; r < tile.count; ++r) {
    const Item& item = tile.items[r];
    divide_row(tile.out.data() + r * a.v_head_dim, item.sum, out.row(token(r)) + head(r) * a.v_head_dim, a.v_head_dim);
    if (lse) lse[token(r) * a.heads + head(r)] = item.top + math::log(item.sum);
  }
}

}  // namespace ds::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "tensor/cpu/dispatch.h"

namespace ds::cpu {
HWY_EXPORT(attention_tile);

void attention(const Tensor& q, const Tensor& k_pages, const Tensor& v_pages, const Rows& at, const AttentionSpec& spec,
               const Tensor& out, const Tensor& lse) {
  const AttentionPages a = attention_pages("attention", k_pages, v_pages, at, spec);
  const Matrix queries = matrix("attention", q, a.tokens, a.heads * a.head_dim);
  const Matrix result = matrix("attention", out, a.tokens, a.heads * a.v_head_dim);
  float* const log_sums = lse ? f32_array("attention", lse, a.tokens * a.heads) : nullptr;
  const std::vector<Run> runs = sequence_runs(a, std::max<size_t>(1, kTileItems / a.group));
  const auto kernel = DS_SIMD_DISPATCH(attention_tile);
  parallel_for(runs.size() * a.kv_heads, 1, [&](size_t begin, size_t end) {
    AttentionTile tile;
    tile.pages = &a;
    tile.q.resize(kTileItems * a.head_dim);
    tile.out.resize(kTileItems * a.v_head_dim);
    for (size_t unit = begin; unit < end; ++unit) {
      const Run& run = runs[unit / a.kv_heads];
      tile.sequence = run.sequence;
      tile.kv_head = unit % a.kv_heads;
      const size_t items = (run.end - run.begin) * a.group;
      for (size_t i = 0; i < items; i += kTileItems) {
        tile.count = std::min(kTileItems, items - i);
        kernel(tile, queries, result, log_sums, run.begin, i);
      }
    }
  });
}

}  // namespace ds::cpu
#endif
