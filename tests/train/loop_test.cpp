#include "train/loop.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/stop.h"
#include "train/checkpoint.h"
#include "train/testing.h"

namespace ds {

// A signal that comes when the step's checkpoint is there already (in an evaluation behind it, say) ends the run as any other.
TEST(Loop, ASignalBehindACheckpointDoesNotSaveItAgain) {
  const testing_train::Folder folder;
  LoopSpec spec;
  spec.output = folder.path("out");
  spec.steps = 10, spec.checkpoint_every = 5, spec.eval_every = 5;
  spec.eval_batches.resize(1);
  std::filesystem::create_directories(spec.checkpoints());
  folder.write("out/metrics.jsonl", std::string(R"({"step": 1, "loss": 1})") + "\n");
  TrainState state = make_state(testing_train::tiny_model(1));
  state.step = 1;
  save_checkpoint(spec.checkpoints(), state, {});
  spec.eval_every = 1;
  stop_signal = 15;
  EXPECT_THROW(run_steps(spec, state), Stopped);
  stop_signal = 0;
  EXPECT_EQ(newest_checkpoint(spec.checkpoints()), spec.checkpoints() + "/step-1");
}

}  // namespace ds
