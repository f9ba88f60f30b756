#include "run/sample.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>
#include <vector>

#include "base/error.h"
#include "base/rng.h"
#include "io/input.h"
#include "io/json.h"

namespace ds {
namespace {

const std::vector<float> kLogits = {1.0f, 3.0f, 2.0f, 3.0f, -1.0f};
const float kNever = -std::numeric_limits<float>::infinity();

// The probability of every token: as u grows the tokens come in the order of their ids, and where one ends is found by
// halving.
std::vector<double> distribution(std::span<const float> logits, const Sampling& sampling, std::span<const uint64_t> allowed = {}) {
  std::vector<double> p(logits.size());
  for (double from = 0; from < 1;) {
    const int32_t id = sample(logits, sampling, allowed, from);
    double inside = from, outside = 1;
    for (int i = 0; i < 60; ++i) {
      const double middle = (inside + outside) / 2;
      (middle < 1 && sample(logits, sampling, allowed, middle) == id ? inside : outside) = middle;
    }
    p[static_cast<size_t>(id)] += outside - from;
    if (outside <= from) break;
    from = outside;
  }
  return p;
}

std::set<size_t> support(std::span<const float> logits, const Sampling& sampling, std::span<const uint64_t> allowed = {}) {
  std::set<size_t> ids;
  const auto p = distribution(logits, sampling, allowed);
  for (size_t i = 0; i < p.size(); ++i)
    if (p[i] > 0) ids.insert(i);
  return ids;
}

std::vector<float> noise(size_t count, uint64_t seed, double scale = 2) {
  std::vector<float> logits(count);
  for (size_t i = 0; i < count; ++i) logits[i] = static_cast<float>(scale * Rng{seed, 0}.normal(i));
  return logits;
}

TEST(Sample, GreedyTakesTheLowestOfTheBest) {
  EXPECT_EQ(sample(kLogits, {.temperature = 0}, {}, 0.99), 1);
  for (size_t count : {1u, 15u, 16u, 17u, 1000u}) {
    auto logits = noise(count, count);
    EXPECT_EQ(sample(logits, Sampling{}, {}, 0), std::max_element(logits.begin(), logits.end()) - logits.begin());
    std::fill(logits.begin(), logits.end(), -3.0f);
    EXPECT_EQ(sample(logits, Sampling{}, {}, 0), 0);
  }
}

// data/sampling_transformers.jsonl: logits through the LogitsProcessors of transformers 5.24 (torch 2.15, CPU) in the order of
// its generate(): RepetitionPenalty, Temperature, TopK, TopP, MinP; then softmax. The logits are multiples of 1/4, so some
// are equal.
TEST(Sample, IsThatOfTransformers) {
  LineReader reader({DS_SOURCE_DIR "/tests/run/data/sampling_transformers.jsonl"}, 1 << 20);
  int cases = 0;
  for (Line line; reader.next(line); ++cases) {
    const Json json = parse_json(line.text, "case");
    const auto numbers = [&](const char* key) {
      std::vector<double> list;
      for (const Json& item : json.find(key)->items) list.push_back(item.as_double(key));
      return list;
    };
    const auto or_else = [&](const char* key, double fallback) { return json.find(key) ? json.find(key)->as_double(key) : fallback; };
    const Sampling sampling{.temperature = or_else("temperature", 1), .top_k = static_cast<int64_t>(or_else("top_k", 0)), .top_p = or_else("top_p", 1),
                            .min_p = or_else("min_p", 0), .repetition_penalty = or_else("repetition_penalty", 1)};
    std::vector<float> logits;
    for (const double l : numbers("logits")) logits.push_back(static_cast<float>(l));
    TokenCounts counts;
    for (const double id : numbers("prompt")) counts.see(static_cast<int32_t>(id), false);
    for (const double id : numbers("answer")) counts.see(static_cast<int32_t>(id), true);
    counts.penalize(logits, sampling);
    const auto expected = numbers("probabilities"), found = distribution(logits, sampling);
    ASSERT_EQ(expected.size(), found.size());
    for (size_t i = 0; i < found.size(); ++i) {
      EXPECT_NEAR(found[i], expected[i], 1e-6) << cases << ": token " << i;
      EXPECT_EQ(found[i] > 0, expected[i] > 0) << cases << ": token " << i;
    }
  }
  EXPECT_EQ(cases, 12);
}

// The definitions again, by sorting everything.
std::vector<double> brute_force(std::vector<float> logits, const Sampling& s, std::span<const uint64_t> allowed) {
  const bool llama = s.order == SamplingOrder::llama_cpp;
  const double t = llama ? 1 : s.temperature;
  std::vector<size_t> order;
  for (size_t i = 0; i < logits.size(); ++i)
    if (allowed.empty() || (allowed[i / 64] >> i % 64 & 1)) order.push_back(i);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return logits[a] > logits[b]; });
  if (s.top_k > 0 && static_cast<size_t>(s.top_k) < order.size()) {
    auto k = static_cast<size_t>(s.top_k);
    if (!llama)
      while (k < order.size() && logits[order[k]] == logits[order[static_cast<size_t>(s.top_k) - 1]]) ++k;
    order.resize(k);
  }
  const auto weight = [&](size_t i, double temperature) { return std::exp((double{logits[i]} - double{logits[order[0]]}) / temperature); };
  if (s.top_p < 1) {
    double sum = 0, cumulative = 0;
    for (const size_t i : order) sum += weight(i, t);
    size_t kept = 0;
    while (kept < order.size() && (kept == 0 || cumulative < s.top_p * sum)) cumulative += weight(order[kept++], t);
    order.resize(kept);
  }
  std::erase_if(order, [&, first = order[0]](size_t i) { return std::exp((double{logits[i]} - double{logits[first]}) / t) < s.min_p; });
  std::vector<double> p(logits.size());
  double sum = 0;
  for (const size_t i : order) sum += weight(i, s.temperature);
  for (const size_t i : order) p[i] = weight(i, s.temperature) / sum;
  return p;
}

