#include "train/step.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace ds {

TrainState make_state(Model model) {
  TrainState state;
  state.model = std::move(model);
  state.gradients = make_weights(state.model.config, state.arena);
  state.m = make_weights(state.model.config, state.arena);
  state.v = make_weights(state.model.config, state.arena);
  state.parameters = parameters(state.model.config, state.model.weights, state.gradients, state.m, state.v);
  return state;
}

// Logits are computed for so many rows at a time: they stay in the cache, and never all stand in memory.
constexpr int64_t kHeadRows = 256;

// The head and the loss: returns the sum of cross-entropies; dnormed gets its gradient, target t weighing weights[t].
static double head_loss(TrainState& state, const Tensor& normed, const TrainingBatch& batch, std::span<float> weights,
                        const Tensor& dnormed, Arena& scratch) {
  const Config& config = state.model.config;
  const int64_t count = normed.rows();
  const int64_t most = std::min(kHeadRows, count);
  const Tensor logits = scratch.make_uninitialized(DType::f32, {most, config.vocab_size});
  // In place, but where the cap's gradient needs the logits.
  const bool capped = config.final_logit_softcapping > 0;
  const Tensor dlogits = capped ? scratch.make_uninitialized(DType::f32, {most, config.vocab_size}) : logits;
  Tensor losses = scratch.make_uninitialized(DType::f32, {count});
  for (int64_t begin = 0; begin < count; begin += kHeadRows) {
    const int64_t n = std::min(kHeadRows, count - begin);
    const Tensor part = rows(normed, begin, n), out = rows(logits, 0, n), dout = rows(dlogits, 0, n);
    const Tensor targets = make_tensor(const_cast<int32_t*>(batch.targets.data()) + begin, DType::i32, {n});
    head(config, state.model.weights, part, out);
    cross_entropy(out, targets, make_tensor(losses.f32() + begin, DType::f32, {n}));
    cross_entropy_backward(out, targets, make_tensor(weights.data() + begin, DType::f32, {n}), dout);
    head_backward(config, state.model.weights, part, dout, rows(dnormed, begin, n), state.gradients, out);
  }
  double sum = 0;
  for (int64_t t = 0; t < count; ++t) sum += losses.f32()[t];
  return sum;
}

static void add_expert_load(const Config& config, const Activations& acts, StepResult& result) {
  size_t moe = 0;
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    if (!config.is_moe(layer)) continue;
    const int32_t* offsets = acts.layers[static_cast<size_t>(layer)].offsets.i32();
    auto& load = result.expert_load[moe++];
    for (size_t e = 0; e < load.size(); ++e) load[e] += offsets[e + 1] - offsets[e];
  }
}

// A cache with room for the batch's sequences: the last step's where it is large enough.
static KvCache& empty_cache(Workspace& workspace, const Config& config, const TrainingBatch& batch) {
  const auto sequences = static_cast<int64_t>(batch.lengths.size());
  const int64_t longest = *std::max_element(batch.lengths.begin(), batch.lengths.end());
  std::optional<KvCache>& cache = workspace.cache;
  if (cache && cache->sequences() >= sequences && cache->max_positions() >= longest) {
    for (int64_t s = 0; s < cache->sequences(); ++s) cache->release(s);
  } else {
    const int64_t before = cache ? cache->sequences() : 0, positions = cache ? cache->max_positions() : 0;
    cache.reset();
    cache.emplace(config, std::max(sequences, before), std::max(longest, positions), CacheOptions{.use = CacheUse::training});
  }
  return *cache;
}

StepResult accumulate_gradients(TrainState& state, const Documents& documents, const PackedRows& packed,
                                std::span<const size_t> rows, const StepSpec& spec) {
  const Config& config = state.model.config;
  const auto micro = static_cast<size_t>(std::max<int64_t>(1, spec.micro_batch_size));
  StepResult result;
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    if (config.is_moe(layer)) result.expert_load.emplace_back(static_cast<size_t>(config.n_routed_experts));
  }
  std::vector<TrainingBatch> batches;
  double total_weight = 0;
  for (size_t begin = 0; begin < rows.size(); begin += micro) {
    batches.push_back(make_batch(documents, packed, rows.subspan(begin, std::min(micro, rows.size() - begin))));
    for (const float w : batches.back().weights) total_weight += w;
    result.tokens += batches.back().targets.size();
  }

  Activations& acts = state.workspace.activations;
  Arena& scratch = state.workspace.scratch;
  acts.keep_all = true;
  double loss = 0;
  for (TrainingBatch& batch : batches) {
    const auto count = static_cast<int64_t>(batch.targets.size());
    KvCache& cache = empty_cache(state.workspace, config, batch);
    forward(config, state.model.weights, batch.batch, cache, acts);
    add_expert_load(config, acts, result);

    scratch.reset();
    for (float& w : batch.weights) w = total_weight > 0 ? static_cast<float>(w / total_weight) : 0.0f;
    const Tensor dnormed = scratch.make(DType::f32, {count, config.hidden_size});
    loss += head_loss(state, acts.final_normed, batch, batch.weights, dnormed, scratch);
    const double share = static_cast<double>(count) / static_cast<double>(result.tokens);
    AuxLoss aux = spec.aux;
    aux.router_aux_loss = static_cast<float>(aux.router_aux_loss * share);
    aux.sequence_aux_loss = static_cast<float>(aux.sequence_aux_loss * share);
    result.aux_loss += backward(config, state.model.weights, batch.batch, cache, acts, dnormed, aux, state.gradients, scratch);
  }
  result.loss = loss / static_cast<double>(result.tokens);
  return result;
}

StepResult train_step(TrainState& state, const Documents& documents, const PackedRows& packed,
                      std::span<const size_t> rows, const StepSpec& spec) {
  StepResult result = accumulate_gradients(state, documents, packed, rows, spec);
  result.gradient_norm = gradient_norm(state.parameters);
  require(std::isfinite(result.loss) && std::isfinite(result.gradient_norm), "step ", state.step + 1, ": the loss (",
          result.loss, ") or its gradient (norm ", result.gradient_norm,
          ") is not finite; lower --learning-rate, or lengthen --warmup-steps");
  AdamWSpec adamw = spec.adamw;
  adamw.grad_scale = clip_coefficient(result.gradient_norm, spec.clip_norm);
  adamw_step(state.parameters, adamw);
  if (spec.router_bias_update_rate > 0) {
    size_t moe = 0;
    for (LayerWeights& layer : state.model.weights.layers) {
      if (!layer.router) continue;
      if (layer.router_bias) {
        update_router_bias(layer.router_bias, result.expert_load[moe], static_cast<float>(spec.router_bias_update_rate));
      }
      ++moe;
    }
  }
  state.step += 1;
  state.tokens += result.tokens;
  state.rows += rows.size();
  return result;
}

}  // namespace ds
