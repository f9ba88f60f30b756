// OUT/checkpoints/step-N: all that a run needs to go on as if it had never stopped. A checkpoint is a model folder
// (config.json, model.safetensors with the f32 masters) with optimizer.safetensors (states_of the parameters),
// trainer_state.json (step, tokens seen, loss scale) and data_position.json (TrainState::data) beside it. It appears whole
// or not at all.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "train/step.h"

namespace ds {

// Writes it, fsynced, then renames it into `folder`. The metadata go into model.safetensors.
void save_checkpoint(const std::string& folder, TrainState& state, const std::map<std::string, std::string>& metadata);

// The folder of the newest complete checkpoint below `folder` whose step is a multiple of `every`; empty where there is none.
std::string newest_checkpoint(const std::string& folder, int64_t every = 1);

// TrainState::data of a checkpoint.
std::string stored_position(const std::string& checkpoint);

// The state as it was saved. A file that does not fit is an Error.
TrainState load_checkpoint(const std::string& checkpoint, const StateOptions& options);

// Removes temporaries that a kill left behind, and all but the newest `keep` checkpoints whose step is a multiple of
// `every`; older ones and those that a signal made in between go. With every = 0 all of them go.
void prune_checkpoints(const std::string& folder, size_t keep, int64_t every);

}  // namespace ds
