// The decoder, backward: each block's steps of forward.cpp in reverse.
#include "base/error.h"
#include "model/blocks.h"

namespace ds {

namespace {

// One block at work. dx comes in as the gradient of the block's output and leaves as that of its input.
struct BlockBackward {
  const Config& c;
  const LayerWeights& w;
  const LayerActivations& a;
  const Activations& acts;
  LayerWeights& g;
  Arena& memory;
  const KvCache& cache;
  Rows at;
  int64_t layer, tokens;
  const TokenBatch& batch;
  const AuxLoss& aux;
  Tensor dx;
  double aux_loss = 0;

  Tensor make(int64_t columns) { return memory.make_uninitialized(DType::f32, {tokens, columns}); }
  Tensor like(const Tensor& t) { return memory.make_uninitialized(DType::f32, {t.rows(), t.cols()}); }

  // Of y = x weight^T + bias: the gradients of weight and bias, and that of x into (or onto) dinput.
  void project_back(const Tensor& dy, const Tensor& x, const Tensor& weight, const Tensor& dweight, const Tensor& dbias,
                    const Tensor& dinput, bool accumulate) {
    linear_backward_weight(dy, x, dweight);
    if (dbias) add_bias_backward(dy, dbias);
    linear_backward_input(dy, weight, dinput, accumulate);
  }
  void rotate_back(const Tensor& x, bool shared_key) {
    rope(x, at.position, cache.cos(layer), cache.sin(layer), rope_spec(c, shared_key, true));
  }

  // Of y = norm(x): the gradient of x written, or added to it.
  void norm_back(const Tensor& dy, const Tensor& x, const Tensor& weight, float eps, const Tensor& dinput, const Tensor& dweight,
                 bool accumulate, const Tensor& dbias = {}) {
    apply_norm_backward(c, dy, x, weight, eps, dinput, dweight, dbias, accumulate);
  }
  // The gradient of what a half of the block added, from that of the block's output: through dropout and the half's own norm,
  // where there are such.
  Tensor dropped_back(int half) {
    if (acts.dropout == 0) return dx;
    const Tensor dropped = like(dx);
    convert(dx, dropped);
    dropout(dropped, dropout_spec(acts, layer, half));
    return dropped;
  }
  Tensor added_back(int half, const Tensor& added, const Tensor& weight, const Tensor& dweight) {
    const Tensor dsum = dropped_back(half);
    if (!weight) return dsum;
    const Tensor dadded = like(added);
    norm_back(dsum, added, weight, c.rms_norm_eps, dadded, dweight, false);
    return dadded;
  }

  // The gated feed-forward (dense or shared), from the gradient of its output to dmlp_in.
  void gated_back(const Tensor& dy, const Tensor& gate, const Tensor& up, const Tensor& down, Tensor& dgate_w, Tensor& dup_w, Tensor& ddown_w,
                  const Tensor& dmlp_in) {
    const Tensor dact = like(a.act), dgate = like(a.gate), dup = like(a.up);
    project_back(dy, a.act, down, ddown_w, g.down_bias, dact, false);
    gated_activation_backward(dact, a.gate, a.up, c.hidden_act, dgate, dup);
    project_back(dgate, a.mlp_in, gate, dgate_w, g.gate_bias, dmlp_in, false);
    project_back(dup, a.mlp_in, up, dup_w, g.up_bias, dmlp_in, true);
  }

  // The feed-forward without a gate.
  void plain_back(const Tensor& dy, const Tensor& dmlp_in) {
    const Tensor dact = like(a.act), dup = like(a.up);
    project_back(dy, a.act, w.down_proj, g.down_proj, g.down_bias, dact, false);
    activation_backward(dact, a.up, c.hidden_act, dup);
    project_back(dup, a.mlp_in, w.up_proj, g.up_proj, g.up_bias, dmlp_in, false);
  }

