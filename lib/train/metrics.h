// OUT/metrics.jsonl: one line a step, cut back to the checkpoint's step when a run is resumed.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "train/step.h"

namespace ds {

// The line of one step, without newline. expert_load is a list of counts for each MoE layer; expert_load_max_mean the
// highest count over the mean of the layer where that ratio is worst, expert_utilisation the share of experts of all layers
// with more than half of their layer's mean, fallback_share that of (token, layer) pairs that went to a fallback expert.
// dropped_tokens is 0: experts have no capacity that could be exceeded. What is not finite is null. tokens_per_second and
// seconds_waiting, for data, are the only values that vary.
std::string metrics_line(int64_t step, const StepResult& result, double learning_rate, double tokens_per_second,
                         double seconds_waiting, std::optional<double> eval_loss = {});

// An append-only file of lines.
class MetricsFile {
 public:
  // Opens or makes the file and keeps its first `steps` lines; fewer whole lines than that are an Error.
  MetricsFile(const std::string& path, int64_t steps);
  ~MetricsFile();
  MetricsFile(const MetricsFile&) = delete;
  void cut(int64_t steps);               // the same once more
  std::vector<double> losses(size_t most) const;  // of the last `most` lines whose step changed weights
  void append(const std::string& line);  // with its newline, in one write
  void sync();                           // fsync: before a checkpoint that counts on these lines is published

 private:
  std::string path_;
  int file_ = -1;
};

}  // namespace ds
