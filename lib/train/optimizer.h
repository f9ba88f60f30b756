// What turns gradients into better weights: the parameters in lockstep with their gradients and moments, the norm for
// clipping, AdamW over all of them, and the router's balance by bias.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "model/decoder.h"
#include "tensor/ops.h"

namespace ds {

// A trained weight with all that belongs to it; same shapes. Views into the four Weights.
struct Parameter {
  std::string name;
  Tensor weight, gradient, m, v;
  bool decayed = false;       // matrices are; tensors of one dimension are not
};

// The trained weights of a model, in the order of for_each_weight.
std::vector<Parameter> parameters(const Config& config, Weights& weights, Weights& gradients, Weights& m, Weights& v);

// The 2-norm of all gradients together, summed in double in a fixed order.
double gradient_norm(std::span<const Parameter> parameters);

// min(1, max_norm / (norm + 1e-6)), as torch's clip_grad_norm_; 1 where max_norm is 0.
float clip_coefficient(double norm, double max_norm);

// One AdamW update of all parameters (spec.weight_decay for those that are decayed), and gradients back to zero.
void adamw_step(std::span<const Parameter> parameters, const AdamWSpec& spec);

// Balancing without an auxiliary loss (arXiv 2408.15664): bias[e] += rate * sign(mean load - load[e]).
void update_router_bias(const Tensor& bias, std::span<const int64_t> load, float rate);

}  // namespace ds
