// The one table of weights, and what only walks it: zeros and initial values.
#include <string>

#include "base/error.h"
#include "base/hash.h"
#include "base/parallel.h"
#include "base/rng.h"
#include "model/architecture.h"
#include "model/decoder.h"

namespace ds {

namespace {

// Visits the weights of one layer. Shapes with an extent of zero are weights that this config lacks.
struct LayerVisitor {
  const std::function<void(const WeightInfo&, Tensor&)>& visit;
  int64_t layer;
  std::string prefix;

  void operator()(std::string_view name, std::vector<int64_t> shape, bool linear, Tensor& tensor, bool trained = true) {
    visit({cat(prefix, name), std::move(shape), layer, linear, trained}, tensor);
  }
  // The matrices of experts, the last of them the fallback's if there is one.
  void experts(const Config& c, const ExpertNames& names, std::string_view part, std::string_view fallback_part, int64_t rows,
               int64_t columns, Tensor& tensor) {
    WeightInfo info{cat(prefix, names.experts, "{}.", part, ".weight"), {c.n_routed_experts + c.fallback_experts(), rows, columns}, layer, true};
    if (c.fallback_experts()) info.fallback_name = cat(prefix, "mlp.fallback_expert.", fallback_part, ".weight");
    visit(info, tensor);
  }
};

// Vectors all, so that they stay f32 and are not decayed.
void visit_pattern(const Config& c, PatternWeights& w, LayerVisitor& each) {
  using Kind = AttentionPattern::Kind;
  const int64_t heads = c.num_attention_heads;
  const AttentionPattern& p = c.pattern;
  if (c.score_norm) each("self_attn.score_norm.weight", {heads}, false, w.score_norm);
  if (p.position_buckets) each("self_attn.position_bias", {heads * p.position_buckets}, false, w.position_bias);
  if (c.is_sliding(each.layer)) return;
  if (p.kind == Kind::learned) each("self_attn.block_bias", {heads * p.max_blocks}, false, w.block_bias);
  if (p.kind == Kind::compressed) each("self_attn.memory_gate.bias", {heads}, false, w.memory_gate);
  if (p.kind == Kind::lsh)
    each("self_attn.lsh_rotation", {p.lsh_rounds * c.head_dim * (p.lsh_buckets / 2)}, false, w.lsh_rotation, false);
}

void visit_attention(const Config& c, LayerWeights& w, LayerVisitor& each) {
  const int64_t heads = c.num_attention_heads, hidden = c.hidden_size;
  each("input_layernorm.weight", {hidden}, false, w.input_norm);
  if (c.norm == Norm::layer) each("input_layernorm.bias", {hidden}, false, w.input_norm_bias);
  if (c.is_mla()) {
    if (c.q_lora_rank) {
      each("self_attn.q_a_proj.weight", {c.q_lora_rank, hidden}, true, w.q_a_proj);
      if (c.qkv_bias) each("self_attn.q_a_proj.bias", {c.q_lora_rank}, false, w.q_a_bias);
      each("self_attn.q_a_layernorm.weight", {c.q_lora_rank}, false, w.q_a_norm);
      each("self_attn.q_b_proj.weight", {heads * c.head_dim, c.q_lora_rank}, true, w.q_b_proj);
    } else {
      each("self_attn.q_proj.weight", {heads * c.head_dim, hidden}, true, w.q_proj);
    }
    each("self_attn.kv_a_proj_with_mqa.weight", {c.kv_lora_rank + c.qk_rope_head_dim, hidden}, true, w.kv_a_proj);
    if (c.qkv_bias) each("self_attn.kv_a_proj_with_mqa.bias", {c.kv_lora_rank + c.qk_rope_head_dim}, false, w.kv_a_bias);
    each("self_attn.kv_a_layernorm.weight", {c.kv_lora_rank}, false, w.kv_a_norm);
    each("self_attn.kv_b_proj.weight", {heads * (c.qk_nope_head_dim + c.v_head_dim), c.kv_lora_rank}, true, w.kv_b_proj);
  } else {
    const int64_t q = heads * c.head_dim, kv = c.num_key_value_heads * c.head_dim;
    each("self_attn.q_proj.weight", {q, hidden}, true, w.q_proj);
    if (c.qkv_bias) each("self_attn.q_proj.bias", {q}, false, w.q_bias);
    each("self_attn.k_proj.weight", {kv, hidden}, true, w.k_proj);
    if (c.qkv_bias) each("self_attn.k_proj.bias", {kv}, false, w.k_bias);
    each("self_attn.v_proj.weight", {kv, hidden}, true, w.v_proj);
    if (c.qkv_bias) each("self_attn.v_proj.bias", {kv}, false, w.v_bias);
    if (c.qk_norm != Config::QkNorm::none) {
      const bool full = c.qk_norm == Config::QkNorm::full;
      each("self_attn.q_norm.weight", {full ? q : c.head_dim}, false, w.q_norm);
      each("self_attn.k_norm.weight", {full ? kv : c.head_dim}, false, w.k_norm);
    }
  }
  visit_pattern(c, w.pattern, each);
  each("self_attn.o_proj.weight", {hidden, heads * c.v_head_dim}, true, w.o_proj);
  if (c.o_bias) each("self_attn.o_proj.bias", {hidden}, false, w.o_bias);
  if (c.post_norms) {
    each("post_attention_layernorm.weight", {hidden}, false, w.attention_out_norm);
    each("pre_feedforward_layernorm.weight", {hidden}, false, w.post_attention_norm);
    each("post_feedforward_layernorm.weight", {hidden}, false, w.mlp_out_norm);
  } else {
    each("post_attention_layernorm.weight", {hidden}, false, w.post_attention_norm);
    if (c.norm == Norm::layer) each("post_attention_layernorm.bias", {hidden}, false, w.post_attention_norm_bias);
  }
}

void visit_dense(const Config& c, LayerWeights& w, LayerVisitor& each) {
  const int64_t hidden = c.hidden_size, inner = c.intermediate_size;
  if (c.gated_mlp) each("mlp.gate_proj.weight", {inner, hidden}, true, w.gate_proj);
  if (c.gated_mlp && c.mlp_bias) each("mlp.gate_proj.bias", {inner}, false, w.gate_bias);
  each("mlp.up_proj.weight", {inner, hidden}, true, w.up_proj);
  if (c.mlp_bias) each("mlp.up_proj.bias", {inner}, false, w.up_bias);
  each("mlp.down_proj.weight", {hidden, inner}, true, w.down_proj);
  if (c.mlp_bias) each("mlp.down_proj.bias", {hidden}, false, w.down_bias);
}

void visit_experts(const Config& c, const ExpertNames& names, LayerWeights& w, LayerVisitor& each) {
  const int64_t hidden = c.hidden_size, experts = c.n_routed_experts, inner = c.moe_intermediate_size;
  each(names.router, {experts, hidden}, false, w.router);
  if (c.router_bias) each("mlp.gate.e_score_correction_bias", {experts}, false, w.router_bias, false);
  if (c.router.kind == RouterSpec::Kind::adaptive) each("mlp.gate.load", {experts}, false, w.router_state, false);
  if (c.router.kind == RouterSpec::Kind::three_layer) {
    each("mlp.gate.factor", {experts}, false, w.router_state, false);
    each("mlp.group_gate.weight", {c.router.n_group, hidden}, false, w.group_gate);
  }
  each.experts(c, names, names.gate, "gate_proj", inner, hidden, w.experts_gate);
  each.experts(c, names, names.up, "up_proj", inner, hidden, w.experts_up);
  each.experts(c, names, names.down, "down_proj", hidden, inner, w.experts_down);
  if (c.router_expert_attention) each("mlp.expert_attention.gate", {1}, false, w.expert_attention);
  if (c.n_shared_experts) {
    const int64_t shared = inner * c.n_shared_experts;
    each("mlp.shared_experts.gate_proj.weight", {shared, hidden}, true, w.shared_gate);
    each("mlp.shared_experts.up_proj.weight", {shared, hidden}, true, w.shared_up);
    each("mlp.shared_experts.down_proj.weight", {hidden, shared}, true, w.shared_down);
  }
}

void visit_block(const Config& c, int64_t layer, LayerWeights& w, const std::function<void(const WeightInfo&, Tensor&)>& visit) {
  LayerVisitor each{visit, layer, cat("model.layers.", layer, ".")};
  visit_attention(c, w, each);
  if (c.is_moe(layer)) visit_experts(c, architecture_of(c).names, w, each);
  else visit_dense(c, w, each);
}

Tensor make_shaped(Arena& arena, const std::vector<int64_t>& s, bool zeroed) {
  require(!s.empty() && s.size() <= 3, "a weight has 1 to 3 dimensions");
  const auto make = [&](std::initializer_list<int64_t> shape) {
    return zeroed ? arena.make(DType::f32, shape) : arena.make_uninitialized(DType::f32, shape);
  };
  return s.size() == 1 ? make({s[0]}) : s.size() == 2 ? make({s[0], s[1]}) : make({s[0], s[1], s[2]});
}

}  // namespace

void for_each_weight(const Config& config, Weights& weights, const std::function<void(const WeightInfo&, Tensor&)>& visit) {
  weights.layers.resize(static_cast<size_t>(config.num_hidden_layers));
  visit({"model.embed_tokens.weight", {config.vocab_size, config.hidden_size}, -1, false, true}, weights.embed_tokens);
  if (config.positions == Positions::learned)
    visit({"model.embed_positions.weight", {config.max_position_embeddings, config.hidden_size}, -1, false, true}, weights.embed_positions);
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer)
    visit_block(config, layer, weights.layers[static_cast<size_t>(layer)], visit);
  visit({"model.norm.weight", {config.hidden_size}, -1, false, true}, weights.final_norm);
  if (config.norm == Norm::layer) visit({"model.norm.bias", {config.hidden_size}, -1, false, true}, weights.final_norm_bias);
  if (config.tie_word_embeddings) weights.lm_head = weights.embed_tokens;
  else visit({"lm_head.weight", {config.vocab_size, config.hidden_size}, -1, false, true}, weights.lm_head);
}

