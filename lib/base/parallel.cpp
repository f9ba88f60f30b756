#include "base/parallel.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

namespace ds {

static size_t thread_count = 0;

void set_threads(size_t count) { thread_count = count == 0 ? std::max(1u, std::thread::hardware_concurrency()) : count; }

size_t threads() {
  if (thread_count == 0) set_threads(0);
  return thread_count;
}

static thread_local bool inside = false;

namespace {

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Waits until `done`, for about 50 microseconds at most: longer than what lies between two loops of a decoder, shorter
// than what anybody would miss.
template <class Done>
bool spin(const Done& done) {
  using Clock = std::chrono::steady_clock;
  for (const auto end = Clock::now() + std::chrono::microseconds(50);;) {
    for (int i = 0; i < 32; ++i, pause())
      if (done()) return true;
    if (Clock::now() > end) return false;
  }
}

// The threads that help with a loop. A decoder runs a hundred loops of some microseconds for a token, so a helper that
// has just worked looks out for the next loop a while before it sleeps (waking it takes longer than such a loop), and
// nothing is allocated or locked on the way. One loop at a time; it is never destroyed, as helpers may outlive main.
class Team {
 public:
  // Runs task(0) .. task(tasks - 1) on this thread and at most `helpers` more; false if the team is at work already.
  bool run(size_t tasks, size_t helpers, const std::function<void(size_t)>& task) {
    const std::unique_lock turn(turn_, std::try_to_lock);
    if (!turn) return false;
    for (; started_ < helpers; ++started_) std::thread([this] { help(); }).detach();
    task_ = &task;
    tasks_ = tasks;
    next_.store(0, std::memory_order_relaxed);
    error_ = nullptr;
    const uint64_t loop = (state_.load(std::memory_order_relaxed) / kLoop + 1) * kLoop;
    state_.store(loop | (kOpen + kRoom * helpers));
    wake();
    work();
    state_.fetch_and(~kOpen);  // nobody may join from here on, and those who did are at their last task
    wait([&] { return (state_.load() & kCount) == 0; });
    if (error_) std::rethrow_exception(error_);
    return true;
  }

 private:
  // state_: the loop's number, how many more may join, whether it is open, and how many have joined and not left.
  static constexpr uint64_t kCount = 0xffff, kOpen = 0x10000, kRoom = 0x20000, kLoop = kRoom << 16;

  void work() {
    inside = true;
    try {
      for (size_t i; (i = next_.fetch_add(1, std::memory_order_relaxed)) < tasks_;) (*task_)(i);
    } catch (...) {
      const std::lock_guard lock(error_mutex_);
      if (!error_) error_ = std::current_exception();
      next_.store(tasks_, std::memory_order_relaxed);
    }
    inside = false;
  }

  void help() {
    for (uint64_t seen = 0, now = 0;; seen = now / kLoop) {
      wait([&] { return (now = state_.load()) / kLoop != seen; });
      bool joined = false;
      while (!joined && (now & kOpen) && (now / kRoom & kCount)) joined = state_.compare_exchange_weak(now, now - kRoom + 1);
      if (!joined) continue;
      work();
      if (((state_.fetch_sub(1) - 1) & (kOpen | kCount)) == 0) wake();
    }
  }

  template <class Done>
  void wait(const Done& done) {
    if (spin(done)) return;
    std::unique_lock lock(sleep_mutex_);
    ++sleeping_;
    changed_.wait(lock, done);
    --sleeping_;
  }
  // After a change of state_: either a sleeper saw it, or is seen here.
  void wake() {
    if (sleeping_.load() == 0) return;
    const std::lock_guard lock(sleep_mutex_);
    changed_.notify_all();
  }

  std::mutex turn_, error_mutex_, sleep_mutex_;
  std::condition_variable changed_;
  size_t started_ = 0;
  std::atomic<uint64_t> state_{0};
  std::atomic<size_t> next_{0};
  std::atomic<int> sleeping_{0};
  const std::function<void(size_t)>* task_ = nullptr;
  size_t tasks_ = 0;
  std::exception_ptr error_;
};

}  // namespace

void parallel_for(size_t count, size_t grain, const std::function<void(size_t, size_t)>& body) {
  if (count == 0) return;
  if (grain == 0) grain = 1;
  const size_t blocks = (count + grain - 1) / grain;
  if (blocks == 1 || inside || threads() == 1) return body(0, count);
  // A few ranges a thread: even shares when the cores are ours, and something left to take when one of them is slow.
  const size_t per_task = std::max<size_t>(1, blocks / (threads() * 4));
  const size_t tasks = (blocks + per_task - 1) / per_task;
  static Team& team = *new Team;
  const bool ran = team.run(tasks, std::min(tasks, threads()) - 1, [&](size_t task) {
    const size_t begin = task * per_task * grain;
    body(begin, std::min(count, begin + per_task * grain));
  });
  if (!ran) body(0, count);
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
