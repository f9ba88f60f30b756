// Threads that work for many: never more at once than there are, and what a job throws reaches who asked for it.
#include "run/crew.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <set>
#include <stdexcept>

namespace ds {
namespace {

TEST(Crew, AFewThreadsDoTheJobsOfMany) {
  std::mutex mutex;
  std::set<std::thread::id> seen;
  std::atomic<int> now = 0, most = 0, done = 0;
  {
    Crew crew(3);
    std::vector<std::jthread> clients;
    for (int i = 0; i < 20; ++i)
      clients.emplace_back([&] {
        bool ended = false;
        crew.run([&] {
          const int here = ++now;
          for (int before = most; here > before && !most.compare_exchange_weak(before, here);) {
          }
          std::this_thread::sleep_for(std::chrono::milliseconds(2));
          {
            std::lock_guard lock(mutex);
            seen.insert(std::this_thread::get_id());
          }
          --now;
          ended = true;
        });
        EXPECT_TRUE(ended);
        ++done;
      });
  }
  EXPECT_EQ(done, 20);
  EXPECT_LE(most, 3);
  EXPECT_LE(seen.size(), 3u);
  EXPECT_FALSE(seen.contains(std::this_thread::get_id()));
}

TEST(Crew, WhatAJobThrowsIsThrownToItsClient) {
  Crew crew(1);
  EXPECT_THROW(crew.run([] { throw std::out_of_range("x"); }), std::out_of_range);
  int done = 0;
  crew.run([&] { ++done; });
  EXPECT_EQ(done, 1);
}

}  // namespace
}  // namespace ds
