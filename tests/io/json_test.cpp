#include "io/json.h"

#include <bit>
#include <cmath>
#include <limits>

#include "base/rng.h"
#include "io/json_scan.h"
#include "io/record.h"
#include "scratch.h"

namespace ds {

static std::string error_in(const std::string& bytes) {
  return error_of([&] { parse_json(bytes, "f"); });
}

TEST(Json, ValuesOfEveryType) {
  const Json v = parse_json(" {\"a\": [1, -2.5e3, \"x\\n\\u00e9\\ud83d\\ude00\", true, false, null, {}, []], \"b\": {\"c\": 7}} \n", "f");
  const std::vector<Json>& a = v.find("a")->items;
  ASSERT_EQ(a.size(), 8u);
  EXPECT_EQ(a[0].as_int("f"), 1);
  EXPECT_EQ(a[1].as_double("f"), -2500);
  EXPECT_EQ(a[2].as_string("f"), "x\n\xc3\xa9\xf0\x9f\x98\x80");
  EXPECT_TRUE(a[3].as_bool("f"));
  EXPECT_FALSE(a[4].as_bool("f"));
  EXPECT_EQ(a[5].type, Json::Type::null);
  EXPECT_EQ(a[6].type, Json::Type::object);
  EXPECT_EQ(a[7].type, Json::Type::array);
  EXPECT_EQ(v.find("b")->find("c")->as_int("f"), 7);
  EXPECT_EQ(v.find("c"), nullptr);
  EXPECT_EQ(a[0].find("c"), nullptr);
}

TEST(Json, NumbersKeepTheirDigits) {
  const std::string digits = "-123456789012345678901234567890.123456789012345678901234567890E+0012";
  EXPECT_EQ(parse_json(digits, "f").text, digits);
}

TEST(Json, LastOfEqualKeysWins) { EXPECT_EQ(parse_json(R"({"a":1,"\u0061":2})", "f").find("a")->as_int("f"), 2); }

TEST(Json, NumbersAsTypes) {
  const auto number = [](const char* text) { return parse_json(text, "f"); };
  EXPECT_EQ(number("9223372036854775807").as_int("f"), std::numeric_limits<int64_t>::max());
  EXPECT_EQ(number("-9223372036854775808").as_int("f"), std::numeric_limits<int64_t>::min());
  EXPECT_EQ(number("4096.0").as_int("f"), 4096);
  EXPECT_EQ(number("1e6").as_int("f"), 1000000);
  for (const char* wrong : {"9223372036854775808", "1.5", "1e300", "1e-3"})
    EXPECT_CONTAINS(error_of([&] { number(wrong).as_int("w"); }), "w: expected an integer");
  EXPECT_EQ(number("1e-400").as_double("f"), 0);
  EXPECT_CONTAINS(error_of([&] { number("1e400").as_double("w"); }), "too large");
  EXPECT_CONTAINS(error_of([&] { number("\"1\"").as_double("w"); }), "w: expected a number, found a string");
  EXPECT_CONTAINS(error_of([&] { number("[]").as_string("w"); }), "w: expected a string, found an array");
  EXPECT_CONTAINS(error_of([&] { number("null").as_bool("w"); }), "w: expected true or false, found null");
}

TEST(Json, BrokenTextIsRefusedWithItsPlace) {
  EXPECT_EQ(error_in("[1,,2]"), "f: expected a value at byte 4");
  EXPECT_EQ(error_in("{\"a\": 1,\n \"b\": tru}"), "f: expected a value at line 2, byte 7");
  const char* broken[] = {
      "", " ", "[", "]", "{", "}", "[1", "[1,", "[1,]", "[,1]", "[1 2]", "[1,,2 xx]", "[1}", "{\"a\":1]", "{\"a\"}", "{\"a\":}",
      "{\"a\" 1}", "{a:1}", "{'a':1}", "{\"a\":1,}", "{,}", "{1:1}", "tru", "truex", "nul", "falsE", "NaN", "Infinity", "01",
      "-", "-01", "+1", "1.", ".5", "1.e3", "1e", "1e+", "0x10", "1 2", "[1] x", "\"", "\"\\", "\"\\x\"", "\"\\u12\"",
      "\"\\u12g4\"", "\"a\nb\"", "\"a\tb\"", "\"\\ud800\"", "\"\\udc00\"", "\"\\ud800\\u0041\"", "\"\\ud800\\ud800\"", "\"\\ud800x\"",
      "// c\n1", "[1]]", "\xef\xbb\xbf{}", "\"\xff\"", "\"\xc0\xaf\"", "\"\xed\xa0\x80\"", "\xa0 1", "\f1"};
  for (const char* text : broken) EXPECT_TRUE(error_in(text).starts_with("f: ")) << text;
  EXPECT_NE(error_in(std::string("\"a\0b\"", 5)), "");
  EXPECT_NE(error_in(std::string("1\0", 2)), "");
  EXPECT_NE(error_in(std::string("[\0]", 3)), "");
}

TEST(Json, NestingIsLimited) {
  const auto nested = [](size_t depth, const char* open, const char* close) {
    std::string text;
    for (size_t i = 0; i < depth; ++i) text += open;
    text += "1";
    for (size_t i = 0; i < depth; ++i) text += close;
    return text;
  };
  EXPECT_EQ(error_in(nested(512, "[", "]")), "");
  EXPECT_EQ(error_in(nested(512, "{\"a\":", "}")), "");
  EXPECT_CONTAINS(error_in(nested(513, "[", "]")), "deeper than 512");
  EXPECT_CONTAINS(error_in(nested(100000, "[", "]")), "deeper than 512");
  EXPECT_CONTAINS(error_in(nested(100000, "{\"a\":", "}")), "deeper than 512");
  // The record's own object counts as one.
  EXPECT_EQ(error_of([&] { Record("{\"v\":" + nested(511, "[", "]") + "}", "f", 1); }), "");
  EXPECT_CONTAINS(error_of([&] { Record("{\"v\":" + nested(512, "[", "]") + "}", "f", 1); }), "deeper than 512");
}

static std::string from_base64(const std::string& text) {
  const std::string digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    if (c == '=') break;
    bits = bits << 6 | static_cast<uint32_t>(digits.find(c));
    if ((count += 6) >= 8) out.push_back(static_cast<char>(bits >> (count -= 8)));
  }
  return out;
}

