// The decoder, forward: x += attention(norm(x)); x += feed_forward(norm(x)) in every block.
#include "base/error.h"
#include "model/blocks.h"
#include "tensor/device.h"

namespace ds {

namespace {

// One block at work: the weights it reads, and the activations it fills.
struct Block {
  const Config& c;
  const LayerWeights& w;
  LayerActivations& a;
  Arena& memory;
  const KvCache& cache;
  Rows at;
  const LatentPlan& plan;
  std::span<const AdaptedRows> adapted;
  int64_t layer, tokens;
  bool training;

  Tensor make(int64_t columns, DType dtype = DType::f32) { return memory.make_uninitialized(dtype, {tokens, columns}); }

  Tensor project(const Tensor& x, const Tensor& weight, const Tensor& bias = {}) {
    const Tensor y = memory.make_uninitialized(DType::f32, {x.rows(), weight.shape[0]});
    linear(x, weight, y);
    if (bias) add_bias(y, bias);
    return y;
  }
  // Adds what adapters add to the product of x by a weight.
  void adapt(const Tensor& x, Tensor LayerWeights::*weight, const Tensor& y) { add_adapters(adapted, layer, weight, x, y, memory); }

  Tensor norm(const Tensor& x, const Tensor& weight, float eps) {
    const Tensor y = make(x.cols());
    rms_norm(x, weight, eps, c.norm_plus_one, y);
    return y;
  }
  void rotate(const Tensor& x, bool shared_key) {
    rope(x, at.position, cache.cos(layer), cache.sin(layer), rope_spec(c, shared_key, false));
  }

  // Multi-head latent attention: queries, keys and values from low-rank projections.
  void latent_heads() {
    if (w.q_a_proj) {
      a.q_a = project(a.attn_in, w.q_a_proj, w.q_a_bias);
      adapt(a.attn_in, &LayerWeights::q_a_proj, a.q_a);
      a.q_a_normed = norm(a.q_a, w.q_a_norm, kLatentNormEps);
      a.q = project(a.q_a_normed, w.q_b_proj);
      adapt(a.q_a_normed, &LayerWeights::q_b_proj, a.q);
    } else {
      a.q = project(a.attn_in, w.q_proj);
      adapt(a.attn_in, &LayerWeights::q_proj, a.q);
    }
    rotate(a.q, false);

    a.kv_a = project(a.attn_in, w.kv_a_proj, w.kv_a_bias);
    adapt(a.attn_in, &LayerWeights::kv_a_proj, a.kv_a);
    const Tensor c_kv = columns(a.kv_a, 0, c.kv_lora_rank), k_rope = columns(a.kv_a, c.kv_lora_rank, c.qk_rope_head_dim);
    a.kv_a_normed = norm(c_kv, w.kv_a_norm, kLatentNormEps);
    rotate(k_rope, true);
    if (cache.latent()) return latent_write(c, a.kv_a_normed, k_rope, at, cache, layer, memory);

    a.kv_b = project(a.kv_a_normed, w.kv_b_proj);
    a.k = make(c.num_attention_heads * c.head_dim);
    a.v = make(c.num_attention_heads * c.v_head_dim);
    assemble_kv(a.kv_b, k_rope, static_cast<int>(c.num_attention_heads), a.k, a.v);
  }

  void plain_heads() {
    a.q = project(a.attn_in, w.q_proj, w.q_bias);
    a.k = project(a.attn_in, w.k_proj, w.k_bias);
    a.v = project(a.attn_in, w.v_proj, w.v_bias);
    adapt(a.attn_in, &LayerWeights::q_proj, a.q);
    adapt(a.attn_in, &LayerWeights::k_proj, a.k);
    adapt(a.attn_in, &LayerWeights::v_proj, a.v);
    if (w.q_norm) {
      a.q_unnormed = a.q, a.k_unnormed = a.k;
      a.q = norm(a.q_unnormed, w.q_norm, c.rms_norm_eps);
      a.k = norm(a.k_unnormed, w.k_norm, c.rms_norm_eps);
    }
    if (c.clip_qkv > 0)
      for (const Tensor& x : {a.q, a.k, a.v}) clamp(x, c.clip_qkv);
    rotate(a.q, false);
    rotate(a.k, false);
  }

