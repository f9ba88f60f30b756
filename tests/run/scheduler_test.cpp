// The scheduler: whatever it does to fit sequences into places, pages and passes, answers are those of a request alone.
#include "run/scheduler.h"

#include <gtest/gtest.h>

#include "base/parallel.h"
#include "fixtures.h"
#include "run/guesses.h"
#include "run/stop_strings.h"
#include "schedule.h"

namespace ds {
namespace {

class SchedulerFixture : public testing::TestWithParam<std::string> {};

TEST_P(SchedulerFixture, NothingItDoesChangesAnAnswer) {
  NEEDS_FIXTURE(GetParam());
  for (const double temperature : {0.0, 0.8}) {
    const Sampling sampling{.max_tokens = 45, .temperature = temperature, .repetition_penalty = temperature > 0 ? 1.1 : 1.0,
                            .ignore_eos = true, .logprobs = 0, .n = temperature > 0 ? 2 : 1};
    Engine plain(fixture(GetParam()), {.batch_sequences = 1});
    const auto requests = make_requests(plain.model.config, sampling);
    std::vector<GenerateResult> wanted;
    for (const GenerateRequest& request : requests) wanted.push_back(run_all(plain, {request}, {.prefix_cache = false}).results[0]);

    Engine many(fixture(GetParam()), {.batch_tokens = 64, .batch_sequences = 32});
    const Outcome shared = run_all(many, requests, {});
    expect_equal(shared.results, wanted, "prefix cache and neighbours");
    EXPECT_GT(shared.stats.cached_tokens, 32u * 4u);

    const Outcome guessed = run_all(many, requests, {.guesses = 8, .lookup_match = 1});
    expect_equal(guessed.results, wanted, "prompt look-up");
    Engine two(fixture(GetParam()), {.batch_tokens = 64, .batch_sequences = 2});
    const Outcome guessed_more = run_all(two, requests, {.guesses = 8, .lookup_match = 1});
    expect_equal(guessed_more.results, wanted, "prompt look-up of two");
    EXPECT_GT(guessed_more.stats.guessed_tokens, 0u);

    // The model itself as its draft: greedy guesses are right but for the forms of latent attention.
    Engine same(fixture(GetParam()));
    const Outcome drafted = run_all(two, requests, {.guesses = 5, .draft = &same});
    expect_equal(drafted.results, wanted, "draft model");
    if (temperature == 0) {
      EXPECT_GT(drafted.stats.accepted_tokens, drafted.stats.guessed_tokens * 9 / 10);
    }

    set_threads(1);
    Engine small(fixture(GetParam()), {.batch_tokens = 7, .batch_sequences = 5});
    expect_equal(run_all(small, requests, {.guesses = 3, .lookup_match = 1}).results, wanted, "few places, short passes, one thread");
    set_threads(0);
  }
}

TEST_P(SchedulerFixture, SequencesThatGiveWayAreComputedAgainInTheSameForm) {
  NEEDS_FIXTURE(GetParam());
  const Sampling sampling{.max_tokens = 60, .temperature = 0.7, .ignore_eos = true, .logprobs = 0};
  Engine plain(fixture(GetParam()), {.batch_sequences = 1});
  const auto requests = make_requests(plain.model.config, sampling);
  std::vector<GenerateResult> wanted;
  for (const GenerateRequest& request : requests) wanted.push_back(run_all(plain, {request}, {.prefix_cache = false}).results[0]);
  for (const bool prefix_cache : {false, true}) {
    // Pages for about three sequences.
    Engine tight(fixture(GetParam()), {.batch_tokens = 32, .batch_sequences = 8, .pages = 17});
    const Outcome outcome = run_all(tight, requests, {.prefix_cache = prefix_cache});
    expect_equal(outcome.results, wanted, "few pages");
    EXPECT_GT(outcome.stats.preempted, 0u);
  }
}

TEST_P(SchedulerFixture, CancelsAndGoesOn) {
  NEEDS_FIXTURE(GetParam());
  Engine engine(fixture(GetParam()), {.batch_sequences = 3});
  const auto requests = make_requests(engine.model.config, {.max_tokens = 30, .ignore_eos = true});
  const auto wanted = run_all(engine, requests, {}).results;
  Scheduler scheduler(engine);
  std::vector<GenerateResult> results(requests.size());
  std::vector<uint64_t> ids;
  size_t told = 0, done = 0;
  for (size_t i = 0; i < requests.size(); ++i)
    ids.push_back(scheduler.submit(requests[i], {[&](const Delta& d) { told += d.tokens.size(); }, [&, i](GenerateResult&& r) {
                                                   results[i] = std::move(r);
                                                   ++done;
                                                 }}));
  for (int step = 0; step < 5; ++step) scheduler.step();
  scheduler.cancel(ids[0]);
  scheduler.cancel(ids.back());
  scheduler.cancel(9999);
  while (scheduler.step()) {
  }
  EXPECT_EQ(done, requests.size());
  EXPECT_EQ(results[0].answers.at(0).finish_reason, "cancelled");
  EXPECT_EQ(results.back().answers.at(0).finish_reason, "cancelled");
  EXPECT_LT(results[0].answers[0].tokens.size(), 30u);
  for (size_t i = 1; i + 1 < requests.size(); ++i) EXPECT_EQ(results[i].answers.at(0).tokens, wanted[i].answers.at(0).tokens);
  size_t all = 0;
  for (const auto& result : results) all += result.answers.at(0).tokens.size();
  EXPECT_EQ(told, all);
}

TEST_P(SchedulerFixture, BeamsAreTheSameInAnyCompany) {
  NEEDS_FIXTURE(GetParam());
  Engine alone(fixture(GetParam()), {.batch_sequences = 4}), many(fixture(GetParam()), {.batch_tokens = 32, .batch_sequences = 9}),
      tight(fixture(GetParam()), {.batch_sequences = 4, .pages = 14});
  auto requests = make_requests(alone.model.config, {.max_tokens = 20, .n = 2, .beams = 4, .length_penalty = 0.7});
  for (size_t i = 0; i < requests.size(); i += 3) requests[i].sampling = {.max_tokens = 20};
  std::vector<GenerateResult> wanted;
  for (const GenerateRequest& request : requests) wanted.push_back(run_all(alone, {request}, {}).results[0]);
  expect_equal(run_all(many, requests, {}).results, wanted, "beams among others");
  expect_equal(run_all(many, requests, {.guesses = 4, .lookup_match = 1}).results, wanted, "beams beside guesses");
  expect_equal(run_all(tight, requests, {.prefix_cache = false}).results, wanted, "beams with few pages");
}

INSTANTIATE_TEST_SUITE_P(Fixtures, SchedulerFixture, testing::Values("llama", "gemma3", "deepseek_v3", "qwen3_moe", "deepseek_v2"),
                         [](const auto& info) { return std::string(info.param); });

TEST(SchedulerLimits, OneAnswerThatIsTooLongForTheCacheFailsAlone) {
  NEEDS_FIXTURE("llama");
  Engine engine(fixture("llama"), {.batch_tokens = 32, .batch_sequences = 4, .pages = 3});
  std::vector<GenerateRequest> requests(2);
  requests[0] = {{5, 6, 7}, {.max_tokens = 100, .ignore_eos = true}};
  requests[1] = {{5, 6, 7}, {.max_tokens = 20, .ignore_eos = true}};
  const auto results = generate(engine, requests);
  EXPECT_NE(results[0].error.find("--memory"), std::string::npos) << results[0].error;
  EXPECT_EQ(results[1].error, "");
  EXPECT_EQ(results[1].answers.at(0).tokens.size(), 20u);
}

TEST(StopStringsTest, EndBeforeTheFirstAndLetOutNoPartOfOne) {
  StopStrings stops({"END", "\n\n", ""});
  std::string out;
  EXPECT_FALSE(stops.add("some E", out));
  EXPECT_EQ(out, "some ");
  EXPECT_FALSE(stops.add("N", out));
  EXPECT_EQ(out, "some ");
  EXPECT_FALSE(stops.add("TER\n", out));
  EXPECT_EQ(out, "some ENTER");
  EXPECT_TRUE(stops.add("\nmore END", out));
  EXPECT_EQ(out, "some ENTER");
  StopStrings held({"xyz"});
  std::string rest;
  EXPECT_FALSE(held.add("axy", rest));
  held.finish(rest);
  EXPECT_EQ(rest, "axy");
}

TEST(PromptLookupTest, GuessesWhatFollowedLastTime) {
  PromptLookup lookup(3);
  const std::vector<int32_t> tokens{1, 2, 3, 4, 5, 6, 7, 9, 9, 1, 2, 3};
  EXPECT_EQ(lookup.guess(tokens, 4), (std::vector<int32_t>{4, 5, 6, 7}));
  EXPECT_EQ(lookup.guess(tokens, 2), (std::vector<int32_t>{4, 5}));
  EXPECT_TRUE(lookup.guess(tokens, 0).empty());
  PromptLookup none(3);
  EXPECT_TRUE(none.guess(std::vector<int32_t>{1, 2, 3, 4}, 10).empty());
}

TEST(GuessPaceTest, GrowsWithSuccessAndPausesAfterFailures) {
  GuessPace pace(16);
  EXPECT_EQ(pace.next(), 4);
  pace.judge(4, 4);
  EXPECT_EQ(pace.next(), 8);
  pace.judge(0, 8);
  int64_t pauses = 0;
  while (pace.next() == 0) ++pauses;
  EXPECT_EQ(pauses, 2);
  pace.judge(0, 2);
  for (pauses = 0; pace.next() == 0;) ++pauses;
  EXPECT_EQ(pauses, 4);
}

}  // namespace
}  // namespace ds
