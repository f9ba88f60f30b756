// Patterned attention, forward: the scores of all keys that a row visits, their softmax, and the sum of the values in the
// order of the visit; and the sums that compressed memory keeps with each page.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/attention_pattern.cpp"
#include <hwy/foreach_target.h>
#include "tensor/cpu/attention_pattern.h"
#include "tensor/cpu/attention_pattern-inl.h"

#ifndef DS_TENSOR_CPU_ATTENTION_PATTERN_WORK_
#define DS_TENSOR_CPU_ATTENTION_PATTERN_WORK_
namespace ds::cpu {

// One tile at work. Its memory is kept for the next one.
struct PatternWork {
  const PatternArgs* args;
  PatternTile tile;
  Matrix q, out;
  float* lse;
  std::vector<float> queries, scores, sums, memory_q, memory_out;  // [items][head_dim], [items][width], [items][v_head_dim]
  std::vector<std::vector<float>> blocks;
  std::vector<const float*> keys, values;
};
constexpr size_t kPatternScores = size_t{1} << 18;  // of the rows that are computed together

}  // namespace ds::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace ds::cpu::HWY_NAMESPACE {

// sums += weights times the values of block i: together over what 8 items see in common, and one by one before and after.
static void add_block(const PatternArgs& args, const PatternTile& tile, const Visit& visit, size_t i, const float* values,
                      const float* weights, float* sums) {
  const size_t v = args.a.v_head_dim, width = visit.width();
  KeyRange ranges[8];
  for (size_t first = 0; first < tile.count(); first += 8) {
    const size_t count = std::min<size_t>(8, tile.count() - first);
    KeyRange common{0, kKeyBlock};
    for (size_t r = 0; r < count; ++r) {
      ranges[r] = key_range(args, tile, visit, i, static_cast<size_t>(args.a.position[tile.row + (first + r) / tile.heads]));
      common = {std::max(common.begin, ranges[r].begin), std::min(common.end, ranges[r].end)};
    }
    if (common.begin >= common.end) common = {kKeyBlock, kKeyBlock};
    const auto add = [&](size_t item, size_t items, size_t begin, size_t end) HWY_ATTR {
      if (begin < end)
        small_product({.n = v, .k = end - begin, .a = weights + item * width + i * kKeyBlock + begin, .a_row = width, .a_step = 1,
                       .b = values + begin * v, .b_row = v, .c = sums + item * v, .c_row = v, .accumulate = true}, 0, items);
    };
    for (size_t r = 0; r < count; ++r) add(first + r, 1, ranges[r].begin, std::min(ranges[r].end, common.begin));
    add(first, count, common.begin, common.end);
    for (size_t r = 0; r < count; ++r) add(first + r, 1, std::max(ranges[r].begin, common.end), ranges[r].end);
  }
}

// out = gate * what the memory of the blocks before the local ones says + (1 - gate) * out.
static void recall(PatternWork& w) {
  const PatternArgs& args = *w.args;
  const AttentionPages& a = args.a;
  const size_t local = args.local_blocks(), d = a.head_dim, v = a.v_head_dim, count = w.tile.count();
  if (w.tile.block < local) return;
  const float* const memory = args.state_of(a.entry(w.tile.sequence, w.tile.block + 1 - local, w.tile.kv_head));
  w.memory_q.resize(count * d);
  w.memory_out.resize(count * v);
  for (size_t i = 0; i < count; ++i) {
    const size_t token = w.tile.row + i / w.tile.heads;
    float* const f = w.memory_q.data() + i * d;
    const float* const q = w.q.row(token) + (w.tile.head + i % w.tile.heads) * d;
    std::copy(q, q + d, f);
    if (args.cos) turn(args, f, static_cast<size_t>(a.position[token]), true);
    for (size_t x = 0; x < d; ++x) f[x] = memory_feature(f[x]);
  }
  small_product({.n = v, .k = d, .a = w.memory_q.data(), .a_row = d, .a_step = 1, .b = memory, .b_row = v, .c = w.memory_out.data(),
                 .c_row = v, .accumulate = false}, 0, count);
  for (size_t i = 0; i < count; ++i) {
    const size_t head = w.tile.head + i % w.tile.heads;
    const float gate = math::sigmoid(args.memory_gate[head]);
    const float share = gate / (chain_dot(w.memory_q.data() + i * d, memory + d * v, d) + kMemoryEps);
    float* const out = w.out.row(w.tile.row + i / w.tile.heads) + head * v;
    const float* const recalled = w.memory_out.data() + i * v;
    for (size_t x = 0; x < v; x += kLanes)
      store(mul_add(load(recalled + x, v - x), share, load(out + x, v - x) * (1.0f - gate)), out + x, v - x);
  }
}

