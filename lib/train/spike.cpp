#include "train/spike.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/error.h"

namespace ds {

OnSpike parse_on_spike(std::string_view name) {
  if (name == "stop") return OnSpike::stop;
  if (name == "skip") return OnSpike::skip;
  if (name == "rollback") return OnSpike::rollback;
  throw UsageError(cat("--on-spike ", name, ": expected stop, skip or rollback"));
}

SpikeDetector::SpikeDetector(double factor, std::span<const double> before) : factor_(factor) {
  for (const double loss : before) add(loss);
}

bool SpikeDetector::is_spike(double loss) const {
  if (factor_ == 0 || losses_.size() < kWindow) return false;
  std::vector<double> sorted(losses_.begin(), losses_.end());
  std::nth_element(sorted.begin(), sorted.begin() + kWindow / 2, sorted.end());
  const double median = sorted[kWindow / 2];
  return loss > factor_ * median && loss > median + 1;
}

void SpikeDetector::add(double loss) {
  losses_.push_back(loss);
  if (losses_.size() > kWindow) losses_.pop_front();
}

static bool is_finite(const Tensor& t) {
  double squares = 0;
  sum_of_squares(t, &squares);
  return std::isfinite(squares);
}

// The first layer of the first micro-batch whose output is not finite, or -1.
static int64_t first_bad_layer(TrainState& state, std::span<const TrainingBatch> batches) {
  for (const TrainingBatch& batch : batches) {
    int64_t bad = -1;
    state.workspace.activations.after_layer = [&](int64_t layer, const LayerActivations& a) {
      if (layer > 0 && bad < 0 && !is_finite(a.input)) bad = layer - 1;
    };
    batch_loss(state, batch);
    state.workspace.activations.after_layer = nullptr;
    if (bad < 0 && !is_finite(state.workspace.activations.final_input)) bad = state.model.config.num_hidden_layers - 1;
    if (bad >= 0) return bad;
  }
  return -1;
}

static std::string worst_gradient(const TrainState& state) {
  std::string name;
  double most = -1;
  for (const Parameter& p : state.parameters) {
    double squares = 0;
    sum_of_squares(p.gradient, &squares);
    if (!std::isfinite(squares)) return cat("the gradient of ", p.name, " is the first that is not finite");
    if (squares > most) most = squares, name = p.name;
  }
  return cat("the largest gradient is that of ", name, ", of norm ", std::sqrt(most) / state.loss_scale.scale);
}

std::string describe_trouble(TrainState& state, std::span<const TrainingBatch> batches, const StepResult& result) {
  constexpr size_t kNamed = 8;
  std::string records;
  size_t count = 0;
  for (const TrainingBatch& batch : batches)
    for (const std::string& record : batch.records)
      if (count++ < kNamed) records += (records.empty() ? "" : ", ") + record;
  if (count > kNamed) records += cat(" and ", count - kNamed, " more");
  const std::string gradient = worst_gradient(state);
  const int64_t layer = result.finite() ? -1 : first_bad_layer(state, batches);
  return cat("step ", state.step + 1, ": the loss is ", result.loss, ", the gradient's norm ", result.gradient_norm, "; ",
             layer >= 0 ? cat("the output of layer ", layer, " is the first that is not finite") : gradient, "; records ", records);
}

}  // namespace ds
