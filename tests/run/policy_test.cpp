#include "run/policy.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>

#include "base/error.h"
#include "text/classifier_trainer.h"

namespace ds {
namespace {

using Kind = ConstraintSpec::Kind;

const Classifier& builtin() {
  static const Classifier classifier = intent_classifier("");
  return classifier;
}

Policy applied(const std::string& record, Policy policy, Parameters& parameters) {
  apply(policy, Record(record, "in.jsonl", 1), parameters);
  return policy;
}

TEST(Policy, ABlankPromptHasNoIntent) {
  for (const char* const blank : {"", " ", "\n\t \r\n"}) {
    const Policy policy = policy_of(builtin(), blank);
    EXPECT_FALSE(policy.intent || policy.temperature || policy.constraint) << '"' << blank << '"';
  }
}

// Written by hand, of other templates than what the model was trained on (examples/policy).
TEST(Policy, RecognisesPromptsThatItWasNotTrainedOn) {
  std::ifstream in(DS_SOURCE_DIR "/examples/policy/heldout.jsonl");
  std::map<std::string, int> count, right;
  int all = 0, all_right = 0, misled = 0;
  for (std::string line; std::getline(in, line); ++all) {
    const Json json = parse_json(line, "heldout.jsonl");
    const std::string& intent = json.find("intent")->text;
    const Policy policy = policy_of(builtin(), json.find("prompt")->text);
    ASSERT_TRUE(policy.intent) << line;
    const std::string_view found = intent_names[static_cast<size_t>(*policy.intent)];
    ++count[intent];
    right[intent] += found == intent, all_right += found == intent;
    // What counts: another temperature, or a constraint where none belongs.
    misled += policy.temperature && ((found == "creative") != (intent == "creative") || (policy.constraint && intent != "code"));
  }
  ASSERT_GE(all, 200);
  EXPECT_GE(all_right, all * 92 / 100);
  EXPECT_LE(misled, all * 5 / 100);
  ASSERT_EQ(count.size(), 4u);
  for (const auto& [intent, n] : count) EXPECT_GE(right[intent], n * 88 / 100) << intent;
}

TEST(Policy, TheBuiltInModelIsSmall) { EXPECT_LE(builtin_intents().size(), size_t{150} * 1024); }

TEST(Policy, SetsTemperatureAndConstraintByIntent) {
  const auto policy = [](std::string_view prompt) { return policy_of(builtin(), prompt); };
  const Policy fact = policy("What is the capital of Portugal?");
  EXPECT_EQ(fact.intent, Intent::factual);
  EXPECT_EQ(fact.temperature, 0.7);
  EXPECT_FALSE(fact.constraint);
  const Policy poem = policy("Write a poem about the sea");
  EXPECT_EQ(poem.intent, Intent::creative);
  EXPECT_EQ(poem.temperature, 1.2);
  EXPECT_FALSE(poem.constraint);
  const Policy code = policy("Write a Python function that reverses a string");
  EXPECT_EQ(code.intent, Intent::code);
  EXPECT_EQ(code.temperature, 0.7);
  EXPECT_EQ(code.constraint->kind, Kind::python);
  EXPECT_EQ(policy_json(code), cat(R"({"intent": "code", "probability": )", json_number(code.probability), R"(, "temperature": 0.7, "constraint": "python"})"));
}

// A model of two words, whose probabilities are known to be near one half where both stand.
TEST(Policy, ADoubtfulIntentSetsNothing) {
  std::vector<LabelledText> texts;
  const std::vector<std::string> labels(std::begin(intent_names), std::end(intent_names));
  const char* const words[] = {"alpha", "beta", "gamma", "delta"};
  for (uint32_t i = 0; i < 400; ++i) texts.push_back({words[i % 4], i % 4});
  const std::string file = testing::TempDir() + "policy" + std::to_string(getpid()) + ".bin";
  std::ofstream(file, std::ios::binary) << train_classifier(texts, labels, "", {.word_ngrams = 1});
  const Classifier classifier = intent_classifier(file);
  std::filesystem::remove(file);
  const Policy sure = policy_of(classifier, "gamma");
  EXPECT_EQ(sure.intent, Intent::creative);
  EXPECT_EQ(sure.temperature, 1.2);
  const Policy doubtful = policy_of(classifier, "alpha gamma");
  EXPECT_TRUE(doubtful.intent);
  EXPECT_LT(doubtful.probability, least_intent_probability);
  EXPECT_FALSE(doubtful.temperature);
  EXPECT_FALSE(doubtful.constraint);
}

TEST(Policy, AModelOfOtherLabelsIsAnErrorThatNamesThem) {
  const std::string file = testing::TempDir() + "toxic" + std::to_string(getpid()) + ".bin";
  std::vector<LabelledText> texts;
  for (uint32_t i = 0; i < 100; ++i) texts.push_back({i % 2 ? "bad" : "good", i % 2});
  std::ofstream(file, std::ios::binary) << train_classifier(texts, {"false", "true"}, "true", {.word_ngrams = 1});
  try {
    intent_classifier(file);
    ADD_FAILURE();
  } catch (const Error& error) {
    const std::string what = error.what();
    EXPECT_TRUE(what.starts_with(file + ": a policy model has the labels factual, analytical, creative and code; found ")) << what;
    EXPECT_NE(what.find("false"), std::string::npos);
  }
  std::filesystem::remove(file);
}

TEST(Policy, TheKindOfCodeIsWhatThePromptAsksFor) {
  const auto kind = [](std::string_view prompt) { return code_constraint(prompt).kind; };
  EXPECT_EQ(kind("Write a Python function to add numbers"), Kind::python);
  EXPECT_EQ(kind("用Python写一个冒泡排序"), Kind::python);
  EXPECT_EQ(kind("Group these rows with pandas."), Kind::python);
  EXPECT_EQ(kind("Convert this Python code to Rust"), Kind::brackets);
  EXPECT_EQ(kind("Port this Java class to python3"), Kind::python);
  EXPECT_EQ(kind("Implement a queue in C++"), Kind::brackets);
  EXPECT_EQ(kind("Sort a list"), Kind::brackets);
  EXPECT_EQ(kind("What is wrong here?\ndef f(x):\n  retrun x\nPlease mend it."), Kind::python);
  // The answer goes on within the block, whose lines are indented.
  EXPECT_EQ(kind("def f(x):\n    \"\"\"Adds one, in Python.\"\"\"\n"), Kind::brackets);
  EXPECT_EQ(kind("def f(x):"), Kind::brackets);
  EXPECT_EQ(kind(""), Kind::brackets);
}

TEST(Policy, WhatTheRecordSaysComesFirst) {
  const Policy policy{.intent = Intent::code, .probability = 0.9, .temperature = 0.7, .constraint = ConstraintSpec{Kind::python, ""}};
  Parameters all;
  applied(R"({"prompt": "x", "temperature": null, "constraint": null})", policy, all);
  EXPECT_EQ(all.sampling.temperature, 0.7);
  EXPECT_EQ(all.constraint->kind, Kind::python);
  Parameters own{.sampling = {.temperature = 0}, .seed = 0, .constraint = {}};
  EXPECT_EQ(policy_json(applied(R"({"prompt": "x", "temperature": 0})", policy, own)), R"({"intent": "code", "probability": 0.9, "constraint": "python"})");
  EXPECT_EQ(own.sampling.temperature, 0);
  Parameters constrained{.sampling = {}, .seed = 0, .constraint = ConstraintSpec{Kind::regex, "a"}};
  EXPECT_EQ(policy_json(applied(R"({"constraint": {"regex": "a"}})", policy, constrained)), R"({"intent": "code", "probability": 0.9, "temperature": 0.7})");
  EXPECT_EQ(constrained.constraint->kind, Kind::regex);
  Parameters beams{.sampling = {.temperature = 0, .beams = 2}, .seed = 0, .constraint = {}};
  EXPECT_EQ(policy_json(applied("{}", policy, beams)), R"({"intent": "code", "probability": 0.9})");
  EXPECT_FALSE(beams.constraint);
  EXPECT_EQ(beams.sampling.temperature, 0);
  EXPECT_EQ(policy_json(Policy{}), R"({"intent": null, "probability": 0})");
}

TEST(Policy, TheLastUserMessageAsks) {
  const auto text = [](const std::string& json) { return last_user_text(parse_json(json, "messages")); };
  EXPECT_EQ(text(R"([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}, {"role": "assistant", "content": "d"}])"), "c");
  EXPECT_EQ(text(R"([{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}]}])"), "a\nb");
  EXPECT_EQ(text(R"([{"role": "system", "content": "a"}])"), "");
  EXPECT_EQ(text(R"([{"role": "user"}, 3, {}])"), "");
  EXPECT_EQ(text("{}"), "");
}

}  // namespace
}  // namespace ds
