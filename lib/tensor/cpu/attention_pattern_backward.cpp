// Patterned attention, backward: each sequence and kv head by itself, its tiles in the order of positions. The scores are
// computed again from q and k, their probabilities from the log sums; every gradient adds its terms in that order.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/attention_pattern_backward.cpp"
#include <hwy/foreach_target.h>
#include "tensor/cpu/attention_pattern.h"
#include "tensor/cpu/attention_pattern-inl.h"

#ifndef DS_TENSOR_CPU_ATTENTION_PATTERN_GRADIENT_
#define DS_TENSOR_CPU_ATTENTION_PATTERN_GRADIENT_
namespace ds::cpu {

// The gradients of the weights that one sequence and kv head gives, of its heads.
struct PatternWeightGradient {
  std::vector<float> score_norm, position_bias, block_bias, memory_gate;
};

// A block made up (means, keys by themselves) or of a page, with its gradients. rows: [kKeyBlock][dim].
struct GradientBlock {
  std::vector<float> key_rows, value_columns, dkeys, dvalues;  // [][head_dim], [v_head_dim][], [][head_dim], [][v_head_dim]
};

struct PatternGradient {
  const PatternArgs* args;
  PatternTile tile;
  Matrix q, out, dout, dq, dk, dv;
  const float* lse;
  std::vector<GradientBlock> page_blocks;    // of the sequence
  std::vector<GradientBlock> made_up;        // of the visit
  std::vector<std::vector<float>> memory;    // of the visit
  std::vector<const float*> keys, value_columns;
  std::vector<GradientBlock*> blocks;
  std::vector<float> queries, douts, dqs, locals;              // [items][dim]
  std::vector<float> p, ds, capped;                            // [items][width]; capped: of one item
  std::vector<float> dstates;                                  // compressed: of the memory before each block
  PatternWeightGradient dweights;
};
constexpr size_t kPatternGradientScores = size_t{1} << 17;

}  // namespace ds::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace ds::cpu::HWY_NAMESPACE {

// Adds the biases' gradients of one item, whose scores' gradients are in ds.
static void bias_gradient(PatternGradient& g, const ScoreRow& row, size_t head_in_group, const float* ds) {
  const PatternArgs& args = *g.args;
  const auto buckets = static_cast<size_t>(args.pattern.position_buckets), distances = static_cast<size_t>(args.pattern.max_blocks);
  each_vector(row, [&](size_t block, size_t at, SeenLanes seen) HWY_ATTR {
    if (seen.begin >= seen.end) return;
    if (args.position_bias)
      for (size_t lane = seen.begin; lane < seen.end; ++lane)
        g.dweights.position_bias[head_in_group * buckets + args.bucket_of(row.position - key_position(*row.visit, block, at % kKeyBlock + lane))] +=
            ds[at + lane];
    const int32_t distance = row.visit->blocks[block].distance;
    if (args.block_bias && distance >= 0)
      g.dweights.block_bias[head_in_group * distances + static_cast<size_t>(distance)] += reduce_add(load(ds + at));
  });
}

