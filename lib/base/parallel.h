// Threads. All parallel work of the project goes through here; results never depend on the number of threads.
#pragma once
#include <cstddef>
#include <functional>
#include <memory>

namespace ds {

// The number of threads that parallel work uses; 0 means all processors. Call once, before any work.
void set_threads(size_t count);
size_t threads();

// Calls body(begin, end) on disjoint ranges that cover [0, count), on all threads. Ranges start at multiples of
// `grain`, so a caller can rely on blocks of that size staying whole. Runs inline where one range is enough or when
// called from inside another parallel_for. An exception in body is rethrown here.
void parallel_for(size_t count, size_t grain, const std::function<void(size_t begin, size_t end)>& body);

// An ordered pipeline with bounded memory: `produce` (called by one thread at a time) returns the next batch or null at
// the end; `work` runs on any thread; `consume` gets the batches back one at a time in the order of production.
// At most `in_flight` batches exist (0: four a thread). An exception in any of the three ends it and is rethrown.
struct Batch {
  virtual ~Batch() = default;
};
void ordered_map(const std::function<std::unique_ptr<Batch>()>& produce, const std::function<void(Batch&)>& work,
                 const std::function<void(Batch&)>& consume, size_t in_flight = 0);

}  // namespace ds
