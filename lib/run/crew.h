// A few threads that work for many: what they do at once, and the memory that each keeps for it, stays bounded.
#pragma once
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <future>
#include <mutex>
#include <thread>
#include <vector>

namespace ds {

class Crew {
 public:
  explicit Crew(size_t threads);
  ~Crew();                         // nobody may be waiting in run()
  Crew(const Crew&) = delete;
  // Has one of the threads do the job, in order of arrival, and waits for its end. What the job throws is thrown here.
  void run(const std::function<void()>& job);

 private:
  void work();
  void end();
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::packaged_task<void()>> jobs_;
  bool ending_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace ds
