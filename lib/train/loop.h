// The loop around the steps of a training job: batches in, metrics, progress and checkpoints out, signals heeded.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "train/step.h"

namespace ds {

struct LoopSpec {
  std::string output;                            // the folder of metrics.jsonl and checkpoints/
  int64_t steps = 0;                             // of the whole run
  int64_t checkpoint_every = 0;                  // 0: only after a signal
  int64_t keep_checkpoints = 2;
  std::map<std::string, std::string> metadata;   // of the checkpoints' model files
  // The micro-batches of the step that comes, and where the data stands after it (TrainState::data).
  struct Batches {
    std::vector<TrainingBatch> batches;
    std::string after;
  };
  std::function<Batches()> next_batches;
  std::function<StepSpec(int64_t step)> step_spec;                            // of update `step`, counted from 0
  std::string checkpoints() const { return output + "/checkpoints"; }
};

// Runs from state.step to spec.steps; returns the last step's loss. After a signal the state is saved at the end of the
// step, and Stopped is thrown.
double run_steps(const LoopSpec& spec, TrainState& state);

}  // namespace ds
