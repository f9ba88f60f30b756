// One optimizer step: forward and backward over the micro-batches of a batch, then clip, update and balance.
#pragma once
#include <cstdint>
#include <optional>
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
  std::optional<KvCache> cache;
};

// All that training changes. Views in `weights` and `gradients`, `m`, `v` belong to the two arenas.
struct TrainState {
  Model model;
  Arena arena;                        // gradients and moments
  Weights gradients, m, v;
  std::vector<Parameter> parameters;
  int64_t step = 0;                   // updates done
  uint64_t tokens = 0;                // targets seen
  std::string data = "{}";            // where the data stands, as JSON, {} at the start: of the job that reads it
  Workspace workspace;
};
// Takes over a model and gives it zero gradients and moments.
TrainState make_state(Model model);

struct StepSpec {
  double clip_norm = 1;               // 0: none
  AuxLoss aux;
  double learning_rate = 1e-3;        // of this step
  AdamWSpec adamw;                    // but for its rate; with the number of this step, from 1
  double router_bias_update_rate = 0;
};

struct StepResult {
  double loss = 0;                    // mean cross-entropy per token before the update, every token weighing 1
  double aux_loss = 0;
  double gradient_norm = 0;           // before clipping
  uint64_t tokens = 0;                // targets
  std::vector<std::vector<int64_t>> expert_load;  // per MoE layer: choices of each expert over the whole batch
};

// Runs the micro-batches, one after the other, as one step. The gradient is that of sum(w * loss) / sum(w) over all their
// targets, plus the auxiliary losses of the micro-batches in proportion to their targets: how rows are dealt to
// micro-batches changes memory and rounding only. A loss or gradient that is not finite is an Error, and no weight has been
// touched then.
StepResult train_step(TrainState& state, std::span<const TrainingBatch> batches, const StepSpec& spec);

// The first half of it: adds the batches' gradients to state.gradients.
StepResult accumulate_gradients(TrainState& state, std::span<const TrainingBatch> batches, const StepSpec& spec);

}  // namespace ds
