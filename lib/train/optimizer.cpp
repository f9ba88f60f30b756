#include "train/optimizer.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "base/error.h"
#include "base/math.h"

namespace ds {

Optimizer parse_optimizer(std::string_view name) {
  if (name == "adamw") return Optimizer::adamw;
  if (name == "adamw8") return Optimizer::adamw8;
  if (name == "muon") return Optimizer::muon;
  throw UsageError(cat("--optimizer ", name, ": expected adamw, adamw8 or muon"));
}

static Tensor shaped_like(const Tensor& t, Arena& arena) {
  Tensor same = arena.make(DType::f32, {t.elements()});
  same.rank = t.rank, same.shape = t.shape, same.row_stride = t.rank == 2 ? t.shape[1] : 0;
  return same;
}

static void add_states(Parameter& p, Optimizer optimizer, Arena& arena) {
  const int64_t n = p.master.elements(), blocks = (n + kMomentBlock - 1) / kMomentBlock;
  if (optimizer == Optimizer::adamw8 && n >= kMinimum8) {
    p.m = arena.make(DType::u8, {n}), p.v = arena.make(DType::u8, {n});
    p.m_scales = arena.make(DType::f32, {blocks}), p.v_scales = arena.make(DType::f32, {blocks});
    return;
  }
  p.m = shaped_like(p.master, arena);
  if (!p.orthogonalised) p.v = shaped_like(p.master, arena);
}

std::vector<Parameter> parameters(const Config& config, Weights& weights, Weights& masters, Weights& gradients, Optimizer optimizer,
                                  Arena& arena) {
  std::vector<Parameter> all;
  std::vector<bool> trained;
  for_each_weight(config, weights, [&](const WeightInfo& info, Tensor& tensor) {
    Parameter p;
    p.name = info.name;
    p.weight = tensor;
    p.decayed = tensor.rank > 1;
    p.orthogonalised = optimizer == Optimizer::muon && info.linear && tensor.rank > 1;
    all.push_back(p);
    trained.push_back(info.trained);
  });
  const auto fill_in = [&](Weights& from, Tensor Parameter::*field) {
    size_t i = 0;
    for_each_weight(config, from, [&](const WeightInfo&, Tensor& tensor) { all[i++].*field = tensor; });
  };
  fill_in(masters, &Parameter::master);
  fill_in(gradients, &Parameter::gradient);
  std::vector<Parameter> kept;
  for (size_t i = 0; i < all.size(); ++i) {
    if (!trained[i]) continue;
    add_states(all[i], optimizer, arena);
    kept.push_back(std::move(all[i]));
  }
  return kept;
}

std::vector<std::pair<std::string, Tensor>> states_of(const Parameter& p) {
  std::vector<std::pair<std::string, Tensor>> states;
  for (const auto& [prefix, tensor] : {std::pair{"m.", p.m}, {"v.", p.v}, {"m_scales.", p.m_scales}, {"v_scales.", p.v_scales}})
    if (tensor) states.emplace_back(prefix + p.name, tensor);
  return states;
}

double gradient_norm(std::span<const Parameter> parameters) {
  double sum = 0;
  for (const Parameter& p : parameters) sum_of_squares(p.gradient, &sum);
  return std::sqrt(sum);
}

float clip_coefficient(double norm, double max_norm) {
  if (max_norm <= 0) return 1;
  const double coefficient = max_norm / (norm + 1e-6);
  return coefficient < 1 ? static_cast<float>(coefficient) : 1.0f;
}

Tensor orthogonalise(const Tensor& g, Arena& scratch) {
  const bool tall = g.rows() > g.cols();
  const int64_t r = tall ? g.cols() : g.rows(), c = tall ? g.rows() : g.cols();
  Tensor x = scratch.make_uninitialized(DType::f32, {r, c}), next = scratch.make_uninitialized(DType::f32, {r, c});
  double squares = 0;
  sum_of_squares(g, &squares);
  const auto factor = static_cast<float>(1 / std::max(std::sqrt(squares), 1e-7));
  if (tall) {
    for (int64_t i = 0; i < r; ++i)
      for (int64_t k = 0; k < c; ++k) x.f32()[i * c + k] = g.f32()[k * g.row_stride + i];
  } else {
    convert(g, x);
  }
  scale(x, factor);
  const Tensor gram = scratch.make_uninitialized(DType::f32, {r, r}), square = scratch.make_uninitialized(DType::f32, {r, r});
  for (int step = 0; step < 5; ++step) {
    linear(x, x, gram);                          // A = X X^T, symmetric
    linear(gram, gram, square);                  // A A
    scale(gram, -4.7750f);
    scale(square, 2.0315f);
    add(gram, square);                           // B = b A + c A A
    linear_backward_input(square, x, next);      // B X
    scale(x, 3.4445f);
    add(x, next);
    std::swap(x, next);
  }
  if (!tall) return x;
  const Tensor back = scratch.make_uninitialized(DType::f32, {c, r});
  for (int64_t k = 0; k < c; ++k)
    for (int64_t i = 0; i < r; ++i) back.f32()[k * r + i] = x.f32()[i * c + k];
  return back;
}

// m = momentum * m + (1 - momentum) * g; the update is the orthogonalised (1 - momentum) * g + momentum * m (Nesterov).
static void muon_step(const Tensor& p, const Tensor& g, const Tensor& m, float decay, const OptimizerSpec& spec, Arena& scratch) {
  const Arena::Mark before = scratch.mark();
  const float beta = spec.muon_momentum;
  scale(g, spec.adamw.grad_scale * (1 - beta));
  scale(m, beta);
  add(g, m);
  const Tensor ahead = scratch.make_uninitialized(DType::f32, {g.rows(), g.cols()});
  convert(m, ahead);
  scale(ahead, beta);
  add(g, ahead);
  const Tensor update = orthogonalise(ahead, scratch);
  const double ratio = static_cast<double>(p.rows()) / static_cast<double>(p.cols());
  scale(update, -spec.muon_learning_rate * static_cast<float>(std::sqrt(std::max(1.0, ratio))));
  scale(p, 1 - spec.muon_learning_rate * decay);
  add(update, p);
  scratch.rewind(before);
}

void update(std::span<const Parameter> parameters, const OptimizerSpec& spec, Arena& scratch) {
  for (const Parameter& p : parameters) {
    AdamWSpec own = spec.adamw;
    if (!p.decayed) own.weight_decay = 0;
    if (p.orthogonalised) {
      if (p.master.rank == 2) muon_step(p.master, p.gradient, p.m, own.weight_decay, spec, scratch);
      for (int64_t e = 0; p.master.rank == 3 && e < p.master.shape[0]; ++e)
        muon_step(item(p.master, e), item(p.gradient, e), item(p.m, e), own.weight_decay, spec, scratch);
    } else if (p.m_scales) {
      adamw8(p.master, p.gradient, {p.m, p.m_scales, p.v, p.v_scales}, own);
    } else {
      adamw(p.master, p.gradient, p.m, p.v, own);
    }
    if (p.weight.data != p.master.data) convert(p.master, p.weight);
    fill(p.gradient, 0);
  }
}

void update_router_bias(const Tensor& bias, std::span<const int64_t> load, float rate) {
  const auto experts = static_cast<int64_t>(load.size());
  require(bias.elements() == experts, "router bias of ", bias.elements(), " for the load of ", experts, " experts");
  const int64_t total = std::accumulate(load.begin(), load.end(), int64_t{0});
  for (int64_t e = 0; e < experts; ++e) {
    const int64_t excess = load[e] * experts - total;
    if (excess != 0) bias.f32()[e] += excess < 0 ? rate : -rate;
  }
}

void update_router_load(const Tensor& state, std::span<const int64_t> load, double decay) {
  require(state.elements() == static_cast<int64_t>(load.size()), "router load of ", state.elements(), " for ", load.size(), " experts");
  const auto total = static_cast<double>(std::accumulate(load.begin(), load.end(), int64_t{0}));
  if (total == 0) return;
  for (size_t e = 0; e < load.size(); ++e)
    state.f32()[e] = static_cast<float>(decay * state.f32()[e] + (1 - decay) * (static_cast<double>(load[e]) / total));
}

void update_router_factor(const Tensor& factor, std::span<const int64_t> load, double rate) {
  require(factor.elements() == static_cast<int64_t>(load.size()), "router factors of ", factor.elements(), " for ", load.size(), " experts");
  const auto total = static_cast<double>(std::accumulate(load.begin(), load.end(), int64_t{0}));
  if (total == 0) return;
  const double mean = total / static_cast<double>(load.size());
  for (size_t e = 0; e < load.size(); ++e) {
    const double moved = factor.f32()[e] * math::exp(rate * ((mean - static_cast<double>(load[e])) / mean));
    factor.f32()[e] = static_cast<float>(std::clamp(moved, 0.1, 10.0));
  }
}

}  // namespace ds
