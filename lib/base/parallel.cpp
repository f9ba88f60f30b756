#include "base/parallel.h"

#include <tbb/global_control.h>
#include <tbb/parallel_for.h>
#include <tbb/parallel_pipeline.h>
#include <tbb/task_arena.h>

#include <mutex>
#include <optional>
#include <set>
#include <thread>

namespace ds {

static std::optional<tbb::global_control> control;
static size_t thread_count = 0;

void set_threads(size_t count) {
  thread_count = count == 0 ? std::thread::hardware_concurrency() : count;
  control.emplace(tbb::global_control::max_allowed_parallelism, thread_count);
}

size_t threads() {
  if (thread_count == 0) set_threads(0);
  return thread_count;
}

static thread_local bool inside = false;

void parallel_for(size_t count, size_t grain, const std::function<void(size_t, size_t)>& body) {
  if (count == 0) return;
  if (grain == 0) grain = 1;
  const size_t blocks = (count + grain - 1) / grain;
  if (blocks == 1 || inside || threads() == 1) return body(0, count);
  // A few ranges a thread: even shares when the cores are ours, and something left to take when one of them is slow.
  const size_t per_task = std::max<size_t>(1, blocks / (threads() * 4));
  const size_t tasks = (blocks + per_task - 1) / per_task;
  tbb::parallel_for(
      size_t{0}, tasks,
      [&](size_t task) {
        struct Inside {
          bool before = inside;
          Inside() { inside = true; }
          ~Inside() { inside = before; }
        } mark;
        const size_t begin = task * per_task * grain;
        body(begin, std::min(count, begin + per_task * grain));
      },
      tbb::simple_partitioner());
}

namespace {
// The batches that are on their way. TBB forgets its tokens when an exception ends a pipeline.
struct Live {
  std::mutex mutex;
  std::set<Batch*> batches;
  ~Live() {
    for (Batch* batch : batches) delete batch;
  }
  Batch* add(std::unique_ptr<Batch> batch) {
    const std::lock_guard lock(mutex);
    batches.insert(batch.get());
    return batch.release();
  }
  void remove(Batch* batch) {
    {
      const std::lock_guard lock(mutex);
      batches.erase(batch);
    }
    delete batch;
  }
};
}  // namespace

void ordered_map(const std::function<std::unique_ptr<Batch>()>& produce, const std::function<void(Batch&)>& work,
                 const std::function<void(Batch&)>& consume, size_t in_flight) {
  if (in_flight == 0) in_flight = threads() * 4;
  Live live;
  const auto source = [&](tbb::flow_control& flow) -> Batch* {
    auto batch = produce();
    if (batch) return live.add(std::move(batch));
    flow.stop();
    return nullptr;
  };
  const auto map = [&](Batch* batch) {
    work(*batch);
    return batch;
  };
  const auto sink = [&](Batch* batch) {
    consume(*batch);
    live.remove(batch);
  };
  tbb::parallel_pipeline(in_flight, tbb::make_filter<void, Batch*>(tbb::filter_mode::serial_in_order, source) &
                                        tbb::make_filter<Batch*, Batch*>(tbb::filter_mode::parallel, map) &
                                        tbb::make_filter<Batch*, void>(tbb::filter_mode::serial_in_order, sink));
}

}  // namespace ds
