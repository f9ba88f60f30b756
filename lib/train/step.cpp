#include "train/step.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace ds {

// The weights that a model of 16 bits holds in them: matrices, but routers, whose choices are made in f32.
static bool is_rounded(const WeightInfo& info, const Tensor& t) { return t.rank > 1 && (info.linear || info.layer < 0); }

TrainState make_state(Model model, const StateOptions& options) {
  TrainState state;
  state.model = std::move(model);
  state.dtype = options.dtype;
  state.workspace.activations.recompute = options.recompute;
  state.workspace.activations.round_cache = options.round_cache;
  state.workspace.activations.storage = options.dtype;
  const Config& config = state.model.config;
  state.gradients = make_weights(config, state.arena);
  state.masters = state.model.weights;
  if (options.dtype != DType::f32) {
    std::vector<Tensor> all;
    for_each_weight(config, state.masters, [&](const WeightInfo& info, Tensor& master) {
      Tensor t = master;
      if (is_rounded(info, t)) {
        t.dtype = options.dtype;
        t.data = state.arena.allocate(static_cast<size_t>(t.elements()) * dtype_bits(t.dtype) / 8);
      }
      all.push_back(t);
    });
    size_t i = 0;
    for_each_weight(config, state.model.weights, [&](const WeightInfo&, Tensor& t) { t = all[i++]; });
    round_weights(state);
  }
  if (options.dtype == DType::f16) state.loss_scale.scale = 65536;
  state.parameters = parameters(config, state.model.weights, state.masters, state.gradients, options.optimizer, state.arena);
  return state;
}

void round_weights(TrainState& state) {
  std::vector<Tensor> masters;
  for_each_weight(state.model.config, state.masters, [&](const WeightInfo&, Tensor& t) { masters.push_back(t); });
  size_t i = 0;
  for_each_weight(state.model.config, state.model.weights, [&](const WeightInfo&, Tensor& t) {
    if (t.data != masters[i].data) convert(masters[i], t);
    ++i;
  });
}

// Logits are computed for so many rows at a time: they stay in the cache, and never all stand in memory.
constexpr int64_t kHeadRows = 256;

// The head and the loss: returns the sum of cross-entropies. Unless dnormed is empty it gets the gradient, target t weighing
// weights[t], and the head's own gradient is added to the state's.
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
    if (!dnormed) continue;
    cross_entropy_backward(out, targets, make_tensor(weights.data() + begin, DType::f32, {n}), dout);
    head_backward(config, state.model.weights, part, dout, rows(dnormed, begin, n), state.gradients, out);
  }
  double sum = 0;
  for (int64_t t = 0; t < count; ++t) sum += losses.f32()[t];
  return sum;
}

// The layers with experts, each with its place in StepResult::expert_load; -1 for the others.
static std::vector<int64_t> moe_places(const Config& config) {
  std::vector<int64_t> places;
  int64_t count = 0;
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) places.push_back(config.is_moe(layer) ? count++ : -1);
  return places;
}

// What the router of the layer at `place` did with a batch. The entropy is summed here, and divided when all batches are in.
static void add_router(const Config& config, const LayerActivations& a, size_t place, Arena& scratch, StepResult& result) {
  const int32_t* offsets = a.offsets.i32();
  auto& load = result.expert_load[place];
  for (size_t e = 0; e < load.size(); ++e) load[e] += offsets[e + 1] - offsets[e];
  if (config.fallback_experts()) result.fallback_load += static_cast<uint64_t>(offsets[load.size() + 1] - offsets[load.size()]);
  scratch.reset();
  const Tensor entropy = scratch.make_uninitialized(DType::f32, {a.scores.rows()});
  router_entropy(a.scores, entropy);
  for (int64_t t = 0; t < entropy.elements(); ++t) result.router_entropy += entropy.f32()[t];
}

// A cache with room for the batch's sequences: the last step's where it is large enough.
static KvCache& empty_cache(Workspace& workspace, const Config& config, const TrainingBatch& batch) {
  const auto sequences = static_cast<int64_t>(batch.lengths.size());
  const int64_t longest = *std::max_element(batch.lengths.begin(), batch.lengths.end());
  std::unique_ptr<KvCache>& cache = workspace.cache;
  if (cache && cache->sequences() >= sequences && cache->max_positions() >= longest) {
    for (int64_t s = 0; s < cache->sequences(); ++s) cache->release(s);
  } else {
    const int64_t before = cache ? cache->sequences() : 0, positions = cache ? cache->max_positions() : 0;
    cache.reset();
    cache = std::make_unique<KvCache>(config, std::max(sequences, before), std::max(longest, positions), CacheOptions{.use = CacheUse::training});
  }
  return *cache;
}

