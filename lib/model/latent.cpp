// Multi-head latent attention over a cache of latent vectors, in two forms (DeepSeek-V2, arXiv 2405.04434, section 2.1).
// Expanded: kv_b_proj makes keys and values of all heads. Absorbed: with kv_b_proj's halves W_k and W_v of a head,
// q.(W_k c) = (W_k^T q).c and the sum of p W_v c is W_v times that of p c, so that all heads share the vectors c as keys
// and values. They round differently; a row's form is decided by what its token is.
#include <algorithm>
#include <cstring>

#include "base/parallel.h"
#include "model/blocks.h"

namespace ds {

namespace {

void copy_floats(float* to, const float* from, int64_t count) { std::memcpy(to, from, static_cast<size_t>(count) * sizeof(float)); }

// Calls body(i) for i in [0, count), in parallel; each copies about `floats` numbers.
template <class Body>
void for_rows(int64_t count, int64_t floats, const Body& body) {
  const size_t grain = std::max<size_t>(1, 16384 / static_cast<size_t>(std::max<int64_t>(floats, 1)));
  parallel_for(static_cast<size_t>(count), grain, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) body(static_cast<int64_t>(i));
  });
}

int64_t count_of(const RowSet& set) { return static_cast<int64_t>(set.rows.size()); }

Tensor take_rows(const Tensor& x, const RowSet& set, Arena& memory) {
  const Tensor y = memory.make_uninitialized(DType::f32, {count_of(set), x.cols()});
  for_rows(y.rows(), x.cols(), [&](int64_t i) { copy_floats(y.f32() + i * y.cols(), x.f32() + set.rows[i] * x.row_stride, x.cols()); });
  return y;
}
void put_rows(const Tensor& x, const RowSet& set, const Tensor& y) {
  for_rows(x.rows(), x.cols(), [&](int64_t i) { copy_floats(y.f32() + set.rows[i] * y.row_stride, x.f32() + i * x.row_stride, x.cols()); });
}

// ---- Expanded ----

// Keys and values of all heads of some sequences, in pages of their own.
struct Expanded {
  Tensor k_pages, v_pages, table;
};

Expanded make_pages(const Config& c, const LatentPlan::Group& group, Arena& memory) {
  const auto blocks = [](int64_t length) { return (length + kKeyBlock - 1) / kKeyBlock; };
  int64_t pages = 0, longest = 0;
  for (const int32_t length : group.lengths) pages += blocks(length), longest = std::max(longest, blocks(length));
  const int64_t heads = c.num_attention_heads;
  Expanded e{memory.make_uninitialized(DType::f32, {pages, heads, c.head_dim, kKeyBlock}),
             memory.make_uninitialized(DType::f32, {pages, heads, kKeyBlock, c.v_head_dim}),
             memory.make_uninitialized(DType::i32, {static_cast<int64_t>(group.lengths.size()), longest})};
  std::fill_n(e.table.i32(), e.table.elements(), -1);
  int32_t page = 0;
  for (size_t s = 0; s < group.lengths.size(); ++s) {
    for (int64_t b = 0; b < blocks(group.lengths[s]); ++b) e.table.i32()[static_cast<int64_t>(s) * longest + b] = page++;
    // What lies behind the end of a sequence is zero, as in the cache.
    for (const Tensor& side : {e.k_pages, e.v_pages}) {
      const int64_t floats = side.elements() / pages;
      std::fill_n(side.f32() + (page - 1) * floats, floats, 0.0f);
    }
  }
  return e;
}

