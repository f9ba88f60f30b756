// The backward operation of attention: for each block of keys, the probabilities of all rows that see it are computed
// again from the log sums (FlashAttention, arXiv 2205.14135, algorithm 4), and every gradient adds its terms in the order
// of positions.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/attention_backward.cpp"
#include <hwy/foreach_target.h>
#include "tensor/cpu/attention.h"
#include "tensor/cpu/small_product-inl.h"

#ifndef DS_TENSOR_CPU_ATTENTION_GRADIENT_
#define DS_TENSOR_CPU_ATTENTION_GRADIENT_
namespace ds::cpu {

// The rows of one sequence, for one kv head. Item i is query head i % group of row i / group.
struct AttentionGradient {
  const AttentionPages* pages;
  Run run;
  size_t kv_head;
  Matrix q, out, dout, dq, dk, dv;
  const float* lse;
  std::vector<float> q_items, dout_items, dq_items;  // [items][head_dim] scaled, [items][v_head_dim], [items][head_dim]
  std::vector<float> delta;                          // [items]: dout . out
  std::vector<float> k_rows, v_columns;              // of a block: [kKeyBlock][head_dim], [v_head_dim][kKeyBlock]
  std::vector<float> dk_block, dv_block;             // [kKeyBlock][head_dim], [kKeyBlock][v_head_dim]
  alignas(64) float p[kKeyBlock * kKeyBlock];        // [items of a tile][kKeyBlock]
  alignas(64) float ds[kKeyBlock * kKeyBlock];

  size_t items() const { return (run.end - run.begin) * pages->group; }
  size_t token(size_t item) const { return run.begin + item / pages->group; }
  size_t head(size_t item) const { return kv_head * pages->group + item % pages->group; }
};

}  // namespace ds::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace ds::cpu::HWY_NAMESPACE {

static float dot(const float* x, const float* y, size_t n) {
  F32x16 sum = 0.0f;
  for (size_t i = 0; i < n; i += kLanes) sum = mul_add(load(x + i, n - i), load(y + i, n - i), sum);
  return reduce_add(sum);
}
static void scale_row(const float* x, float factor, float* y, size_t n) {
  for (size_t i = 0; i < n; i += kLanes) store(load(x + i, n - i) * factor, y + i, n - i);
}

static void collect_items(AttentionGradient& g) {
  const AttentionPages& a = *g.pages;
  g.q_items.resize(g.items() * a.head_dim);
  g.dout_items.resize(g.items() * a.v_head_dim);
  g.dq_items.assign(g.items() * a.head_dim, 0.0f);
  g.delta.resize(g.items());
  for (size_t i = 0; i < g.items(); ++i) {
    scale_row(g.q.row(g.token(i)) + g.head(i) * a.head_dim, a.spec.scale, g.q_items.data() + i * a.head_dim, a.head_dim);
    const float* const dout = g.dout.row(g.token(i)) + g.head(i) * a.v_head_dim;
    std::copy(dout, dout + a.v_head_dim, g.dout_items.data() + i * a.v_head_dim);
    g.delta[i] = dot(dout, g.out.row(g.token(i)) + g.head(i) * a.v_head_dim, a.v_head_dim);
  }
}

// The first `keys` keys of a block as rows and its values as columns; the others, never written perhaps, are zero.
static void transpose_block(AttentionGradient& g, const float* k, const float* v, size_t keys) {
  const AttentionPages& a = *g.pages;
  for (size_t j = 0; j < kKeyBlock; ++j) {
    for (size_t d = 0; d < a.head_dim; ++d) g.k_rows[j * a.head_dim + d] = j < keys ? k[d * kKeyBlock + j] : 0;
    for (size_t d = 0; d < a.v_head_dim; ++d) g.v_columns[d * kKeyBlock + j] = j < keys ? v[j * a.v_head_dim + d] : 0;
  }
}

