// The innermost loops of attention: a few query heads (items) against a span of keys. Each score is one chain of fused
// multiply-adds over head_dim and each output one over the keys in their order, so neither the number of items beside one
// another nor the width of registers changes a bit.
//
// Included once a target, after foreach_target.h, as simd.h is.
#if defined(DS_TENSOR_CPU_ATTENTION_SPAN_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef DS_TENSOR_CPU_ATTENTION_SPAN_INL_H_
#undef DS_TENSOR_CPU_ATTENTION_SPAN_INL_H_
#else
#define DS_TENSOR_CPU_ATTENTION_SPAN_INL_H_
#endif

#include "tensor/cpu/simd.h"

HWY_BEFORE_NAMESPACE();
namespace ds::cpu::HWY_NAMESPACE {

constexpr size_t kBlockVectors = kKeyBlock / kLanes;

// Asks for what the next span will read, a line at a time, beside the reading of this one: single rows of queries are as
// fast as memory is, and the pages of a sequence lie apart.
HWY_INLINE void fetch(const void* p) { __builtin_prefetch(p, 0, 2); }

// An entry of i8 pages as f32, each number times its scale; asks for what the entry `next` has at the same places.
HWY_INLINE void widen_keys(const AttentionPages& a, size_t entry, size_t next, float* to) {
  const int8_t* const from = a.keys<int8_t>(entry);
  const int8_t* const later = a.keys<int8_t>(next);
  for (size_t part = 0; part < a.key_parts; ++part) {
    const float* const scales = a.key_scales(entry) + part * kKeyBlock;
    F32x16 scale[kBlockVectors];
    for (size_t j = 0; j < kBlockVectors; ++j) {
      scale[j] = load(scales + j * kLanes);
      fetch(a.key_scales(next) + part * kKeyBlock + j * kLanes);
    }
    const auto [begin, end] = a.key_part(part);
    for (size_t row = begin * kKeyBlock; row < end * kKeyBlock; row += kKeyBlock) {
      fetch(later + row);
      HWY_UNROLL(16) for (size_t j = 0; j < kBlockVectors; ++j)
        store(load_i8(from + row + j * kLanes) * scale[j], to + row + j * kLanes);
    }
  }
}
HWY_INLINE void widen_values(const AttentionPages& a, size_t entry, size_t next, float* to) {
  const int8_t* from = a.values<int8_t>(entry);
  const int8_t* later = a.values<int8_t>(next);
  const float* const scales = a.value_scales(entry);
  for (size_t i = 0; i < a.value_parts * kKeyBlock; i += kLanes) fetch(a.value_scales(next) + i);
  for (size_t key = 0; key < kKeyBlock; ++key, from += a.v_head_dim, later += a.v_head_dim, to += a.v_head_dim) {
    for (size_t part = 0; part < a.value_parts; ++part) {
      const float scale = scales[part * kKeyBlock + key];
      auto [i, end] = a.value_part(part);
      fetch(later + i);
      for (; i + kLanes <= end; i += kLanes) store(load_i8(from + i) * scale, to + i);
      for (; i < end; ++i) to[i] = static_cast<float>(from[i]) * scale;
    }
  }
}

// scores[r][16 c ..] of R items for C vectors of keys, from vector `first` of the span on.
template <size_t R, size_t C>
HWY_NOINLINE void score_vectors(const AttentionSpan& span, size_t head_dim, const float* q, float* scores, size_t first, bool fetching) {
  const float *keys[C], *next[C];
  F32x16 sum[R][C];
  HWY_UNROLL(16) for (size_t j = 0; j < C; ++j) {
    const size_t block = (first + j) / kBlockVectors, at = (first + j) % kBlockVectors * kLanes;
    keys[j] = span.keys[block] + at;
    next[j] = span.next_keys[block] + at;
    HWY_UNROLL(16) for (size_t r = 0; r < R; ++r) sum[r][j] = 0.0f;
  }
  for (size_t k = 0; k < head_dim; ++k) {
    F32x16 x[C];
    HWY_UNROLL(16) for (size_t j = 0; j < C; ++j) {
      x[j] = load(keys[j] + k * kKeyBlock);
      if (fetching) fetch(next[j] + k * kKeyBlock);
    }
    const float* row = q + k;
    HWY_UNROLL(16) for (size_t r = 0; r < R; ++r, row += head_dim) {
      const F32x16 a = *row;
      HWY_UNROLL(16) for (size_t j = 0; j < C; ++j) sum[r][j] = mul_add(a, x[j], sum[r][j]);
    }
  }
  HWY_UNROLL(16) for (size_t r = 0; r < R; ++r)
    HWY_UNROLL(16) for (size_t j = 0; j < C; ++j) store(sum[r][j], scores + r * kSpanKeys + (first + j) * kLanes);
}

template <size_t R, size_t C>
HWY_INLINE void score_rows(const AttentionSpan& span, size_t head_dim, const float* q, float* scores, size_t blocks, bool fetching) {
  const size_t end = blocks * kBlockVectors;
  size_t v = 0;
  for (; v + C <= end; v += C) score_vectors<R, C>(span, head_dim, q, scores, v, fetching);
  if constexpr (C > kBlockVectors)  // short sequences have a block or two
    for (; v + kBlockVectors <= end; v += kBlockVectors) score_vectors<R, kBlockVectors>(span, head_dim, q, scores, v, fetching);
  for (; v < end; ++v) score_vectors<R, 1>(span, head_dim, q, scores, v, fetching);
}

// The scores of `count` items for the first `blocks` blocks of the span. Tiles that keep 12 to 16 chains in registers: 16
// of 32 with AVX-512, 12 of 16 with AVX2 (where a vector is two).
HWY_INLINE void score_items(const AttentionSpan& span, size_t head_dim, const float* q, float* scores, size_t count, size_t blocks) {
  constexpr bool wide = kParts == 1;
  constexpr size_t kMany = wide ? 12 : 6, kSome = wide ? 4 : 3;
  size_t r = 0;
  for (; r + kMany <= count; r += kMany)
    score_rows<kMany, wide ? 2 : 1>(span, head_dim, q + r * head_dim, scores + r * kSpanKeys, blocks, span.fetching && r == 0);
  for (; r + kSome <= count; r += kSome)
    score_rows<kSome, wide ? 4 : 2>(span, head_dim, q + r * head_dim, scores + r * kSpanKeys, blocks, span.fetching && r == 0);
  for (; r + 2 <= count; r += 2) score_rows<2, wide ? 8 : 3>(span, head_dim, q + r * head_dim, scores + r * kSpanKeys, blocks, span.fetching && r == 0);
  for (; r < count; ++r) score_rows<1, wide ? 8 : 4>(span, head_dim, q + r * head_dim, scores + r * kSpanKeys, blocks, span.fetching && r == 0);
}

// out[r][col ..] += the sum over keys [begin, end) of the span of weights[r][key] * value, C vectors; the last one has
// `lanes` lanes.
template <size_t R, size_t C>
HWY_NOINLINE void add_value_vectors(const AttentionSpan& span, size_t v_dim, const float* weights, float* out, size_t col, size_t begin,
                                    size_t end, size_t lanes, bool fetching) {
  F32x16 sum[R][C];
  const auto load_at = [&](const float* p, size_t j) HWY_ATTR { return C == 1 ? load(p, lanes) : load(p + j * kLanes); };
  HWY_UNROLL(16) for (size_t r = 0; r < R; ++r)
    HWY_UNROLL(16) for (size_t j = 0; j < C; ++j) sum[r][j] = load_at(out + r * v_dim + col, j);
  for (size_t key = begin; key < end;) {
    const size_t block = key / kKeyBlock, stop = std::min(end, (block + 1) * kKeyBlock);
    const float* const values = span.values[block] + col;
    const float* const next = span.next_values[block] + col;
    for (; key < stop; ++key) {
      const size_t row = key % kKeyBlock * v_dim;
      F32x16 x[C];
      HWY_UNROLL(16) for (size_t j = 0; j < C; ++j) {
        x[j] = load_at(values + row, j);
        if (fetching) fetch(next + row + j * kLanes);
      }
      HWY_UNROLL(16) for (size_t r = 0; r < R; ++r) {
        const F32x16 a = weights[r * kSpanKeys + key];
        HWY_UNROLL(16) for (size_t j = 0; j < C; ++j) sum[r][j] = mul_add(a, x[j], sum[r][j]);
      }
    }
  }
  HWY_UNROLL(16) for (size_t r = 0; r < R; ++r)
    HWY_UNROLL(16) for (size_t j = 0; j < C; ++j) {
      float* const to = out + r * v_dim + col + j * kLanes;
      if constexpr (C == 1)
        store(sum[r][j], to, lanes);
      else
        store(sum[r][j], to);
    }
}

// The same for all columns.
template <size_t R, size_t C>
HWY_INLINE void add_value_rows(const AttentionSpan& span, size_t v_dim, const float* weights, float* out, size_t begin, size_t end,
                               bool fetching) {
  size_t col = 0;
  for (; col + C * kLanes <= v_dim; col += C * kLanes)
    add_value_vectors<R, C>(span, v_dim, weights, out, col, begin, end, kLanes, fetching);
  for (; col < v_dim; col += kLanes)
    add_value_vectors<R, 1>(span, v_dim, weights, out, col, begin, end, std::min(kLanes, v_dim - col), fetching);
}

// R items that see the keys [begin[r], end[r]) of the span, each over exactly those (the others may hold anything):
// together over what all of them see, and one by one before and after it.
template <size_t R, size_t C>
HWY_INLINE void add_value_items(const AttentionSpan& span, size_t v_dim, const AttentionItem* items, const float* weights, float* out,
                                bool fetching) {
  size_t begin = 0, end = kSpanKeys;
  for (size_t r = 0; r < R; ++r) begin = std::max(begin, items[r].begin), end = std::min(end, items[r].end);
  if (begin >= end) begin = end = kSpanKeys;  // nothing in common: the first loop does all
  constexpr size_t kOne = kParts == 1 ? 4 : 2;
  const auto alone = [&](size_t r, size_t from, size_t to) HWY_ATTR {
    if (from < to) add_value_rows<1, kOne>(span, v_dim, weights + r * kSpanKeys, out + r * v_dim, from, to, false);
  };
  for (size_t r = 0; r < R; ++r) alone(r, items[r].begin, std::min(items[r].end, begin));
  if (begin == kSpanKeys) return;
  add_value_rows<R, C>(span, v_dim, weights, out, begin, end, fetching);
  for (size_t r = 0; r < R; ++r) alone(r, end, items[r].end);
}

HWY_INLINE void add_values(const AttentionSpan& span, size_t v_dim, const AttentionItem* items, size_t count, const float* weights,
                           float* out) {
  constexpr bool wide = kParts == 1;
  constexpr size_t kMany = wide ? 12 : 6, kSome = wide ? 4 : 3;
  size_t r = 0;
  for (; r + kMany <= count; r += kMany)
    add_value_items<kMany, wide ? 2 : 1>(span, v_dim, items + r, weights + r * kSpanKeys, out + r * v_dim, span.fetching && r == 0);
  for (; r + kSome <= count; r += kSome)
    add_value_items<kSome, wide ? 4 : 2>(span, v_dim, items + r, weights + r * kSpanKeys, out + r * v_dim, span.fetching && r == 0);
  for (; r < count; ++r)
    add_value_items<1, wide ? 4 : 2>(span, v_dim, items + r, weights + r * kSpanKeys, out + r * v_dim, span.fetching && r == 0);
}

// Turns an item's scores into exp(score - top), with what came before brought to the new top.
HWY_INLINE void softmax_span(AttentionItem& item, float softcap, float* scores, float* out, size_t v_dim) {
  const float lowest = -std::numeric_limits<float>::infinity();
  const size_t first = item.begin / kLanes, last = (item.end + kLanes - 1) / kLanes;
  F32x16 greatest = lowest;
  for (size_t i = first; i < last; ++i) {
    F32x16 x = load(scores + i * kLanes);
    if (softcap > 0) x = tanh(x / softcap) * softcap;
    if (i == first) x = select(first_lanes(item.begin - i * kLanes), lowest, x);
    if (i + 1 == last) x = select(first_lanes(item.end - i * kLanes), x, lowest);
    greatest = max(greatest, x);
    store(x, scores + i * kLanes);
  }
  const float top = std::max(item.top, reduce_max(greatest));
  F32x16 sum = 0.0f;
  for (size_t i = first; i < last; ++i) {
    const F32x16 e = exp(load(scores + i * kLanes) - top);
    store(e, scores + i * kLanes);
    sum += e;
  }
  if (top == item.top) {
    item.sum += reduce_add(sum);
    return;
  }
  const float factor = math::exp(item.top - top);
  item.sum = std::fma(item.sum, factor, reduce_add(sum));
  item.top = top;
  for (size_t i = 0; i < v_dim; i += kLanes) store(load(out + i, v_dim - i) * factor, out + i, v_dim - i);
}

}  // namespace ds::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
