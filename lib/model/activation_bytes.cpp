// How much memory a forward pass takes: the tensors of forward.cpp and latent.cpp, in their order.
#include <algorithm>

#include "base/sizes.h"
#include "model/blocks.h"

namespace ds {

namespace {

// Floats of one row.
int64_t attention_row(const Config& c) {
  const int64_t q = c.num_attention_heads * c.head_dim, out = c.num_attention_heads * c.v_head_dim;
  if (c.is_mla()) return c.hidden_size + 2 * c.q_lora_rank + 2 * (c.kv_lora_rank + c.qk_rope_head_dim) + c.kv_lora_rank + q + out;
  const int64_t k = c.kv_heads() * c.head_dim, v = c.kv_heads() * c.v_head_dim;
  return c.hidden_size + (c.qk_norm == Config::QkNorm::none ? 1 : 2) * (q + k) + v + out;
}

int64_t feed_forward_row(const Config& c, bool sparse) {
  const int64_t before = (c.post_norms ? 3 : 2) * c.hidden_size;
  if (!sparse) return before + (c.gated_mlp ? 3 : 2) * c.intermediate_size + (c.post_norms ? c.hidden_size : 0);
  return before + 2 * c.n_routed_experts + c.router.top_k * (4 + 2 * c.hidden_size + 3 * c.moe_intermediate_size) +
         3 * c.moe_intermediate_size * c.n_shared_experts;
}

// Floats of latent attention, let go of before the feed-forward: keys and values of given tokens' sequences for all heads and
// those tokens' queries and results, or else queries in the absorbed form.
int64_t latent_floats(const Config& c, int64_t tokens, int64_t blocks) {
  const int64_t heads = c.num_attention_heads, row = heads * (c.head_dim + c.v_head_dim);
  const int64_t chunk = kExpandedChunk * (c.kv_lora_rank + c.qk_rope_head_dim + heads * (c.qk_nope_head_dim + c.v_head_dim) + row);
  const int64_t expanded = blocks ? blocks * (row * kKeyBlock + kGroupPositions / kKeyBlock) + std::max(chunk, tokens * row) : 0;
  const int64_t absorbed = tokens * heads * (c.head_dim + 2 * c.kv_lora_rank + c.qk_rope_head_dim + c.v_head_dim);
  return std::max(expanded, absorbed);
}

}  // namespace

uint64_t pass_bytes(const Config& c, int64_t tokens, int64_t blocks) {
  int64_t after = c.is_mla() ? latent_floats(c, tokens, blocks) : 0, experts = 0;
  for (int64_t layer = 0; layer < c.num_hidden_layers; ++layer) {
    after = std::max(after, tokens * feed_forward_row(c, c.is_moe(layer)));
    if (c.is_moe(layer)) experts = c.n_routed_experts;
  }
  constexpr int64_t kTensors = 64;  // of a layer at most, 64 bytes lost to each
  return static_cast<uint64_t>(tokens * (3 * c.hidden_size + attention_row(c)) + after + experts) * sizeof(float) + kTensors * 64;
}

static int64_t blocks_of(int64_t positions) { return (positions + kKeyBlock - 1) / kKeyBlock; }

int64_t expanded_blocks(const LatentPlan& plan) {
  int64_t most = 0;
  for (const LatentPlan::Group& group : plan.groups) {
    int64_t blocks = 0;
    for (const int32_t length : group.lengths) blocks += blocks_of(length);
    most = std::max(most, blocks);
  }
  return most;
}

uint64_t activation_bytes(const Config& config, int64_t tokens, int64_t sequences, int64_t positions) {
  if (!config.is_mla()) return pass_bytes(config, tokens, 0);
  // One long sequence, or several of kGroupPositions together, the last block of each begun.
  const int64_t members = std::min({sequences, tokens, kGroupPositions});
  return pass_bytes(config, tokens, std::max(blocks_of(positions), blocks_of(std::min(kGroupPositions, members * positions)) + members - 1));
}

}  // namespace ds
