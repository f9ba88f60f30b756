// Buckets of keys, as lists that are kept with the pages: for each page where every bucket's list ended before it, and for
// each key its bucket and the key before it in that. A query follows its bucket's list back from its own position, so what
// it costs does not grow with the sequence.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/attention_pattern_lsh.cpp"
#include <hwy/foreach_target.h>
#include "tensor/cpu/attention_pattern.h"
#include "tensor/cpu/small_product-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ds::cpu::HWY_NAMESPACE {

// y[half] = x[dim] rotation[dim, half].
static void project(const float* x, const float* rotation, size_t dim, size_t half, float* y) {
  small_product({.n = half, .k = dim, .a = x, .a_row = dim, .a_step = 1, .b = rotation, .b_row = half, .c = y, .c_row = half,
                 .accumulate = false}, 0, 1);
}

}  // namespace ds::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "tensor/cpu/dispatch.h"

namespace ds::cpu {
HWY_EXPORT(project);

void lsh_buckets(const PatternArgs& args, const float* x, int32_t* buckets) {
  const size_t half = static_cast<size_t>(args.pattern.lsh_buckets) / 2, dim = args.a.head_dim;
  const auto kernel = DS_SIMD_DISPATCH(project);
  std::vector<float> y(half);
  for (size_t round = 0; round < static_cast<size_t>(args.pattern.lsh_rounds); ++round) {
    kernel(x, args.lsh_rotation + round * dim * half, dim, half, y.data());
    size_t best = 0;
    float most = y[0];
    for (size_t i = 0; i < 2 * half; ++i)
      if (const float value = i < half ? y[i] : -y[i - half]; value > most) best = i, most = value;
    buckets[round] = static_cast<int32_t>(best);
  }
}

namespace {

// A page's lists of one round. Positions; -1: none.
struct PageLists {
  int32_t *ends, *bucket, *previous;  // [buckets] before the page, [kKeyBlock], [kKeyBlock]

  PageLists(const PatternArgs& args, int32_t sequence, size_t kv_head, size_t block, size_t round) {
    const size_t buckets = static_cast<size_t>(args.pattern.lsh_buckets);
    void* const state = args.state_of(args.a.entry(sequence, block, kv_head));
    ends = static_cast<int32_t*>(state) + round * (buckets + 2 * kKeyBlock);
    bucket = ends + buckets;
    previous = bucket + kKeyBlock;
  }
  // The last key of the bucket before slot `slots` of the page, which is `block`.
  int32_t last(int32_t of, size_t block, size_t slots) const {
    for (size_t j = slots; j-- > 0;)
      if (bucket[j] == of) return static_cast<int32_t>(block * kKeyBlock + j);
    return ends[of];
  }
};

}  // namespace

void lsh_write(const PatternArgs& args, int32_t sequence, size_t kv_head, size_t first, size_t last) {
  const AttentionPages& a = args.a;
  const auto rounds = static_cast<size_t>(args.pattern.lsh_rounds), buckets = static_cast<size_t>(args.pattern.lsh_buckets);
  std::vector<float> memory, key(a.head_dim);
  std::vector<int32_t> own(rounds);
  for (size_t p = first; p <= last; ++p) {
    const size_t block = p / kKeyBlock, slot = p % kKeyBlock;
    const BlockData data = read_block(a, a.entry(sequence, block, kv_head), memory);
    for (size_t d = 0; d < a.head_dim; ++d) key[d] = data.keys[d * kKeyBlock + slot];
    lsh_buckets(args, key.data(), own.data());
    for (size_t round = 0; round < rounds; ++round) {
      const PageLists page(args, sequence, kv_head, block, round);
      if (slot == 0 && block == 0) std::fill(page.ends, page.ends + buckets, -1);
      if (slot == 0 && block > 0) {
        const PageLists ahead(args, sequence, kv_head, block - 1, round);
        std::copy(ahead.ends, ahead.ends + buckets, page.ends);
        for (size_t j = 0; j < kKeyBlock; ++j) page.ends[ahead.bucket[j]] = static_cast<int32_t>((block - 1) * kKeyBlock + j);
      }
      page.previous[slot] = page.last(own[round], block, slot);
      page.bucket[slot] = own[round];
    }
  }
}

std::vector<int32_t> lsh_visited(const PatternArgs& args, const PatternTile& tile, const float* query) {
  const auto rounds = static_cast<size_t>(args.pattern.lsh_rounds);
  const auto own = static_cast<size_t>(args.a.position[tile.row]);
  std::vector<int32_t> buckets(rounds), keys{static_cast<int32_t>(own)};
  lsh_buckets(args, query, buckets.data());
  for (size_t round = 0; round < rounds; ++round) {
    const auto lists = [&](size_t block) { return PageLists(args, tile.sequence, tile.kv_head, block, round); };
    int32_t at = lists(tile.block).last(buckets[round], tile.block, own % kKeyBlock + 1);
    for (int n = 0; at >= 0 && n < args.pattern.lsh_keys; ++n) {
      keys.push_back(at);
      at = lists(static_cast<size_t>(at) / kKeyBlock).previous[static_cast<size_t>(at) % kKeyBlock];
    }
  }
  std::sort(keys.begin(), keys.end());
  keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
  return keys;
}

}  // namespace ds::cpu
#endif
