#include "run/params.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace ds {
namespace {

Record record(const std::string& json) { return Record(json, "in.jsonl", 7); }
std::string message(const std::string& json) {
  try {
    parameters_of(record(json), {});
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Parameters, OfARecordComeBeforeTheDefaults) {
  const Parameters defaults{.sampling = {.max_tokens = 50, .temperature = 0.5, .top_k = 9}, .seed = 3, .constraint = {}};
  const Parameters none = parameters_of(record(R"({"prompt": "x", "temperature": null})"), defaults);
  EXPECT_EQ(none.sampling.temperature, 0.5);
  EXPECT_EQ(none.seed, 3u);
  const Parameters p = parameters_of(record(R"({"max_tokens": 7, "min_tokens": 2, "temperature": 1.5, "top_k": -1, "top_p": 0.9, "min_p": 0.1, "repetition_penalty": 1.1,
      "frequency_penalty": -0.5, "presence_penalty": 0.25, "stop": "\n", "seed": 18446744073709551615, "n": 2, "best_of": 4, "logprobs": 5, "ignore_eos": true})"), defaults);
  EXPECT_EQ(p.sampling.max_tokens, 7);
  EXPECT_EQ(p.sampling.min_tokens, 2);
  EXPECT_EQ(p.sampling.temperature, 1.5);
  EXPECT_EQ(p.sampling.top_k, 0);
  EXPECT_EQ(p.sampling.top_p, 0.9);
  EXPECT_EQ(p.sampling.min_p, 0.1);
  EXPECT_EQ(p.sampling.repetition_penalty, 1.1);
  EXPECT_EQ(p.sampling.frequency_penalty, -0.5);
  EXPECT_EQ(p.sampling.presence_penalty, 0.25);
  EXPECT_EQ(p.sampling.stop, std::vector<std::string>{"\n"});
  EXPECT_EQ(p.seed, UINT64_MAX);
  EXPECT_EQ(p.sampling.n, 2);
  EXPECT_EQ(p.sampling.best_of, 4);
  EXPECT_EQ(p.sampling.logprobs, 5);
  EXPECT_TRUE(p.sampling.ignore_eos);
  EXPECT_EQ(parameters_of(record(R"({"seed": -1, "stop": ["a", "b"], "beams": 4, "length_penalty": 0.5})"), {}).seed, UINT64_MAX);
}

// A default that does not go with what the record asks for does not make it a bad record.
TEST(Parameters, DefaultsGiveWay) {
  const Parameters defaults{.sampling = {.max_tokens = 50, .min_tokens = 10, .best_of = 3}, .seed = 0, .constraint = {}};
  const Sampling s = parameters_of(record(R"({"max_tokens": 4, "n": 5})"), defaults).sampling;
  EXPECT_EQ(s.min_tokens, 4);
  EXPECT_EQ(s.best_of, 0);
  const Parameters hot{.sampling = {.temperature = 1}, .seed = 0, .constraint = {}};
  EXPECT_EQ(parameters_of(record(R"({"beams": 4})"), hot).sampling.temperature, 0);
  EXPECT_EQ(parameters_of(record(R"({"beams": 4, "temperature": 1})"), hot).sampling.temperature, 1);
}

TEST(Parameters, LogprobsMayBeTrueOrFalse) {
  EXPECT_EQ(parameters_of(record(R"({"logprobs": true})"), {}).sampling.logprobs, 0);
  EXPECT_EQ(parameters_of(record(R"({"logprobs": false})"), {.sampling = {.logprobs = 3}, .seed = 0, .constraint = {}}).sampling.logprobs, -1);
  EXPECT_EQ(message(R"({"logprobs": "all"})"), "in.jsonl:7: logprobs: expected true or a number of alternatives, found a string");
}

TEST(Parameters, NearNamesAreKnownForWhatWasMeant) {
  const std::pair<const char*, const char*> meant[] = {{"temprature", "temperature"}, {"tempreature", "temperature"}, {"Temperature", "temperature"}, {"top-p", "top_p"},
                                                       {"topK", "top_k"}, {"maxTokens", "max_tokens"}, {"max_token", "max_tokens"}, {"max_new_tokens", "max_tokens"},
                                                       {"logprob", "logprobs"}, {"top_logprobs", "logprobs"}, {"repetition-penalty", "repetition_penalty"},
                                                       {"regex", "constraint"}, {"json-schema", "constraint"}, {"grammar", "constraint"},
                                                       {"structured_outputs", "constraint"}};
  for (const auto& [name, parameter] : meant) EXPECT_EQ(parameter_meant_by(name), parameter) << name;
  // Fields of the user's own, and the parameters themselves.
  for (const char* const name : {"", "id", "N", "step", "shop", "text", "need", "tokens", "n_tokens", "num_tokens", "prompt", "category", "choice", "choices", "schema", "top_5", "answer", "min_tokens"})
    EXPECT_EQ(parameter_meant_by(name), "") << name;
  for (const std::string_view name : parameter_names()) EXPECT_EQ(parameter_meant_by(name), "") << name;
  EXPECT_EQ(parameter_meant_by(std::string(size_t{10} << 20, 't')), "");
}

TEST(Parameters, ErrorsNameTheRecordAndTheField) {
  EXPECT_EQ(message(R"({"temperature": "hot"})"), "in.jsonl:7: temperature: expected a number, found a string");
  EXPECT_EQ(message(R"({"n": 1.5})"), "in.jsonl:7: n: expected an integer of 64 bits, found 1.5");
  EXPECT_EQ(message(R"({"top_p": 1.5})"), "in.jsonl:7: top_p is 1.5: it is from 0 to 1");
  EXPECT_EQ(message(R"({"ignore_eos": 1})"), "in.jsonl:7: ignore_eos: expected true or false, found a number");
  EXPECT_EQ(message(R"({"stop": [1]})"), "in.jsonl:7: stop: expected a string, found a number");
  EXPECT_EQ(message(R"({"stop": {}})"), "in.jsonl:7: stop: expected a string or an array of strings, found an object");
  EXPECT_EQ(message(R"({"seed": 18446744073709551616})"), "in.jsonl:7: seed: expected an integer of 64 bits, found 18446744073709551616");
  EXPECT_EQ(message(R"({"constraint": {"code": "c"}})"), "in.jsonl:7: constraint.code: expected \"brackets\" or \"python\", found \"c\"");
  EXPECT_EQ(message(R"({"constraint": {"choice": []}})"), "in.jsonl:7: constraint.choice: expected an array of strings, at least one, found an array");
}

TEST(Constraints, OfEachKind) {
  const auto spec = [](const std::string& json) { return constraint_spec(parse_json(json, "c"), "c"); };
  using Kind = ConstraintSpec::Kind;
  EXPECT_EQ(spec(R"({"regex": "a+"})").source, "a+");
  EXPECT_EQ(spec(R"({"grammar": "root ::= \"a\""})").kind, Kind::grammar);
  EXPECT_EQ(spec(R"({"json_schema": {"type": "object", "properties": {"a": {"const": 1.50}}}})").source, R"({"type": "object", "properties": {"a": {"const": 1.50}}})");
  EXPECT_EQ(spec(R"({"json_schema": "{\"type\": \"null\"}"})").source, R"({"type": "null"})");
  EXPECT_EQ(spec(R"({"choice": ["a", "b\n"]})").source, R"(["a", "b\n"])");
  EXPECT_EQ(spec(R"({"json": true})").kind, Kind::json);
  EXPECT_EQ(spec(R"({"code": "python"})").kind, Kind::python);
}

TEST(Constraints, AreCompiledOnceAndTheOldestIsLetGo) {
  ConstraintCache cache(2);
  using Kind = ConstraintSpec::Kind;
  const auto a = cache.get({Kind::regex, "a"});
  EXPECT_EQ(cache.get({Kind::regex, "a"}), a);
  const auto choice = cache.get({Kind::choice, "[\"a\"]"});
  EXPECT_EQ(cache.get({Kind::regex, "a"}), a);
  cache.get({Kind::regex, "b"});  // in place of the choice
  EXPECT_EQ(cache.get({Kind::regex, "a"}), a);
  EXPECT_NE(cache.get({Kind::choice, "[\"a\"]"}), choice);
  EXPECT_THROW(cache.get({Kind::regex, "("}), Error);
}

TEST(Constraints, ThatHaveLearntMuchAreLetGo) {
  using Kind = ConstraintSpec::Kind;
  const auto learn = [](const std::shared_ptr<const Constraint>& c) { EXPECT_TRUE(matches(*c, "[" + std::string(300, '1') + "]")); };
  ConstraintCache cache(16, 4000);
  const auto a = cache.get({Kind::json, ""}), b = cache.get({Kind::regex, "a"});
  EXPECT_EQ(learnt_bytes(*a), 0u);
  learn(a);
  EXPECT_GT(learnt_bytes(*a), 4000u);
  cache.trim();                    // more than fits, and not the one asked for last
  EXPECT_EQ(cache.get({Kind::regex, "a"}), b);
  const auto again = cache.get({Kind::json, ""});
  EXPECT_NE(again, a);
  learn(again);
  cache.trim();                    // the one asked for last stays
  EXPECT_EQ(cache.get({Kind::json, ""}), again);
  EXPECT_NE(cache.get({Kind::regex, "a"}), b);
}

}  // namespace
}  // namespace ds
