#include "io/json_view.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "io/json.h"

namespace ds {
namespace {

TEST(JsonView, FindsMembersAndItems) {
  const std::string object = R"( {"a": 1, "b" : {"a": [true, null]}, "\u00e9\n": "x", "a": "last", "": 0})";
  const std::string_view json = std::string_view(object).substr(1);
  EXPECT_EQ(json_member(json, "a"), "\"last\"");
  EXPECT_EQ(json_member(json_member(json, "b"), "a"), "[true, null]");
  EXPECT_EQ(json_member(json, "\xc3\xa9\n"), "\"x\"");
  EXPECT_EQ(json_member(json, ""), "0");
  for (const std::string_view none : {"c", "\\u00e9\\n", "A"}) EXPECT_EQ(json_member(json, none), "") << none;
  for (const std::string_view other : {"", "[1]", "\"a\"", "1", "{}", "null"}) EXPECT_EQ(json_member(other, "a"), "");
  const std::string_view array = "[ 1 , [2, 3],{\"a\": \"]\"} , \"]\\\"\", null ]";
  const std::vector<std::string> items = {"1", "[2, 3]", "{\"a\": \"]\"}", "\"]\\\"\"", "null"};
  for (int64_t i = 0; i < 5; ++i) {
    EXPECT_EQ(json_item(array, i), items[static_cast<size_t>(i)]);
    EXPECT_EQ(json_item(array, i - 5), items[static_cast<size_t>(i)]);
  }
  for (const int64_t none : {int64_t{5}, int64_t{-6}, INT64_MAX, INT64_MIN}) EXPECT_EQ(json_item(array, none), "");
  for (const std::string_view other : {"", "[]", "[ ]", "{\"a\": 1}", "\"[1]\"", "7"}) {
    EXPECT_EQ(json_item(other, 0), "");
    EXPECT_EQ(json_item(other, -1), "");
  }
}

// Against the values of parse_json.
TEST(JsonView, LengthsAndItemsAgreeWithTheParser) {
  for (const std::string text : {"[]", "{}", "[ ]", "[[]]", "[1,[2,3],{\"a\":[4]}]", "{\"a\":{\"b\":1},\"c\":[]}", "1",
                                 "\"[1]\"", "null", "[\"\\\"\", \"]\"]"}) {
    const Json value = parse_json(text, "test");
    const auto length = json_length(text);
    const bool container = value.type == Json::Type::array || value.type == Json::Type::object;
    ASSERT_EQ(length.has_value(), container) << text;
    EXPECT_EQ(length.value_or(0), value.items.size() + value.members.size()) << text;
    std::vector<std::string_view> seen;
    EXPECT_FALSE(any_json_item(text, [&](std::string_view item) { return seen.push_back(item), false; }));
    ASSERT_EQ(seen.size(), value.items.size()) << text;
    for (size_t i = 0; i < seen.size(); ++i) EXPECT_EQ(parse_json(seen[i], "item").type, value.items[i].type);
  }
  size_t calls = 0;
  EXPECT_TRUE(any_json_item("[1, 2, 3]", [&](std::string_view item) { return ++calls, item == "2"; }));
  EXPECT_EQ(calls, 2u);
}

TEST(JsonView, Unescapes) {
  for (const std::string text : {"", "plain", "q\" b\\ n\n t\t z\x01 \xc3\xa9 \xf0\x9f\x98\x80", "\x1f"}) {
    const std::string quoted = json_string(text);
    EXPECT_EQ(json_unescaped(std::string_view(quoted).substr(1, quoted.size() - 2)), text);
  }
  EXPECT_EQ(json_unescaped("\\ud83d\\ude00\\u0041\\/"),
            "\xf0\x9f\x98\x80"
            "A/");
}

}  // namespace
}  // namespace ds