  // The balance losses' gradients with respect to the scores; empty where there are none.
  Tensor balance() {
    if (aux.router_aux_loss == 0 && aux.sequence_aux_loss == 0) return {};
    const Tensor dscores = memory.make(DType::f32, {tokens, c.n_routed_experts});
    if (aux.router_aux_loss != 0) balance_loss(a.scores, a.indices, aux.router_aux_loss, dscores, &aux_loss);
    if (aux.sequence_aux_loss == 0) return dscores;

    Tensor indices = a.indices;
    if (c.router.kind == RouterSpec::Kind::top_k) {
      RouterSpec unbiased = c.router;
      unbiased.n_group = unbiased.topk_group = 1;
      const Tensor scores = like(a.scores), weights = like(a.weights);
      indices = memory.make_uninitialized(DType::i32, {tokens, c.router.top_k});
      route(a.logits, {}, unbiased, scores, indices, weights);
    }
    std::vector<int64_t> begins;
    for (int64_t t = 0; t < tokens; ++t)
      if (t == 0 || batch.sequences[t] != batch.sequences[t - 1]) begins.push_back(t);
    const float coef = aux.sequence_aux_loss / static_cast<float>(begins.size());
    begins.push_back(tokens);
    for (size_t i = 0; i + 1 < begins.size(); ++i) {
      const int64_t from = begins[i], count = begins[i + 1] - from;
      balance_loss(rows(a.scores, from, count), rows(indices, from, count), coef, rows(dscores, from, count), &aux_loss);
    }
    return dscores;
  }

  // Adds to dmlp_in.
  void experts_back(const Tensor& dsum, const Tensor& dmlp_in) {
    Tensor dout = like(a.expert_out);
    const Tensor dact = like(a.expert_act), dgate = like(a.expert_gate), dup = like(a.expert_up);
    const Tensor din = like(a.expert_in), dweights = like(a.weights), dlogits = like(a.logits);
    combine_backward(dsum, a.expert_mixed, a.row_of_slot, a.weights, dout, dweights);
    if (w.expert_attention) {
      const Tensor dmixed = dout;
      dout = like(a.expert_out);
      expert_attention_backward(dmixed, a.expert_out, a.indices, a.row_of_slot, expert_group_size(c), w.expert_attention, dout,
                                g.expert_attention);
    }
    grouped_linear_backward_weight(dout, a.offsets, a.expert_act, g.experts_down);
    grouped_linear_backward_input(dout, a.offsets, w.experts_down, dact);
    gated_activation_backward(dact, a.expert_gate, a.expert_up, c.hidden_act, dgate, dup);
    grouped_linear_backward_weight(dgate, a.offsets, a.expert_in, g.experts_gate);
    grouped_linear_backward_weight(dup, a.offsets, a.expert_in, g.experts_up);
    grouped_linear_backward_input(dgate, a.offsets, w.experts_gate, din);
    grouped_linear_backward_input(dup, a.offsets, w.experts_up, din, true);
    gather_rows_backward(din, a.row_of_slot, c.router.top_k, dmlp_in);

    const Tensor dgroups = a.group_logits ? like(a.group_logits) : Tensor{};
    route_backward(dweights, balance(), a.scores, a.indices, a.weights, c.router, dlogits, dgroups);
    if (aux.router_z_loss != 0) z_loss(a.logits, aux.router_z_loss, dlogits, &aux_loss);
    if (aux.router_z_loss != 0 && dgroups) z_loss(a.group_logits, aux.router_z_loss, dgroups, &aux_loss);
    project_back(dlogits, a.mlp_in, w.router, g.router, {}, dmlp_in, true);
    if (dgroups) project_back(dgroups, a.mlp_in, w.group_gate, g.group_gate, {}, dmlp_in, true);
  }