  void attend() {
    a.attn_in = norm(a.input, w.input_norm, c.rms_norm_eps);
    if (c.is_mla()) latent_heads();
    else plain_heads();

    a.attn_out = make(c.num_attention_heads * c.v_head_dim);
    if (cache.latent()) {
      latent_attention(c, w, plan, cache, layer, a.q, a.attn_out, memory);
    } else {
      const AttentionSpec spec = attention_spec(c, layer);
      const Tensor k_pages = cache.k_pages(layer), v_pages = cache.v_pages(layer);
      kv_write(a.k, a.v, at, spec, k_pages, v_pages);
      if (training) a.lse = make(c.num_attention_heads);
      attention(a.q, k_pages, v_pages, at, spec, a.attn_out, a.lse);
    }
    a.mid = project(a.attn_out, w.o_proj, w.o_bias);
    adapt(a.attn_out, &LayerWeights::o_proj, a.mid);
    if (w.attention_out_norm) {
      a.attn_added = a.mid;
      a.mid = norm(a.attn_added, w.attention_out_norm, c.rms_norm_eps);
    }
    add(a.input, a.mid);
  }

  void gated(Tensor LayerWeights::*gate, const Tensor& gate_bias, Tensor LayerWeights::*up, const Tensor& up_bias) {
    a.gate = project(a.mlp_in, w.*gate, gate_bias);
    a.up = project(a.mlp_in, w.*up, up_bias);
    adapt(a.mlp_in, gate, a.gate);
    adapt(a.mlp_in, up, a.up);
    a.act = make(a.gate.cols());
    gated_activation(a.gate, a.up, c.hidden_act, a.act);
  }

  // Rows of the experts: gathered by expert, through the experts, and weighted back into y.
  void routed_experts(const Tensor& y) {
    const int top_k = c.router.top_k;
    const int64_t choices = tokens * top_k, inner = c.moe_intermediate_size;
    const auto make_choices = [&](int64_t columns) { return memory.make_uninitialized(DType::f32, {choices, columns}); };
    a.logits = project(a.mlp_in, w.router);
    adapt(a.mlp_in, &LayerWeights::router, a.logits);
    a.scores = make(c.n_routed_experts);
    a.indices = make(top_k, DType::i32);
    a.weights = make(top_k);
    route(a.logits, w.router_bias, c.router, a.scores, a.indices, a.weights);
    a.offsets = memory.make_uninitialized(DType::i32, {c.n_routed_experts + 1});
    a.slot_of_row = memory.make_uninitialized(DType::i32, {choices});
    a.row_of_slot = memory.make_uninitialized(DType::i32, {choices});
    sort_by_expert(a.indices, a.offsets, a.slot_of_row, a.row_of_slot);
    const std::vector<AdaptedRows> adapted_experts = adapted_choices(adapted, a.offsets, a.row_of_slot, top_k);
    const auto adapt_experts = [&](const Tensor& x, Tensor LayerWeights::*weight, const Tensor& out) {
      add_adapters(adapted_experts, layer, weight, x, out, memory);
    };

    a.expert_in = make_choices(c.hidden_size);
    gather_rows(a.mlp_in, a.slot_of_row, top_k, a.expert_in);
    a.expert_gate = make_choices(inner);
    a.expert_up = make_choices(inner);
    a.expert_act = make_choices(inner);
    a.expert_out = make_choices(c.hidden_size);
    grouped_linear(a.expert_in, a.offsets, w.experts_gate, a.expert_gate);
    grouped_linear(a.expert_in, a.offsets, w.experts_up, a.expert_up);
    adapt_experts(a.expert_in, &LayerWeights::experts_gate, a.expert_gate);
    adapt_experts(a.expert_in, &LayerWeights::experts_up, a.expert_up);
    gated_activation(a.expert_gate, a.expert_up, c.hidden_act, a.expert_act);
    grouped_linear(a.expert_act, a.offsets, w.experts_down, a.expert_out);
    adapt_experts(a.expert_act, &LayerWeights::experts_down, a.expert_out);
    combine(a.expert_out, a.row_of_slot, a.weights, y);
  }