// The latent vectors and the shared keys at some positions of the cache, as rows.
void read_latent(const Config& c, const KvCache& cache, int64_t layer, const int32_t* sequences, const int32_t* positions,
                 const Tensor& c_kv, const Tensor& k_rope) {
  const Tensor k_pages = cache.k_pages(layer), v_pages = cache.v_pages(layer), table = cache.page_table(layer);
  const int64_t lora = c.kv_lora_rank, rope = c.qk_rope_head_dim;
  for_rows(c_kv.rows(), lora + rope, [&](int64_t i) {
    const int64_t page = table.i32()[sequences[i] * table.shape[1] + positions[i] / kKeyBlock], slot = positions[i] % kKeyBlock;
    const int64_t value = (page * kKeyBlock + slot) * lora, key = (page * (lora + rope) + lora) * kKeyBlock + slot;
    float* const latent = c_kv.f32() + i * lora;
    float* const rotated = k_rope.f32() + i * rope;
    if (k_pages.dtype == DType::i8) {
      const int64_t parts = scale_parts(lora), key_parts = scale_parts(lora + rope, lora);
      const float* const v_scales = static_cast<const float*>(v_pages.scales) + page * parts * kKeyBlock + slot;
      const float* const k_scales = static_cast<const float*>(k_pages.scales) + (page * key_parts + parts) * kKeyBlock + slot;  // behind the latent's
      for (int64_t d = 0; d < lora; ++d)
        latent[d] = static_cast<float>(v_pages.as<int8_t>()[value + d]) * v_scales[d / kScaleColumns * kKeyBlock];
      for (int64_t d = 0; d < rope; ++d)
        rotated[d] = static_cast<float>(k_pages.as<int8_t>()[key + d * kKeyBlock]) * k_scales[d / kScaleColumns * kKeyBlock];
    } else {
      copy_floats(latent, v_pages.f32() + value, lora);
      for (int64_t d = 0; d < rope; ++d) rotated[d] = k_pages.f32()[key + d * kKeyBlock];
    }
  });
}

Expanded expand(const Config& c, const Tensor& kv_b_proj, const LatentPlan::Group& group, const KvCache& cache, int64_t layer,
                Arena& memory) {
  const Expanded e = make_pages(c, group, memory);
  std::vector<int32_t> in_cache, in_group, positions;
  for (size_t s = 0; s < group.members.size(); ++s)
    for (int32_t p = 0; p < group.lengths[s]; ++p) {
      in_cache.push_back(group.members[s]);
      in_group.push_back(static_cast<int32_t>(s));
      positions.push_back(p);
    }
  const int64_t total = static_cast<int64_t>(positions.size()), heads = c.num_attention_heads;
  const Arena::Mark chunk_begin = memory.mark();
  for (int64_t from = 0; from < total; from += kExpandedChunk) {
    const int64_t n = std::min(kExpandedChunk, total - from);
    const auto make = [&](int64_t columns) { return memory.make_uninitialized(DType::f32, {n, columns}); };
    const Tensor c_kv = make(c.kv_lora_rank), k_rope = make(c.qk_rope_head_dim), kv_b = make(heads * (c.qk_nope_head_dim + c.v_head_dim));
    const Tensor k = make(heads * c.head_dim), v = make(heads * c.v_head_dim);
    read_latent(c, cache, layer, in_cache.data() + from, positions.data() + from, c_kv, k_rope);
    linear(c_kv, kv_b_proj, kv_b);
    assemble_kv(kv_b, k_rope, static_cast<int>(heads), k, v);
    const Rows at{make_tensor(in_group.data() + from, DType::i32, {n}), make_tensor(positions.data() + from, DType::i32, {n}), e.table};
    kv_write(k, v, at, attention_spec(c, layer), e.k_pages, e.v_pages);
    memory.rewind(chunk_begin);
  }
  return e;
}

// ---- Absorbed ----

struct Absorbed {
  Tensor k, v;  // [heads, kv_lora, nope], [heads, v, kv_lora]
};

