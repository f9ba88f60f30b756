// The decoder, forward: x += attention(norm(x)); x += feed_forward(norm(x)) in every block.
#include <array>

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
  const Activations& acts;
  bool training;

  Tensor make(int64_t columns, DType dtype = DType::f32) { return memory.make_uninitialized(dtype, {tokens, columns}); }

  // Adds what adapters add to the product of x by a weight.
  void adapt(const Tensor& x, Tensor LayerWeights::*weight, const Tensor& y) { add_adapters(adapted, layer, weight, x, y, memory); }
  // Products of one x in one go, with their biases and adapters. The weight is named by its member, so that adapters find theirs.
  struct Projection {
    Tensor LayerWeights::*weight;
    Tensor bias;
    Tensor* y;
  };
  void project(const Tensor& x, std::initializer_list<Projection> all) {
    std::vector<LinearCall> calls;
    for (const Projection& p : all) {
      const Tensor& weight = w.*p.weight;
      *p.y = memory.make_uninitialized(DType::f32, {x.rows(), weight.shape[0]});
      calls.push_back({x, weight, *p.y, {}});
    }
    linear_all(calls);
    for (const Projection& p : all) {
      if (p.bias) add_bias(*p.y, p.bias);
      adapt(x, p.weight, *p.y);
    }
  }
  Tensor norm(const Tensor& x, const Tensor& weight, float eps, const Tensor& bias = {}) {
    const Tensor y = make(x.cols());
    apply_norm(c, x, weight, bias, eps, y);
    return y;
  }
  void rotate(const Tensor& x, bool shared_key) {
    rope(x, at.position, cache.cos(layer), cache.sin(layer), rope_spec(c, shared_key, false));
  }

  // Multi-head latent attention: queries, keys and values from low-rank projections.
  void latent_heads() {
    if (w.q_a_proj) {
      project(a.attn_in, {{&LayerWeights::q_a_proj, w.q_a_bias, &a.q_a}, {&LayerWeights::kv_a_proj, w.kv_a_bias, &a.kv_a}});
      a.q_a_normed = norm(a.q_a, w.q_a_norm, kLatentNormEps);
      project(a.q_a_normed, {{&LayerWeights::q_b_proj, {}, &a.q}});
    } else {
      project(a.attn_in, {{&LayerWeights::q_proj, {}, &a.q}, {&LayerWeights::kv_a_proj, w.kv_a_bias, &a.kv_a}});
    }
    rotate(a.q, false);

    const Tensor c_kv = columns(a.kv_a, 0, c.kv_lora_rank), k_rope = columns(a.kv_a, c.kv_lora_rank, c.qk_rope_head_dim);
    a.kv_a_normed = norm(c_kv, w.kv_a_norm, kLatentNormEps);
    rotate(k_rope, true);
    if (cache.latent()) return latent_write(c, a.kv_a_normed, k_rope, at, cache, layer, memory);
    if (acts.round_cache) {
      kv_round(a.kv_a_normed, static_cast<int>(c.kv_lora_rank), 0);
      kv_round(k_rope, static_cast<int>(c.qk_rope_head_dim), 0);
    }

    project(a.kv_a_normed, {{&LayerWeights::kv_b_proj, {}, &a.kv_b}});
    a.k = make(c.num_attention_heads * c.head_dim);
    a.v = make(c.num_attention_heads * c.v_head_dim);
    assemble_kv(a.kv_b, k_rope, static_cast<int>(c.num_attention_heads), a.k, a.v);
  }

  // Backward asks which numbers were clamped.
  void clip(Tensor& x, Tensor& unclipped) {
    if (training) {
      unclipped = x;
      x = make(x.cols());
      copy(unclipped, x);
    }
    clamp(x, c.clip_qkv);
  }

  void plain_heads() {
    project(a.attn_in, {{&LayerWeights::q_proj, w.q_bias, &a.q},
                        {&LayerWeights::k_proj, w.k_bias, &a.k},
                        {&LayerWeights::v_proj, w.v_bias, &a.v}});
    if (w.q_norm) {
      a.q_unnormed = a.q, a.k_unnormed = a.k;
      a.q = norm(a.q_unnormed, w.q_norm, c.rms_norm_eps);
      a.k = norm(a.k_unnormed, w.k_norm, c.rms_norm_eps);
    }
    if (c.clip_qkv > 0) {
      clip(a.q, a.q_unclipped);
      clip(a.k, a.k_unclipped);
      clip(a.v, a.v_unclipped);
    }
    if (c.positions == Positions::rope) {
      rotate(a.q, false);
      rotate(a.k, false);
    }
    if (acts.round_cache) {
      kv_round(a.k, static_cast<int>(c.head_dim), 0);
      kv_round(a.v, static_cast<int>(c.v_head_dim), 0);
    }
  }

  void attend() {
    a.attn_in = norm(a.input, w.input_norm, c.rms_norm_eps, w.input_norm_bias);
    if (c.is_mla()) latent_heads();
    else plain_heads();

    a.attn_out = make(c.num_attention_heads * c.v_head_dim);
    if (cache.latent()) {
      latent_attention(c, w, plan, cache, layer, a.q, a.attn_out, memory);
    } else {
      const AttentionSpec spec = attention_spec(c, layer);
      const Tensor k_pages = cache.k_pages(layer), v_pages = cache.v_pages(layer);
      kv_write(a.k, a.v, at, write_spec(c, layer), k_pages, v_pages);
      if (training) a.lse = make(c.num_attention_heads);
      if (c.has_pattern(layer)) {
        const AttentionPattern pattern = pattern_of(c, layer);
        const PatternPages pages = pattern_pages(cache, layer);
        pattern_write(pages, at, spec, pattern, w.pattern);
        pattern_attention(a.q, pages, at, spec, pattern, w.pattern, a.attn_out, a.lse);
      } else {
        attention(a.q, k_pages, v_pages, at, spec, a.attn_out, a.lse);
      }
    }
    project(a.attn_out, {{&LayerWeights::o_proj, w.o_bias, &a.mid}});
    if (w.attention_out_norm) {
      a.attn_added = a.mid;
      a.mid = norm(a.attn_added, w.attention_out_norm, c.rms_norm_eps);
    }
    drop(a.mid, 0);
    add(a.input, a.mid);
  }

  // Dropout of what a half of the block adds.
  void drop(const Tensor& added, int half) {
    if (acts.dropout > 0) dropout(added, dropout_spec(acts, layer, half));
  }

  Tensor activate(const Tensor& gate, const Tensor& up) {
    const Tensor y = memory.make_uninitialized(DType::f32, {gate.rows(), gate.cols()});
    gated_activation(gate, up, c.hidden_act, y);
    return y;
  }

  // y = mid + the dense feed-forward half.
  void dense(const Tensor& y) {
    if (c.gated_mlp) {
      project(a.mlp_in, {{&LayerWeights::gate_proj, w.gate_bias, &a.gate}, {&LayerWeights::up_proj, w.up_bias, &a.up}});
      a.act = activate(a.gate, a.up);
    } else {
      project(a.mlp_in, {{&LayerWeights::up_proj, w.up_bias, &a.up}});
      a.act = make(a.up.cols());
      activation(a.up, c.hidden_act, a.act);
    }
    if (w.mlp_out_norm) {
      project(a.act, {{&LayerWeights::down_proj, w.down_bias, &a.mlp_added}});
      rms_norm(a.mlp_added, w.mlp_out_norm, c.rms_norm_eps, c.norm_plus_one, y);
    } else {
      linear(a.act, w.down_proj, y);
      if (w.down_bias) add_bias(y, w.down_bias);
      adapt(a.act, &LayerWeights::down_proj, y);
    }
    drop(y, 1);
    add(a.mid, y);
  }

  // Rows of the experts: gathered by expert.
  void choose_experts() {
    const int top_k = c.router.top_k;
    const int64_t choices = tokens * top_k;
    a.scores = make(c.n_routed_experts);
    a.indices = make(top_k, DType::i32);
    a.weights = make(top_k);
    if (w.group_gate) project(a.mlp_in, {{&LayerWeights::group_gate, {}, &a.group_logits}});
    route(a.logits, w.router_bias ? w.router_bias : w.router_state, c.router, a.scores, a.indices, a.weights, a.group_logits);
    a.offsets = memory.make_uninitialized(DType::i32, {w.experts_gate.shape[0] + 1});
    a.slot_of_row = memory.make_uninitialized(DType::i32, {choices});
    a.row_of_slot = memory.make_uninitialized(DType::i32, {choices});
    sort_by_expert(a.indices, a.offsets, a.slot_of_row, a.row_of_slot);
    const int64_t chosen = a.offsets.i32()[w.experts_gate.shape[0]];
    if (chosen < choices) a.slot_of_row = make_tensor(a.slot_of_row.i32(), DType::i32, {chosen});
    a.expert_in = memory.make_uninitialized(DType::f32, {chosen, c.hidden_size});
    gather_rows(a.mlp_in, a.slot_of_row, top_k, a.expert_in);
  }

  // y = mid + the shared expert + the routed ones by their weights. The shared one's products go along with the others.
  void experts(const Tensor& y) {
    if (w.shared_gate)
      project(a.mlp_in, {{&LayerWeights::router, {}, &a.logits},
                         {&LayerWeights::shared_gate, {}, &a.gate},
                         {&LayerWeights::shared_up, {}, &a.up}});
    else
      project(a.mlp_in, {{&LayerWeights::router, {}, &a.logits}});
    choose_experts();
    const int64_t choices = a.expert_in.rows();
    const std::vector<AdaptedRows> adapted_experts = adapted_choices(adapted, a.offsets, a.row_of_slot, c.router.top_k);
    const auto adapt_experts = [&](const Tensor& x, Tensor LayerWeights::*weight, const Tensor& out) {
      add_adapters(adapted_experts, layer, weight, x, out, memory);
    };
    a.expert_gate = memory.make_uninitialized(DType::f32, {choices, c.moe_intermediate_size});
    a.expert_up = memory.make_uninitialized(DType::f32, {choices, c.moe_intermediate_size});
    a.expert_out = memory.make_uninitialized(DType::f32, {choices, c.hidden_size});
    linear_all(std::array{LinearCall{a.expert_in, w.experts_gate, a.expert_gate, a.offsets},
                          LinearCall{a.expert_in, w.experts_up, a.expert_up, a.offsets}});
    adapt_experts(a.expert_in, &LayerWeights::experts_gate, a.expert_gate);
    adapt_experts(a.expert_in, &LayerWeights::experts_up, a.expert_up);
    a.expert_act = activate(a.expert_gate, a.expert_up);
    std::vector<LinearCall> down{{a.expert_act, w.experts_down, a.expert_out, a.offsets}};
    if (w.shared_gate) {
      a.act = activate(a.gate, a.up);
      down.push_back({a.act, w.shared_down, y, {}});
    }
    linear_all(down);
    adapt_experts(a.expert_act, &LayerWeights::experts_down, a.expert_out);
    if (w.shared_gate) adapt(a.act, &LayerWeights::shared_down, y);
    a.expert_mixed = a.expert_out;
    if (w.expert_attention) {
      a.expert_mixed = memory.make_uninitialized(DType::f32, {a.expert_out.rows(), c.hidden_size});
      expert_attention(a.expert_out, a.indices, a.row_of_slot, expert_group_size(c), w.expert_attention, a.expert_mixed);
    }
    if (acts.dropout > 0) {  // of all that is added, so mid comes last
      if (!w.shared_gate) fill(y, 0);
      combine(a.expert_mixed, a.row_of_slot, a.weights, y);
      drop(y, 1);
      add(a.mid, y);
    } else {
      if (w.shared_gate) add(a.mid, y);
      else copy(a.mid, y);
      combine(a.expert_mixed, a.row_of_slot, a.weights, y);
    }
  }

  void feed_forward(const Tensor& y) {
    a.mlp_in = norm(a.mid, w.post_attention_norm, c.rms_norm_eps, w.post_attention_norm_bias);
    if (c.is_moe(layer)) experts(y);
    else dense(y);
  }
};

