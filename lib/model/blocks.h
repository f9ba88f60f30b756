// Inside the room: what forward and backward share.
#pragma once
#include "base/error.h"
#include "model/decoder.h"

namespace ds {

// The norms between the two halves of latent projections have an epsilon of their own in DeepSeek's code.
constexpr float kLatentNormEps = 1e-6f;

inline AttentionSpec attention_spec(const Config& c, int64_t layer) {
  AttentionSpec spec;
  spec.heads = static_cast<int>(c.num_attention_heads);
  spec.kv_heads = static_cast<int>(c.kv_heads());
  spec.head_dim = static_cast<int>(c.head_dim);
  spec.v_head_dim = static_cast<int>(c.v_head_dim);
  spec.scale = c.attention_scale;
  spec.window = static_cast<int>(c.is_sliding(layer) ? c.sliding_window : c.attention_window);
  spec.window_kv_heads = c.is_sliding(layer) ? 0 : static_cast<int>(c.attention_local_heads);
  spec.softcap = c.attn_logit_softcapping;
  return spec;
}
// The pattern of a layer, whose attention is the general one.
inline AttentionPattern pattern_of(const Config& c, int64_t layer) {
  AttentionPattern pattern = c.pattern;
  if (c.is_sliding(layer)) pattern.kind = AttentionPattern::Kind::all;
  pattern.rope_interleaved = c.rope_interleave;
  return pattern;
}
inline PatternPages pattern_pages(const KvCache& cache, int64_t layer) {
  return {cache.k_pages(layer), cache.v_pages(layer), cache.pattern_state(layer), cache.cos(layer), cache.sin(layer)};
}
// Which pages rows need when they are written: old ones may be gone.
inline AttentionSpec write_spec(const Config& c, int64_t layer) {
  AttentionSpec spec = attention_spec(c, layer);
  if (c.is_windowed(layer) && !c.is_sliding(layer)) spec.window = static_cast<int>(c.cache_window());
  return spec;
}
// The same attention with the latent vectors as keys and values, which all heads share.
inline AttentionSpec latent_spec(const Config& c, int64_t layer) {
  AttentionSpec spec = attention_spec(c, layer);
  spec.kv_heads = 1;
  spec.head_dim = static_cast<int>(c.kv_lora_rank + c.qk_rope_head_dim);
  spec.v_head_dim = static_cast<int>(c.kv_lora_rank);
  // In i8 the rotated key, which is not normed, and the latent vector have scales apart: both forms read the same numbers.
  spec.key_split = static_cast<int>(c.kv_lora_rank);
  return spec;
}

// The rotated columns: the last ones of a query head of MLA, whole heads otherwise. MLA's shared key has only those.
inline RopeSpec rope_spec(const Config& c, bool shared_key, bool inverse) {
  RopeSpec spec;
  spec.head_dim = static_cast<int>(shared_key ? c.qk_rope_head_dim : c.head_dim);
  spec.offset = static_cast<int>(c.is_mla() && !shared_key ? c.qk_nope_head_dim : 0);
  spec.interleaved = c.rope_interleave;
  spec.inverse = inverse;
  return spec;
}

// y = the config's norm of x; only LayerNorm has a bias, and only RMSNorm stands without one (of heads, of latent vectors).
inline void apply_norm(const Config& c, const Tensor& x, const Tensor& weight, const Tensor& bias, float eps, const Tensor& y) {
  if (bias) layer_norm(x, weight, bias, eps, y);
  else rms_norm(x, weight, eps, c.norm_plus_one, y);
}
// dx (+)= the gradient of x; dweight and dbias grow by theirs.
inline void apply_norm_backward(const Config& c, const Tensor& dy, const Tensor& x, const Tensor& weight, float eps, const Tensor& dx,
                                const Tensor& dweight, const Tensor& dbias, bool accumulate) {
  if (dbias) layer_norm_backward(dy, x, weight, eps, dx, dweight, dbias, accumulate);
  else rms_norm_backward(dy, x, weight, eps, c.norm_plus_one, dx, dweight, accumulate);
}
// Experts whose outputs attend to each other.
inline int expert_group_size(const Config& c) { return static_cast<int>(c.n_routed_experts / c.router.n_group); }

inline Tensor indices_view(const std::vector<int32_t>& values) {
  return make_tensor(const_cast<int32_t*>(values.data()), DType::i32, {static_cast<int64_t>(values.size())});
}
inline Rows rows_of(const TokenBatch& batch, const KvCache& cache, int64_t layer) {
  return {indices_view(batch.sequences), indices_view(batch.positions), cache.page_table(layer)};
}

// ---- forward.cpp ----

// The dropout of a place: of the embedding (layer -1, 0), or of what attention (0) or feed-forward (1) of a layer add.
inline DropoutSpec dropout_spec(const Activations& acts, int64_t layer, int half) {
  const uint64_t place = static_cast<uint64_t>(layer + 1) << 1 | static_cast<uint64_t>(half);
  return {acts.dropout, acts.dropout_seed, acts.dropout_step << 16 | place, acts.dropout_first_row};
}

// One block alone: y[T, H] from x[T, H], the rows of a batch, whose keys and values go into the cache's `layer`. What it
// needs besides comes from `memory`.
void run_block(const Config& config, const LayerWeights& weights, int64_t layer, const TokenBatch& batch, KvCache& cache, const Tensor& x,
               const Tensor& y, Arena& memory);

// ---- forward.cpp ----

// Rounds what passes from block to block, or its gradient, to acts.storage.
inline void round_stored(const Activations& acts, const Tensor& x, Arena& memory) {
  if (acts.storage == DType::f32) return;
  const Arena::Mark before = memory.mark();
  const Tensor narrow = memory.make_uninitialized(acts.storage, {x.rows(), x.cols()});
  convert(x, narrow);
  convert(narrow, x);
  memory.rewind(before);
}

// What forward with keep_all left of a layer, anew from a.input, to the bit.
void recompute_block(const Config& config, const LayerWeights& weights, const TokenBatch& batch, KvCache& cache, int64_t layer,
                     const Activations& acts, LayerActivations& a, Arena& memory);

// ---- lora.cpp ----

// The rows of one adapter, at least one: numbers of rows of an input, ascending. Where they are those of experts,
// offsets[e] .. offsets[e+1]-1 of them are of expert e.
struct AdaptedRows {
  const Adapter* adapter;
  std::vector<int32_t> rows, offsets;
};
// Of a batch; and of the rows that its choices of experts make (ops.h: sort_by_expert).
std::vector<AdaptedRows> adapted_rows(const TokenBatch& batch, std::span<const Adapter> adapters);
std::vector<AdaptedRows> adapted_choices(std::span<const AdaptedRows> tokens, const Tensor& offsets, const Tensor& row_of_slot, int top_k);
// y[t] += b (a x[t]) for the rows of every adapter that has the matrix `of` of this layer.
void add_adapters(std::span<const AdaptedRows> all, int64_t layer, Tensor LayerWeights::*of, const Tensor& x, const Tensor& y,
                  Arena& memory);

// ---- latent.cpp ----

// Rows of a batch, and where they stand.
struct RowSet {
  std::vector<int32_t> rows, sequences, positions;
};
// What latent attention does for a batch, decided once for all layers. Given tokens attend to keys and values of all
// heads, expanded from the latent vectors of their sequences, some sequences at a time; generated ones to the latent
// vectors themselves.
struct LatentPlan {
  struct Group {
    RowSet given;               // `sequences` are indices into `members`
    std::vector<int32_t> members, lengths;  // sequences of the cache, and how many of their positions are needed
  };
  std::vector<Group> groups;
  RowSet generated;
};
constexpr int64_t kGroupPositions = 2048;  // sequences are expanded together up to so many positions,
constexpr int64_t kExpandedChunk = 256;    // so many at a time
LatentPlan plan_latent(const TokenBatch& batch);
int64_t expanded_blocks(const LatentPlan& plan);  // kKeyBlock positions each, of the largest group
// Bytes of the arena that a pass of `tokens` rows takes at most, without adapters and keep_all.
uint64_t pass_bytes(const Config& config, int64_t tokens, int64_t blocks);
// Writes c_kv[T, kv_lora], normed, and k_rope[T, rope], rotated, to a latent cache.
void latent_write(const Config& config, const Tensor& c_kv, const Tensor& k_rope, const Rows& at, const KvCache& cache, int64_t layer,
                  Arena& memory);
// out[T, heads * v] for q[T, heads * head_dim], rotated, over a latent cache that has the batch's rows already.
void latent_attention(const Config& config, const LayerWeights& weights, const LatentPlan& plan, const KvCache& cache, int64_t layer,
                      const Tensor& q, const Tensor& out, Arena& memory);

}  // namespace ds
