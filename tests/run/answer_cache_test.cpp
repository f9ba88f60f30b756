// The answer cache: equal requests get equal answers, byte for byte and whatever differs makes another request; near ones get
// an answer that says so.
#include "run/answer_cache.h"

#include <gtest/gtest.h>

#include <cmath>

#include "fixtures.h"

namespace ds {
namespace {

std::vector<GenerateRequest> make_requests() {
  std::vector<GenerateRequest> requests;
  for (int32_t i = 0; i < 6; ++i)
    requests.push_back({{5, 6 + i, 7, 8}, {.max_tokens = 12 + i, .temperature = i % 2 ? 0.9 : 0.0, .ignore_eos = true, .logprobs = i % 3 - 1, .n = i % 2 ? 2 : 1}, 3, 40 + static_cast<uint64_t>(i)});
  requests.push_back({{9, 8, 7}, {.max_tokens = 6, .n = 2, .beams = 3}});
  return requests;
}

struct Told {
  GenerateResult result;
  std::vector<std::vector<int32_t>> deltas;  // tokens of each answer
  bool done = false;
};
Told ask(Scheduler& scheduler, const GenerateRequest& request) {
  Told told;
  told.deltas.resize(static_cast<size_t>(request.sampling.n));
  scheduler.submit(request, {[&](const Delta& d) { auto& to = told.deltas[static_cast<size_t>(d.answer)]; to.insert(to.end(), d.tokens.begin(), d.tokens.end()); },
                             [&](GenerateResult&& r) { told.result = std::move(r), told.done = true; }});
  EXPECT_FALSE(told.done);  // never within submit()
  while (scheduler.step()) {
  }
  EXPECT_TRUE(told.done);
  EXPECT_TRUE(scheduler.idle());
  return told;
}

TEST(AnswerCacheTest, AnEqualRequestGetsTheSameBytesWithoutAPass) {
  NEEDS_FIXTURE("llama");
  Engine engine(fixture("llama"));
  Scheduler scheduler(engine, {.answer_cache = 1 << 20}), plain(engine);
  for (const GenerateRequest& request : make_requests()) {
    const Told wanted = ask(plain, request), first = ask(scheduler, request);
    const SchedulerStats before = scheduler.stats();
    const Told again = ask(scheduler, request);
    const SchedulerStats after = scheduler.stats();
    EXPECT_EQ(after.steps, before.steps);
    EXPECT_EQ(after.cached_answers, before.cached_answers + 1);
    EXPECT_EQ(after.finished, before.finished + 1);
    EXPECT_FALSE(again.result.similarity);
    for (const Told* told : {&first, &again}) {
      EXPECT_EQ(told->deltas, wanted.deltas);
      ASSERT_EQ(told->result.answers.size(), wanted.result.answers.size());
      for (size_t a = 0; a < wanted.result.answers.size(); ++a) {
        const Answer &got = told->result.answers[a], &want = wanted.result.answers[a];
        EXPECT_EQ(got.tokens, want.tokens);
        EXPECT_EQ(got.text, want.text);
        EXPECT_EQ(got.finish_reason, want.finish_reason);
        EXPECT_EQ(got.logprob, want.logprob);
        ASSERT_EQ(got.logprobs.size(), want.logprobs.size());
        for (size_t t = 0; t < want.logprobs.size(); ++t) {
          EXPECT_EQ(got.logprobs[t].logprob, want.logprobs[t].logprob);
          EXPECT_EQ(got.logprobs[t].top.size(), want.logprobs[t].top.size());
        }
      }
    }
  }
}

TEST(AnswerCacheTest, AllThatDecidesAnAnswerIsInTheKey) {
  const GenerateRequest base{{1, 2, 3}, {.stop = {"ab", "c"}}, 5, 6};
  std::vector<GenerateRequest> others;
  const auto with = [&](auto change) {
    others.push_back(base);
    change(others.back());
  };
  with([](GenerateRequest& r) { r.tokens.push_back(4); });
  with([](GenerateRequest& r) { r.stream = 7; });
  const size_t streams = others.size();  // the rest differ in parameters too
  with([](GenerateRequest& r) { r.seed = 6; });
  with([](GenerateRequest& r) { r.adapter = 0; });
  with([](GenerateRequest& r) { r.sampling.max_tokens = 127; });
  with([](GenerateRequest& r) { r.sampling.min_tokens = 1; });
  with([](GenerateRequest& r) { r.sampling.temperature = 0.5; });
  with([](GenerateRequest& r) { r.sampling.top_k = 4; });
  with([](GenerateRequest& r) { r.sampling.top_p = 0.5; });
  with([](GenerateRequest& r) { r.sampling.min_p = 0.5; });
  with([](GenerateRequest& r) { r.sampling.repetition_penalty = 1.1; });
  with([](GenerateRequest& r) { r.sampling.frequency_penalty = 0.1; });
  with([](GenerateRequest& r) { r.sampling.presence_penalty = 0.1; });
  with([](GenerateRequest& r) { r.sampling.order = SamplingOrder::llama_cpp; });
  with([](GenerateRequest& r) { r.sampling.ignore_eos = true; });
  with([](GenerateRequest& r) { r.sampling.stop = {"a", "bc"}; });
  with([](GenerateRequest& r) { r.sampling.logprobs = 0; });
  with([](GenerateRequest& r) { r.sampling.n = 2; });
  with([](GenerateRequest& r) { r.sampling.best_of = 2; });
  with([](GenerateRequest& r) { r.sampling.beams = 2; });
  with([](GenerateRequest& r) { r.sampling.length_penalty = 2; });
  with([](GenerateRequest& r) { r.constraint = compile_constraint({ConstraintSpec::Kind::regex, "a+"}); });
  with([](GenerateRequest& r) { r.constraint = compile_constraint({ConstraintSpec::Kind::regex, "a*"}); });
  EXPECT_EQ(request_key(base), request_key(GenerateRequest(base)));
  for (size_t i = 0; i < others.size(); ++i) {
    EXPECT_FALSE(request_key(others[i]) == request_key(base)) << i;
    EXPECT_EQ(parameters_key(others[i]) == parameters_key(base), i < streams) << i;
    for (size_t j = 0; j < i; ++j) EXPECT_FALSE(request_key(others[i]) == request_key(others[j])) << i << ' ' << j;
  }
  EXPECT_EQ(request_key(others.back()), request_key([&] {  // compiled twice, one source
              GenerateRequest r = base;
              r.constraint = compile_constraint({ConstraintSpec::Kind::regex, "a*"});
              return r;
            }()));
}

TEST(AnswerCacheTest, KeepsToItsBytesAndLetsGoOfWhatWasNotAskedForTheLongest) {
  AnswerCache cache(4000, nullptr, 0, nullptr);
  GenerateResult result;
  result.answers.resize(1);
  result.answers[0].text = std::string(500, 'x');
  const auto request = [](int32_t i) { return GenerateRequest{{i}}; };
  const auto there = [&](int32_t i) {
    AnswerCache::Key key;
    return cache.find(request(i), key).has_value();
  };
  for (int32_t i = 0; i < 20; ++i) {
    AnswerCache::Key key;
    ASSERT_FALSE(cache.find(request(i), key));
    cache.add(key, result);
    EXPECT_LE(cache.bytes(), 4000u);
    EXPECT_TRUE(there(i));
    EXPECT_TRUE(there(0)) << "asked for each time, so it stays";
  }
  EXPECT_GE(cache.size(), 2u);
  EXPECT_FALSE(there(1));
  AnswerCache::Key key;
  EXPECT_FALSE(cache.find(request(99), key));
  result.answers[0].text = std::string(5000, 'x');
  cache.add(key, result);  // larger than all of it
  EXPECT_FALSE(there(99));
}

TEST(AnswerCacheTest, CancelledAnswersAreNotKeptAndKnownOnesCanBeCancelled) {
  NEEDS_FIXTURE("llama");
  Engine engine(fixture("llama"));
  Scheduler scheduler(engine, {.answer_cache = 1 << 20});
  const GenerateRequest request{{5, 6, 7}, {.max_tokens = 20, .ignore_eos = true}};
  GenerateResult result;
  const auto keep = [&](GenerateResult&& r) { result = std::move(r); };
  const uint64_t first = scheduler.submit(request, {{}, keep});
  for (int i = 0; i < 3; ++i) scheduler.step();
  scheduler.cancel(first);
  while (scheduler.step()) {
  }
  EXPECT_EQ(result.answers.at(0).finish_reason, "cancelled");
  EXPECT_EQ(ask(scheduler, request).result.answers.at(0).tokens.size(), 20u);
  EXPECT_EQ(scheduler.stats().cached_answers, 0u);
  scheduler.cancel(scheduler.submit(request, {{}, keep}));
  EXPECT_TRUE(scheduler.step());
  EXPECT_EQ(result.answers.at(0).finish_reason, "cancelled");
  EXPECT_TRUE(result.answers.at(0).tokens.empty());
  EXPECT_EQ(scheduler.stats().cancelled, 2u);
}

TEST(AnswerCacheTest, NearPromptsGetAnAnswerThatSaysHowNear) {
  NEEDS_SHARED("data/models/stories260K/hf");
  const std::string model = shared("data/models/stories260K/hf");
  Engine engine(model), embedder(model);
  const auto request = [&](const std::string& text) { return GenerateRequest{encode(engine, text), {.max_tokens = 8}}; };
  const GenerateRequest one = request("Once upon a time there was a little cat."), near = request("Once upon a time, there was a little cat."),
                        far = request("Tom");
  Scheduler scheduler(engine, {.answer_cache = 1 << 20, .answer_cache_model = &embedder, .answer_cache_threshold = 0.9});
  const Told first = ask(scheduler, one);
  EXPECT_FALSE(first.result.similarity);
  const Told second = ask(scheduler, near);
  ASSERT_TRUE(second.result.similarity);
  EXPECT_GE(*second.result.similarity, 0.9);
  EXPECT_LT(*second.result.similarity, 1.0);
  EXPECT_EQ(second.result.answers.at(0).text, first.result.answers.at(0).text);
  EXPECT_FALSE(ask(scheduler, one).result.similarity) << "the same prompt is not a near one";
  // The cosine by another way.
  const auto vectors = embed(embedder, std::vector{one.tokens, near.tokens, far.tokens}, read_pooling(model));
  const auto cosine = [&](size_t b) {
    long double ab = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < vectors[0].size(); ++i) ab += (long double)vectors[0][i] * vectors[b][i], aa += (long double)vectors[0][i] * vectors[0][i], bb += (long double)vectors[b][i] * vectors[b][i];
    return static_cast<double>(ab / std::sqrt(aa * bb));
  };
  EXPECT_NEAR(*second.result.similarity, cosine(1), 1e-6);
  ASSERT_LT(cosine(2), 0.9);
  EXPECT_FALSE(ask(scheduler, far).result.similarity);
  GenerateRequest other = near;  // of other parameters
  other.sampling.max_tokens = 9;
  EXPECT_FALSE(ask(scheduler, other).result.similarity);
  EXPECT_EQ(scheduler.stats().similar_answers, 1u);
  EXPECT_EQ(scheduler.stats().cached_answers, 1u);
}

}  // namespace
}  // namespace ds
