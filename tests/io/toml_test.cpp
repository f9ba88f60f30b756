#include "io/toml.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace ds {

TEST(Toml, ValuesKeepTheirKind) {
  const Json json = parse_toml(
      "text = \"caf\\u00e9\"\nwhole = 1_000\nbig = 9223372036854775807\nreal = 3.0\nsmall = 1e-8\nyes = true\n"
      "list = [1, \"a\", [2.5]]\nday = 1979-05-27\nnothing = nan\n[table]\nkey = 'C:\\x'\n[[task]]\nname = "
      "\"one\"\n[[task]]\nname = \"two\"\n",
      "t.toml");
  EXPECT_EQ(json.find("text")->as_string("text"), "caf\xc3\xa9");
  EXPECT_EQ(json.find("whole")->as_int("whole"), 1000);
  EXPECT_EQ(json.find("big")->as_int("big"), INT64_MAX);
  EXPECT_EQ(json.find("real")->text, "3.0");
  EXPECT_EQ(json.find("small")->as_double("small"), 1e-8);
  EXPECT_TRUE(json.find("yes")->as_bool("yes"));
  EXPECT_EQ(json.find("list")->items.size(), 3u);
  EXPECT_EQ(json.find("list")->items[2].items[0].as_double("list"), 2.5);
  EXPECT_EQ(json.find("day")->as_string("day"), "1979-05-27");
  EXPECT_EQ(json.find("nothing")->type, Json::Type::null);
  EXPECT_EQ(json.find("table")->find("key")->text, "C:\\x");
  EXPECT_EQ(json.find("task")->items[1].find("name")->text, "two");
}

TEST(Toml, ErrorsNameFileAndLine) {
  for (const char* bad : {"a = 1\nb = \n", "a = 1\na = 2\n", "a = 1\n[b\n", "a = 1\nb = 99999999999999999999\n",
                          "a = 1\nb = \"\xff\"\n"}) {
    try {
      parse_toml(bad, "t.toml");
      ADD_FAILURE() << bad;
    } catch (const Error& e) {
      EXPECT_TRUE(std::string(e.what()).starts_with("t.toml:2: ")) << e.what();
    }
  }
}

// tomlplusplus follows nesting by recursion: a depth that would end the stack must be an error before.
TEST(Toml, DeepNestingIsAnError) {
  EXPECT_THROW(parse_toml("a = " + std::string(100000, '['), "t.toml"), Error);
  std::string dotted = "a";
  for (int i = 0; i < 500000; ++i) dotted += ".a";
  EXPECT_THROW(parse_toml(dotted + " = 1", "t.toml"), Error);
  EXPECT_THROW(parse_toml("[" + dotted + "]", "t.toml"), Error);
  EXPECT_THROW(parse_toml("b = {" + dotted + " = 1}", "t.toml"), Error);
}

TEST(Toml, KeysHaveAtMost32Parts) {
  std::string key = "a";
  for (int i = 1; i < 32; ++i) key += " . a";
  EXPECT_NO_THROW(parse_toml(key + " = 1.5\n" + key + "2 = [1.5, 2.5]", "t.toml"));
  try {
    parse_toml("b = 1\n" + key + ".a = 1", "t.toml");
    ADD_FAILURE();
  } catch (const Error& e) {
    EXPECT_STREQ(e.what(), "t.toml:2: a key of more than 32 parts");
  }
  // Dots in strings and comments are no parts, whatever the quotes and escapes around them.
  const std::string dots(100, '.');
  const Json json = parse_toml("a = \"\\\"" + dots + "\"\nb = '" + dots + "\\' # it's " + dots +
                                   "\nc = \"\"\"\n\"" + dots + "\\\"\"\"\"\"\nd = '''" + dots + "''''\n" + "e = \"\" #" + dots,
                               "t.toml");
  EXPECT_EQ(json.find("a")->text, "\"" + dots);
  EXPECT_EQ(json.find("b")->text, dots + "\\");
  EXPECT_EQ(json.find("c")->text, "\"" + dots + "\"\"");
  EXPECT_EQ(json.find("d")->text, dots + "'");
}

}  // namespace ds