  void feed_forward_back() {
    const Tensor dmlp_in = like(a.mlp_in);
    if (!c.is_moe(layer)) {
      const Tensor dadded = added_back(1, a.mlp_added, w.mlp_out_norm, g.mlp_out_norm);
      if (!c.gated_mlp) plain_back(dadded, dmlp_in);
      else gated_back(dadded, w.gate_proj, w.up_proj, w.down_proj, g.gate_proj, g.up_proj, g.down_proj, dmlp_in);
    } else {
      const Tensor dsum = dropped_back(1);
      if (w.shared_gate)
        gated_back(dsum, w.shared_gate, w.shared_up, w.shared_down, g.shared_gate, g.shared_up, g.shared_down, dmlp_in);
      else fill(dmlp_in, 0);
      experts_back(dsum, dmlp_in);
    }
    norm_back(dmlp_in, a.mid, w.post_attention_norm, c.rms_norm_eps, dx, g.post_attention_norm, true, g.post_attention_norm_bias);
  }

  // From the gradients of rotated queries, keys and values to dattn_in.
  void latent_heads_back(const Tensor& dq, const Tensor& dk, const Tensor& dv, const Tensor& dattn_in) {
    rotate_back(dq, false);
    if (w.q_a_proj) {
      const Tensor dnormed = like(a.q_a_normed), dq_a = like(a.q_a);
      project_back(dq, a.q_a_normed, w.q_b_proj, g.q_b_proj, {}, dnormed, false);
      norm_back(dnormed, a.q_a, w.q_a_norm, kLatentNormEps, dq_a, g.q_a_norm, false);
      project_back(dq_a, a.attn_in, w.q_a_proj, g.q_a_proj, g.q_a_bias, dattn_in, false);
    } else {
      project_back(dq, a.attn_in, w.q_proj, g.q_proj, {}, dattn_in, false);
    }
    const Tensor dkv_a = like(a.kv_a), dkv_b = like(a.kv_b), dnormed = like(a.kv_a_normed);
    const Tensor dc_kv = columns(dkv_a, 0, c.kv_lora_rank), dk_rope = columns(dkv_a, c.kv_lora_rank, c.qk_rope_head_dim);
    assemble_kv_backward(dk, dv, static_cast<int>(c.num_attention_heads), dkv_b, dk_rope);
    rotate_back(dk_rope, true);
    project_back(dkv_b, a.kv_a_normed, w.kv_b_proj, g.kv_b_proj, {}, dnormed, false);
    norm_back(dnormed, columns(a.kv_a, 0, c.kv_lora_rank), w.kv_a_norm, kLatentNormEps, dc_kv, g.kv_a_norm, false);
    project_back(dkv_a, a.attn_in, w.kv_a_proj, g.kv_a_proj, g.kv_a_bias, dattn_in, true);
  }

  void plain_heads_back(Tensor dq, Tensor dk, const Tensor& dv, const Tensor& dattn_in) {
    if (c.positions == Positions::rope) {
      rotate_back(dq, false);
      rotate_back(dk, false);
    }
    if (c.clip_qkv > 0) {
      clamp_backward(dq, a.q_unclipped, c.clip_qkv);
      clamp_backward(dk, a.k_unclipped, c.clip_qkv);
      clamp_backward(dv, a.v_unclipped, c.clip_qkv);
    }
    if (w.q_norm) {
      const Tensor dq_unnormed = like(dq), dk_unnormed = like(dk);
      norm_back(dq, a.q_unnormed, w.q_norm, c.rms_norm_eps, dq_unnormed, g.q_norm, false);
      norm_back(dk, a.k_unnormed, w.k_norm, c.rms_norm_eps, dk_unnormed, g.k_norm, false);
      dq = dq_unnormed, dk = dk_unnormed;
    }
    project_back(dq, a.attn_in, w.q_proj, g.q_proj, g.q_bias, dattn_in, false);
    project_back(dk, a.attn_in, w.k_proj, g.k_proj, g.k_bias, dattn_in, true);
    project_back(dv, a.attn_in, w.v_proj, g.v_proj, g.v_bias, dattn_in, true);
  }

