#include "train/loop.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <optional>

#include "base/error.h"
#include "base/log.h"
#include "base/stop.h"
#include "train/checkpoint.h"
#include "train/metrics.h"

namespace ds {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// A run at work.
struct Loop {
  const LoopSpec& spec;
  TrainState& state;
  MetricsFile metrics;
  SpikeDetector spikes;
  Clock::time_point start = Clock::now(), before = start;
  uint64_t tokens_at_start;
  int64_t rollbacks = 0;
  int64_t saved;  // the step of the checkpoint that holds this state, or of which it was loaded

  Loop(const LoopSpec& s, TrainState& t)
      : spec(s), state(t), metrics(s.output + "/metrics.jsonl", t.step),
        spikes(s.spike_factor, metrics.losses(SpikeDetector::kWindow)), tokens_at_start(t.tokens), saved(t.step) {}

  void save() {
    metrics.sync();
    save_checkpoint(spec.checkpoints(), state, spec.metadata);
    saved = state.step;
  }
  [[noreturn]] void save_and_stop() {
    if (state.step != saved) save();
    throw Stopped{};
  }

  // The mean loss per token of the held-out batches; nothing where there are none.
  std::optional<double> evaluate() {
    if (spec.eval_batches.empty()) return {};
    double sum = 0;
    uint64_t tokens = 0;
    for (const TrainingBatch& batch : spec.eval_batches) {
      if (stop_requested()) save_and_stop();
      sum += batch_loss(state, batch);
      tokens += batch.targets.size();
    }
    return sum / static_cast<double>(tokens);
  }

  // Back to the newest checkpoint, but on with the data: they stand behind the step that went wrong.
  void roll_back(const std::string& trouble) {
    const std::string newest = newest_checkpoint(spec.checkpoints(), spec.checkpoint_every);  // none that a signal made
    require(!newest.empty(), trouble, "; there is no checkpoint to go back to yet (see --checkpoint-every)");
    require(++rollbacks < 10, trouble, "; this is the tenth time: lower --learning-rate");
    warn(trouble, "; going back to ", newest);
    std::string data = std::move(state.data);
    state = TrainState();  // before the other one is there: memory
    state = load_checkpoint(newest, spec.state);
    state.data = std::move(data);
    saved = -1;  // with other data than the checkpoint's
    metrics.cut(state.step);
    spikes = SpikeDetector(spec.spike_factor, metrics.losses(SpikeDetector::kWindow));
  }

  void report(const StepResult& result, double learning_rate, double seconds_waiting, std::optional<double> eval_loss) {
    const auto per_second = [](uint64_t tokens, Clock::time_point since) {
      return std::round(static_cast<double>(tokens) / std::max(1e-9, seconds_since(since)));
    };
    metrics.append(metrics_line(state.step, result, learning_rate, per_second(result.tokens, before), seconds_waiting, eval_loss));
    before = Clock::now();
    char detail[96];
    std::snprintf(detail, sizeof detail, "loss %.4f, %.0f tokens/s", result.loss, per_second(state.tokens - tokens_at_start, start));
    progress({"train", "steps", static_cast<uint64_t>(state.step), static_cast<uint64_t>(spec.steps), detail});
  }

  // One step; its loss. False where the run has been rolled back instead.
  bool step(double& loss) {
    std::optional<double> eval_loss;
    if (spec.eval_every > 0 && state.step % spec.eval_every == 0) eval_loss = evaluate();
    const Clock::time_point asked = Clock::now();
    LoopSpec::Batches data = spec.next_batches();
    const double waited = seconds_since(asked);
    const StepSpec own = spec.step_spec(state.step);
    StepResult result = accumulate_gradients(state, data.batches, own);
    state.data = std::move(data.after);
    loss = result.loss;
    if (is_sound(state, result) && !spikes.is_spike(result.loss)) {
      apply_step(state, own, result);
      if (!result.skipped) spikes.add(result.loss);
    } else {
      const std::string trouble = describe_trouble(state, data.batches, result);
      require(spec.on_spike != OnSpike::stop, trouble, "; lower --learning-rate, lengthen --warmup-steps, or see --on-spike");
      if (spec.on_spike == OnSpike::rollback) return roll_back(trouble), false;
      warn(trouble, "; left out");
      skip_step(state, result);
    }
    report(result, own.learning_rate, waited, eval_loss);
    return true;
  }
};

}  // namespace

LoopSummary run_steps(const LoopSpec& spec, TrainState& state) {
  Loop loop(spec, state);
  LoopSummary summary;
  while (state.step < spec.steps) {
    if (!loop.step(summary.loss)) continue;
    const bool scheduled = spec.checkpoint_every > 0 && state.step % spec.checkpoint_every == 0;
    if (state.step < spec.steps && scheduled) {
      loop.save();
      prune_checkpoints(spec.checkpoints(), static_cast<size_t>(spec.keep_checkpoints), spec.checkpoint_every);
      throw_if_stopped();
    } else if (state.step < spec.steps && stop_requested()) {
      loop.save_and_stop();
    }
  }
  loop.metrics.sync();
  summary.eval_loss = loop.evaluate().value_or(0);
  return summary;
}

}  // namespace ds
