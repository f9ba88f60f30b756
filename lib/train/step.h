// One optimizer step: forward and backward over the micro-batches of a batch, then clip, update and balance.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "model/decoder.h"
#include "train/packing.h"
#include "train/optimizer.h"

namespace ds {

// Memory that steps use one after the other.
struct Workspace {
  Activations activations;
  Arena scratch;
  std::unique_ptr<KvCache> cache;
};

// The factor of the loss that keeps f16 gradients away from zero: halved when one overflows, doubled after kGrowAfter steps
// without. (Micikevicius et al., arXiv 1710.03740; the constants of torch.amp.GradScaler)
struct LossScale {
  static constexpr int64_t kGrowAfter = 2000;
  double scale = 1;
  int64_t clean_steps = 0;            // since it last changed
  int64_t skipped = 0;                // steps without an update, in all
};

struct StateOptions {
  DType dtype = DType::f32;           // of the matrices that the model computes with; f16 has a loss scale of 65536 at first
  Optimizer optimizer = Optimizer::adamw;
  bool round_cache = false;           // keys and values are rounded as a cache of 8 bits does it
  bool recompute = false;             // of a layer's activations only its input is kept: less memory, a third more time
};

// All that training changes. In 16 bits the matrices of model.weights are the masters rounded, and so is what passes from
// block to block, and its gradient; what has one dimension, and routers, are the masters themselves. Views in `gradients` and the parameters belong to `arena`.
struct TrainState {
  Model model;
  Arena arena;                        // gradients, optimizer states, weights of 16 bits
  Weights masters, gradients;         // f32
  std::vector<Parameter> parameters;
  DType dtype = DType::f32;
  LossScale loss_scale;
  int64_t step = 0;                   // steps done, those that were skipped included
  uint64_t tokens = 0;                // targets seen
  std::string data = "{}";            // where the data stands, as JSON, {} at the start: of the job that reads it
  Workspace workspace;
};
// Takes over a model (f32 rows) and gives it zero gradients and fresh states.
TrainState make_state(Model model, const StateOptions& options = {});
// Rounds the model's weights from the masters, after these were changed.
void round_weights(TrainState& state);

struct StepSpec {
  double clip_norm = 1;               // 0: none
  AuxLoss aux;
  double learning_rate = 1e-3;        // of this step
  OptimizerSpec optimizer;            // but for rates, step and grad_scale
  double muon_learning_rate = 0.02;   // of this step
  double router_bias_update_rate = 0;
  float dropout = 0;                  // of the embedding and of what attention and feed-forward add
  uint64_t seed = 0;                  // of the dropout
  double router_temperature = 0;      // of this step, of an adaptive router; 0: the config's
  double router_load_decay = 0.9, router_feedback_rate = 0.01;  // of an adaptive router; of one in three layers
};

struct StepResult {
  double loss = 0;                    // mean cross-entropy per token before the update, every token weighing 1
  double aux_loss = 0;
  double gradient_norm = 0;           // before clipping
  uint64_t tokens = 0;                // targets
  std::vector<std::vector<int64_t>> expert_load;  // per MoE layer: choices of each expert over the whole batch
  uint64_t fallback_load = 0;         // choices of the fallback experts of all layers
  double router_entropy = 0;          // the mean over tokens and MoE layers of H(p) / ln E
  bool skipped = false;               // no weight was changed
  double loss_scale = 1;              // that it was computed with
  bool finite() const;
};

// The first half of a step: adds the gradients of the micro-batches, computed one after the other, to state.gradients, times
// the loss scale. The gradient is that of sum(w * loss) / sum(w) over all their targets, plus the auxiliary losses of the
// micro-batches in proportion to their targets: how rows are dealt to micro-batches changes memory and rounding only.
StepResult accumulate_gradients(TrainState& state, std::span<const TrainingBatch> batches, const StepSpec& spec);

// The second half: clips, updates and balances, and counts the step. Where a gradient of an f16 model has overflowed nothing
// is updated, the loss scale is halved, and result.skipped is set. Gradients are zero afterwards.
void apply_step(TrainState& state, const StepSpec& spec, StepResult& result);
// In its place: counts the step, and changes nothing but the gradients, which are zero.
void skip_step(TrainState& state, StepResult& result);

// Whether apply_step can handle it: all is finite, or what is not is an overflow of f16.
bool is_sound(const TrainState& state, const StepResult& result);

// The loss alone: the sum of cross-entropies of a batch's targets, every one weighing 1.
double batch_loss(TrainState& state, const TrainingBatch& batch);

}  // namespace ds