  void attend_back() {
    const Tensor dattn_out = like(a.attn_out), dq = like(a.q), dk = like(a.k), dv = like(a.v), dattn_in = like(a.attn_in);
    const Tensor dadded = added_back(0, a.attn_added, w.attention_out_norm, g.attention_out_norm);
    project_back(dadded, a.attn_out, w.o_proj, g.o_proj, g.o_bias, dattn_out, false);
    if (c.has_pattern(layer))
      pattern_attention_backward(dattn_out, a.q, pattern_pages(cache, layer), at, attention_spec(c, layer), pattern_of(c, layer), w.pattern,
                                 a.attn_out, a.lse, dq, dk, dv, g.pattern);
    else
      attention_backward(dattn_out, a.q, cache.k_pages(layer), cache.v_pages(layer), at, attention_spec(c, layer), a.attn_out, a.lse,
                         dq, dk, dv);
    if (c.is_mla()) latent_heads_back(dq, dk, dv, dattn_in);
    else plain_heads_back(dq, dk, dv, dattn_in);
    norm_back(dattn_in, a.input, w.input_norm, c.rms_norm_eps, dx, g.input_norm, true, g.input_norm_bias);
  }
};

}  // namespace

double backward(const Config& config, const Weights& weights, const TokenBatch& batch, KvCache& cache, Activations& acts,
                const Tensor& dnormed, const AuxLoss& aux, Weights& grads, Arena& scratch) {
  const int64_t tokens = static_cast<int64_t>(batch.tokens.size());
  require(acts.keep_all && acts.layers.size() == static_cast<size_t>(config.num_hidden_layers) && acts.final_input.rows() == tokens,
          "backward takes the activations of a forward with keep_all on the same batch");
  require(!cache.latent(), "backward takes a cache for training, which keeps the keys and values of all heads");
  const Arena::Mark before = scratch.mark();
  const Tensor dx = scratch.make_uninitialized(DType::f32, {tokens, config.hidden_size});
  apply_norm_backward(config, dnormed, acts.final_input, weights.final_norm, config.rms_norm_eps, dx, grads.final_norm,
                      grads.final_norm_bias, false);

  double aux_loss = 0;
  const Arena::Mark layer_begin = scratch.mark();
  for (int64_t layer = config.num_hidden_layers - 1; layer >= 0; --layer) {
    const auto i = static_cast<size_t>(layer);
    if (acts.recompute) recompute_block(config, weights.layers[i], batch, cache, layer, acts, acts.layers[i], scratch);
    BlockBackward block{config, weights.layers[i], acts.layers[i], acts, grads.layers[i], scratch, cache, rows_of(batch, cache, layer), layer,
                        tokens, batch, aux, dx};
    block.feed_forward_back();
    block.attend_back();
    round_stored(acts, dx, scratch);
    aux_loss += block.aux_loss;
    scratch.rewind(layer_begin);
  }
  if (acts.dropout > 0) dropout(dx, dropout_spec(acts, -1, 0));
  if (config.positions == Positions::learned) embedding_backward(dx, indices_view(batch.positions), grads.embed_positions);
  if (config.embedding_scale != 1) scale(dx, config.embedding_scale);
  embedding_backward(dx, indices_view(batch.tokens), grads.embed_tokens);
  scratch.rewind(before);
  return aux_loss;
}

void head_backward(const Config& config, const Weights& weights, const Tensor& normed, const Tensor& dlogits,
                   const Tensor& dnormed, Weights& grads, const Tensor& logits) {
  require(dlogits.rank == 2 && dlogits.cols() == config.vocab_size && dlogits.rows() == normed.rows(), "head_backward: ",
          describe(dlogits), " for ", describe(normed));
  if (config.final_logit_softcapping > 0) {
    require(bool(logits), "head_backward: the logits are capped, and were not given");
    softcap_backward(dlogits, logits, config.final_logit_softcapping);
  }
  linear_backward_weight(dlogits, normed, grads.lm_head);
  linear_backward_input(dlogits, weights.lm_head, dnormed);
}

}  // namespace ds
