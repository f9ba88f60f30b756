// Which blocks of keys a row visits, by its position alone, and where they lie.
#include <algorithm>
#include <numeric>

#include "base/math.h"
#include "tensor/cpu/attention_pattern.h"

namespace ds {

int64_t pattern_state_size(const AttentionPattern& pattern, int64_t head_dim, int64_t v_head_dim) {
  switch (pattern.kind) {
    case AttentionPattern::Kind::pooled: return head_dim + v_head_dim;
    case AttentionPattern::Kind::compressed: return head_dim * (v_head_dim + 1);
    case AttentionPattern::Kind::lsh:
      return static_cast<int64_t>(cpu::lsh_state_size(static_cast<size_t>(pattern.lsh_rounds), static_cast<size_t>(pattern.lsh_buckets)));
    default: return 0;
  }
}

}  // namespace ds

namespace ds::cpu {

using Kind = AttentionPattern::Kind;

// ---- Arguments ----

static void check_pattern(const char* op, const AttentionSpec& spec, const AttentionPattern& p) {
  const bool local = p.kind == Kind::block_sparse || p.kind == Kind::learned || p.kind == Kind::compressed;
  require(!local || p.local_blocks > 0, op, ": ", p.local_blocks, " local blocks");
  require(p.kind != Kind::block_sparse || p.stride > 0, op, ": global blocks every ", p.stride);
  require(p.kind != Kind::learned || (p.global_blocks >= 0 && p.max_blocks > 0), op, ": ", p.global_blocks, " of ", p.max_blocks, " distances");
  require(p.kind != Kind::pooled || spec.window > 0, op, ": means of the blocks before a window of ", spec.window);
  require(p.kind != Kind::lsh || (p.lsh_rounds > 0 && p.lsh_buckets > 0 && p.lsh_buckets % 2 == 0 && p.lsh_keys > 0), op, ": ", p.lsh_rounds,
          " rounds of ", p.lsh_keys, " keys of ", p.lsh_buckets, " buckets");
  require(p.kind == Kind::all || p.kind == Kind::pooled || spec.window == 0, op, ": a window of ", spec.window, " in a pattern without one");
}

// T5's buckets of distances, causal: half of them exact, the rest logarithmic.
static std::vector<int32_t> position_buckets(const AttentionPattern& p) {
  std::vector<int32_t> buckets(static_cast<size_t>(p.position_max_distance));
  const int exact = p.position_buckets / 2;
  for (int n = 0; n < p.position_max_distance; ++n) {
    const double part = n < exact ? 0 : math::log(static_cast<double>(n) / exact) / math::log(static_cast<double>(p.position_max_distance) / exact);
    buckets[static_cast<size_t>(n)] = n < exact ? n : std::min(p.position_buckets - 1, exact + static_cast<int>(part * (p.position_buckets - exact)));
  }
  return buckets;
}

static std::vector<int32_t> distances_by_bias(const float* bias, size_t heads, size_t max_blocks, size_t blocks) {
  std::vector<int32_t> all(heads * max_blocks);
  for (size_t h = 0; h < heads; ++h) {
    int32_t* const own = all.data() + h * max_blocks;
    std::iota(own, own + max_blocks, 0);
    // Distances past the longest sequence of the batch stay behind, unsorted.
    std::sort(own, own + blocks, [&](int32_t x, int32_t y) {
      const float a = bias[h * max_blocks + static_cast<size_t>(x)], b = bias[h * max_blocks + static_cast<size_t>(y)];
      return a > b || (a == b && x < y);
    });
  }
  return all;
}

PatternArgs pattern_args(const char* op, const PatternPages& pages, const Rows& at, const AttentionSpec& spec,
                         const AttentionPattern& pattern, const PatternWeights& weights) {
  check_pattern(op, spec, pattern);
  // Pages of a memory's pattern may be gone once they are summed up; what the window says is checked.
  AttentionSpec needed = spec;
  if (pattern.kind == Kind::compressed) needed.window = pattern.local_blocks * kKeyBlock;
  PatternArgs args{};
  args.a = attention_pages(op, pages.k, pages.v, at, needed);
  args.a.spec = spec;
  if (pattern.kind == Kind::pooled) args.a.spec.window_kv_heads = 0;
  args.pattern = pattern;
  const AttentionPages& a = args.a;
  args.state_size = static_cast<size_t>(pattern_state_size(pattern, spec.head_dim, spec.v_head_dim));
  if (args.state_size) args.state = f32_array(op, pages.state, static_cast<size_t>(pages.k.shape[0]) * a.kv_heads * args.state_size);
  const auto array = [&](const Tensor& t, int64_t count) -> const float* {
    return t ? f32_array(op, t, static_cast<size_t>(count)) : nullptr;
  };
  args.score_norm = array(weights.score_norm, spec.heads);
  args.position_bias = array(weights.position_bias, int64_t{spec.heads} * pattern.position_buckets);
  if (args.position_bias) {
    require(pattern.position_buckets > 1 && pattern.position_max_distance > pattern.position_buckets / 2, op, ": ", pattern.position_buckets,
            " buckets of distances to ", pattern.position_max_distance);
    args.bucket = position_buckets(pattern);
  }
  if (pattern.kind == Kind::learned) args.block_bias = array(weights.block_bias, int64_t{spec.heads} * pattern.max_blocks);
  if (pattern.kind == Kind::compressed) {
    args.memory_gate = array(weights.memory_gate, spec.heads);
    if (pages.cos) {
      const Matrix cos = matrix(op, pages.cos), sin = matrix(op, pages.sin, cos.rows, cos.cols);
      require(2 * cos.cols <= a.head_dim && cos.stride == cos.cols && sin.stride == sin.cols, op, ": rotations ", describe(pages.cos));
      args.cos = cos.data, args.sin = sin.data, args.pairs = cos.cols;
      for (size_t t = 0; t < a.tokens; ++t)
        require(static_cast<size_t>(a.position[t]) < cos.rows, op, ": position ", a.position[t], " of ", cos.rows, " rotations");
    }
  }
  if (pattern.kind == Kind::lsh)
    args.lsh_rotation = array(weights.lsh_rotation, int64_t{pattern.lsh_rounds} * spec.head_dim * (pattern.lsh_buckets / 2));
  if (args.block_bias) {
    size_t blocks = 0;
    for (size_t t = 0; t < a.tokens; ++t) blocks = std::max(blocks, static_cast<size_t>(a.position[t]) / kKeyBlock + 1);
    require(blocks <= static_cast<size_t>(pattern.max_blocks), op, ": a sequence of ", blocks, " blocks, and block_bias has ", pattern.max_blocks);
    args.distances = distances_by_bias(args.block_bias, a.heads, static_cast<size_t>(pattern.max_blocks), blocks);
  }
  return args;
}

// ---- Tiles ----

std::vector<PatternTile> pattern_tiles(const PatternArgs& args) {
  const AttentionPages& a = args.a;
  const bool by_head = args.is(Kind::learned), by_row = args.is(Kind::lsh);
  const size_t heads = by_head || by_row ? 1 : a.group;
  std::vector<PatternTile> tiles;
  for (const Run& run : sequence_runs(a, SIZE_MAX))
    for (size_t kv_head = 0; kv_head < a.kv_heads; ++kv_head)
      for (size_t t = run.begin; t < run.end;) {
        const size_t block = static_cast<size_t>(a.position[t]) / kKeyBlock;
        size_t end = t + 1;
        while (!by_row && end < run.end && end - t < kKeyBlock && static_cast<size_t>(a.position[end]) / kKeyBlock == block) ++end;
        for (size_t h = 0; h < a.group; h += heads)
          tiles.push_back({t, end - t, kv_head, kv_head * a.group + h, heads, block, run.sequence});
        t = end;
      }
  return tiles;
}

// ---- Visits ----

Visit visited_blocks(const PatternArgs& args, const PatternTile& tile, const float* query) {
  const AttentionPages& a = args.a;
  Visit visit;
  if (args.is(Kind::lsh)) {
    visit.keys = lsh_visited(args, tile, query);
    for (size_t i = 0; i * kKeyBlock < visit.keys.size(); ++i) visit.blocks.push_back({i});
    return visit;
  }
  size_t first_local = tile.block + 1 - std::min(args.local_blocks(), tile.block + 1);
  bool whole = true;
  if (args.is(Kind::all) || args.is(Kind::pooled)) {
    size_t lowest = SIZE_MAX, highest = 0;
    for (size_t t = tile.row; t < tile.row + tile.rows; ++t) {
      const size_t first = a.first_key(static_cast<size_t>(a.position[t]), tile.kv_head);
      lowest = std::min(lowest, first), highest = std::max(highest, first);
    }
    first_local = lowest / kKeyBlock;
    whole = false;
    if (args.is(Kind::pooled))
      for (size_t i = 0; i * kKeyBlock < highest / kKeyBlock; ++i) visit.blocks.push_back({i, true});
  }
  if (args.is(Kind::block_sparse))
    for (size_t i = 0; i < first_local; i += static_cast<size_t>(args.pattern.stride)) visit.blocks.push_back({i});
  if (args.is(Kind::learned)) {
    const int32_t* const order = args.distances.data() + tile.head * static_cast<size_t>(args.pattern.max_blocks);
    const size_t wanted = std::min(static_cast<size_t>(args.pattern.global_blocks), first_local);
    for (size_t i = 0; visit.blocks.size() < wanted; ++i) {
      const auto distance = static_cast<size_t>(order[i]);
      if (distance >= args.local_blocks() && distance <= tile.block) visit.blocks.push_back({tile.block - distance, false, true, order[i]});
    }
    std::sort(visit.blocks.begin(), visit.blocks.end(), [](const VisitedBlock& x, const VisitedBlock& y) { return x.block < y.block; });
  }
  for (size_t i = first_local; i <= tile.block; ++i) visit.blocks.push_back({i, false, whole});
  return visit;
}

KeyRange key_range(const PatternArgs& args, const PatternTile& tile, const Visit& visit, size_t i, size_t position) {
  const VisitedBlock& b = visit.blocks[i];
  const size_t key = b.block * kKeyBlock;
  const auto within = [&](size_t end) { return end < key ? size_t{0} : std::min<size_t>(end - key, kKeyBlock); };
  if (!visit.keys.empty()) return {0, within(visit.keys.size())};
  if (b.pooled) return {0, within(args.a.first_key(position, tile.kv_head) / kKeyBlock)};
  return {b.whole ? 0 : within(args.a.first_key(position, tile.kv_head)), within(position + 1)};
}

// ---- Data ----

BlockData read_block(const AttentionPages& a, size_t entry, std::vector<float>& memory) {
  if (!a.rounded) return {a.keys<float>(entry), a.values<float>(entry)};
  memory.resize((a.head_dim + a.v_head_dim) * kKeyBlock);
  float* const keys = memory.data();
  float* const values = keys + a.head_dim * kKeyBlock;
  for (size_t part = 0; part < a.key_parts; ++part)
    for (size_t d = a.key_part(part).begin; d < a.key_part(part).end; ++d)
      for (size_t j = 0; j < kKeyBlock; ++j)
        keys[d * kKeyBlock + j] = static_cast<float>(a.keys<int8_t>(entry)[d * kKeyBlock + j]) * a.key_scales(entry)[part * kKeyBlock + j];
  for (size_t part = 0; part < a.value_parts; ++part)
    for (size_t j = 0; j < kKeyBlock; ++j)
      for (size_t d = a.value_part(part).begin; d < a.value_part(part).end; ++d)
        values[j * a.v_head_dim + d] = static_cast<float>(a.values<int8_t>(entry)[j * a.v_head_dim + d]) * a.value_scales(entry)[part * kKeyBlock + j];
  return {keys, values};
}

// One key and value into slot `slot` of a block that is made up.
static void put(const AttentionPages& a, float* block, size_t slot, const float* key, size_t step, const float* value) {
  for (size_t d = 0; d < a.head_dim; ++d) block[d * kKeyBlock + slot] = key[d * step];
  std::copy(value, value + a.v_head_dim, block + a.head_dim * kKeyBlock + slot * a.v_head_dim);
}

BlockData read_visited(const PatternArgs& args, const PatternTile& tile, const Visit& visit, size_t i, std::vector<float>& memory) {
  const AttentionPages& a = args.a;
  const VisitedBlock& b = visit.blocks[i];
  if (!b.pooled && visit.keys.empty()) return read_block(a, a.entry(tile.sequence, b.block, tile.kv_head), memory);
  memory.assign((a.head_dim + a.v_head_dim) * kKeyBlock, 0.0f);
  std::vector<float> widened;
  for (size_t slot = 0; slot < kKeyBlock; ++slot) {
    const size_t at = b.block * kKeyBlock + slot;
    if (b.pooled) {
      if (at >= tile.block) break;
      const float* const mean = args.state_of(a.entry(tile.sequence, at, tile.kv_head));
      put(a, memory.data(), slot, mean, 1, mean + a.head_dim);
    } else {
      if (at >= visit.keys.size()) break;
      const auto position = static_cast<size_t>(visit.keys[at]);
      const BlockData from = read_block(a, a.entry(tile.sequence, position / kKeyBlock, tile.kv_head), widened);
      put(a, memory.data(), slot, from.keys + position % kKeyBlock, kKeyBlock, from.values + position % kKeyBlock * a.v_head_dim);
    }
  }
  return {memory.data(), memory.data() + a.head_dim * kKeyBlock};
}

void turn(const PatternArgs& args, float* x, size_t position, bool back) {
  const float* const cos = args.cos + position * args.pairs;
  const float* const sin = args.sin + position * args.pairs;
  for (size_t i = 0; i < args.pairs; ++i) {
    float& first = x[args.pattern.rope_interleaved ? 2 * i : i];
    float& second = x[args.pattern.rope_interleaved ? 2 * i + 1 : i + args.pairs];
    const float s = back ? -sin[i] : sin[i], was = first;
    first = was * cos[i] - second * s;
    second = was * s + second * cos[i];
  }
}

}  // namespace ds::cpu