// A public suite of 318 texts that a parser must accept, must refuse, or may do either with. The tree, the record and
// the walker must agree on every one.
TEST(Json, PublicParsingSuite) {
  const std::string path = shared_folder() + "/data/json/parsing.jsonl";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "no shared data beside the checkout";
  std::ifstream in(path);
  size_t cases = 0;
  for (std::string line; std::getline(in, line); ++cases) {
    const Record record(line, path, cases + 1);
    const std::string id = record.required_string("id"), expect = record.required_string("expect");
    const std::string bytes = from_base64(record.required_string("bytes_base64"));
    const bool tree = error_in(bytes).empty();
    const bool member = error_of([&] { Record("{\"v\":" + bytes + "}", "f", 1); }).empty();
    EXPECT_EQ(tree, error_in("{\"v\":" + bytes + "}").empty()) << id;
    EXPECT_EQ(tree, member) << id;
    if (expect != "either") {
      EXPECT_EQ(tree, expect == "accept") << id;
      EXPECT_EQ(member, expect == "accept") << id;
    }
  }
  EXPECT_EQ(cases, 318u);
}

TEST(Json, StringsAreWrittenAndReadBack) {
  std::string all;
  for (int c = 0; c < 128; ++c) all.push_back(static_cast<char>(c));
  all += "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80";
  EXPECT_EQ(parse_json(json_string(all), "f").text, all);
  EXPECT_EQ(json_string("a\"\\\n\x01\xc3\xa9"), "\"a\\\"\\\\\\n\\u0001\xc3\xa9\"");
}

// A quote or a control is found at every place of the eight bytes that are looked at together, among bytes that differ
// from it in one bit.
TEST(Json, EndOfStringIsFoundAtEveryPlace) {
  for (size_t length = 0; length < 40; ++length)
    for (const char filler : {'!', '#', '\x7f', ' ', '[', ']', 'a'}) {
      const std::string plain(length, filler);
      EXPECT_EQ(parse_json("\"" + plain + "\"", "f").text, plain);
      EXPECT_EQ(parse_json("\"" + plain + "\\\"" + plain + "\"", "f").text, plain + "\"" + plain);
      for (char control = 0; control < 0x20; ++control)
        EXPECT_CONTAINS(error_in("\"" + plain + control + plain + "\""), "control character");
    }
}

TEST(Json, NumbersAreWrittenShortestAndReadBack) {
  EXPECT_EQ(json_number(0.1), "0.1");
  EXPECT_EQ(json_number(0.1f), "0.1");
  EXPECT_EQ(json_number(-0.0), "-0");
  EXPECT_EQ(json_number(std::nan("")), "null");
  EXPECT_EQ(json_number(std::numeric_limits<double>::infinity()), "null");
  const Rng rng{1, 2};
  for (uint64_t i = 0; i < 20000; ++i) {
    const double value = std::bit_cast<double>(rng.bits(i));
    if (!std::isfinite(value)) continue;
    EXPECT_EQ(parse_json(json_number(value), "f").as_double("f"), value);
  }
}

TEST(JsonWriter, OneLine) {
  JsonWriter w;
  w.open('{').field("a", 1).open('[', "b").value(2.5).value("x").value(true).null().close();
  w.open('{', "c").close().open('[', "d").close().key("e").raw("[1]").field("f", uint64_t{18446744073709551615u}).close();
  EXPECT_EQ(w.text, R"({"a": 1, "b": [2.5, "x", true, null], "c": {}, "d": [], "e": [1], "f": 18446744073709551615})");
}

TEST(JsonWriter, Indented) {
  JsonWriter w(2);
  w.open('{').field("a", 1).open('[', "b").value(2).value(3).close().open('{', "c").close().close();
  EXPECT_EQ(w.text, "{\n  \"a\": 1,\n  \"b\": [\n    2,\n    3\n  ],\n  \"c\": {}\n}");
}

}  // namespace ds