void for_each_weight(const Config& config, MtpWeights& weights, const std::function<void(const WeightInfo&, Tensor&)>& visit) {
  const int64_t layer = config.num_hidden_layers, hidden = config.hidden_size;
  LayerVisitor each{visit, layer, cat("model.layers.", layer, ".")};
  each("enorm.weight", {hidden}, false, weights.embed_norm);
  each("hnorm.weight", {hidden}, false, weights.hidden_norm);
  each("eh_proj.weight", {hidden, 2 * hidden}, true, weights.projection);
  visit_block(config, layer, weights.block, visit);
  each("shared_head.norm.weight", {hidden}, false, weights.final_norm);
}

std::string expert_name(const WeightInfo& info, int64_t expert) {
  if (!info.fallback_name.empty() && expert == info.shape[0] - 1) return info.fallback_name;
  const size_t at = info.name.find("{}");
  return at == std::string::npos ? info.name : info.name.substr(0, at) + std::to_string(expert) + info.name.substr(at + 2);
}

Weights make_weights(const Config& config, Arena& arena) {
  Weights weights;
  for_each_weight(config, weights, [&](const WeightInfo& info, Tensor& t) { t = make_shaped(arena, info.shape, true); });
  return weights;
}

// Of a weight of one dimension.
static float initial_value(const Config& config, const WeightInfo& info) {
  if (info.name.ends_with("bias") || info.name.ends_with("expert_attention.gate")) return 0;
  if (info.name.ends_with("mlp.gate.load")) return 1.0f / static_cast<float>(info.shape[0]);
  return config.norm_plus_one && info.trained ? 0.0f : 1.0f;
}

void initialize(const Config& config, Weights& weights, uint64_t seed) {
  for_each_weight(config, weights, [&](const WeightInfo& info, Tensor& t) {
    if (info.name.ends_with("lsh_rotation")) {
      const Rng rng{seed, hash64(info.name)};
      for (int64_t i = 0; i < t.elements(); ++i) t.f32()[i] = static_cast<float>(rng.normal(static_cast<uint64_t>(i)));
      return;
    }
    if (info.shape.size() == 1) return fill(t, initial_value(config, info));
    const int64_t experts = info.shape.size() == 3 ? info.shape[0] : 1, each = t.elements() / experts;
    for (int64_t e = 0; e < experts; ++e) {
      const Rng rng{seed, hash64(expert_name(info, e))};
      float* const out = t.f32() + e * each;
      parallel_for(static_cast<size_t>(each), 1024, [&](size_t begin, size_t end) {
        for (size_t i = begin; i < end; ++i) out[i] = static_cast<float>(config.initializer_range * rng.normal(i));
      });
    }
  });
}

}  // namespace ds
