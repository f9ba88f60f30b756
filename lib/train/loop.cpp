#include "train/loop.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>

#include "base/log.h"
#include "base/stop.h"
#include "train/checkpoint.h"
#include "train/metrics.h"

namespace ds {

double run_steps(const LoopSpec& spec, TrainState& state) {
  MetricsFile metrics(spec.output + "/metrics.jsonl", state.step);
  double last_loss = 0;
  const auto start = std::chrono::steady_clock::now();
  auto before = start;
  const uint64_t tokens_at_start = state.tokens;
  while (state.step < spec.steps) {
    const auto asked = std::chrono::steady_clock::now();
    LoopSpec::Batches data = spec.next_batches();
    const std::chrono::duration<double> waited = std::chrono::steady_clock::now() - asked;
    const StepSpec step = spec.step_spec(state.step);
    const StepResult result = train_step(state, data.batches, step);
    state.data = std::move(data.after);
    last_loss = result.loss;

    const auto now = std::chrono::steady_clock::now();
    const auto per_second = [&](uint64_t tokens, auto since) {
      return std::round(static_cast<double>(tokens) / std::max(1e-9, std::chrono::duration<double>(now - since).count()));
    };
    metrics.append(metrics_line(state.step, result, step.learning_rate, per_second(result.tokens, before), waited.count()));
    before = now;
    char detail[96];
    std::snprintf(detail, sizeof detail, "loss %.4f, %.0f tokens/s", result.loss, per_second(state.tokens - tokens_at_start, start));
    progress({"train", "steps", static_cast<uint64_t>(state.step), static_cast<uint64_t>(spec.steps), detail});

    const bool scheduled = spec.checkpoint_every > 0 && state.step % spec.checkpoint_every == 0;
    if (state.step < spec.steps && (scheduled || stop_requested())) {
      metrics.sync();
      save_checkpoint(spec.checkpoints(), state, spec.metadata);
      if (scheduled) prune_checkpoints(spec.checkpoints(), static_cast<size_t>(spec.keep_checkpoints), spec.checkpoint_every);
      throw_if_stopped();
    }
  }
  metrics.sync();
  return last_loss;
}

}  // namespace ds