// One item: from its scores q.k in p and its probabilities' gradients in ds to probabilities and the gradients of q.k.
static void item_gradient(PatternGradient& g, const ScoreRow& row, size_t head_in_group, float lse, float delta, float* p, float* ds) {
  const PatternArgs& args = *g.args;
  const float cap = args.a.spec.softcap;
  const size_t width = row.visit->width();
  g.capped.resize(width);
  std::copy(p, p + width, g.capped.data());
  ScoreNorm norm;
  if (cap > 0)
    each_vector(row, [&](size_t, size_t at, SeenLanes) HWY_ATTR { store(tanh(load(p + at) / cap) * cap, g.capped.data() + at); });
  if (args.score_norm) norm = score_norm(row, g.capped.data());
  finish_scores(row, p);
  each_vector(row, [&](size_t, size_t at, SeenLanes seen) HWY_ATTR {
    const F32x16 probability = seen(exp(load(p + at) - lse), 0.0f);
    store(probability, p + at);
    store(seen(probability * (load(ds + at) - delta), 0.0f), ds + at);
  });
  if (args.position_bias || args.block_bias) bias_gradient(g, row, head_in_group, ds);
  if (args.score_norm) {
    const float gain = args.score_norm[row.head];
    F32x16 sum = 0.0f, along = 0.0f;
    each_vector(row, [&](size_t, size_t at, SeenLanes seen) HWY_ATTR {
      const F32x16 x = seen((load(g.capped.data() + at) - norm.mean) * norm.rstd, 0.0f), d = load(ds + at);
      sum += d;
      along = mul_add(d, x, along);
    });
    const float total = reduce_add(sum), product = reduce_add(along);
    g.dweights.score_norm[head_in_group] += product;
    const float mean = total / norm.count, slope = product / norm.count;
    each_vector(row, [&](size_t, size_t at, SeenLanes seen) HWY_ATTR {
      const F32x16 x = (load(g.capped.data() + at) - norm.mean) * norm.rstd;
      store(seen((load(ds + at) - mean - x * slope) * (gain * norm.rstd), 0.0f), ds + at);
    });
  }
  if (cap > 0)
    each_vector(row, [&](size_t, size_t at, SeenLanes seen) HWY_ATTR {
      const F32x16 t = load(g.capped.data() + at) / cap;
      store(seen(load(ds + at) * neg_mul_add(t, t, 1.0f), 0.0f), ds + at);
    });
}

// Of compressed memory: turns douts into those of the local part, and adds the gradients of gate, query and memory.
// dqs holds the gradient of the unscaled query afterwards.
static void recall_gradient(PatternGradient& g, const Visit& visit) {
  const PatternArgs& args = *g.args;
  const AttentionPages& a = args.a;
  const size_t local = args.local_blocks(), d = a.head_dim, v = a.v_head_dim, count = g.tile.count();
  const size_t state = g.tile.block + 1 - local;
  const float* const memory = args.state_of(a.entry(g.tile.sequence, state, g.tile.kv_head));
  float* const dmemory = g.dstates.data() + state * args.state_size;
  // The local outputs again.
  g.locals.assign(count * v, 0.0f);
  std::vector<float> values(kKeyBlock * v);
  for (size_t b = 0; b < visit.blocks.size(); ++b) {
    for (size_t j = 0; j < kKeyBlock; ++j)
      for (size_t x = 0; x < v; ++x) values[j * v + x] = g.value_columns[b][x * kKeyBlock + j];
    small_product({.n = v, .k = kKeyBlock, .a = g.p.data() + b * kKeyBlock, .a_row = visit.width(), .a_step = 1, .b = values.data(),
                   .b_row = v, .c = g.locals.data(), .c_row = v, .accumulate = true}, 0, count);
  }
  std::vector<float> query(d), f(d), df(d), recalled(v), turned(d), share(v);
  for (size_t i = 0; i < count; ++i) {
    const size_t token = g.tile.row + i / g.tile.heads, head_in_group = g.tile.head % a.group + i % g.tile.heads;
    const auto position = static_cast<size_t>(a.position[token]);
    const float* const q = g.q.row(token) + (g.tile.head + i % g.tile.heads) * d;
    float* const dout = g.douts.data() + i * v;
    std::copy(q, q + d, query.begin());
    if (args.cos) turn(args, query.data(), position, true);
    for (size_t x = 0; x < d; ++x) f[x] = memory_feature(query[x]);
    small_product({.n = v, .k = d, .a = f.data(), .a_row = d, .a_step = 1, .b = memory, .b_row = v, .c = recalled.data(), .c_row = v,
                   .accumulate = false}, 0, 1);
    const float below = chain_dot(f.data(), memory + d * v, d) + kMemoryEps;
    const float gate = math::sigmoid(args.memory_gate[g.tile.head + i % g.tile.heads]);
    const float said = chain_dot(dout, recalled.data(), v) / below;  // dout . what memory says
    g.dweights.memory_gate[head_in_group] += (said - chain_dot(dout, g.locals.data() + i * v, v)) * gate * (1.0f - gate);
    for (size_t x = 0; x < v; ++x) share[x] = dout[x] * (gate / below);
    const float dbelow = -(said * gate / below);
    for (size_t x = 0; x < d; ++x) {
      df[x] = chain_dot(memory + x * v, share.data(), v) + memory[d * v + x] * dbelow;
      dmemory[d * v + x] += f[x] * dbelow;
      for (size_t y = 0; y < v; y += kLanes)
        store(mul_add(load(share.data() + y, v - y), f[x], load(dmemory + x * v + y, v - y)), dmemory + x * v + y, v - y);
      turned[x] = df[x] * memory_slope(query[x]);
    }
    if (args.cos) turn(args, turned.data(), position, false);
    for (size_t x = 0; x < d; ++x) g.dqs[i * d + x] += turned[x];
    for (size_t x = 0; x < v; ++x) dout[x] *= 1.0f - gate;
  }
}