TEST(Sample, IsThatOfASortInBothOrders) {
  for (uint64_t seed = 0; seed < 60; ++seed) {
    const Rng rng{seed, 1};
    auto logits = noise(70 + rng.below(0, 300), seed, 0.5 + 3 * rng.uniform(1));
    if (seed % 3 == 0)
      for (float& l : logits) l = std::round(l * 2) / 2;  // many equal ones
    Sampling s{.temperature = 0.2 + 2 * rng.uniform(2)};
    if (seed % 2) s.order = SamplingOrder::llama_cpp;
    if (rng.uniform(3) < 0.5) s.top_k = 1 + static_cast<int64_t>(rng.below(4, 40));
    if (rng.uniform(5) < 0.7) s.top_p = rng.uniform(6);
    if (rng.uniform(7) < 0.3) s.min_p = 0.3 * rng.uniform(8);
    std::vector<uint64_t> allowed;
    if (seed % 4 < 2)
      for (size_t i = 0; i < (logits.size() + 63) / 64; ++i) allowed.push_back(rng.bits(100 + i));
    const auto expected = brute_force(logits, s, allowed), found = distribution(logits, s, allowed);
    for (size_t i = 0; i < found.size(); ++i) ASSERT_NEAR(found[i], expected[i], 1e-12) << "seed " << seed << ", token " << i;
  }
}

// With many tokens the cut at the k-th, and the nucleus, go through buffers and buckets.
TEST(Sample, IsThatOfASortForManyTokens) {
  for (const bool llama : {false, true})
    for (const Sampling& s : {Sampling{.temperature = 1, .top_k = 50}, {.temperature = 1.3, .top_k = 700, .top_p = 0.9}, {.temperature = 0.9, .top_p = 0.5}}) {
      Sampling sampling = s;
      if (llama) sampling.order = SamplingOrder::llama_cpp;
      auto logits = noise(20000, 5, 2.5);
      for (float& l : logits) l = std::round(l * 16) / 16;
      const auto expected = brute_force(logits, sampling, {});
      double sum = 0;
      for (int i = 0; i < 200; ++i) {
        const double u = (i + 0.5) / 200;
        const auto id = static_cast<size_t>(sample(logits, sampling, {}, u));
        EXPECT_GT(expected[id], 0);
        sum = std::accumulate(expected.begin(), expected.begin() + static_cast<std::ptrdiff_t>(id), 0.0);
        EXPECT_LE(sum, u + 1e-12);
        EXPECT_GE(sum + expected[id], u - 1e-12);
      }
    }
}