void check_batch(const Config& config, const TokenBatch& batch, KvCache& cache) {
  require(!batch.tokens.empty() && batch.sequences.size() == batch.tokens.size() && batch.positions.size() == batch.tokens.size(),
          "a batch of ", batch.tokens.size(), " tokens, ", batch.sequences.size(), " sequences and ", batch.positions.size(),
          " positions");
  require(batch.generated.empty() || batch.generated.size() == batch.tokens.size(), "a batch of ", batch.tokens.size(),
          " tokens and ", batch.generated.size(), " marks of generated ones");
  for (size_t t = 0; t < batch.tokens.size(); ++t) {
    require(batch.positions[t] >= 0, "the position ", batch.positions[t], " of a token");
    require(config.positions != Positions::learned || batch.positions[t] < config.max_position_embeddings, "position ",
            batch.positions[t], " of a sequence: the model has learned only the first ", config.max_position_embeddings);
    require(cache.reserve(batch.sequences[t], int64_t{batch.positions[t]} + 1), "no room for position ", batch.positions[t],
            " of a sequence: the cache has ", cache.pages() + cache.window_pages(), " pages of ", kKeyBlock, " tokens, all in use");
  }
}

}  // namespace

void forward(const Config& config, const Weights& weights, const TokenBatch& batch, KvCache& cache, Activations& acts,
             std::span<const Adapter> adapters) {
  check_batch(config, batch, cache);
  const int64_t tokens = static_cast<int64_t>(batch.tokens.size()), hidden = config.hidden_size;
  const LatentPlan plan = cache.latent() ? plan_latent(batch) : LatentPlan{};
  const std::vector<AdaptedRows> adapted = adapted_rows(batch, adapters);
  acts.arena.reset();
  if (!acts.keep_all) acts.arena.reserve(pass_bytes(config, tokens, expanded_blocks(plan)));
  acts.layers.assign(acts.keep_all ? static_cast<size_t>(config.num_hidden_layers) : 1, {});
  Tensor x = acts.arena.make_uninitialized(DType::f32, {tokens, hidden});
  Tensor y = acts.arena.make_uninitialized(DType::f32, {tokens, hidden});
  acts.final_normed = acts.arena.make_uninitialized(DType::f32, {tokens, hidden});
  const Arena::Mark layer_begin = acts.arena.mark();

  embedding(weights.embed_tokens, indices_view(batch.tokens), x);
  if (config.embedding_scale != 1) scale(x, config.embedding_scale);
  if (config.positions == Positions::learned) {
    embedding(weights.embed_positions, indices_view(batch.positions), y);
    add(y, x);
  }
  if (acts.dropout > 0) dropout(x, dropout_spec(acts, -1, 0));
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    LayerActivations& a = acts.layers[acts.keep_all ? static_cast<size_t>(layer) : 0];
    a = {};
    a.input = x;
    const Arena::Mark layer_end = acts.arena.mark();  // behind y, which is the next layer's input
    Block block{config, weights.layers[static_cast<size_t>(layer)], a, acts.arena, cache, rows_of(batch, cache, layer), plan,
                adapted, layer, tokens, acts, acts.keep_all};
    block.attend();
    block.feed_forward(y);
    round_stored(acts, y, acts.arena);
    if (acts.after_layer) acts.after_layer(layer, a);
    std::swap(x, y);
    if (acts.keep_all && acts.recompute) {
      LayerActivations kept;
      kept.input = a.input;
      a = kept;
      acts.arena.rewind(layer_end);
    }
    if (acts.keep_all) y = acts.arena.make_uninitialized(DType::f32, {tokens, hidden});
    else acts.arena.rewind(layer_begin);
  }
  acts.final_input = x;
  apply_norm(config, x, weights.final_norm, weights.final_norm_bias, config.rms_norm_eps, acts.final_normed);
}

