#include "train/schedule.h"

#include <algorithm>

#include "base/error.h"
#include "base/math.h"

namespace ds {

constexpr double kPi = 3.14159265358979323846;

Schedule::Kind parse_schedule(std::string_view name) {
  if (name == "constant") return Schedule::Kind::constant;
  if (name == "cosine") return Schedule::Kind::cosine;
  if (name == "wsd") return Schedule::Kind::wsd;
  if (name == "linear") return Schedule::Kind::linear;
  throw UsageError(cat("--schedule ", name, ": expected constant, cosine, wsd or linear"));
}

double learning_rate(const Schedule& s, int64_t step) {
  if (step < s.warmup_steps) return s.peak * (static_cast<double>(step) / static_cast<double>(s.warmup_steps));
  const int64_t decay = s.kind == Schedule::Kind::wsd ? std::min(s.decay_steps, s.steps - s.warmup_steps)
                                                      : s.steps - s.warmup_steps;
  const int64_t into = step - (s.steps - decay);
  double factor = 1;
  if (s.kind != Schedule::Kind::constant && into > 0) {
    const double progress = std::min(1.0, static_cast<double>(into) / static_cast<double>(std::max<int64_t>(1, decay)));
    factor = s.kind == Schedule::Kind::linear ? 1 - progress : 0.5 * (1 + math::cos(kPi * progress));
    factor = factor * (1 - s.min_ratio) + s.min_ratio;
  }
  return s.peak * factor;
}

}  // namespace ds
