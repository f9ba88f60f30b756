#include "clean/answers/answer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/rng.h"
#include "io/input.h"
#include "io/json.h"
#include "text/words.h"

namespace ds {
namespace {

namespace fs = std::filesystem;

Signals measured(std::string_view question, std::string_view answer) {
  Signals signals;
  measure_answer(question, answer, signals);
  return signals;
}

TEST(Answer, WordsAndRatio) {
  const Signals s = measured("What is the capital of France?", "The capital is Paris.");
  EXPECT_EQ(s[Signal::answer_words], 4);
  EXPECT_EQ(s[Signal::answer_ratio], 4.0 / 6);
  EXPECT_FALSE(s.has(Signal::answer_foreign));
  EXPECT_FALSE(s.has(Signal::words));
  EXPECT_EQ(measured("a b", "")[Signal::answer_words], 0);
  EXPECT_EQ(measured("a b", "")[Signal::answer_ratio], 0);
  EXPECT_TRUE(std::isnan(measured("?!", "a b")[Signal::answer_ratio]));
  // Characters of Chinese count one by one, Latin words between them whole.
  EXPECT_EQ(measured("a", "\u5317\u4EAC\u662FChina\u9996\u90FD\u3002")[Signal::answer_words], 6);
  EXPECT_EQ(measured("a", std::string_view("x\0y", 3))[Signal::answer_words], 2);
}

TEST(Answer, EchoIsTheShareOfThreeWords) {
  const auto echo = [](std::string_view q, std::string_view a) { return measured(q, a)[Signal::answer_echo]; };
  EXPECT_EQ(echo("How do I open a jar?", "How do I open a jar?"), 1);
  EXPECT_EQ(echo("How do I open a jar?", "how do i OPEN, a jar"), 1);
  EXPECT_EQ(echo("How do I open a jar?", "Run it under hot water."), 0);
  EXPECT_EQ(echo("one two three four", "one two three five six"), 1.0 / 3);
  EXPECT_EQ(echo("Paris", "Paris"), 1);
  EXPECT_EQ(echo("New York?", "new york"), 1);
  EXPECT_EQ(echo("New York or Paris?", "New York"), 0);
  EXPECT_EQ(echo("", ""), 0);
  EXPECT_EQ(echo("a b c", ""), 0);
  EXPECT_EQ(echo("", "a b c"), 0);
  EXPECT_EQ(echo("\u4E2D\u56FD\u7684\u9996\u90FD\u662F\u54EA\u91CC",
                 "\u4E2D\u56FD\u7684\u9996\u90FD\u662F\u54EA\u91CC\uFF1F"),
            1);
  EXPECT_EQ(echo("\u4E2D\u56FD\u7684\u9996\u90FD", "\u4E2D\u56FD\u7684\u5317\u4EAC"), 1.0 / 3);
  // Against sets of strings.
  for (uint64_t stream = 0; stream < 100; ++stream) {
    const Rng rng{21, stream};
    std::vector<std::string> q, a;
    std::string question, answer;
    for (uint64_t i = 0; i < 30; ++i)
      question += (q.emplace_back(std::string("w").append(std::to_string(rng.below(i, 4))))) + " ";
    for (uint64_t i = 0; i < 3 + stream % 20; ++i)
      answer += (a.emplace_back(std::string("w").append(std::to_string(rng.below(100 + i, 5))))) + ", ";
    std::set<std::vector<std::string>> known;
    for (size_t i = 0; i + 3 <= q.size(); ++i) known.insert({q.begin() + i, q.begin() + i + 3});
    double found = 0;
    for (size_t i = 0; i + 3 <= a.size(); ++i) found += known.contains({a.begin() + i, a.begin() + i + 3});
    EXPECT_EQ(echo(question, answer), found / static_cast<double>(a.size() - 2));
  }
}

TEST(Answer, RefusalsAreSeen) {
  for (const char* answer : {
           "I'm sorry, but I can't assist with that.",
           "I\u2019m sorry, but I can\u2019t help with that request.",
           "I am sorry, but I cannot provide medical advice.",
           "Sorry, I can't do that.",
           "I'm sorry, I'm not able to help.",
           "As an AI language model, I do not have personal opinions.",
           "As an AI, I can't feel.",
           "As a large language model I cannot browse.",
           "I cannot assist with this.",
           "I can't help you with hacking.",
           "I cannot fulfill this request.",
           "I can not comply with that.",
           "I am unable to provide that information.",
           "I'm unable to assist.",
           "Unfortunately, I cannot answer this question.",
           "Hello! Thank you for asking. I'm afraid I can't help with this.",
           "Thank you for your question, but I cannot provide legal advice.",
           "I apologize, but I cannot write that.",
           "My apologies, but I can't.",
           "I must respectfully decline.",
           "I have to decline this request.",
           "I will not write such content.",
           "I don't feel comfortable answering.",
           "It would not be appropriate for me to say.",
           "It goes against my programming to do so.",
           "I don't have personal beliefs.",
           "I do not have real-time data.",
           "IM SORRY BUT I CANT HELP",
           "\"I'm sorry, but I can't.\"",
           "\u62B1\u6B49\uFF0C\u6211\u65E0\u6CD5\u56DE\u7B54\u8FD9\u4E2A\u95EE\u9898\u3002",
           "\u5BF9\u4E0D\u8D77\uFF0C\u6211\u4E0D\u80FD\u63D0\u4F9B\u8FD9\u65B9\u9762\u7684\u5E2E\u52A9\u3002",
           "\u4F5C\u4E3A\u4E00\u4E2A\u4EBA\u5DE5\u667A\u80FD\u8BED\u8A00\u6A21\u578B\uFF0C\u6211\u6CA1\u6709\u60C5"
           "\u611F\u3002",
           "\u4F5C\u4E3AAI\uFF0C\u6211\u4E0D\u77E5\u9053\u3002",
           "\u6211\u65E0\u6CD5\u63D0\u4F9B\u533B\u7597\u5EFA\u8BAE\u3002",
           "\u5C0D\u4E0D\u8D77\uFF0C\u6211\u7121\u6CD5\u56DE\u7B54\u3002",
       })
    EXPECT_TRUE(refuses(answer)) << answer;
}

TEST(Answer, AnswersAreNoRefusals) {
  std::string late;
  for (int i = 0; i < 41; ++i) late += "word ";
  for (const std::string& answer : std::vector<std::string>{
           "",
           " ",
           "Yes.",
           "I'm sorry to hear that. Try restarting the router.",
           "I am sorry, but the train has left.",
           "As an aid to memory, write it down.",
           "As a language teacher, I recommend practice.",
           "As an airline, we fly.",
           "You cannot assist a player who is offside.",
           "If the law says I cannot provide a receipt, ask the shop.",
           "I can't help but admire her.",
           "I cannot stand the smell.",
           "Sorry about the delay; the answer is 7.",
           "Unfortunately, the museum is closed on Mondays.",
           "People say that the phrase as an AI language model is a sign of generated text.",
           "No, I'm an AI.",
           "I am a language model",
           "I don't have a car.",
           "I will not go to Rome.",
           "Penguins cannot fly, and neither can ostriches.",
           late + "I'm sorry, but I can't assist with that.",
           "\u5317\u4EAC\u662F\u4E2D\u56FD\u7684\u9996\u90FD\u3002",
           "\u4F5C\u4E3A\u4E00\u540D\u6559\u5E08\uFF0C\u6211\u5EFA\u8BAE\u591A\u8BFB\u4E66\u3002",
           "\u4F5C\u4E3A\u4E2D\u56FD\u7684\u9996\u90FD\uFF0C\u5317\u4EAC\u5F88\u5927\u3002",
           "\u4ED6\u8BF4\u5BF9\u4E0D\u8D77\u3002",
           "\u6211\u4E0D\u80FD\u5403\u8FA3\u3002",
       })
    EXPECT_FALSE(refuses(answer)) << answer;
}

TEST(Answer, BrokenOffAnswersAreSeen) {
  std::string endless = "It began";
  for (int i = 0; i < 40; ++i) endless += " and then";
  for (const std::string& answer : std::vector<std::string>{
           "The steps are as follows:",
           "First wash it, then dry it,",
           "You need eggs, milk and",
           "The best way to do this is the",
           "It failed because",
           "He was born in (1950",
           "She said \"come in",
           "She said \u201Ccome in.",
           "The list is [1, 2",
           "It is well-",
           "One thing \u2014",
           "Here is the code:\n```python\nprint(1)\n",
           "~~~\nx",
           "The sun is a star. It is much larger than the ear",
           "The sun is a star. It gives light to all of the planets",
           "Is it true? I would say that it depends on",
           endless + " it went",
           "def f(x):\n    return g(x",
           "\u592A\u9633\u662F\u4E00\u9897\u6052\u661F\u3002\u5B83\u6BD4\u5730\u7403\u5927\u5F97",
           "\u56E0\u4E3A\u5929\u6C14\u4E0D\u597D\uFF0C",
           "\u9996\u5148\u8981\u6D17\u624B\uFF0C\u7136\u540E\u5403\u996D\uFF0C\u4EE5\u53CA",
           "1. Wash.\n2. Dry,",
       })
    EXPECT_TRUE(breaks_off(answer)) << answer;
}

TEST(Answer, WholeAnswersAreNotBrokenOff) {
  for (const std::string& answer : std::vector<std::string>{
           "",
           " \n ",
           "Yes",
           "and",
           "42",
           "-",
           ":",
           ",",
           "Paris.",
           "Is it?",
           "Wow!",
           "He said \"come in.\"",
           "He said \"come in\".",
           "(See above.)",
           "**Done.**",
           "Well...",
           "The watermelon seeds pass through your digestive system",
           "The sum is 5 + 4 = 9.\n#### 9",
           "The sum is easy. So x = 2 y + z",
           "She has 5 apples. The answer is 5",
           "It is there. See https://example.com/a",
           "They are all good. My list:\n- apples\n- pears and plums of all sizes",
           "They are all good. My list:\n1. apples\n2. pears and plums of all sizes",
           "It works. Run this:\n```sh\nls\n```",
           "def f(x):\n    return x",
           "import re\ndef f(x):\n  return (re.findall(\"a b\", x))",
           "int main() { return 0; }",
           "a | b\n--|--\n1 | 2",
           "The board is 5\" wide and 10\" long.",
           "Too bad. Never mind :(",
           "Great! Thanks :)",
           "It was the U.S. that won the war in the end",
           "Yahoo! was a well known search engine",
           "He is fine. Best regards,\nBob",
           "Vitamin A or vitamin C",
           "\u5317\u4EAC",
           "\u592A\u9633\u662F\u4E00\u9897\u6052\u661F\u3002",
           "\u592A\u9633\u662F\u4E00\u9897\u6052\u661F\u3002\u5B83\u5F88\u5927\uFF01",
           "\u300C\u4F60\u597D\u3002\u300D",
           "\u5B83\u5F88\u6696\u548C",
           std::string("a\0b", 3),
       })
    EXPECT_FALSE(breaks_off(answer)) << answer;
}

std::string pair_of(const std::string& raw, std::string_view question = {}, std::string_view answer = {}) {
  const auto pair = question_answer(Record(raw, "f", 1), question, answer);
  return pair ? pair->question + "|" + pair->answer : "none";
}

TEST(QuestionAnswer, LayoutsAreKnown) {
  EXPECT_EQ(pair_of(R"({"prompt": "q", "completion": "a"})"), "q|a");
  EXPECT_EQ(pair_of(R"({"question": "q", "answer": "a"})"), "q|a");
  EXPECT_EQ(pair_of(R"({"instruction": "do", "input": "", "output": "a"})"), "do|a");
  EXPECT_EQ(pair_of(R"({"instruction": "do", "output": "a"})"), "do|a");
  EXPECT_EQ(pair_of(R"({"instruction": "do", "input": "this\tx", "output": "a\u4e2d"})"), "do\nthis\tx|a\u4E2D");
  EXPECT_EQ(pair_of(R"({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "q1"},
    {"role": "assistant", "content": "a1"}, {"role": "user", "content": "q2"}, {"role": "assistant", "content": "a2"},
    {"role": "user", "content": "q3"}]})"),
            "q2|a2");
  EXPECT_EQ(pair_of(R"({"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "image_url"},
    {"type": "text", "text": "y"}]}, {"role": "assistant", "content": null, "tool_calls": []},
    {"role": "tool", "content": "t"}, {"content": "a", "role": "assistant"}]})"),
            "x\ny|a");
  EXPECT_EQ(pair_of(R"({"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]})"), "q|a");
  EXPECT_EQ(pair_of(R"({"conversations": [{"from": "user", "value": "q"}, {"from": "bing", "value": ""}]})"), "q|");
  EXPECT_EQ(pair_of(R"({"messages": [], "prompt": "q", "completion": "a"})"), "q|a");
  for (const char* none :
       {R"({})", R"({"text": "t"})", R"({"prompt": "q"})", R"({"prompt": 1, "completion": "a"})",
        R"({"messages": [{"role": "assistant", "content": "a"}]})", R"({"messages": "x"})",
        R"({"messages": [1, null, {}]})",
        R"({"messages": [{"role": "assistant", "content": "a"}, {"role": "user", "content": "q"}]})",
        R"({"conversations": [{"from": 1, "value": "q"}]})", R"({"instruction": "do", "output": null})"})
    EXPECT_EQ(pair_of(none), "none") << none;
}