void run_block(const Config& config, const LayerWeights& weights, int64_t layer, const TokenBatch& batch, KvCache& cache, const Tensor& x,
               const Tensor& y, Arena& memory) {
  check_batch(config, batch, cache);
  const LatentPlan plan = cache.latent() ? plan_latent(batch) : LatentPlan{};
  const Activations none;
  LayerActivations a;
  a.input = x;
  Block block{config, weights, a, memory, cache, rows_of(batch, cache, layer), plan, {}, layer, x.rows(), none, false};
  block.attend();
  block.feed_forward(y);
}

void recompute_block(const Config& config, const LayerWeights& weights, const TokenBatch& batch, KvCache& cache, int64_t layer,
                     const Activations& acts, LayerActivations& a, Arena& memory) {
  const LatentPlan plan;  // of a latent cache, which training has not
  Block block{config, weights, a, memory, cache, rows_of(batch, cache, layer), plan, {}, layer, a.input.rows(), acts, true};
  block.attend();
  block.feed_forward(memory.make_uninitialized(DType::f32, {a.input.rows(), config.hidden_size}));
}

void head(const Config& config, const Weights& weights, const Tensor& normed, const Tensor& logits) {
  require(normed.rank == 2 && normed.cols() == config.hidden_size && logits.rank == 2 && logits.cols() == config.vocab_size &&
              logits.rows() == normed.rows(),
          "head: ", describe(normed), " to ", describe(logits));
  linear(normed, weights.lm_head, logits);
  if (config.final_logit_softcapping > 0) softcap(logits, config.final_logit_softcapping);
}

}  // namespace ds
