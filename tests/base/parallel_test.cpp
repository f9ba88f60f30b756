#include "base/parallel.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace ds {
namespace {

struct Number : Batch {
  explicit Number(size_t value) : value(value) {}
  size_t value, squared = 0;
};

class OrderedMap : public testing::TestWithParam<size_t> {
 protected:
  void SetUp() override { set_threads(GetParam()); }
  void TearDown() override { set_threads(0); }
};

TEST_P(OrderedMap, ConsumesInOrderWhatAllThreadsWorkedOn) {
  for (const size_t count : {0u, 1u, 2u, 3u, 1000u}) {
    size_t produced = 0;
    std::atomic<size_t> live{0}, most{0};
    std::vector<size_t> seen;
    ordered_map(
        [&]() -> std::unique_ptr<Batch> {
          if (produced == count) return nullptr;
          most = std::max<size_t>(most, ++live);
          return std::make_unique<Number>(produced++);
        },
        [](Batch& batch) {
          auto& number = static_cast<Number&>(batch);
          if (number.value % 7 == 0) std::this_thread::sleep_for(std::chrono::microseconds(200));
          number.squared = number.value * number.value;
        },
        [&](Batch& batch) {
          seen.push_back(static_cast<Number&>(batch).squared);
          --live;
        },
        5);
    ASSERT_EQ(seen.size(), count);
    for (size_t i = 0; i < count; ++i) ASSERT_EQ(seen[i], i * i);
    EXPECT_LE(most, 5u);
  }
}

TEST_P(OrderedMap, AnExceptionAnywhereEndsIt) {
  for (const std::string where : {"produce", "work", "consume"}) {
    size_t produced = 0;
    std::vector<size_t> seen;
    const auto fail_at = [&](const char* stage, size_t value) {
      if (where == stage && value == 40) throw std::runtime_error(where);
    };
    try {
      ordered_map(
          [&]() -> std::unique_ptr<Batch> {
            fail_at("produce", produced);
            if (produced == 500) return nullptr;
            return std::make_unique<Number>(produced++);
          },
          [&](Batch& batch) { fail_at("work", static_cast<Number&>(batch).value); },
          [&](Batch& batch) {
            fail_at("consume", static_cast<Number&>(batch).value);
            seen.push_back(static_cast<Number&>(batch).value);
          });
      FAIL() << where;
    } catch (const std::runtime_error& error) {
      EXPECT_EQ(error.what(), where);
    }
    EXPECT_LE(seen.size(), 40u);
    for (size_t i = 0; i < seen.size(); ++i) EXPECT_EQ(seen[i], i);
  }
}

INSTANTIATE_TEST_SUITE_P(Threads, OrderedMap, testing::Values(1, 2, 3, 8));

TEST(ParallelFor, CoversEachIndexOnceInWholeGrains) {
  for (const size_t threads : {1u, 2u, 5u}) {
    set_threads(threads);
    for (const size_t count : {0u, 1u, 15u, 16u, 17u, 1000u}) {
      std::vector<std::atomic<int>> hits(count);
      parallel_for(count, 16, [&](size_t begin, size_t end) {
        EXPECT_EQ(begin % 16, 0u);
        for (size_t i = begin; i < end; ++i) ++hits[i];
      });
      for (const auto& hit : hits) ASSERT_EQ(hit, 1);
    }
  }
  set_threads(0);
}

TEST(ParallelFor, RethrowsAnExceptionAndGoesOn) {
  for (const size_t threads : {1u, 2u, 5u}) {
    set_threads(threads);
    for (int round = 0; round < 50; ++round) {
      try {
        parallel_for(64, 1, [](size_t begin, size_t end) {
          if (begin <= 40 && 40 < end) throw std::runtime_error("at 40");
        });
        FAIL();
      } catch (const std::runtime_error& error) {
        EXPECT_STREQ(error.what(), "at 40");
      }
      std::atomic<size_t> sum{0};
      parallel_for(64, 1, [&](size_t begin, size_t end) { sum += end - begin; });
      ASSERT_EQ(sum, 64u);
    }
  }
  set_threads(0);
}

}  // namespace
}  // namespace ds