// A tile whose blocks are laid out: queries to outputs.
static void attend_pattern(PatternWork& w, const Visit& visit) {
  const PatternArgs& args = *w.args;
  const AttentionPages& a = args.a;
  const size_t count = w.tile.count(), d = a.head_dim, v = a.v_head_dim, width = visit.width();
  w.queries.resize(count * d);
  w.scores.resize(count * width);
  w.sums.assign(count * v, 0.0f);
  for (size_t i = 0; i < count; ++i) {
    const float* const q = w.q.row(w.tile.row + i / w.tile.heads) + (w.tile.head + i % w.tile.heads) * d;
    for (size_t x = 0; x < d; x += kLanes) store(load(q + x, d - x) * a.spec.scale, w.queries.data() + i * d + x, d - x);
  }
  score_blocks(w.keys, d, w.queries.data(), count, w.scores.data());
  std::vector<float> tops(count), denominators(count);
  for (size_t i = 0; i < count; ++i) {
    const ScoreRow row{&args, &w.tile, &visit, w.tile.head + i % w.tile.heads, static_cast<size_t>(a.position[w.tile.row + i / w.tile.heads])};
    float* const scores = w.scores.data() + i * width;
    tops[i] = finish_scores(row, scores);
    F32x16 sum = 0.0f;
    each_vector(row, [&](size_t, size_t at, SeenLanes seen) HWY_ATTR {
      if (seen.begin >= seen.end) return;
      const F32x16 e = seen(exp(load(scores + at) - tops[i]), 0.0f);
      store(e, scores + at);
      sum += e;
    });
    denominators[i] = reduce_add(sum);
  }
  for (size_t i = 0; i < visit.blocks.size(); ++i) add_block(args, w.tile, visit, i, w.values[i], w.scores.data(), w.sums.data());
  for (size_t i = 0; i < count; ++i) {
    const size_t token = w.tile.row + i / w.tile.heads, head = w.tile.head + i % w.tile.heads;
    float* const out = w.out.row(token) + head * v;
    for (size_t x = 0; x < v; x += kLanes) store(load(w.sums.data() + i * v + x, v - x) / denominators[i], out + x, v - x);
    if (w.lse) w.lse[token * a.heads + head] = tops[i] + math::log(denominators[i]);
  }
  if (args.is(AttentionPattern::Kind::compressed)) recall(w);
}

// The memory before a page from that before the page ahead of it, and that page's keys and values.
static void remember(const PatternArgs& args, const float* before, const BlockData& data, size_t first, float* after) {
  const size_t d = args.a.head_dim, v = args.a.v_head_dim;
  std::vector<float> f(kKeyBlock * d);
  for (size_t j = 0; j < kKeyBlock; ++j) {
    float* const key = f.data() + j * d;
    for (size_t x = 0; x < d; ++x) key[x] = data.keys[x * kKeyBlock + j];
    if (args.cos) turn(args, key, first + j, true);
    for (size_t x = 0; x < d; ++x) key[x] = memory_feature(key[x]);
  }
  std::copy(before, before + args.state_size, after);
  small_product({.n = v, .k = kKeyBlock, .a = f.data(), .a_row = 1, .a_step = d, .b = data.values, .b_row = v, .c = after, .c_row = v,
                 .accumulate = true}, 0, d);
  for (size_t j = 0; j < kKeyBlock; ++j)
    for (size_t x = 0; x < d; ++x) after[d * v + x] += f[j * d + x];
}

}  // namespace ds::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "tensor/cpu/dispatch.h"

