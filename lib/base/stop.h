// What long work must know of the outside: whether to stop, and where to say how far it is. lib/cli implements both.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <string>

namespace ds {

// Set by SIGINT and SIGTERM. Long loops look at it and, when it is set, throw Stopped at a clean point.
extern std::atomic<int> stop_signal;
inline bool stop_requested() { return stop_signal.load(std::memory_order_relaxed) != 0; }

// Thrown at a clean point after a signal: nothing half-written stays; the tool exits with 128 + signal.
struct Stopped {};
inline void throw_if_stopped() {
  if (stop_requested()) throw Stopped{};
}

// One state of a long job; `total` is 0 where it is not known. `detail` is short: "loss 3.214".
struct Progress {
  std::string label, unit;
  uint64_t done = 0, total = 0;
  std::string detail;
};
using ProgressSink = std::function<void(const Progress&)>;

// The sink of the process: does nothing until a tool sets it. Cheap enough to call once a step or batch.
void set_progress_sink(ProgressSink sink);
void progress(const Progress& state);

}  // namespace ds