TEST(Sample, TopKKeepsTiesOnlyInHuggingFacesOrder) {
  EXPECT_EQ(support(kLogits, {.temperature = 1, .top_k = 1}), (std::set<size_t>{1, 3}));
  EXPECT_EQ(support(kLogits, {.temperature = 1, .top_k = 1, .order = SamplingOrder::llama_cpp}), (std::set<size_t>{1}));
}

// With temperature 4 first, 0.6 is reached by two tokens; with it last, by one, and it only shapes what is left.
TEST(Sample, TemperatureIsFirstOrLast) {
  const std::vector<float> logits = {std::log(0.7f), std::log(0.2f), std::log(0.1f)};
  EXPECT_EQ(support(logits, {.temperature = 4, .top_p = 0.6}), (std::set<size_t>{0, 1}));
  EXPECT_EQ(support(logits, {.temperature = 4, .top_p = 0.6, .order = SamplingOrder::llama_cpp}), (std::set<size_t>{0}));
  EXPECT_EQ(support(logits, {.temperature = 4, .min_p = 0.5, .order = SamplingOrder::llama_cpp}), (std::set<size_t>{0}));
}

// A chi-squared test with fixed numbers: 10 classes, so 9 degrees of freedom; 27.9 is passed once in a thousand.
TEST(Sample, DrawsFollowTheSoftmax) {
  const auto logits = noise(10, 3, 1);
  const Sampling sampling{.temperature = 0.8};
  std::vector<double> p, count(logits.size());
  double sum = 0, chi = 0;
  for (const float l : logits) p.push_back(std::exp(l / 0.8)), sum += p.back();
  constexpr int n = 50000;
  for (int i = 0; i < n; ++i) ++count[static_cast<size_t>(sample(logits, sampling, {}, Rng{1, 2}.uniform(static_cast<uint64_t>(i))))];
  for (size_t i = 0; i < p.size(); ++i) chi += std::pow(count[i] - n * p[i] / sum, 2) / (n * p[i] / sum);
  EXPECT_LT(chi, 27.9);
}

TEST(Sample, OnlyAllowedTokensAreDrawn) {
  const auto logits = noise(200, 9);
  std::vector<uint64_t> allowed(4);
  for (const size_t id : {3u, 64u, 199u}) allowed[id / 64] |= uint64_t{1} << id % 64;
  EXPECT_EQ(support(logits, {.temperature = 3}, allowed), (std::set<size_t>{3, 64, 199}));
  EXPECT_EQ(support(logits, {.temperature = 3}, std::span(allowed).first(2)), (std::set<size_t>{3, 64}));
  allowed[3] |= uint64_t{1} << 63;  // token 255, which there is not
  EXPECT_TRUE((std::set<int32_t>{3, 64, 199}).contains(sample(logits, Sampling{}, allowed, 0)));
  EXPECT_THROW(sample(logits, Sampling{}, std::vector<uint64_t>(4), 0), Error);
  auto without = logits;
  without[3] = kNever;
  EXPECT_EQ(support(without, {.temperature = 3}, allowed), (std::set<size_t>{64, 199}));
}

TEST(Sample, LogitsThatAreNotFiniteAreAnError) {
  for (const float wrong : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()})
    for (const size_t at : {0u, 7u, 20u, 32u}) {
      auto logits = noise(33, 2);
      logits[at] = wrong;
      for (const double temperature : {0.0, 1.0}) EXPECT_THROW(sample(logits, {.temperature = temperature}, {}, 0.5), Error) << at;
      EXPECT_THROW(logprobs_of(logits, 1, 2), Error);
    }
  EXPECT_THROW(sample(std::vector<float>(5, kNever), Sampling{}, {}, 0.5), Error);
}