TEST(QuestionAnswer, NamedFieldsComeFirst) {
  const std::string raw = R"({"prompt": "q", "completion": "a", "ask": "Q", "reply": "A", "n": 1})";
  EXPECT_EQ(pair_of(raw, "ask", "reply"), "Q|A");
  EXPECT_EQ(pair_of(raw, "ask", ""), "Q|a");
  EXPECT_EQ(pair_of(raw, "", "reply"), "q|A");
  EXPECT_EQ(pair_of(raw, "n", "reply"), "none");
  EXPECT_EQ(pair_of(raw, "", "n"), "none");
  EXPECT_EQ(pair_of(R"({"ask": "Q", "reply": "A"})", "ask", ""), "none");
}

// Texts that would take a quadratic rule minutes.
TEST(Answer, LinearInTheText) {
  for (const char* part :
       {"(", "\"", "a ", "a. ", "```\n", "\n", "_", ")", "*", "i ", "as an ", "\u4F5C\u4E3A", ". ", "U."}) {
    std::string text;
    while (text.size() < 1'000'000) text += part;
    const std::clock_t start = std::clock();
    const Signals s = measured(text, text);
    EXPECT_GE(s[Signal::answer_echo], 0);
    EXPECT_LT(static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC, 3) << part;
  }
}

