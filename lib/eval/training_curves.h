// metrics.jsonl of ds-train as charts: loss (of held-out data too), learning rate, gradient norm, expert load.
#pragma once
#include <string>

namespace ds {

struct TrainingCurves {
  std::string text;    // one paragraph: steps, first and last loss, steps left out
  std::string charts;  // inline SVG, one after the other
};
// Curves are means over at most 400 stretches of steps; what is not finite is left out. The map of expert load is of the
// last tenth of the steps. A line that is no metrics line is an Error with FILE:LINE.
TrainingCurves training_curves(const std::string& path);

}  // namespace ds