// One item's probabilities p from its scores, and the scores' gradient ds from the probabilities'; 16 keys.
static HWY_INLINE void score_gradient(const AttentionPages& a, float lse, float delta, size_t begin, size_t end, float* p, float* ds) {
  F32x16 score = load(p), slope = 1.0f;
  if (a.spec.softcap > 0) {
    const F32x16 t = tanh(score / a.spec.softcap);
    score = t * a.spec.softcap;
    slope = neg_mul_add(t, t, 1.0f);
  }
  const auto seen = [&](const F32x16& x) HWY_ATTR { return select(first_lanes(begin), 0.0f, select(first_lanes(end), x, 0.0f)); };
  const F32x16 probability = seen(exp(score - lse));
  store(probability, p);
  store(seen(probability * (load(ds) - delta) * slope), ds);
}

// Adds what a tile of items and a block of keys give each other.
static void tile_gradient(AttentionGradient& g, size_t block, size_t keys, size_t first, size_t count, const float* k_columns) {
  const AttentionPages& a = *g.pages;
  const size_t d = a.head_dim, v = a.v_head_dim, key = block * kKeyBlock;
  const float* const q = g.q_items.data() + first * d;
  const float* const dout = g.dout_items.data() + first * v;
  small_product({.n = kKeyBlock, .k = d, .a = q, .a_row = d, .a_step = 1, .b = k_columns, .b_row = kKeyBlock, .c = g.p,
                 .c_row = kKeyBlock, .accumulate = false}, 0, count);
  small_product({.n = kKeyBlock, .k = v, .a = dout, .a_row = v, .a_step = 1, .b = g.v_columns.data(), .b_row = kKeyBlock,
                 .c = g.ds, .c_row = kKeyBlock, .accumulate = false}, 0, count);
  for (size_t r = 0; r < count; ++r) {
    const size_t position = (first + r) / a.group, first_key = a.first_key(position, g.kv_head);
    const size_t begin = std::max(first_key, key) - key, end = std::min<size_t>(position + 1 - key, kKeyBlock);
    const float lse = g.lse[g.token(first + r) * a.heads + g.head(first + r)], delta = g.delta[first + r];
    score_gradient(a, lse, delta, begin, end, g.p + r * kKeyBlock, g.ds + r * kKeyBlock);
    score_gradient(a, lse, delta, std::max(begin, kLanes) - kLanes, std::max(end, kLanes) - kLanes, g.p + r * kKeyBlock + kLanes,
                   g.ds + r * kKeyBlock + kLanes);
  }
  small_product({.n = v, .k = count, .a = g.p, .a_row = 1, .a_step = kKeyBlock, .b = dout, .b_row = v, .c = g.dv_block.data(),
                 .c_row = v, .accumulate = true}, 0, keys);
  small_product({.n = d, .k = count, .a = g.ds, .a_row = 1, .a_step = kKeyBlock, .b = q, .b_row = d, .c = g.dk_block.data(),
                 .c_row = d, .accumulate = true}, 0, keys);
  small_product({.n = d, .k = keys, .a = g.ds, .a_row = kKeyBlock, .a_step = 1, .b = g.k_rows.data(), .b_row = d,
                 .c = g.dq_items.data() + first * d, .c_row = d, .accumulate = true}, 0, count);
}