// A tile whose blocks are laid out.
static void pattern_gradient(PatternGradient& g, const Visit& visit) {
  const PatternArgs& args = *g.args;
  const AttentionPages& a = args.a;
  const size_t count = g.tile.count(), d = a.head_dim, v = a.v_head_dim, width = visit.width();
  g.queries.resize(count * d), g.douts.resize(count * v), g.dqs.assign(count * d, 0.0f);
  g.p.resize(count * width), g.ds.resize(count * width);
  for (size_t i = 0; i < count; ++i) {
    const size_t token = g.tile.row + i / g.tile.heads, head = g.tile.head + i % g.tile.heads;
    for (size_t x = 0; x < d; x += kLanes)
      store(load(g.q.row(token) + head * d + x, d - x) * a.spec.scale, g.queries.data() + i * d + x, d - x);
    std::copy_n(g.dout.row(token) + head * v, v, g.douts.data() + i * v);
  }
  const bool compressed = args.is(AttentionPattern::Kind::compressed) && g.tile.block >= args.local_blocks();
  std::vector<float> delta(count);
  for (size_t i = 0; i < count; ++i) {
    const size_t token = g.tile.row + i / g.tile.heads, head = g.tile.head + i % g.tile.heads;
    delta[i] = chain_dot(g.douts.data() + i * v, g.out.row(token) + head * v, v);
  }
  if (compressed) {
    // The output is a mixture, so the local part and what goes into it come first.
    score_blocks(g.keys, d, g.queries.data(), count, g.p.data());
    for (size_t i = 0; i < count; ++i) {
      const size_t token = g.tile.row + i / g.tile.heads, head = g.tile.head + i % g.tile.heads;
      const ScoreRow row{&args, &g.tile, &visit, head, static_cast<size_t>(a.position[token])};
      float* const p = g.p.data() + i * width;
      finish_scores(row, p);
      const float lse = g.lse[token * a.heads + head];
      each_vector(row, [&](size_t, size_t at, SeenLanes seen) HWY_ATTR { store(seen(exp(load(p + at) - lse), 0.0f), p + at); });
    }
    recall_gradient(g, visit);
    for (size_t i = 0; i < count; ++i) delta[i] = chain_dot(g.douts.data() + i * v, g.locals.data() + i * v, v);
  }
  score_blocks(g.keys, d, g.queries.data(), count, g.p.data());
  score_blocks(g.value_columns, v, g.douts.data(), count, g.ds.data());
  for (size_t i = 0; i < count; ++i) {
    const size_t token = g.tile.row + i / g.tile.heads, head = g.tile.head + i % g.tile.heads;
    const ScoreRow row{&args, &g.tile, &visit, head, static_cast<size_t>(a.position[token])};
    item_gradient(g, row, head % a.group, g.lse[token * a.heads + head], delta[i], g.p.data() + i * width, g.ds.data() + i * width);
  }
  std::vector<float> dscaled(count * d, 0.0f);
  for (size_t b = 0; b < visit.blocks.size(); ++b) {
    GradientBlock& block = *g.blocks[b];
    const float* const p = g.p.data() + b * kKeyBlock;
    const float* const ds = g.ds.data() + b * kKeyBlock;
    small_product({.n = v, .k = count, .a = p, .a_row = 1, .a_step = width, .b = g.douts.data(), .b_row = v, .c = block.dvalues.data(),
                   .c_row = v, .accumulate = true}, 0, kKeyBlock);
    small_product({.n = d, .k = count, .a = ds, .a_row = 1, .a_step = width, .b = g.queries.data(), .b_row = d, .c = block.dkeys.data(),
                   .c_row = d, .accumulate = true}, 0, kKeyBlock);
    small_product({.n = d, .k = kKeyBlock, .a = ds, .a_row = width, .a_step = 1, .b = block.key_rows.data(), .b_row = d,
                   .c = dscaled.data(), .c_row = d, .accumulate = true}, 0, count);
  }
  for (size_t i = 0; i < count; ++i) {
    float* const dq = g.dq.row(g.tile.row + i / g.tile.heads) + (g.tile.head + i % g.tile.heads) * d;
    for (size_t x = 0; x < d; ++x) dq[x] = std::fma(dscaled[i * d + x], a.spec.scale, g.dqs[i * d + x]);
  }
}

