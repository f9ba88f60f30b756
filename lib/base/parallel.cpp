#include "base/parallel.h"

#include <tbb/global_control.h>
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>

#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

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

// Threads take turns to produce, work side by side, and whoever finds the next batch in order ready consumes it and
// those behind it. They sleep when there is nothing to do: spinning would take the processor from those that work.
class Pipeline {
 public:
  Pipeline(const std::function<std::unique_ptr<Batch>()>& produce, const std::function<void(Batch&)>& work,
           const std::function<void(Batch&)>& consume, size_t in_flight)
      : produce_(produce), work_(work), consume_(consume), in_flight_(in_flight) {}

  void run() {
    take_part();
    // A thread starts the next one as long as there are batches, so their number is known when the last has ended.
    for (size_t i = 0;; ++i) {
      std::thread next;
      {
        const std::lock_guard turn(producing_);
        if (i == helpers_.size()) break;
        next = std::move(helpers_[i]);
      }
      next.join();
    }
    if (error_) std::rethrow_exception(error_);
  }

 private:
  void take_part() {
    try {
      uint64_t number = 0;
      while (std::unique_ptr<Batch> batch = next(number)) {
        work_(*batch);
        hand_over(number, std::move(batch));
      }
    } catch (...) {
      const std::lock_guard lock(mutex_);
      if (!error_) error_ = std::current_exception();
      ended_ = true;
      room_.notify_all();
    }
  }

  std::unique_ptr<Batch> next(uint64_t& number) {
    const std::lock_guard turn(producing_);
    {
      std::unique_lock lock(mutex_);
      room_.wait(lock, [&] { return live_ < in_flight_ || ended_; });
      if (ended_) return nullptr;
      ++live_;
    }
    std::unique_ptr<Batch> batch = produce_();
    if (!batch) {
      const std::lock_guard lock(mutex_);
      ended_ = true;
      return nullptr;
    }
    number = produced_++;
    if (helpers_.size() + 1 < threads()) helpers_.emplace_back([this] { take_part(); });
    return batch;
  }

  void hand_over(uint64_t number, std::unique_ptr<Batch> batch) {
    std::unique_lock lock(mutex_);
    ready_.emplace(number, std::move(batch));
    if (consuming_) return;  // whoever consumes sees it
    consuming_ = true;
    while (!error_ && !ready_.empty() && ready_.begin()->first == consumed_) {
      std::unique_ptr<Batch> first = std::move(ready_.begin()->second);
      ready_.erase(ready_.begin());
      lock.unlock();
      consume_(*first);
      first.reset();
      lock.lock();
      ++consumed_;
      --live_;
      room_.notify_one();
    }
    consuming_ = false;
  }

  const std::function<std::unique_ptr<Batch>()>& produce_;
  const std::function<void(Batch&)>&work_, &consume_;
  const size_t in_flight_;
  std::mutex producing_;  // held by the thread whose turn it is to produce; guards the next two
  uint64_t produced_ = 0;
  std::vector<std::thread> helpers_;
  std::mutex mutex_;  // guards what follows
  std::condition_variable room_;
  std::map<uint64_t, std::unique_ptr<Batch>> ready_;
  uint64_t consumed_ = 0;
  size_t live_ = 0;
  bool consuming_ = false, ended_ = false;
  std::exception_ptr error_;
};

}  // namespace

void ordered_map(const std::function<std::unique_ptr<Batch>()>& produce, const std::function<void(Batch&)>& work,
                 const std::function<void(Batch&)>& consume, size_t in_flight) {
  if (in_flight == 0) in_flight = threads() * 4;
  Pipeline(produce, work, consume, in_flight).run();
}

}  // namespace ds
