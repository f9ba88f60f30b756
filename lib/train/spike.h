// Steps that went wrong: recognised by their loss, and described so that their cause can be found.
#pragma once
#include <deque>
#include <span>
#include <string>
#include <string_view>

#include "train/step.h"

namespace ds {

// What to do about a step whose loss or gradient is not finite, or whose loss is a spike: end the run; leave the step out;
// or go back to the newest checkpoint, and on with the data behind the step.
enum class OnSpike : uint8_t { stop, skip, rollback };
OnSpike parse_on_spike(std::string_view name);  // UsageError for another name

// A loss is a spike when it is more than `factor` times the median of the last kWindow ones, and more than 1 nat above it.
// Nothing is one before so many have been seen, or where the factor is 0.
class SpikeDetector {
 public:
  static constexpr size_t kWindow = 50;
  SpikeDetector(double factor, std::span<const double> before);  // losses of the steps before, the last ones count
  bool is_spike(double loss) const;
  void add(double loss);

 private:
  double factor_;
  std::deque<double> losses_;
};

// What is wrong with a step, in one line: its number, loss and gradient; the first layer whose output, or the first weight
// whose gradient, is not finite, else the weight with the largest gradient; and the records in its batch. Call it before
// the gradients are cleared.
std::string describe_trouble(TrainState& state, std::span<const TrainingBatch> batches, const StepResult& result);

}  // namespace ds