// What the memories behind a block give its keys and values: dstate is the sum of their gradients.
static void remember_gradient(PatternGradient& g, size_t block, const float* dstate, GradientBlock& to) {
  const PatternArgs& args = *g.args;
  const size_t d = args.a.head_dim, v = args.a.v_head_dim;
  std::vector<float> key(d), f(d), turned(d), value(v);
  for (size_t j = 0; j < kKeyBlock; ++j) {
    std::copy_n(to.key_rows.data() + j * d, d, key.begin());
    if (args.cos) turn(args, key.data(), block * kKeyBlock + j, true);
    for (size_t x = 0; x < d; ++x) f[x] = memory_feature(key[x]);
    for (size_t y = 0; y < v; ++y) value[y] = to.value_columns[y * kKeyBlock + j];
    for (size_t x = 0; x < d; ++x) turned[x] = (chain_dot(dstate + x * v, value.data(), v) + dstate[d * v + x]) * memory_slope(key[x]);
    if (args.cos) turn(args, turned.data(), block * kKeyBlock + j, false);
    for (size_t x = 0; x < d; ++x) to.dkeys[j * d + x] += turned[x];
    small_product({.n = v, .k = d, .a = f.data(), .a_row = d, .a_step = 1, .b = dstate, .b_row = v, .c = to.dvalues.data() + j * v,
                   .c_row = v, .accumulate = true}, 0, 1);
  }
}

}  // namespace ds::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <span>

#include "tensor/cpu/dispatch.h"

