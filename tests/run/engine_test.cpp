#include "run/engine.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <numeric>

#include "base/parallel.h"
#include "io/json.h"

namespace ds {
namespace {

// Reference checkpoints with what transformers computes for them; not part of the repository.
std::string fixture(const std::string& name) {
  const char* const shared = std::getenv("DS_SHARED");
  return (shared ? std::string(shared) : DS_SOURCE_DIR "/../shared") + "/fixtures/" + name;
}
#define NEEDS_FIXTURE(name) \
  if (!std::filesystem::exists(fixture(name))) GTEST_SKIP() << "no " << fixture(name) << " (set DS_SHARED)"

std::vector<int32_t> ids(const Json& array) {
  std::vector<int32_t> out;
  for (const Json& item : array.items) out.push_back(static_cast<int32_t>(item.as_int("expected.json")));
  return out;
}

struct Case {
  std::vector<int32_t> ids, greedy;
  std::vector<double> logprobs;
  std::vector<bool> is_greedy;
};
std::vector<Case> expected(const std::string& folder) {
  std::vector<Case> cases;
  const Json json = parse_json_file(folder + "/expected.json");
  for (const Json& item : json.find("cases")->items) {
    Case c{ids(*item.find("ids")), {}, {}, {}};
    // Not every fixture has every key.
    if (const Json* const greedy = item.find("greedy_16")) c.greedy = ids(*greedy);
    if (const Json* const logprobs = item.find("token_logprobs"))
      for (const Json& value : logprobs->items) c.logprobs.push_back(value.as_double("logprob"));
    if (const Json* const greedy = item.find("is_greedy"))
      for (const Json& value : greedy->items) c.is_greedy.push_back(value.as_bool("is_greedy"));
    cases.push_back(std::move(c));
  }
  return cases;
}

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
  for (const Case& c : cases) requests.push_back({c.ids, 0});
  const auto results = generate(engine, requests, {.max_tokens = 16, .ignore_eos = true}, 0);
  for (size_t i = 0; i < cases.size(); ++i) {
    if (!cases[i].greedy.empty()) {
      EXPECT_EQ(results[i].tokens, cases[i].greedy) << "case " << i;
    }
    EXPECT_EQ(results[i].finish_reason, "length");
  }
}

TEST_P(EngineFixture, AnswersNeverDependOnNeighboursBatchesOrThreads) {
  NEEDS_FIXTURE(GetParam());
  const auto cases = expected(fixture(GetParam()));
  std::vector<ScoreRequest> requests;
  std::vector<GenerateRequest> prompts;
  for (const Case& c : cases) requests.push_back({c.ids, 1}), prompts.push_back({c.ids, 17 * c.ids.size()});
  const Sampling sampling{.max_tokens = 12, .temperature = 0.9, .top_k = 40, .top_p = 0.95, .ignore_eos = true};
  Engine together(fixture(GetParam())), alone(fixture(GetParam()), {.batch_tokens = 5, .batch_sequences = 1});
  const auto scores = score(together, requests);
  const auto texts = generate(together, prompts, sampling, 3);
  set_threads(1);
  for (size_t i = 0; i < requests.size(); ++i) {
    const auto one = score(alone, std::span(requests).subspan(i, 1));
    EXPECT_EQ(one[0].logprobs, scores[i].logprobs) << "case " << i;
    EXPECT_EQ(generate(alone, std::span(prompts).subspan(i, 1), sampling, 3)[0].tokens, texts[i].tokens) << "case " << i;
  }
  set_threads(0);
}

INSTANTIATE_TEST_SUITE_P(Fixtures, EngineFixture, testing::Values("deepseek_v3", "llama", "llama_tied", "llama_awq"),
                         [](const auto& info) { return std::string(info.param); });

TEST(Continuation, MovesTrailingSpaceAndKeepsTheSeam) {
  NEEDS_FIXTURE("llama");
  const Engine engine(fixture("llama"));
  const auto whole = engine.tokenizer.encode("The answer is seven");
  const auto a = continuation_request(engine, "The answer is", " seven"), b = continuation_request(engine, "The answer is ", "seven");
  EXPECT_EQ(a.tokens, whole);
  EXPECT_EQ(b.tokens, whole);
  EXPECT_EQ(a.first, static_cast<int64_t>(engine.tokenizer.encode("The answer is").size()));
  EXPECT_EQ(b.first, a.first);
  const auto empty = continuation_request(engine, "", "seven");
  EXPECT_EQ(empty.first, 1);
  EXPECT_EQ(empty.tokens[0], *engine.tokenizer.bos_id());
}

// ---- Sampling ----

const std::vector<float> kLogits = {1.0f, 3.0f, 2.0f, 3.0f, -1.0f};

TEST(Sample, GreedyTakesTheLowestOfTheBest) { EXPECT_EQ(sample(kLogits, {.temperature = 0}, 0.99), 1); }

TEST(Sample, FollowsTheSoftmax) {
  const Sampling sampling{.temperature = 0.7};
  std::vector<double> p, count(kLogits.size());
  double sum = 0;
  for (const float l : kLogits) p.push_back(std::exp(l / 0.7)), sum += p.back();
  constexpr int n = 20000;
  for (int i = 0; i < n; ++i) count[static_cast<size_t>(sample(kLogits, sampling, (i + 0.5) / n))] += 1.0 / n;
  for (size_t i = 0; i < p.size(); ++i) EXPECT_NEAR(count[i], p[i] / sum, 2.0 / n);
}

TEST(Sample, TopKKeepsTies) {
  std::vector<int> seen(kLogits.size());
  for (int i = 0; i < 100; ++i) ++seen[static_cast<size_t>(sample(kLogits, {.temperature = 1, .top_k = 1}, i / 100.0))];
  EXPECT_GT(seen[1], 0);
  EXPECT_GT(seen[3], 0);
  EXPECT_EQ(seen[0] + seen[2] + seen[4], 0);
}

TEST(Sample, TopPKeepsTheTokenThatCrosses) {
  const std::vector<float> logits = {std::log(0.5f), std::log(0.3f), std::log(0.2f)};
  std::vector<int> seen(3);
  for (int i = 0; i < 1000; ++i) ++seen[static_cast<size_t>(sample(logits, {.temperature = 1, .top_p = 0.6}, i / 1000.0))];
  EXPECT_EQ(seen[2], 0);
  EXPECT_NEAR(seen[0], 625, 3);
  EXPECT_EQ(sample(logits, {.temperature = 1, .top_p = 0.01}, 0.999), 0);
}

}  // namespace
}  // namespace ds
