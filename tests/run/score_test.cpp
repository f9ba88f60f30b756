#include "run/score.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "io/input.h"
#include "run/fixtures.h"

namespace ds {

static std::vector<int32_t> iota(int32_t n) {
  std::vector<int32_t> t;
  for (int32_t i = 0; i < n; ++i) t.push_back(i);
  return t;
}

// The example that lm-evaluation-harness gives: ten tokens, windows of four.
TEST(RollingWindows, AreTheHarnesss) {
  const auto windows = rolling_windows(iota(10), -100, 4);
  ASSERT_EQ(windows.size(), 3u);
  EXPECT_EQ(windows[0].tokens, (std::vector<int32_t>{-100, 0, 1, 2, 3}));
  EXPECT_EQ(windows[0].first, 1);
  EXPECT_EQ(windows[1].tokens, (std::vector<int32_t>{3, 4, 5, 6, 7}));
  EXPECT_EQ(windows[1].first, 1);
  EXPECT_EQ(windows[2].tokens, (std::vector<int32_t>{5, 6, 7, 8, 9}));  // input 5..8, predicts 8 and 9
  EXPECT_EQ(windows[2].first, 3);
}

TEST(RollingWindows, ScoreEveryTokenOnce) {
  for (int32_t n = 0; n < 40; ++n)
    for (int64_t max_length = 1; max_length < 9; ++max_length) {
      int32_t next = 0;
      for (const auto& w : rolling_windows(iota(n), -1, max_length)) {
        EXPECT_LE(static_cast<int64_t>(w.tokens.size()), max_length + 1);
        EXPECT_GE(w.first, 1);
        for (size_t i = static_cast<size_t>(w.first); i < w.tokens.size(); ++i) EXPECT_EQ(w.tokens[i], next++);
      }
      EXPECT_EQ(next, n);
    }
}

// Expected values are len(re.split(r"\\s+", text)) of Python 3.11.
TEST(CountWords, IsPythonsSplit) {
  EXPECT_EQ(count_words(""), 1u);
  EXPECT_EQ(count_words("one"), 1u);
  EXPECT_EQ(count_words("  one \t\n two "), 4u);
  EXPECT_EQ(count_words("a\u00a0b\u2003\u3000c"), 3u);
  EXPECT_EQ(count_words("a\x1c\x1d\x1e\x1f" "b\u0085c"), 3u);
  EXPECT_EQ(count_words("a\u200bb\ufeffc"), 1u);  // no white space, though of no width
}

TEST(Continuation, MovesTrailingSpaceAndKeepsTheSeam) {
  NEEDS_FIXTURE("llama");
  const Engine engine(fixture("llama"));
  const auto whole = engine.tokenizer().encode("The answer is seven");
  const auto a = continuation_request(engine, "The answer is", " seven"), b = continuation_request(engine, "The answer is ", "seven");
  EXPECT_EQ(a.tokens, whole);
  EXPECT_EQ(b.tokens, whole);
  EXPECT_EQ(a.first, static_cast<int64_t>(engine.tokenizer().encode("The answer is").size()));
  EXPECT_EQ(b.first, a.first);
  const auto empty = continuation_request(engine, "", "seven");
  EXPECT_EQ(empty.first, 1);
  EXPECT_EQ(empty.tokens[0], *engine.tokenizer().bos_id());
}


TEST(Continuation, UnicodeWhiteSpaceMovesToo) {
  NEEDS_FIXTURE("llama");
  const Engine engine(fixture("llama"));
  const auto bare = continuation_request(engine, "The answer is", "\u3000\u00a0seven");
  const auto moved = continuation_request(engine, "The answer is\u3000\u00a0", "seven");
  EXPECT_EQ(moved.tokens, bare.tokens);
  EXPECT_EQ(moved.first, bare.first);
}

TEST(Continuation, ContextsLoseTheirBeginningAndLongContinuationsAreErrors) {
  NEEDS_FIXTURE("llama");
  const Engine engine(fixture("llama"));
  std::string text;
  for (int i = 0; i < 4000; ++i) text += " seven";
  const auto cut = continuation_request(engine, text, " eight");
  EXPECT_EQ(static_cast<int64_t>(cut.tokens.size()), engine.max_length() + 1);
  const auto whole = engine.tokenizer().encode(text + " eight");
  EXPECT_TRUE(std::equal(cut.tokens.rbegin(), cut.tokens.rend(), whole.rbegin()));
  EXPECT_EQ(cut.tokens.size() - static_cast<size_t>(cut.first), engine.tokenizer().encode(" eight", false).size());
  EXPECT_THROW(continuation_request(engine, "a", text), Error);
}

// Windows give the same values as one pass where a text fits, and each window those of its own tokens alone.
TEST(Score, LongTextsAreScoredInWindows) {
  NEEDS_FIXTURE("llama");
  Engine engine(fixture("llama"), {.batch_tokens = 100});
  std::vector<int32_t> tokens;
  for (int64_t i = 0; i < engine.max_length() * 2 + 17; ++i) tokens.push_back(static_cast<int32_t>(i * i % 200 + 3));
  const auto windows = rolling_windows(std::span(tokens).subspan(1), tokens[0], engine.max_length());
  ASSERT_EQ(windows.size(), 3u);
  const auto together = score(engine, windows);
  for (size_t w = 0; w < windows.size(); ++w) {
    const auto alone = score(engine, std::span(windows).subspan(w, 1));
    EXPECT_EQ(alone[0].logprobs, together[w].logprobs);
  }
  EXPECT_EQ(together[0].logprobs.size() + together[1].logprobs.size() + together[2].logprobs.size(), tokens.size() - 1);
  EXPECT_THROW(score(engine, std::vector<ScoreRequest>{{tokens, 1}}), Error);
}

// Every log-likelihood request of a run of lm-evaluation-harness 0.4.13 on this model (samples files of --log_samples).
TEST(Score, AgreesWithTheHarness) {
  NEEDS_SHARED("reference/lmeval_stories260K");
  NEEDS_SHARED("data/models/stories260K/hf");
  Engine engine(shared("data/models/stories260K/hf"));
  LineReader lines({shared("reference/lmeval_stories260K/samples_loc_arc.jsonl"), shared("reference/lmeval_stories260K/samples_loc_lambada.jsonl")}, 1 << 20);
  std::vector<ScoreRequest> requests;
  std::vector<std::pair<double, bool>> verdicts;
  for (Line line; lines.next(line);) {
    const Json sample = parse_json(line.text, *line.file);
    const Json &arguments = *sample.find("arguments"), &responses = *sample.find("resps");
    for (size_t i = 0; i < arguments.members.size(); ++i) {
      const Json& pair = arguments.members[i].second;
      requests.push_back(continuation_request(engine, pair.find("arg_0")->text, pair.find("arg_1")->text));
      const Json& verdict = responses.items[i].items[0];
      verdicts.emplace_back(std::stod(verdict.items[0].text), verdict.items[1].text == "True");
    }
  }
  ASSERT_EQ(requests.size(), 540u);
  const auto results = score(engine, requests);
  for (size_t i = 0; i < results.size(); ++i) {
    EXPECT_NEAR(results[i].logprob, verdicts[i].first, 1e-3) << i;
    EXPECT_EQ(std::count(results[i].greedy.begin(), results[i].greedy.end(), false) == 0, verdicts[i].second) << i;
  }
}

TEST(Score, RollsAsTheHarnessDoes) {
  NEEDS_SHARED("reference/lmeval_stories260K");
  NEEDS_SHARED("data/models/stories260K/hf");
  Engine engine(shared("data/models/stories260K/hf"));
  LineReader lines({shared("reference/lmeval_stories260K/samples_loc_roll.jsonl")}, 1 << 20);
  size_t count = 0, windowed = 0;
  for (Line line; lines.next(line); ++count) {
    const Json sample = parse_json(line.text, *line.file);
    const std::string& text = sample.find("arguments")->members[0].second.find("arg_0")->text;
    const auto windows = rolling_windows(encode(engine, text), prefix_token(engine), engine.max_length());
    windowed += windows.size() > 1;
    double sum = 0;
    for (const auto& result : score(engine, windows)) sum += result.logprob;
    EXPECT_NEAR(sum, std::stod(sample.find("resps")->items[0].items[0].text), 1e-3) << count;
    EXPECT_EQ(static_cast<double>(count_words(text)), sample.find("word_perplexity")->items[1].as_double("words")) << count;
  }
  EXPECT_EQ(count, 41u);
  EXPECT_GE(windowed, 1u);
}

}  // namespace ds