namespace ds::cpu {
HWY_EXPORT(attend_pattern);
HWY_EXPORT(remember);

using Kind = AttentionPattern::Kind;

// The tile's rows a few at a time, so that their scores stay in the caches.
static void attend_tile(PatternWork& w, const PatternTile& tile) {
  const PatternArgs& args = *w.args;
  const float* const query = w.q.row(tile.row) + tile.head * args.a.head_dim;
  const Visit visit = visited_blocks(args, tile, query);
  const size_t blocks = visit.blocks.size();
  w.keys.resize(blocks), w.values.resize(blocks);
  if (w.blocks.size() < blocks) w.blocks.resize(blocks);
  for (size_t i = 0; i < blocks; ++i) {
    const BlockData data = read_visited(args, tile, visit, i, w.blocks[i]);
    w.keys[i] = data.keys, w.values[i] = data.values;
  }
  const size_t rows = std::max<size_t>(1, kPatternScores / (visit.width() * tile.heads));
  for (size_t r = 0; r < tile.rows; r += rows) {
    w.tile = tile;
    w.tile.row += r, w.tile.rows = std::min(rows, tile.rows - r);
    DS_SIMD_DISPATCH(attend_pattern)(w, visit);
  }
}

void pattern_attention(const Tensor& q, const PatternPages& pages, const Rows& at, const AttentionSpec& spec, const AttentionPattern& pattern,
                       const PatternWeights& weights, const Tensor& out, const Tensor& lse) {
  const char* const op = "pattern_attention";
  const PatternArgs args = pattern_args(op, pages, at, spec, pattern, weights);
  const AttentionPages& a = args.a;
  PatternWork shared{};
  shared.args = &args;
  shared.q = matrix(op, q, a.tokens, a.heads * a.head_dim);
  shared.out = matrix(op, out, a.tokens, a.heads * a.v_head_dim);
  shared.lse = lse ? f32_array(op, lse, a.tokens * a.heads) : nullptr;
  const std::vector<PatternTile> tiles = pattern_tiles(args);
  parallel_for(tiles.size(), 1, [&](size_t begin, size_t end) {
    PatternWork w = shared;
    for (size_t t = begin; t < end; ++t) attend_tile(w, tiles[t]);
  });
}

// ---- State of pages ----

static void write_mean(const PatternArgs& args, int32_t sequence, size_t block, size_t kv_head) {
  const AttentionPages& a = args.a;
  std::vector<float> memory;
  const size_t entry = a.entry(sequence, block, kv_head);
  const BlockData data = read_block(a, entry, memory);
  float* const mean = args.state_of(entry);
  for (size_t d = 0; d < a.head_dim; ++d) {
    float sum = 0;
    for (size_t j = 0; j < kKeyBlock; ++j) sum += data.keys[d * kKeyBlock + j];
    mean[d] = sum * (1.0f / kKeyBlock);
  }
  float* const value = mean + a.head_dim;
  std::fill(value, value + a.v_head_dim, 0.0f);
  for (size_t j = 0; j < kKeyBlock; ++j)
    for (size_t d = 0; d < a.v_head_dim; ++d) value[d] += data.values[j * a.v_head_dim + d];
  for (size_t d = 0; d < a.v_head_dim; ++d) value[d] *= 1.0f / kKeyBlock;
}

// Positions [first, last] of a sequence are new.
static void write_state(const PatternArgs& args, int32_t sequence, size_t kv_head, size_t first, size_t last) {
  const AttentionPages& a = args.a;
  if (args.is(Kind::lsh)) return lsh_write(args, sequence, kv_head, first, last);
  if (args.is(Kind::pooled)) {
    for (size_t block = first / kKeyBlock; (block + 1) * kKeyBlock <= last + 1; ++block) write_mean(args, sequence, block, kv_head);
    return;
  }
  std::vector<float> memory;
  for (size_t block = (first + kKeyBlock - 1) / kKeyBlock; block * kKeyBlock <= last; ++block) {
    float* const state = args.state_of(a.entry(sequence, block, kv_head));
    if (block == 0) {
      std::fill(state, state + args.state_size, 0.0f);
      continue;
    }
    const size_t ahead = a.entry(sequence, block - 1, kv_head);
    DS_SIMD_DISPATCH(remember)(args, args.state_of(ahead), read_block(a, ahead, memory), (block - 1) * kKeyBlock, state);
  }
}

void pattern_write(const PatternPages& pages, const Rows& at, const AttentionSpec& spec, const AttentionPattern& pattern,
                   const PatternWeights& weights) {
  const char* const op = "pattern_write";
  if (pattern_state_size(pattern, spec.head_dim, spec.v_head_dim) == 0) return;
  const PatternArgs args = pattern_args(op, pages, at, spec, pattern, weights);
  const AttentionPages& a = args.a;
  const auto sequences = static_cast<size_t>(at.page_table.shape[0]);
  std::vector<size_t> first(sequences, SIZE_MAX), last(sequences, 0), count(sequences, 0);
  std::vector<int32_t> present;
  for (size_t t = 0; t < a.tokens; ++t) {
    const auto s = static_cast<size_t>(a.sequence[t]), p = static_cast<size_t>(a.position[t]);
    if (count[s]++ == 0) present.push_back(a.sequence[t]);
    first[s] = std::min(first[s], p), last[s] = std::max(last[s], p);
  }
  for (const int32_t s : present) {
    const auto i = static_cast<size_t>(s);
    require(last[i] - first[i] + 1 == count[i], op, ": the ", count[i], " rows of sequence ", s, " are not the positions ", first[i], " to ", last[i]);
  }
  parallel_for(present.size() * a.kv_heads, 1, [&](size_t begin, size_t end) {
    for (size_t unit = begin; unit < end; ++unit) {
      const int32_t s = present[unit / a.kv_heads];
      write_state(args, s, unit % a.kv_heads, first[static_cast<size_t>(s)], last[static_cast<size_t>(s)]);
    }
  });
}

}  // namespace ds::cpu
#endif
