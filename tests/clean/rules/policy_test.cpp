#include "clean/rules/policy.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "base/error.h"

namespace ds {
namespace {

Record record_of(const char* json) { return Record(json, "in.jsonl", 1); }

std::string message_of(std::string_view text) {
  try {
    parse_policy(text, "p.toml");
  } catch (const UsageError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(Policy, ReadsRulesInOrder) {
  const Policy policy = parse_policy(R"toml(
drop_if = "repetition > 0.8 or (lang == 'en' and stopwords < 2)"
[[rule]]
name = "short"
drop_if = "words < 50"
[[rule]]
keep_if = '''
  score > 0.5     # the classifier of last week
  and source matches '^https?://\w+'
'''
name = "a-name_2"
)toml",
                                     "p.toml");
  ASSERT_EQ(policy.rules.size(), 3u);
  EXPECT_EQ(policy.rules[0].reason, "rules");
  EXPECT_EQ(policy.rules[1].reason, "short");
  EXPECT_EQ(policy.rules[2].reason, "a-name_2");
  EXPECT_FALSE(policy.rules[1].keeps);
  EXPECT_TRUE(policy.rules[2].keeps);
  EXPECT_EQ(policy.groups, SignalGroup::repetition | SignalGroup::language | SignalGroup::gopher_quality |
                               static_cast<uint32_t>(SignalGroup::words));
}

TEST(Policy, TheFirstRuleThatMatchesGivesTheReason) {
  const Policy policy = parse_policy(
      "drop_if = 'words > 100'\n[[rule]]\nname = 'short'\ndrop_if = 'words < 50'\n[[rule]]\nname = 'score'\nkeep_if = "
      "'score > 0.5'",
      "p.toml");
  const auto reason = [&](double words, const char* json) {
    Signals signals;
    signals[Signal::words] = words;
    const Policy::Rule* rule = policy.first_match(signals, record_of(json));
    return rule ? rule->reason : "";
  };
  EXPECT_EQ(reason(101, R"({"score": 1})"), "rules");
  EXPECT_EQ(reason(101, R"({"score": 0})"), "rules");
  EXPECT_EQ(reason(49, R"({"score": 0})"), "short");
  EXPECT_EQ(reason(50, R"({"score": 0.5})"), "score");
  EXPECT_EQ(reason(100, R"({"score": 0.6})"), "");
  // What is not known is not dropped by drop_if, and not kept by keep_if.
  EXPECT_EQ(reason(std::nan(""), R"({"score": 0.6})"), "");
  EXPECT_EQ(reason(60, R"({})"), "score");
  EXPECT_EQ(reason(60, R"({"score": "0.9"})"), "score");
}

TEST(Policy, ErrorsNameTheRule) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "p.toml: no rule; write drop_if = \"...\" or [[rule]] tables"},
      {"rule = []", "p.toml: no rule; write drop_if = \"...\" or [[rule]] tables"},
      {"drop_if = 'words >'", "p.toml: at column 8: expected a value after '>'"},
      {"[[rule]]\nname = 'short'\ndrop_if = 'repetition > '",
       "p.toml: rule 'short': at column 14: expected a value after '>'"},
      {"[[rule]]\nname = 'm'\ndrop_if = '''\nwords < 5 or\n  nope(1)'''",
       "p.toml: rule 'm': at line 2, column 3: no function 'nope'; there are has, length, lower, number, contains, "
       "startswith, endswith"},
      {"drop_fi = 'words > 1'", "p.toml: unknown key 'drop_fi'; did you mean 'drop_if'?"},
      {"rules = 1", "p.toml: unknown key 'rules'; did you mean 'rule'?"},
      {"options = 1", "p.toml: unknown key 'options'; the keys are drop_if, keep_if, rule"},
      {"[[rule]]\nname = 'a'\ndrop_if = 'true'\nreason = 'x'",
       "p.toml: rule 1: unknown key 'reason'; the keys are name, drop_if, keep_if"},
      {"[rule]\nname = 'a'\ndrop_if = 'true'", "p.toml: a rule begins with [[rule]], in two brackets"},
      {"rule = 'true'", "p.toml: rule must be tables that begin with [[rule]], not a string"},
      {"rule = [{name = 'a', drop_if = 'true'}, 5]", "p.toml: rule 2: must be a table, not a number"},
      {"drop_if = 5", "p.toml: drop_if must be a string, not a number"},
      {"keep_if = true", "p.toml: keep_if must be a string, not a boolean"},
      {"drop_if = ['true']", "p.toml: drop_if must be a string, not an array"},
      {"drop_if = nan", "p.toml: drop_if must be a string, not a number"},
      {"drop_if = 'true'\nkeep_if = 'true'", "p.toml: both drop_if and keep_if; write two rules"},
      {"[[rule]]\nname = 'a'", "p.toml: rule 'a': neither drop_if nor keep_if"},
      {"[[rule]]\ndrop_if = 'true'", "p.toml: rule 1: no name; the name is the reason of its drops"},
      {"[[rule]]\nname = 3\ndrop_if = 'true'", "p.toml: rule 1: name must be a string, not a number"},
      {"[[rule]]\nname = 'A'\ndrop_if = 'true'",
       "p.toml: rule 1: a name is of 1 to 64 lower-case letters, digits, - and _, not 'A'"},
      {"[[rule]]\nname = ''\ndrop_if = 'true'",
       "p.toml: rule 1: a name is of 1 to 64 lower-case letters, digits, - and _, not ''"},
      {"drop_if = 'true'\n[[rule]]\nname = 'rules'\ndrop_if = 'true'",
       "p.toml: rule 1: a second rule of the name 'rules'"},
      {"[[rule]]\nname = 'a'\ndrop_if = 'true'\n[[rule]]\nname = 'a'\ndrop_if = 'true'",
       "p.toml: rule 2: a second rule of the name 'a'"},
  };
  for (const auto& [text, message] : cases) EXPECT_EQ(message_of(text), message) << text;
  for (const char* bad : {"drop_if = ", "drop_if = 'true'\ndrop_if = 'true'", "[[rule", "\xff", "drop_if = \"\xff\""})
    EXPECT_TRUE(message_of(bad).starts_with("p.toml:")) << message_of(bad);
  EXPECT_EQ(message_of(std::string((1 << 20) + 1, ' ')), "p.toml: 1048577 bytes; a policy has at most 1048576");
  EXPECT_EQ(message_of("drop_if = '" + std::string(65537, ' ') + "'"),
            "p.toml: an expression of 65537 bytes; at most 65536 are allowed");
  const std::string dotted(1 << 19, '.');
  EXPECT_NE(message_of("a" + dotted), "accepted");
  EXPECT_EQ(
      message_of("[[rule]]\nname = 'a" + std::string(100, 'b') + "'\ndrop_if = 'true'"),
      "p.toml: rule 1: a name is of 1 to 64 lower-case letters, digits, - and _, not 'a" + std::string(63, 'b') + "'");
}

TEST(Policy, ReadsAFile) {
  const auto path =
      (std::filesystem::temp_directory_path() / ("policy_test_" + std::to_string(getpid()) + ".toml")).string();
  std::ofstream(path) << "drop_if = \"text matches '\\\\d'\"\r\n";
  const Policy policy = read_policy(path);
  EXPECT_NE(policy.first_match(Signals(), record_of(R"({"text": "a1"})")), nullptr);
  EXPECT_EQ(policy.first_match(Signals(), record_of(R"({"text": "a"})")), nullptr);
  std::ofstream(path) << "drop_if = 'words >'";
  try {
    read_policy(path);
    ADD_FAILURE();
  } catch (const UsageError& error) {
    EXPECT_EQ(error.what(), path + ": at column 8: expected a value after '>'");
  }
  std::filesystem::remove(path);
  EXPECT_THROW(read_policy(path), Error);
}

}  // namespace
}  // namespace ds
