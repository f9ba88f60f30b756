// What the files of patterned attention share: checked arguments, tiles of rows, and the blocks that a tile visits.
#pragma once
#include <vector>

#include "tensor/cpu/attention.h"

namespace ds::cpu {

struct PatternArgs {
  AttentionPages a;
  AttentionPattern pattern;
  // Null where not in use.
  float* state;
  const float *score_norm, *position_bias, *block_bias, *memory_gate, *lsh_rotation, *cos, *sin;
  size_t state_size, pairs;       // pairs: columns of cos and sin
  std::vector<int32_t> bucket;    // of the distances below position_max_distance
  std::vector<int32_t> distances; // learned: [heads][max_blocks], those of the highest bias first

  bool is(AttentionPattern::Kind kind) const { return pattern.kind == kind; }
  size_t local_blocks() const { return static_cast<size_t>(pattern.local_blocks); }
  float* state_of(size_t entry) const { return state + entry * state_size; }
  size_t bucket_of(size_t distance) const {
    return static_cast<size_t>(distance < bucket.size() ? bucket[distance] : pattern.position_buckets - 1);
  }
};
PatternArgs pattern_args(const char* op, const PatternPages& pages, const Rows& at, const AttentionSpec& spec,
                         const AttentionPattern& pattern, const PatternWeights& weights);

// Items of one sequence and kv head that visit the same blocks: `heads` query heads from `head` on, of rows from `row` on
// that stand in one block of positions. Item i is head i % heads of row i / heads.
struct PatternTile {
  size_t row, rows, kv_head, head, heads, block;
  int32_t sequence;
  size_t count() const { return rows * heads; }
};
// The tiles of the batch, kv head by kv head of each run of rows, in order of rows.
std::vector<PatternTile> pattern_tiles(const PatternArgs& args);

// A block of kKeyBlock keys; or pooled, kKeyBlock blocks, whose means are its keys; or of lsh kKeyBlock of Visit::keys.
struct VisitedBlock {
  size_t block;
  bool pooled = false;
  bool whole = true;      // seen from its first key on, else from the row's first key of the window
  int32_t distance = -1;  // whose block_bias is added to its scores; -1: none
};
struct Visit {
  std::vector<VisitedBlock> blocks;
  std::vector<int32_t> keys;  // lsh: positions, ascending
  size_t width() const { return blocks.size() * kKeyBlock; }
};
// `query`, [head_dim], is of the tile's one item where the pattern is lsh.
Visit visited_blocks(const PatternArgs& args, const PatternTile& tile, const float* query);
// The keys of block i of a visit that a row at this position sees: [begin, end), perhaps none.
struct KeyRange {
  size_t begin, end;
};
KeyRange key_range(const PatternArgs& args, const PatternTile& tile, const Visit& visit, size_t i, size_t position);
// The position that stands for key `slot` of block i: of means, that of their last key.
inline size_t key_position(const Visit& visit, size_t i, size_t slot) {
  const size_t at = visit.blocks[i].block * kKeyBlock + slot;
  return !visit.keys.empty() ? static_cast<size_t>(visit.keys[at]) : visit.blocks[i].pooled ? at * kKeyBlock + kKeyBlock - 1 : at;
}

// Keys [head_dim][kKeyBlock] and values [kKeyBlock][v_head_dim] of a block as f32: where they lie, or widened into memory.
struct BlockData {
  const float *keys, *values;
};
BlockData read_block(const AttentionPages& a, size_t entry, std::vector<float>& memory);
// Those of block i of a visit, made up in `memory` where they are no page's: means, keys by themselves.
BlockData read_visited(const PatternArgs& args, const PatternTile& tile, const Visit& visit, size_t i, std::vector<float>& memory);

// x[head_dim] turned by the angles of its position, or back.
void turn(const PatternArgs& args, float* x, size_t position, bool back);

// buckets[rounds] of a vector x[head_dim]. (attention_pattern_lsh.cpp)
void lsh_buckets(const PatternArgs& args, const float* x, int32_t* buckets);
std::vector<int32_t> lsh_visited(const PatternArgs& args, const PatternTile& tile, const float* query);
void lsh_write(const PatternArgs& args, int32_t sequence, size_t kv_head, size_t first, size_t last);
constexpr size_t lsh_state_size(size_t rounds, size_t buckets) { return rounds * (buckets + 2 * kKeyBlock); }

}  // namespace ds::cpu
