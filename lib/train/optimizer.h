// What turns gradients into better weights: the parameters with their gradients and states, the norm for clipping, the
// update of all of them by AdamW or Muon, and the router's balance by bias.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/decoder.h"
#include "tensor/ops.h"

namespace ds {

// adamw8: AdamW with moments of 8 bits (ops.h) for tensors of at least kMinimum8 numbers, a quarter of the memory.
// muon: orthogonalised momentum for the matrix products inside the blocks, experts each by itself, AdamW for the rest.
// (Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024)
enum class Optimizer : uint8_t { adamw, adamw8, muon };
Optimizer parse_optimizer(std::string_view name);  // UsageError for another name
constexpr int64_t kMinimum8 = 4096;

// A trained weight with all that belongs to it. weight is what the model computes with, master the same in f32: the same
// tensor where the model is in f32. Views of the state's arenas.
struct Parameter {
  std::string name;
  Tensor weight, master, gradient;
  Tensor m, v;                // f32 moments; u8 codes where there are scales; Muon has m alone, its momentum
  Tensor m_scales, v_scales;
  bool decayed = false;       // matrices are; tensors of one dimension are not
  bool orthogonalised = false;
};

// The trained weights of a model, in the order of for_each_weight, with fresh states from the arena.
std::vector<Parameter> parameters(const Config& config, Weights& weights, Weights& masters, Weights& gradients, Optimizer optimizer,
                                  Arena& arena);
// A parameter's states with the names that files give them: "m.", "v.", "m_scales.", "v_scales." before its own.
std::vector<std::pair<std::string, Tensor>> states_of(const Parameter& parameter);

// The 2-norm of all gradients together, summed in double in a fixed order. Infinite or NaN where one of them is.
double gradient_norm(std::span<const Parameter> parameters);

// min(1, max_norm / (norm + 1e-6)), as torch's clip_grad_norm_; 1 where max_norm is 0.
float clip_coefficient(double norm, double max_norm);

struct OptimizerSpec {
  AdamWSpec adamw;                   // with its rate, and grad_scale for all
  float muon_learning_rate = 0.02f;  // of orthogonalised parameters
  float muon_momentum = 0.95f;
};
// One update of all parameters (adamw.weight_decay for those that are decayed), weights from their masters, and gradients
// back to zero. Scratch is free again afterwards.
void update(std::span<const Parameter> parameters, const OptimizerSpec& spec, Arena& scratch);

// x, the nearest orthogonal matrix to g[R, C] but for its scale, roughly: five Newton-Schulz steps on g / |g|_F with the
// coefficients 3.4445, -4.7750, 2.0315 bring all singular values near 1. From scratch.
Tensor orthogonalise(const Tensor& g, Arena& scratch);

// Balancing without an auxiliary loss (arXiv 2408.15664): bias[e] += rate * sign(mean load - load[e]).
void update_router_bias(const Tensor& bias, std::span<const int64_t> load, float rate);
// An adaptive router's running share of the choices: state[e] = decay * state[e] + (1 - decay) * load[e] / sum of load.
void update_router_load(const Tensor& state, std::span<const int64_t> load, double decay);
// The feedback of a router in three layers: factor[e] *= exp(rate * (mean - load[e]) / mean), kept in [0.1, 10].
void update_router_factor(const Tensor& factor, std::span<const int64_t> load, double rate);

}  // namespace ds
