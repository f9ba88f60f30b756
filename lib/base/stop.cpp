#include "base/stop.h"

namespace ds {

std::atomic<int> stop_signal{0};

static ProgressSink& sink() {
  static ProgressSink instance;
  return instance;
}

void set_progress_sink(ProgressSink s) { sink() = std::move(s); }
void progress(const Progress& state) {
  if (sink()) sink()(state);
}

}  // namespace ds