// Gold answers are good ones: nearly none may be taken for bad. What is cut in the middle of prose is mostly seen.
class AnswerData : public testing::Test {
 protected:
  static std::vector<QuestionAnswer> pairs(const char* file, const char* question, const char* answer) {
    const char* shared = std::getenv("DS_SHARED");
    const fs::path path = fs::path(shared ? shared : DS_SOURCE_DIR "/../shared") / "data" / file;
    std::vector<QuestionAnswer> found;
    if (!fs::exists(path)) return found;
    LineReader lines({path.string()}, size_t{1} << 26);
    for (Line line; lines.next(line);)
      if (auto pair = question_answer(Record(line), question, answer)) found.push_back(*pair);
    return found;
  }
};

TEST_F(AnswerData, GoldAnswersAreGood) {
  struct Set {
    const char *file, *question, *answer;
    double most_unfinished;
  };
  for (const auto& [file, question, answer, most] :
       {Set{"gsm8k/test.jsonl", "question", "answer", 0.002}, Set{"mbpp/mbpp.jsonl", "text", "code", 0.002},
        Set{"humaneval/HumanEval.jsonl", "prompt", "canonical_solution", 0.002},
        Set{"truthfulqa/TruthfulQA.jsonl", "Question", "Best Answer", 0.01}}) {
    const auto all = pairs(file, question, answer);
    if (all.empty()) GTEST_SKIP() << file << " is not there";
    double refused = 0, unfinished = 0;
    for (const QuestionAnswer& pair : all) {
      const Signals s = measured(pair.question, pair.answer);
      refused += s[Signal::answer_refusal];
      unfinished += s[Signal::answer_unfinished];
    }
    const auto n = static_cast<double>(all.size());
    EXPECT_EQ(refused, 0) << file;
    EXPECT_LE(unfinished / n, most) << file;
  }
}

TEST_F(AnswerData, CutAnswersAreSeen) {
  const auto all = pairs("boolq/test.jsonl.zst", "query", "query");
  if (all.empty()) GTEST_SKIP() << "boolq is not there";
  double seen = 0;
  for (const QuestionAnswer& pair : all)
    seen += breaks_off(std::string_view(pair.answer).substr(0, pair.answer.size() * 6 / 10));
  EXPECT_GT(seen / static_cast<double>(all.size()), 0.65);
}

}  // namespace
}  // namespace ds
