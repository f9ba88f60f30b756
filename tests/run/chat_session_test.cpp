// A conversation without its terminal: what stays of it after answers, interruptions, errors, and when the context is full.
#include "run/chat_session.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "fixtures.h"
#include "io/input.h"
#include "model/kv_cache.h"

namespace ds {
namespace {

class ChatSessionTest : public testing::Test {
 protected:
  void SetUp() override {
    NEEDS_SHARED("data/models/stories260K/hf");
    options.run.model = shared("data/models/stories260K/hf");
    options.plain = true;
    options.temperature = 0;
    options.run.sampling.max_tokens = 20;
    engine.emplace(options.run.model, EngineOptions{.batch_tokens = 64, .batch_sequences = 1, .context = 256});
    session.emplace(*engine, load_chat_template(options), options);
  }
  struct Said {
    std::string answer, notes;
  };
  Said say(const std::string& message, const std::function<bool()>& interrupted = [] { return false; }) {
    Said said;
    said.notes = session->answer(message, [&](std::string_view text) { said.answer += text; }, interrupted);
    return said;
  }
  // The conversation's messages, as saved.
  std::vector<std::string> messages() {
    const std::string file = testing::TempDir() + "/ds-chat-session.json";
    session->command("/save " + file);
    std::vector<std::string> all;
    const Json json = parse_json_file(file);
    for (const Json& message : json.find("messages")->items)
      all.push_back(message.find("role")->text + ": " + message.find("content")->text);
    return all;
  }
  ChatOptions options;
  std::optional<Engine> engine;
  std::optional<ChatSession> session;
};

TEST_F(ChatSessionTest, LaterTurnsFindWhatWasComputed) {
  const Said first = say("Tell me a story about a little cat and a big dog who were friends.");
  EXPECT_FALSE(first.answer.empty());
  EXPECT_NE(first.answer[0], ' ');
  const Throughput before = engine->throughput;
  const Said second = say("And then?");
  // Of the second prompt only what comes after the last whole block of the first turn.
  EXPECT_LT(engine->throughput.prefill_tokens - before.prefill_tokens, 2u * kKeyBlock);
  const auto all = messages();
  ASSERT_EQ(all.size(), 4u);
  EXPECT_EQ(all[1], "assistant: " + first.answer);
  EXPECT_EQ(all[2], "user: And then?");
  EXPECT_EQ(all[3], "assistant: " + second.answer);

  ChatSession fresh(*engine, load_chat_template(options), options);  // the same bytes without anything kept
  std::string again;
  for (const char* const message : {"Tell me a story about a little cat and a big dog who were friends.", "And then?"}) {
    again.clear();
    fresh.answer(message, [&](std::string_view text) { again += text; }, [] { return false; });
  }
  EXPECT_EQ(again, second.answer);
}

TEST_F(ChatSessionTest, AnInterruptedAnswerStaysAsFarAsItCame) {
  const std::string whole = say("Once upon a time").answer;
  session->command("/clear");
  int passes = 0;
  const Said part = say("Once upon a time", [&] { return ++passes >= 6; });
  EXPECT_NE(part.notes.find("Stopped"), std::string::npos) << part.notes;
  ASSERT_FALSE(part.answer.empty());
  EXPECT_LT(part.answer.size(), whole.size());
  EXPECT_EQ(part.answer, whole.substr(0, part.answer.size()));
  EXPECT_EQ(messages().back(), "assistant: " + part.answer);
  session->command("/clear");
  const Said none = say("Once upon a time", [] { return true; });
  EXPECT_NE(none.notes.find("not kept"), std::string::npos) << none.notes;
  EXPECT_THROW(session->command("/save /dev/null"), Error);  // there is nothing
  EXPECT_EQ(session->take_back(), "Once upon a time");       // but it can be asked again
  EXPECT_EQ(say("Once upon a time").answer, whole);
}

TEST_F(ChatSessionTest, RetryDrawsOtherNumbers) {
  session->command("/set temperature 1");
  const std::string first = say("Once upon a time").answer;
  std::vector<std::string> answers{first};
  for (int i = 0; i < 3; ++i) answers.push_back(say(session->take_back()).answer);
  EXPECT_EQ(messages().size(), 2u);
  for (size_t i = 0; i < answers.size(); ++i)
    for (size_t j = 0; j < i; ++j) EXPECT_NE(answers[i], answers[j]) << i << ' ' << j;
  session->command("/clear");
  EXPECT_EQ(say("Once upon a time").answer, first);
}

TEST_F(ChatSessionTest, OldTurnsAreDroppedWholeAndItIsSaid) {
  session->command("/system Be brief.");
  std::string notes;
  size_t turns = 0;
  while (notes.find("dropped") == std::string::npos) {
    ASSERT_LT(++turns, 30u);
    notes = say("This is message number " + std::to_string(turns) + ".").notes;
  }
  const auto all = messages();
  EXPECT_EQ(all[0], "system: Be brief.");
  EXPECT_EQ(all.size() % 2, 1u);
  EXPECT_LT(all.size(), 2 * turns + 1);
  EXPECT_TRUE(all[1].starts_with("user: ")) << all[1];
  EXPECT_EQ(all[all.size() - 2], "user: This is message number " + std::to_string(turns) + ".");
}

TEST_F(ChatSessionTest, WhatCannotBeAnsweredChangesNothing) {
  say("Tom");
  const auto before = messages();
  std::string longest;
  for (int i = 0; i < 300; ++i) longest += "cat ";
  EXPECT_THROW(say("\xff"), Error);
  EXPECT_EQ(messages(), before);
  EXPECT_THROW(session->command("/set top_p 3"), Error);
  EXPECT_THROW(session->command("/set n 3"), Error);
  EXPECT_THROW(session->command("/set temperature warm"), Error);
  EXPECT_THROW(session->command("/nothing"), Error);
  EXPECT_NE(session->command("/set").find("top_p 0.95"), std::string::npos);
  try {
    say(longest);
    FAIL() << "an answer to a message that is longer than the context";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("too long"), std::string::npos) << error.what();
  }
  EXPECT_EQ(messages(), before);
  session->command("/undo");
  EXPECT_THROW(session->command("/undo"), Error);
  EXPECT_THROW(session->take_back(), Error);
}

TEST_F(ChatSessionTest, AModelWithoutATemplateSaysHowToGiveOne) {
  options.plain = false;
  try {
    load_chat_template(options);
    FAIL() << "a template";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("--chat-template"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace ds
