// Activation-aware weight quantization (Lin et al., arXiv 2306.00978): before rounding, channels that carry large
// activations are scaled up and their producer scaled down, which changes no result, and outliers are clipped where
// that lowers the error of the layer's output on calibration text.
#pragma once
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "model/decoder.h"

namespace ds {

// What calibration keeps of the inputs X[T, K] of a linear layer: enough to measure any change of its weights,
// since ||X dW^T||^2 = tr(dW (X^T X) dW^T).
struct InputStats {
  Tensor gram;                    // X^T X, f32 [K, K]
  std::vector<double> abs_sum;    // of each channel's |x|, [K]
  int64_t rows = 0;
};

// The inputs of every linear layer of the blocks, by the address of its weight matrix. Experts' gate and up see every
// token that reaches their layer (so that none is left without data), their down projections the tokens routed to them.
struct Calibration {
  Arena arena;
  std::unordered_map<const void*, InputStats*> inputs;
  std::vector<std::unique_ptr<InputStats>> stats;
};
// Runs the token rows (each at most max_position_embeddings long) through the unquantized model and gathers statistics.
Calibration calibrate(Model& model, const std::vector<std::vector<int32_t>>& token_rows);

// Scales the model's channels for the least error at 4 bits (20 ratios of activation to weight magnitude, the identity
// among them), in place: the model computes the same function. Every consumer of a scaled norm is compensated, the
// router too. Then clips each group's outliers, in place. Statistics are rescaled along.
void awq_scale(Model& model, Calibration& calibration, int64_t group_size);
void awq_clip(Model& model, const Calibration& calibration, int64_t group_size);

// Mean squared error of a layer's output when w is replaced by other, relative to the output's mean square.
double relative_output_error(const Tensor& w, const Tensor& other, const InputStats& stats);

}  // namespace ds