StepResult accumulate_gradients(TrainState& state, std::span<const TrainingBatch> batches, const StepSpec& spec) {
  if (spec.router_temperature > 0) state.model.config.router.temperature = static_cast<float>(spec.router_temperature);
  const Config& config = state.model.config;
  StepResult result;
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    if (config.is_moe(layer)) result.expert_load.emplace_back(static_cast<size_t>(config.n_routed_experts));
  }
  double total_weight = 0;
  for (const TrainingBatch& batch : batches) {
    for (const float w : batch.weights) total_weight += w;
    result.tokens += batch.targets.size();
  }
  require(result.tokens > 0, "a step without a target");

  Activations& acts = state.workspace.activations;
  Arena& scratch = state.workspace.scratch;
  acts.keep_all = true;
  acts.dropout = spec.dropout, acts.dropout_seed = spec.seed, acts.dropout_step = static_cast<uint64_t>(state.step);
  acts.dropout_first_row = 0;
  const double loss_scale = state.loss_scale.scale;
  result.loss_scale = loss_scale;
  const std::vector<int64_t> places = moe_places(config);
  acts.after_layer = [&](int64_t layer, const LayerActivations& a) {
    const int64_t place = places[static_cast<size_t>(layer)];
    if (place >= 0) add_router(config, a, static_cast<size_t>(place), scratch, result);
  };
  double loss = 0;
  std::vector<float> weights;
  for (const TrainingBatch& batch : batches) {
    const auto count = static_cast<int64_t>(batch.targets.size());
    KvCache& cache = empty_cache(state.workspace, config, batch);
    forward(config, state.model.weights, batch.batch, cache, acts);

    scratch.reset();
    weights = batch.weights;
    for (float& w : weights) w = total_weight > 0 ? static_cast<float>(w / total_weight * loss_scale) : 0.0f;
    const Tensor dnormed = scratch.make(DType::f32, {count, config.hidden_size});
    loss += head_loss(state, acts.final_normed, batch, weights, dnormed, scratch);
    const double share = loss_scale * static_cast<double>(count) / static_cast<double>(result.tokens);
    AuxLoss aux = spec.aux;
    aux.router_aux_loss = static_cast<float>(aux.router_aux_loss * share);
    aux.sequence_aux_loss = static_cast<float>(aux.sequence_aux_loss * share);
    aux.router_z_loss = static_cast<float>(aux.router_z_loss * share);
    result.aux_loss += backward(config, state.model.weights, batch.batch, cache, acts, dnormed, aux, state.gradients, scratch) / loss_scale;
    acts.dropout_first_row += count;
  }
  acts.after_layer = nullptr;
  result.loss = loss / static_cast<double>(result.tokens);
  result.router_entropy /= static_cast<double>(result.tokens * std::max<size_t>(1, result.expert_load.size()));
  result.gradient_norm = gradient_norm(state.parameters) / loss_scale;
  return result;
}

bool StepResult::finite() const { return std::isfinite(loss) && std::isfinite(gradient_norm); }

bool is_sound(const TrainState& state, const StepResult& result) {
  return result.finite() || (state.dtype == DType::f16 && std::isfinite(result.loss) && state.loss_scale.scale > 1);
}

void skip_step(TrainState& state, StepResult& result) {
  for (const Parameter& p : state.parameters) fill(p.gradient, 0);
  result.skipped = true;
  state.loss_scale.skipped += 1;
  state.step += 1;
  state.tokens += result.tokens;
}

// What routers learn from their load and not from gradients.
static void balance_routers(TrainState& state, const StepSpec& spec, const StepResult& result) {
  using Kind = RouterSpec::Kind;
  const Kind kind = state.model.config.router.kind;
  size_t moe = 0;
  for (LayerWeights& layer : state.model.weights.layers) {
    if (!layer.router) continue;
    const std::vector<int64_t>& load = result.expert_load[moe++];
    if (layer.router_bias && spec.router_bias_update_rate != 0)
      update_router_bias(layer.router_bias, load, static_cast<float>(spec.router_bias_update_rate));
    if (kind == Kind::adaptive) update_router_load(layer.router_state, load, spec.router_load_decay);
    if (kind == Kind::three_layer) update_router_factor(layer.router_state, load, spec.router_feedback_rate);
  }
}

void apply_step(TrainState& state, const StepSpec& spec, StepResult& result) {
  LossScale& scale = state.loss_scale;
  if (!result.finite()) {
    require(is_sound(state, result), "a step whose loss is ", result.loss, " and gradient ", result.gradient_norm);
    scale.scale /= 2, scale.clean_steps = 0;
    return skip_step(state, result);
  }
  OptimizerSpec optimizer = spec.optimizer;
  optimizer.adamw.step = state.step + 1 - scale.skipped;
  optimizer.adamw.learning_rate = static_cast<float>(spec.learning_rate);
  optimizer.adamw.grad_scale = clip_coefficient(result.gradient_norm, spec.clip_norm) / static_cast<float>(scale.scale);
  optimizer.muon_learning_rate = static_cast<float>(spec.muon_learning_rate);
  state.workspace.scratch.reset();
  update(state.parameters, optimizer, state.workspace.scratch);
  balance_routers(state, spec, result);
  if (state.dtype == DType::f16 && ++scale.clean_steps == LossScale::kGrowAfter) scale.scale *= 2, scale.clean_steps = 0;
  state.step += 1;
  state.tokens += result.tokens;
}

double batch_loss(TrainState& state, const TrainingBatch& batch) {
  Activations& acts = state.workspace.activations;
  acts.keep_all = false, acts.dropout = 0;
  forward(state.model.config, state.model.weights, batch.batch, empty_cache(state.workspace, state.model.config, batch), acts);
  state.workspace.scratch.reset();
  return head_loss(state, acts.final_normed, batch, {}, {}, state.workspace.scratch);
}

}  // namespace ds