// kv_b_proj^T as f32[kv_lora, heads * (nope + v)]. The product with the unit matrix reads any layout and quantization.
Tensor transposed(const Tensor& kv_b_proj, Arena& memory) {
  const int64_t n = kv_b_proj.shape[0], k = kv_b_proj.shape[1];
  const Tensor y = memory.make_uninitialized(DType::f32, {k, n});
  if (kv_b_proj.layout == Layout::rows && kv_b_proj.dtype == DType::f32) {
    for_rows(k, n, [&](int64_t i) {
      for (int64_t j = 0; j < n; ++j) y.f32()[i * n + j] = kv_b_proj.f32()[j * k + i];
    });
    return y;
  }
  const Tensor unit = memory.make(DType::f32, {k, k});
  for (int64_t i = 0; i < k; ++i) unit.f32()[i * k + i] = 1;
  Tensor exact = kv_b_proj;
  exact.int8_activations = false;
  linear(unit, exact, y);
  return y;
}

Tensor narrowed(const Tensor& x, DType dtype, Arena& memory) {
  if (dtype == DType::f32) return x;
  const Tensor y = memory.make_uninitialized(dtype, {x.shape[0], x.shape[1], x.shape[2]});
  convert(x, y);
  return y;
}

Absorbed absorb(const Config& c, const Tensor& kv_b_proj, Arena& memory) {
  const int64_t heads = c.num_attention_heads, nope = c.qk_nope_head_dim, v = c.v_head_dim, lora = c.kv_lora_rank;
  const Tensor all = transposed(kv_b_proj, memory);
  const Tensor k_half = memory.make_uninitialized(DType::f32, {heads, lora, nope});
  const Tensor v_half = memory.make_uninitialized(DType::f32, {heads, v, lora});
  for_rows(heads, lora * (nope + v), [&](int64_t h) {
    for (int64_t i = 0; i < lora; ++i) {
      const float* const row = all.f32() + i * all.cols() + h * (nope + v);
      copy_floats(k_half.f32() + (h * lora + i) * nope, row, nope);
      for (int64_t j = 0; j < v; ++j) v_half.f32()[(h * v + j) * lora + i] = row[nope + j];
    }
  });
  const DType dtype = kv_b_proj.dtype == DType::f32 || kv_b_proj.dtype == DType::bf16 ? kv_b_proj.dtype : DType::f16;
  return {narrowed(k_half, dtype, memory), narrowed(v_half, dtype, memory)};
}

void attend_absorbed(const Config& c, const LayerWeights& w, const RowSet& set, const KvCache& cache, int64_t layer, const Tensor& q,
                     const Tensor& out, Arena& memory) {
  const int64_t heads = c.num_attention_heads, tokens = count_of(set), lora = c.kv_lora_rank, rope = c.qk_rope_head_dim;
  const int64_t nope = c.qk_nope_head_dim, key = lora + rope;
  const auto make = [&](int64_t columns) { return memory.make_uninitialized(DType::f32, {tokens, columns}); };
  const Absorbed half = w.absorbed_k ? Absorbed{w.absorbed_k, w.absorbed_v} : absorb(c, w.kv_b_proj, memory);
  std::vector<LinearCall> calls(static_cast<size_t>(heads));  // one for each head

  const bool all = tokens == q.rows();  // they stand in the order of the batch
  const Tensor own = all ? q : take_rows(q, set, memory), query = make(heads * key);
  for (int64_t h = 0; h < heads; ++h)
    calls[static_cast<size_t>(h)] = {columns(own, h * c.head_dim, nope), item(half.k, h), columns(query, h * key, lora), {}};
  linear_all(calls);
  for_rows(tokens, heads * rope, [&](int64_t t) {
    for (int64_t h = 0; h < heads; ++h)
      copy_floats(query.f32() + t * query.cols() + h * key + lora, own.f32() + t * own.row_stride + h * c.head_dim + nope, rope);
  });

  const Tensor mixed = make(heads * lora), values = all ? out : make(heads * c.v_head_dim);
  const Rows at{indices_view(set.sequences), indices_view(set.positions), cache.page_table(layer)};
  attention(query, cache.k_pages(layer), cache.v_pages(layer), at, latent_spec(c, layer), mixed, {});
  for (int64_t h = 0; h < heads; ++h)
    calls[static_cast<size_t>(h)] = {columns(mixed, h * lora, lora), item(half.v, h), columns(values, h * c.v_head_dim, c.v_head_dim), {}};
  linear_all(calls);
  if (!all) put_rows(values, set, out);
}

}  // namespace