TEST(Sample, ExtremesOfTemperature) {
  const std::vector<float> logits = {-3e38f, 3e38f, kNever, 0};
  EXPECT_EQ(support(logits, {.temperature = 1e-9}), (std::set<size_t>{1}));
  EXPECT_EQ(support(std::vector<float>{0, 1, kNever}, {.temperature = 1e6}), (std::set<size_t>{0, 1}));
  EXPECT_EQ(sample(kLogits, {.temperature = 1}, {}, std::nextafter(1.0, 0.0)), 4);
  EXPECT_EQ(support(kLogits, {.temperature = 1, .top_p = 0}), (std::set<size_t>{1}));
}

TEST(Penalties, RepetitionDividesAboveZeroAndMultipliesBelow) {
  std::vector<float> logits = {2, -2, 0, 3};
  TokenCounts counts;
  for (const int32_t id : {0, 1, 2, 0}) counts.see(id, false);
  counts.penalize(logits, {.repetition_penalty = 1.25});
  EXPECT_EQ(logits, (std::vector<float>{1.6f, -2.5f, 0, 3}));
}

TEST(Penalties, FrequencyAndPresenceLookAtTheAnswerOrAtTheWindow) {
  TokenCounts counts;
  for (const int32_t id : {0, 0, 1}) counts.see(id, false);
  for (const int32_t id : {1, 2, 2}) counts.see(id, true);
  std::vector<float> logits(4, 1), window(4, 1);
  counts.penalize(logits, {.frequency_penalty = 0.5, .presence_penalty = 0.25});
  EXPECT_EQ(logits, (std::vector<float>{1, 0.25f, -0.25f, 1}));
  counts.penalize(window, {.frequency_penalty = 0.5, .presence_penalty = 0.25, .order = SamplingOrder::llama_cpp});
  EXPECT_EQ(window, (std::vector<float>{-0.25f, -0.25f, -0.25f, 1}));
}

TEST(Penalties, LlamaCppForgetsWhatIsMoreThan64TokensBack) {
  TokenCounts counts;
  counts.see(0, false);
  counts.see(1, true);
  for (int i = 0; i < 63; ++i) counts.see(2, true);
  std::vector<float> logits(3, 1), all(3, 1);
  counts.penalize(logits, {.repetition_penalty = 2, .order = SamplingOrder::llama_cpp});
  EXPECT_EQ(logits, (std::vector<float>{1, 0.5f, 0.5f}));
  counts.penalize(all, {.repetition_penalty = 2});
  EXPECT_EQ(all, (std::vector<float>{0.5f, 0.5f, 0.5f}));
}

TEST(Logprobs, AreOfTheSoftmaxWithTheLikeliestInOrder) {
  const auto result = logprobs_of(kLogits, 2, 3);
  double sum = 0;
  for (const float l : kLogits) sum += std::exp(double{l});
  EXPECT_NEAR(result.logprob, 2 - std::log(sum), 1e-6);
  ASSERT_EQ(result.top.size(), 3u);
  EXPECT_EQ(result.top[0].id, 1);
  EXPECT_EQ(result.top[1].id, 3);
  EXPECT_EQ(result.top[2].id, 2);
  EXPECT_EQ(result.top[2].logprob, result.logprob);
  EXPECT_TRUE(logprobs_of(kLogits, 2, 0).top.empty());
  EXPECT_EQ(logprobs_of(kLogits, 0, 20).top.size(), 5u);
}

TEST(Check, NamesTheParameter) {
  const auto message = [](const Sampling& sampling) -> std::string {
    try {
      check(sampling);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(message({}), "");
  EXPECT_EQ(message({.temperature = -1}), "temperature is -1: it is from 0 to 1e+06");
  EXPECT_EQ(message({.temperature = std::nan("")}), "temperature is nan: it is from 0 to 1e+06");
  EXPECT_EQ(message({.max_tokens = 4, .min_tokens = 5}), "min_tokens is 5: it is from 0 to 4");
  EXPECT_EQ(message({.n = 4, .best_of = 3}), "best_of is 3: it is from 4 to 128");
  EXPECT_EQ(message({.n = 3, .beams = 2}), "n is 3: a search with 2 beams gives so many answers at most");
  EXPECT_EQ(message({.stop = {""}}), "a stop string has 0 bytes: it is from 1 to 1024");
  EXPECT_EQ(message({.logprobs = 21}), "logprobs is 21: it is from -1 to 20");
}

}  // namespace
}  // namespace ds