static void attention_gradient(AttentionGradient& g) {
  const AttentionPages& a = *g.pages;
  const size_t rows = g.run.end - g.run.begin, d = a.head_dim, v = a.v_head_dim;
  collect_items(g);
  for (size_t block = 0; block * kKeyBlock < rows; ++block) {
    const size_t key = block * kKeyBlock, keys = std::min<size_t>(kKeyBlock, rows - key);
    const size_t entry = a.entry(g.run.sequence, block, g.kv_head);
    const float* const k_columns = a.keys<float>(entry);
    transpose_block(g, k_columns, a.values<float>(entry), keys);
    std::fill(g.dk_block.begin(), g.dk_block.end(), 0.0f);
    std::fill(g.dv_block.begin(), g.dv_block.end(), 0.0f);
    // The last row that sees the block's last key, in a window.
    const size_t end = !a.has_window(g.kv_head) ? rows : std::min(rows, key + keys - 1 + static_cast<size_t>(a.spec.window));
    for (size_t i = key * a.group; i < end * a.group; i += kKeyBlock)
      tile_gradient(g, block, keys, i, std::min<size_t>(kKeyBlock, end * a.group - i), k_columns);
    for (size_t j = 0; j < keys; ++j) {
      const float* const dk = g.dk_block.data() + j * d;
      const float* const dv = g.dv_block.data() + j * v;
      std::copy(dk, dk + d, g.dk.row(g.run.begin + key + j) + g.kv_head * d);
      std::copy(dv, dv + v, g.dv.row(g.run.begin + key + j) + g.kv_head * v);
    }
  }
  for (size_t i = 0; i < g.items(); ++i)
    scale_row(g.dq_items.data() + i * d, a.spec.scale, g.dq.row(g.token(i)) + g.head(i) * d, d);
}

}  // namespace ds::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "tensor/cpu/dispatch.h"

namespace ds::cpu {
HWY_EXPORT(attention_gradient);

void attention_backward(const Tensor& dout, const Tensor& q, const Tensor& k_pages, const Tensor& v_pages, const Rows& at,
                        const AttentionSpec& spec, const Tensor& out, const Tensor& lse, const Tensor& dq, const Tensor& dk,
                        const Tensor& dv) {
  const char* const op = "attention_backward";
  const AttentionPages a = attention_pages(op, k_pages, v_pages, at, spec);
  require(!a.rounded, op, ": pages of f32 are expected, not ", describe(k_pages));
  AttentionGradient shared{};
  shared.pages = &a;
  shared.q = matrix(op, q, a.tokens, a.heads * a.head_dim);
  shared.dq = matrix(op, dq, a.tokens, a.heads * a.head_dim);
  shared.out = matrix(op, out, a.tokens, a.heads * a.v_head_dim);
  shared.dout = matrix(op, dout, a.tokens, a.heads * a.v_head_dim);
  shared.dk = matrix(op, dk, a.tokens, a.kv_heads * a.head_dim);
  shared.dv = matrix(op, dv, a.tokens, a.kv_heads * a.v_head_dim);
  shared.lse = f32_array(op, lse, a.tokens * a.heads);
  const std::vector<Run> runs = sequence_runs(a, SIZE_MAX);
  std::vector<bool> seen(static_cast<size_t>(at.page_table.shape[0]));
  for (const Run& run : runs) {
    require(!seen[static_cast<size_t>(run.sequence)], op, ": the rows of sequence ", run.sequence, " do not lie together");
    seen[static_cast<size_t>(run.sequence)] = true;
    for (size_t t = run.begin; t < run.end; ++t)
      require(static_cast<size_t>(a.position[t]) == t - run.begin, op, ": row ", t, " is at position ", a.position[t], ", not ",
              t - run.begin);
  }
  const auto kernel = DS_SIMD_DISPATCH(attention_gradient);
  parallel_for(runs.size() * a.kv_heads, 1, [&](size_t begin, size_t end) {
    AttentionGradient g = shared;
    g.k_rows.resize(kKeyBlock * a.head_dim);
    g.dk_block.resize(kKeyBlock * a.head_dim);
    g.v_columns.resize(kKeyBlock * a.v_head_dim);
    g.dv_block.resize(kKeyBlock * a.v_head_dim);
    for (size_t unit = begin; unit < end; ++unit) {
      g.run = runs[unit / a.kv_heads];
      g.kv_head = unit % a.kv_heads;
      kernel(g);
    }
  });
}

}  // namespace ds::cpu
#endif
