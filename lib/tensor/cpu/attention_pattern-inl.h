// The scores of patterned attention, as forward and backward compute them. An item's row of scores has kKeyBlock places
// for each block that its tile visits; sums go over vectors of 16 in their order, so places that an item does not see
// change nothing, nor do the items beside it.
//
// Included once a target, after foreach_target.h, as simd.h is.
#if defined(DS_TENSOR_CPU_ATTENTION_PATTERN_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef DS_TENSOR_CPU_ATTENTION_PATTERN_INL_H_
#undef DS_TENSOR_CPU_ATTENTION_PATTERN_INL_H_
#else
#define DS_TENSOR_CPU_ATTENTION_PATTERN_INL_H_
#endif

#include "tensor/cpu/small_product-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ds::cpu::HWY_NAMESPACE {

constexpr float kScoreNormEps = 1e-5f;

// One item's row of scores.
struct ScoreRow {
  const PatternArgs* args;
  const PatternTile* tile;
  const Visit* visit;
  size_t head, position;
};

// Calls body(first place, mask of the lanes seen, their first and last + 1) for each vector of the row.
struct SeenLanes {
  size_t begin, end;
  HWY_INLINE F32x16 operator()(const F32x16& x, float otherwise) const {
    return select(first_lanes(begin), otherwise, select(first_lanes(end), x, otherwise));
  }
};
template <class Body>
HWY_INLINE void each_vector(const ScoreRow& row, const Body& body) {
  for (size_t i = 0; i < row.visit->blocks.size(); ++i) {
    const KeyRange range = key_range(*row.args, *row.tile, *row.visit, i, row.position);
    for (size_t lane = 0; lane < kKeyBlock; lane += kLanes) {
      const size_t begin = range.begin > lane ? range.begin - lane : 0, end = range.end > lane ? std::min(range.end - lane, kLanes) : 0;
      body(i, i * kKeyBlock + lane, SeenLanes{std::min(begin, end), end});
    }
  }
}

// What normalisation of a row found.
struct ScoreNorm {
  float mean = 0, rstd = 1, count = 0;
};

HWY_INLINE ScoreNorm score_norm(const ScoreRow& row, const float* scores) {
  F32x16 sum = 0.0f;
  size_t count = 0;
  each_vector(row, [&](size_t, size_t at, SeenLanes seen) HWY_ATTR { sum += seen(load(scores + at), 0.0f), count += seen.end - seen.begin; });
  ScoreNorm norm;
  norm.count = static_cast<float>(count);
  norm.mean = reduce_add(sum) / norm.count;
  F32x16 squares = 0.0f;
  each_vector(row, [&](size_t, size_t at, SeenLanes seen) HWY_ATTR {
    const F32x16 x = seen(load(scores + at) - norm.mean, 0.0f);
    squares = mul_add(x, x, squares);
  });
  norm.rstd = 1.0f / std::sqrt(reduce_add(squares) / norm.count + kScoreNormEps);
  return norm;
}

// The biases of 16 scores: by position one by one but where all are far away, and that of the block.
HWY_INLINE F32x16 score_bias(const ScoreRow& row, size_t block, size_t at, SeenLanes seen) {
  const PatternArgs& args = *row.args;
  F32x16 bias = 0.0f;
  if (args.position_bias) {
    const float* const own = args.position_bias + row.head * static_cast<size_t>(args.pattern.position_buckets);
    float lanes[kLanes] = {};
    for (size_t lane = seen.begin; lane < seen.end; ++lane)
      lanes[lane] = own[args.bucket_of(row.position - key_position(*row.visit, block, at % kKeyBlock + lane))];
    bias = load(lanes);
  }
  const int32_t distance = row.visit->blocks[block].distance;
  if (args.block_bias && distance >= 0)
    bias += F32x16(args.block_bias[row.head * static_cast<size_t>(args.pattern.max_blocks) + static_cast<size_t>(distance)]);
  return bias;
}

// From q.k, in place: capped, normalised, biased; the greatest is returned.
HWY_INLINE float finish_scores(const ScoreRow& row, float* scores) {
  const PatternArgs& args = *row.args;
  const float cap = args.a.spec.softcap, lowest = -std::numeric_limits<float>::infinity();
  if (cap > 0)
    each_vector(row, [&](size_t, size_t at, SeenLanes) HWY_ATTR { store(tanh(load(scores + at) / cap) * cap, scores + at); });
  ScoreNorm norm;
  if (args.score_norm) norm = score_norm(row, scores);
  F32x16 greatest = lowest;
  each_vector(row, [&](size_t block, size_t at, SeenLanes seen) HWY_ATTR {
    if (seen.begin >= seen.end) return;
    F32x16 x = load(scores + at);
    if (args.score_norm) x = (x - norm.mean) * norm.rstd * args.score_norm[row.head];
    if (args.position_bias || args.block_bias) x += score_bias(row, block, at, seen);
    x = seen(x, lowest);
    greatest = max(greatest, x);
    store(x, scores + at);
  });
  return reduce_max(greatest);
}

// scores[count][width] of queries [count][head_dim] for all blocks.
HWY_INLINE void score_blocks(const std::vector<const float*>& keys, size_t dim, const float* q, size_t count, float* scores) {
  const size_t width = keys.size() * kKeyBlock;
  for (size_t i = 0; i < keys.size(); ++i)
    small_product({.n = kKeyBlock, .k = dim, .a = q, .a_row = dim, .a_step = 1, .b = keys[i], .b_row = kKeyBlock,
                   .c = scores + i * kKeyBlock, .c_row = width, .accumulate = false}, 0, count);
}

// f of compressed memory, ELU + 1, and its slope.
HWY_INLINE float memory_feature(float x) { return x > 0 ? x + 1.0f : math::exp(x); }
HWY_INLINE float memory_slope(float x) { return x > 0 ? 1.0f : math::exp(x); }
constexpr float kMemoryEps = 1e-6f;

HWY_INLINE float chain_dot(const float* x, const float* y, size_t n) {
  F32x16 sum = 0.0f;
  for (size_t i = 0; i < n; i += kLanes) sum = mul_add(load(x + i, n - i), load(y + i, n - i), sum);
  return reduce_add(sum);
}

}  // namespace ds::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