  // y = mid + the feed-forward half.
  void feed_forward(const Tensor& y) {
    a.mlp_in = norm(a.mid, w.post_attention_norm, c.rms_norm_eps);
    if (!c.is_moe(layer)) {
      gated(&LayerWeights::gate_proj, w.gate_bias, &LayerWeights::up_proj, w.up_bias);
      if (w.mlp_out_norm) {
        a.mlp_added = project(a.act, w.down_proj, w.down_bias);
        adapt(a.act, &LayerWeights::down_proj, a.mlp_added);
        rms_norm(a.mlp_added, w.mlp_out_norm, c.rms_norm_eps, c.norm_plus_one, y);
      } else {
        linear(a.act, w.down_proj, y);
        if (w.down_bias) add_bias(y, w.down_bias);
        adapt(a.act, &LayerWeights::down_proj, y);
      }
      add(a.mid, y);
      return;
    }
    if (w.shared_gate) {
      gated(&LayerWeights::shared_gate, {}, &LayerWeights::shared_up, {});
      linear(a.act, w.shared_down, y);
      adapt(a.act, &LayerWeights::shared_down, y);
      add(a.mid, y);
    } else {
      copy(a.mid, y);
    }
    routed_experts(y);
  }
};

void check_batch(const TokenBatch& batch, KvCache& cache) {
  require(!batch.tokens.empty() && batch.sequences.size() == batch.tokens.size() && batch.positions.size() == batch.tokens.size(),
          "a batch of ", batch.tokens.size(), " tokens, ", batch.sequences.size(), " sequences and ", batch.positions.size(),
          " positions");
  require(batch.generated.empty() || batch.generated.size() == batch.tokens.size(), "a batch of ", batch.tokens.size(),
          " tokens and ", batch.generated.size(), " marks of generated ones");
  for (size_t t = 0; t < batch.tokens.size(); ++t) {
    require(batch.positions[t] >= 0, "the position ", batch.positions[t], " of a token");
    cache.reserve(batch.sequences[t], int64_t{batch.positions[t]} + 1);
  }
}

}  // namespace

void forward(const Config& config, const Weights& weights, const TokenBatch& batch, KvCache& cache, Activations& acts,
             std::span<const Adapter> adapters) {
  check_batch(batch, cache);
  const int64_t tokens = static_cast<int64_t>(batch.tokens.size()), hidden = config.hidden_size;
  const Rows at = rows_of(batch, cache);
  const LatentPlan plan = cache.latent() ? plan_latent(batch) : LatentPlan{};
  const std::vector<AdaptedRows> adapted = adapted_rows(batch, adapters);
  acts.arena.reset();
  acts.layers.assign(acts.keep_all ? static_cast<size_t>(config.num_hidden_layers) : 1, {});
  Tensor x = acts.arena.make_uninitialized(DType::f32, {tokens, hidden});
  Tensor y = acts.arena.make_uninitialized(DType::f32, {tokens, hidden});
  acts.final_normed = acts.arena.make_uninitialized(DType::f32, {tokens, hidden});
  const Arena::Mark layer_begin = acts.arena.mark();

  embedding(weights.embed_tokens, indices_view(batch.tokens), x);
  if (config.embedding_scale != 1) scale(x, config.embedding_scale);
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    LayerActivations& a = acts.layers[acts.keep_all ? static_cast<size_t>(layer) : 0];
    a = {};
    a.input = x;
    Block block{config, weights.layers[static_cast<size_t>(layer)], a, acts.arena, cache, at, plan, adapted, layer, tokens,
                acts.keep_all};
    block.attend();
    block.feed_forward(y);
    if (acts.after_layer) acts.after_layer(layer, a);
    std::swap(x, y);
    if (acts.keep_all) y = acts.arena.make_uninitialized(DType::f32, {tokens, hidden});
    else acts.arena.rewind(layer_begin);
  }
  acts.final_input = x;
  rms_norm(x, weights.final_norm, config.rms_norm_eps, config.norm_plus_one, acts.final_normed);
}

void head(const Config& config, const Weights& weights, const Tensor& normed, const Tensor& logits) {
  require(normed.rank == 2 && normed.cols() == config.hidden_size && logits.rank == 2 && logits.cols() == config.vocab_size &&
              logits.rows() == normed.rows(),
          "head: ", describe(normed), " to ", describe(logits));
  linear(normed, weights.lm_head, logits);
  if (config.final_logit_softcapping > 0) softcap(logits, config.final_logit_softcapping);
}

}  // namespace ds
