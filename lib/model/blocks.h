// Inside the room: what forward and backward share.
#pragma once
#include "base/error.h"
#include "model/decoder.h"

namespace ds {

// The norms between the two halves of latent projections have an epsilon of their own in DeepSeek's code.
constexpr float kLatentNormEps = 1e-6f;

inline AttentionSpec attention_spec(const Config& c) {
  AttentionSpec spec;
  spec.heads = static_cast<int>(c.num_attention_heads);
  spec.kv_heads = static_cast<int>(c.kv_heads());
  spec.head_dim = static_cast<int>(c.head_dim);
  spec.v_head_dim = static_cast<int>(c.v_head_dim);
  spec.scale = c.attention_scale;
  spec.window = static_cast<int>(c.sliding_window);
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

inline Tensor indices_view(const std::vector<int32_t>& values) {
  return make_tensor(const_cast<int32_t*>(values.data()), DType::i32, {static_cast<int64_t>(values.size())});
}
inline Rows rows_of(const TokenBatch& batch, const KvCache& cache) {
  return {indices_view(batch.sequences), indices_view(batch.positions), cache.page_table()};
}

}  // namespace ds