LatentPlan plan_latent(const TokenBatch& batch) {
  LatentPlan plan;
  std::vector<int32_t> given;
  for (size_t t = 0; t < batch.tokens.size(); ++t) {
    if (batch.generated.empty() || !batch.generated[t]) {
      given.push_back(static_cast<int32_t>(t));
    } else {
      plan.generated.rows.push_back(static_cast<int32_t>(t));
      plan.generated.sequences.push_back(batch.sequences[t]);
      plan.generated.positions.push_back(batch.positions[t]);
    }
  }
  std::stable_sort(given.begin(), given.end(), [&](int32_t a, int32_t b) { return batch.sequences[a] < batch.sequences[b]; });
  int64_t positions = 0;  // of the last group
  for (size_t i = 0, end; i < given.size(); i = end) {
    const int32_t sequence = batch.sequences[given[i]];
    int32_t length = 0;
    for (end = i; end < given.size() && batch.sequences[given[end]] == sequence; ++end)
      length = std::max(length, batch.positions[given[end]] + 1);
    if (plan.groups.empty() || positions + length > kGroupPositions) {
      plan.groups.emplace_back();
      positions = 0;
    }
    positions += length;
    LatentPlan::Group& group = plan.groups.back();
    for (size_t j = i; j < end; ++j) {
      group.given.rows.push_back(given[j]);
      group.given.sequences.push_back(static_cast<int32_t>(group.members.size()));
      group.given.positions.push_back(batch.positions[given[j]]);
    }
    group.members.push_back(sequence);
    group.lengths.push_back(length);
  }
  return plan;
}

void latent_write(const Config& config, const Tensor& c_kv, const Tensor& k_rope, const Rows& at, const KvCache& cache, int64_t layer,
                  Arena& memory) {
  const int64_t lora = c_kv.cols(), rope = k_rope.cols();
  const Tensor key = memory.make_uninitialized(DType::f32, {c_kv.rows(), lora + rope});
  for_rows(key.rows(), key.cols(), [&](int64_t t) {
    copy_floats(key.f32() + t * key.cols(), c_kv.f32() + t * c_kv.row_stride, lora);
    copy_floats(key.f32() + t * key.cols() + lora, k_rope.f32() + t * k_rope.row_stride, rope);
  });
  kv_write(key, c_kv, at, latent_spec(config, layer), cache.k_pages(layer), cache.v_pages(layer));
}

void latent_attention(const Config& config, const LayerWeights& weights, const LatentPlan& plan, const KvCache& cache, int64_t layer,
                      const Tensor& q, const Tensor& out, Arena& memory) {
  const Arena::Mark begin = memory.mark();
  for (const LatentPlan::Group& group : plan.groups) {
    const Expanded e = expand(config, weights.kv_b_proj, group, cache, layer, memory);
    const Rows at{indices_view(group.given.sequences), indices_view(group.given.positions), e.table};
    const Tensor own = take_rows(q, group.given, memory);
    const Tensor result = memory.make_uninitialized(DType::f32, {own.rows(), out.cols()});
    attention(own, e.k_pages, e.v_pages, at, attention_spec(config, layer), result, {});
    put_rows(result, group.given, out);
    memory.rewind(begin);
  }
  if (!plan.generated.rows.empty()) attend_absorbed(config, weights, plan.generated, cache, layer, q, out, memory);
  memory.rewind(begin);
}

void split_latent(const Config& config, std::span<LayerWeights> layers, Arena& arena) {
  if (!config.is_mla()) return;
  Arena scratch;
  for (LayerWeights& w : layers) {
    scratch.reset();
    const Absorbed half = absorb(config, w.kv_b_proj, scratch);
    w.absorbed_k = pack(half.k, arena);
    w.absorbed_v = pack(half.v, arena);
  }
}

}  // namespace ds
