// The learning rate as a function of the step. Definitions as in transformers' optimization.py.
#pragma once
#include <cstdint>
#include <string_view>

namespace ds {

struct Schedule {
  enum class Kind : uint8_t { constant, cosine, wsd, linear } kind = Kind::cosine;
  double peak = 1e-3;            // --learning-rate
  int64_t steps = 0;             // of the whole run
  int64_t warmup_steps = 0;      // linear from 0
  int64_t decay_steps = 0;       // wsd only: the last ones
  double min_ratio = 0;          // what the decay ends at, as a share of peak
};

// "constant", "cosine", "wsd", "linear"; anything else is a UsageError.
Schedule::Kind parse_schedule(std::string_view name);

// The rate of update `step`, counted from 0. Warm-up: peak * step / warmup_steps, so the very first update has rate 0.
// Then, over the remaining steps, constant; or from 1 to min_ratio as half a cosine or a line; wsd stays at peak and
// falls as half a cosine over decay_steps.
double learning_rate(const Schedule& schedule, int64_t step);

}  // namespace ds
