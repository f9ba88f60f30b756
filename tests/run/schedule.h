// What tests of the scheduler share: requests, and what becomes of them.
#pragma once
#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "run/scheduler.h"

namespace ds {

// Prompts of many lengths that share beginnings; some repeat themselves.
inline std::vector<GenerateRequest> make_requests(const Config& config, const Sampling& sampling) {
  std::vector<GenerateRequest> requests;
  const auto token = [&](size_t i) { return static_cast<int32_t>(3 + (i * i * 7 + i * 13) % static_cast<size_t>(config.vocab_size - 3)); };
  for (size_t i = 0; i < 14; ++i) {
    GenerateRequest request{{}, sampling, 5, 100 + i};
    const size_t shared = i % 3 == 0 ? 70 : i % 3 == 1 ? 33 : 0, own = 1 + (i * 11) % 40;
    for (size_t t = 0; t < shared; ++t) request.tokens.push_back(token(t));
    for (size_t t = 0; t < own; ++t) request.tokens.push_back(token(1000 * i + t % (i % 2 ? 4 : 1000)));
    requests.push_back(std::move(request));
  }
  return requests;
}

struct Outcome {
  std::vector<GenerateResult> results;
  SchedulerStats stats;
};
inline Outcome run_all(Engine& engine, std::vector<GenerateRequest> requests, const SchedulerOptions& options) {
  Outcome outcome;
  outcome.results.resize(requests.size());
  Scheduler scheduler(engine, options);
  for (size_t i = 0; i < requests.size(); ++i)
    scheduler.submit(std::move(requests[i]), {{}, [&outcome, i](GenerateResult&& r) { outcome.results[i] = std::move(r); }});
  while (scheduler.step()) {
  }
  EXPECT_TRUE(scheduler.idle());
  outcome.stats = scheduler.stats();
  EXPECT_EQ(outcome.stats.pages_used, 0);
  return outcome;
}
inline void expect_equal(const std::vector<GenerateResult>& got, const std::vector<GenerateResult>& wanted, const char* what) {
  ASSERT_EQ(got.size(), wanted.size());
  for (size_t i = 0; i < got.size(); ++i) {
    ASSERT_EQ(got[i].error, "") << what << ": " << i;
    ASSERT_EQ(got[i].answers.size(), wanted[i].answers.size()) << what << ": " << i;
    for (size_t a = 0; a < got[i].answers.size(); ++a) {
      EXPECT_EQ(got[i].answers[a].tokens, wanted[i].answers[a].tokens) << what << ": request " << i << " answer " << a;
      EXPECT_EQ(got[i].answers[a].finish_reason, wanted[i].answers[a].finish_reason) << what << ": request " << i;
      EXPECT_EQ(got[i].answers[a].logprob, wanted[i].answers[a].logprob) << what << ": request " << i << " answer " << a;
    }
  }
}

}  // namespace ds
