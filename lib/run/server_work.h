// Inside the server: the one thread that computes, and what connections hand to it and get back.
#pragma once
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "run/embed.h"
#include "run/metrics.h"
#include "run/scheduler.h"

namespace ds {

// What one HTTP request asks the model for. A connection makes it, submits it and waits; the computing thread fills it and
// never waits: a client that reads slowly has its pieces joined here, at most as much as the tokens that it asked for.
struct Work {
  // Given: prompts to answer, or else texts that become vectors.
  std::vector<GenerateRequest> requests;
  std::vector<std::vector<int32_t>> inputs;
  int32_t adapter = -1;            // of inputs
  bool stream = false;             // `pieces` are wanted

  struct Piece {
    size_t request;
    Delta delta;
  };
  // Filled; read under the mutex, and `changed` tells of each change.
  std::mutex mutex;
  std::condition_variable changed;
  bool taken = false;              // the scheduler has it (or `done`): what is wrong with it is known
  std::deque<Piece> pieces;        // new since a connection has moved them out
  std::vector<GenerateResult> results;        // a request each; complete when `done`
  std::vector<size_t> finished;    // those of which a connection has not been told yet
  std::vector<std::vector<float>> vectors;
  bool done = false;
  std::string error;               // not empty: nothing came of it, and why;
  bool invalid = false;            // because it cannot be asked for

  // Of the computing thread.
  std::vector<uint64_t> ids;
  size_t open = 0;                 // requests without a result
  int64_t places = 1;              // sequences that it takes
  std::atomic<bool> cancelled = false;
};

// Takes work in order of arrival, as much as there is room for.
class Worker {
 public:
  // `most`: sequences that wait or are under way, at most. Both must outlive it.
  Worker(Engine& engine, const SchedulerOptions& options, const Pooling& pooling, Metrics& metrics, int64_t most);
  ~Worker();                       // cancels what there is

  // False, where there is no room for it.
  bool submit(const std::shared_ptr<Work>& work);
  void cancel(const std::shared_ptr<Work>& work);
  void cancel_all();
  int64_t most() const { return most_; }
  // Gauges but for the connections.
  ServerGauges gauges();

 private:
  void loop();
  void take(const std::shared_ptr<Work>& work);
  void embed_next(std::deque<std::shared_ptr<Work>>& texts);
  void finish(Work& work);
  void watch_experts();

  Engine& engine_;
  const SchedulerOptions options_;
  const Pooling pooling_;
  Metrics& metrics_;
  const int64_t most_;

  std::mutex mutex_;               // of the three
  std::condition_variable wake_;
  std::deque<std::shared_ptr<Work>> submitted_;
  std::vector<std::shared_ptr<Work>> cancelled_, under_way_;
  bool cancel_all_ = false, ending_ = false;
  std::atomic<int64_t> places_ = 0;
  ServerGauges gauges_;
  std::unique_ptr<Scheduler> scheduler_;  // of the computing thread, and
  std::vector<uint64_t> expert_tokens_;  // this, copied into the gauges
  std::thread thread_;
};

}  // namespace ds
