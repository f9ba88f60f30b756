// The loop around the steps of a training job: batches in, metrics, progress and checkpoints out, trouble and signals heeded.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "train/spike.h"
#include "train/step.h"

namespace ds {

struct LoopSpec {
  std::string output;                            // the folder of metrics.jsonl and checkpoints/
  int64_t steps = 0;                             // of the whole run
  int64_t checkpoint_every = 0;                  // 0: only after a signal
  int64_t keep_checkpoints = 2;
  std::map<std::string, std::string> metadata;   // of the checkpoints' model files
  StateOptions state;                            // of the states that a rollback loads
  // The micro-batches of the step that comes, and where the data stands after it (TrainState::data).
  struct Batches {
    std::vector<TrainingBatch> batches;
    std::string after;
  };
  std::function<Batches()> next_batches;
  std::function<StepSpec(int64_t step)> step_spec;  // of step `step`, counted from 0
  OnSpike on_spike = OnSpike::stop;
  double spike_factor = 2;
  // Held-out batches: their mean loss per token before the update of step 1 and every eval_every steps on.
  std::vector<TrainingBatch> eval_batches;
  int64_t eval_every = 0;
  std::string checkpoints() const { return output + "/checkpoints"; }
};

struct LoopSummary {
  double loss = 0, eval_loss = 0;                // of the last step; of the weights at the end, where there are eval_batches
};

// Runs from state.step to spec.steps. After a signal the state is saved at the end of the step (at once within an
// evaluation), and Stopped is thrown. A rollback takes the newest checkpoint of the schedule: one that a
// signal made would make the bytes depend on it. The tenth one is an Error.
LoopSummary run_steps(const LoopSpec& spec, TrainState& state);

}  // namespace ds
