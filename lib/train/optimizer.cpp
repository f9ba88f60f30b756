#include "train/optimizer.h"

#include <cmath>
#include <numeric>

#include "base/error.h"

namespace ds {

std::vector<Parameter> parameters(const Config& config, Weights& weights, Weights& gradients, Weights& m, Weights& v) {
  std::vector<Parameter> all;
  for_each_weight(config, weights, [&](const WeightInfo& info, Tensor& tensor) {
    Parameter p;
    p.name = info.name;
    p.weight = tensor;
    p.decayed = tensor.rank > 1;
    all.push_back(p);
  });
  const auto fill_in = [&](Weights& from, Tensor Parameter::*field) {
    size_t i = 0;
    for_each_weight(config, from, [&](const WeightInfo&, Tensor& tensor) { all[i++].*field = tensor; });
  };
  fill_in(gradients, &Parameter::gradient);
  fill_in(m, &Parameter::m);
  fill_in(v, &Parameter::v);
  size_t i = 0;
  std::vector<Parameter> trained;
  for_each_weight(config, weights, [&](const WeightInfo& info, Tensor&) {
    if (info.trained) trained.push_back(all[i]);
    ++i;
  });
  return trained;
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

void adamw_step(std::span<const Parameter> parameters, const AdamWSpec& spec) {
  for (const Parameter& p : parameters) {
    AdamWSpec own = spec;
    if (!p.decayed) own.weight_decay = 0;
    adamw(p.weight, p.gradient, p.m, p.v, own);
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

}  // namespace ds