namespace ds::cpu {
HWY_EXPORT(pattern_gradient);
HWY_EXPORT(remember_gradient);

using Kind = AttentionPattern::Kind;

namespace {

// The first `keys` of a block are there; the others, never written perhaps, are zero.
void open_block(const AttentionPages& a, const BlockData& data, size_t keys, GradientBlock& block) {
  const size_t d = a.head_dim, v = a.v_head_dim;
  block.key_rows.assign(kKeyBlock * d, 0.0f), block.dkeys.assign(kKeyBlock * d, 0.0f);
  block.value_columns.assign(kKeyBlock * v, 0.0f), block.dvalues.assign(kKeyBlock * v, 0.0f);
  for (size_t j = 0; j < keys; ++j) {
    for (size_t x = 0; x < d; ++x) block.key_rows[j * d + x] = data.keys[x * kKeyBlock + j];
    for (size_t x = 0; x < v; ++x) block.value_columns[x * kKeyBlock + j] = data.values[j * v + x];
  }
}

// Gives what a made-up block got to the pages' blocks: a mean's to all of its keys, a key's to itself.
void close_block(PatternGradient& g, const Visit& visit, size_t i) {
  const size_t d = g.args->a.head_dim, v = g.args->a.v_head_dim;
  GradientBlock& from = *g.blocks[i];
  const auto give = [&](size_t slot, size_t position, float factor) {
    GradientBlock& to = g.page_blocks[position / kKeyBlock];
    const size_t j = position % kKeyBlock;
    for (size_t x = 0; x < d; ++x) to.dkeys[j * d + x] += from.dkeys[slot * d + x] * factor;
    for (size_t x = 0; x < v; ++x) to.dvalues[j * v + x] += from.dvalues[slot * v + x] * factor;
  };
  for (size_t slot = 0; slot < kKeyBlock; ++slot) {
    const size_t at = visit.blocks[i].block * kKeyBlock + slot;
    if (visit.blocks[i].pooled) {
      for (size_t j = 0; at < g.tile.block && j < kKeyBlock; ++j) give(slot, at * kKeyBlock + j, 1.0f / kKeyBlock);
    } else if (at < visit.keys.size()) {
      give(slot, static_cast<size_t>(visit.keys[at]), 1.0f);
    }
  }
}

void tile_gradient(PatternGradient& g, const PatternTile& tile) {
  const PatternArgs& args = *g.args;
  const AttentionPages& a = args.a;
  const Visit visit = visited_blocks(args, tile, g.q.row(tile.row) + tile.head * a.head_dim);
  const size_t count = visit.blocks.size();
  if (g.memory.size() < count) g.memory.resize(count), g.made_up.resize(count);
  g.keys.resize(count), g.value_columns.resize(count), g.blocks.resize(count);
  g.tile = tile;
  for (size_t i = 0; i < count; ++i) {
    const BlockData data = read_visited(args, tile, visit, i, g.memory[i]);
    const bool of_page = !visit.blocks[i].pooled && visit.keys.empty();
    if (!of_page) open_block(a, data, kKeyBlock, g.made_up[i]);
    g.blocks[i] = of_page ? &g.page_blocks[visit.blocks[i].block] : &g.made_up[i];
    g.keys[i] = data.keys, g.value_columns[i] = g.blocks[i]->value_columns.data();
  }
  const auto kernel = DS_SIMD_DISPATCH(pattern_gradient);
  const size_t rows = std::max<size_t>(1, kPatternGradientScores / (visit.width() * tile.heads));
  for (size_t r = 0; r < tile.rows; r += rows) {
    g.tile = tile;
    g.tile.row += r, g.tile.rows = std::min(rows, tile.rows - r);
    kernel(g, visit);
  }
  for (size_t i = 0; i < count; ++i)
    if (g.blocks[i] == &g.made_up[i]) close_block(g, visit, i);
}

// One sequence and kv head, whose tiles are given.
void sequence_gradient(PatternGradient& g, const Run& run, size_t kv_head, std::span<const PatternTile> tiles) {
  const PatternArgs& args = *g.args;
  const AttentionPages& a = args.a;
  const size_t length = run.end - run.begin, blocks = (length + kKeyBlock - 1) / kKeyBlock;
  g.page_blocks.resize(blocks);
  std::vector<float> memory;
  for (size_t b = 0; b < blocks; ++b)
    open_block(a, read_block(a, a.entry(run.sequence, b, kv_head), memory), std::min<size_t>(kKeyBlock, length - b * kKeyBlock), g.page_blocks[b]);
  if (args.is(Kind::compressed)) g.dstates.assign(blocks * args.state_size, 0.0f);
  for (const PatternTile& tile : tiles) tile_gradient(g, tile);
  if (args.is(Kind::compressed)) {
    std::vector<float> behind(args.state_size, 0.0f);
    const auto kernel = DS_SIMD_DISPATCH(remember_gradient);
    for (size_t b = blocks; b-- > 1;) {
      for (size_t x = 0; x < args.state_size; ++x) behind[x] += g.dstates[b * args.state_size + x];
      kernel(g, b - 1, behind.data(), g.page_blocks[b - 1]);
    }
  }
  for (size_t p = 0; p < length; ++p) {
    const GradientBlock& block = g.page_blocks[p / kKeyBlock];
    std::copy_n(block.dkeys.data() + p % kKeyBlock * a.head_dim, a.head_dim, g.dk.row(run.begin + p) + kv_head * a.head_dim);
    std::copy_n(block.dvalues.data() + p % kKeyBlock * a.v_head_dim, a.v_head_dim, g.dv.row(run.begin + p) + kv_head * a.v_head_dim);
  }
}

void check_runs(const PatternArgs& args, const std::vector<Run>& runs, size_t sequences) {
  const AttentionPages& a = args.a;
  std::vector<bool> seen(sequences);
  for (const Run& run : runs) {
    require(!seen[static_cast<size_t>(run.sequence)], a.op, ": the rows of sequence ", run.sequence, " do not lie together");
    seen[static_cast<size_t>(run.sequence)] = true;
    for (size_t t = run.begin; t < run.end; ++t)
      require(static_cast<size_t>(a.position[t]) == t - run.begin, a.op, ": row ", t, " is at position ", a.position[t], ", not ", t - run.begin);
  }
}

}  // namespace

void pattern_attention_backward(const Tensor& dout, const Tensor& q, const PatternPages& pages, const Rows& at, const AttentionSpec& spec,
                                const AttentionPattern& pattern, const PatternWeights& weights, const Tensor& out, const Tensor& lse,
                                const Tensor& dq, const Tensor& dk, const Tensor& dv, const PatternWeights& dweights) {
  const char* const op = "pattern_attention_backward";
  const PatternArgs args = pattern_args(op, pages, at, spec, pattern, weights);
  const AttentionPages& a = args.a;
  require(!a.rounded, op, ": pages of f32 are expected, not ", describe(pages.k));
  PatternGradient shared{};
  shared.args = &args;
  shared.q = matrix(op, q, a.tokens, a.heads * a.head_dim);
  shared.dq = matrix(op, dq, a.tokens, a.heads * a.head_dim);
  shared.out = matrix(op, out, a.tokens, a.heads * a.v_head_dim);
  shared.dout = matrix(op, dout, a.tokens, a.heads * a.v_head_dim);
  shared.dk = matrix(op, dk, a.tokens, a.kv_heads * a.head_dim);
  shared.dv = matrix(op, dv, a.tokens, a.kv_heads * a.v_head_dim);
  shared.lse = f32_array(op, lse, a.tokens * a.heads);
  const std::vector<Run> runs = sequence_runs(a, SIZE_MAX);
  check_runs(args, runs, static_cast<size_t>(at.page_table.shape[0]));
  const std::vector<PatternTile> tiles = pattern_tiles(args);
  // Tiles stand sequence by sequence, and kv head by kv head in each.
  std::vector<PatternWeightGradient> parts(runs.size() * a.kv_heads);
  std::vector<size_t> first_tile(parts.size() + 1, 0);
  for (size_t t = 0, unit = 0; t < tiles.size(); ++t) {
    if (t > 0 && (tiles[t].kv_head != tiles[t - 1].kv_head || tiles[t].sequence != tiles[t - 1].sequence)) ++unit;
    first_tile[unit + 1] = t + 1;
  }
  parallel_for(parts.size(), 1, [&](size_t begin, size_t end) {
    PatternGradient g = shared;
    for (size_t unit = begin; unit < end; ++unit) {
      const auto size = [&](const float* used, int each) { return used ? a.group * static_cast<size_t>(each) : 0; };
      g.dweights = {std::vector<float>(size(args.score_norm, 1)), std::vector<float>(size(args.position_bias, pattern.position_buckets)),
                    std::vector<float>(size(args.block_bias, pattern.max_blocks)), std::vector<float>(size(args.memory_gate, 1))};
      sequence_gradient(g, runs[unit / a.kv_heads], unit % a.kv_heads,
                        std::span(tiles).subspan(first_tile[unit], first_tile[unit + 1] - first_tile[unit]));
      parts[unit] = std::move(g.dweights);
    }
  });
  const auto add_parts = [&](const float* used, const Tensor& to, std::vector<float> PatternWeightGradient::*part) {
    if (!used) return;
    const size_t each = (parts.front().*part).size();
    float* const sum = f32_array(op, to, each * a.kv_heads);
    for (size_t unit = 0; unit < parts.size(); ++unit)
      for (size_t x = 0; x < each; ++x) sum[unit % a.kv_heads * each + x] += (parts[unit].*part)[x];
  };
  add_parts(args.score_norm, dweights.score_norm, &PatternWeightGradient::score_norm);
  add_parts(args.position_bias, dweights.position_bias, &PatternWeightGradient::position_bias);
  add_parts(args.block_bias, dweights.block_bias, &PatternWeightGradient::block_bias);
  add_parts(args.memory_gate, dweights.memory_gate, &PatternWeightGradient::memory_gate);
}

}  // namespace ds::cpu
#endif
