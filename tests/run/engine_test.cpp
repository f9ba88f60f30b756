#include "run/engine.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/parallel.h"
#include "run/fixtures.h"
#include "run/scheduler.h"
#include "run/score.h"

namespace ds {
namespace {

class EngineFixture : public testing::TestWithParam<const char*> {};

TEST_P(EngineFixture, ScoresAsTransformersDoes) {
  NEEDS_FIXTURE(GetParam());
  Engine engine(fixture(GetParam()));
  const auto cases = expected(fixture(GetParam()));
  std::vector<ScoreRequest> requests;
  for (const Case& c : cases) requests.push_back({c.ids, 1});
  const auto results = score(engine, requests);
  for (size_t i = 0; i < cases.size(); ++i) {
    ASSERT_EQ(results[i].logprobs.size(), cases[i].ids.size() - 1);
    for (size_t t = 0; t < cases[i].logprobs.size(); ++t) EXPECT_NEAR(results[i].logprobs[t], cases[i].logprobs[t], 1e-3) << "case " << i << " token " << t;
    if (!cases[i].is_greedy.empty()) {
      EXPECT_EQ(results[i].greedy, cases[i].is_greedy) << "case " << i;
    }
  }
}

TEST_P(EngineFixture, GeneratesTheSameGreedyTokens) {
  NEEDS_FIXTURE(GetParam());
  // Few places and short batches: sequences wait, enter late, and prompts are cut into chunks.
  Engine engine(fixture(GetParam()), {.batch_tokens = 7, .batch_sequences = 2});
  const auto cases = expected(fixture(GetParam()));
  std::vector<GenerateRequest> requests;
  for (const Case& c : cases) requests.push_back({c.ids, {.max_tokens = 16, .ignore_eos = true}});
  const auto results = generate(engine, requests);
  for (size_t i = 0; i < cases.size(); ++i) {
    if (!cases[i].greedy.empty()) {
      EXPECT_EQ(results[i].answers.at(0).tokens, cases[i].greedy) << "case " << i;
    }
    EXPECT_EQ(results[i].answers.at(0).finish_reason, "length");
  }
}

TEST_P(EngineFixture, AnswersNeverDependOnNeighboursBatchesOrThreads) {
  NEEDS_FIXTURE(GetParam());
  const auto cases = expected(fixture(GetParam()));
  std::vector<ScoreRequest> requests;
  std::vector<GenerateRequest> prompts;
  const Sampling sampling{.max_tokens = 12, .temperature = 0.9, .top_k = 40, .top_p = 0.95, .ignore_eos = true};
  for (const Case& c : cases) requests.push_back({c.ids, 1}), prompts.push_back({c.ids, sampling, 3, 17 * c.ids.size()});
  Engine together(fixture(GetParam())), alone(fixture(GetParam()), {.batch_tokens = 5, .batch_sequences = 1});
  const auto scores = score(together, requests);
  const auto texts = generate(together, prompts);
  set_threads(1);
  for (size_t i = 0; i < requests.size(); ++i) {
    const auto one = score(alone, std::span(requests).subspan(i, 1));
    EXPECT_EQ(one[0].logprobs, scores[i].logprobs) << "case " << i;
    EXPECT_EQ(generate(alone, {prompts[i]})[0].answers.at(0).tokens, texts[i].answers.at(0).tokens) << "case " << i;
  }
  set_threads(0);
}

INSTANTIATE_TEST_SUITE_P(Fixtures, EngineFixture, testing::Values("deepseek_v2", "deepseek_v3", "gemma3", "llama", "llama_tied", "llama_awq", "mixtral", "olmoe", "qwen2", "qwen3", "qwen3_moe"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace ds
