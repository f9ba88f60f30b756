#include "io/record.h"

#include "base/rng.h"
#include "io/json.h"
#include "scratch.h"

namespace ds {

static Record record(const std::string& raw) { return Record(raw, "f.jsonl", 7); }

TEST(Record, FieldsAreViewsIntoTheLine) {
  const Record r = record(R"( { "id" : 123456789012345678901234567890 , "text":"a\tb\u00e9", "n": -1.50, "k\"": [1, -2 ,3] ,"x":{"id":1}}  )");
  EXPECT_EQ(r.fields().size(), 5u);
  EXPECT_EQ(r.raw_value("id"), "123456789012345678901234567890");
  EXPECT_EQ(r.string("text"), "a\tb\xc3\xa9");
  EXPECT_EQ(r.required_string("text"), "a\tb\xc3\xa9");
  EXPECT_EQ(r.number("n"), -1.5);
  EXPECT_EQ(r.number("text"), std::nullopt);
  EXPECT_EQ(r.integers("k\""), (std::vector<int64_t>{1, -2, 3}));
  EXPECT_EQ(r.integers("x"), std::nullopt);
  EXPECT_EQ(r.string("n"), std::nullopt);
  EXPECT_EQ(r.raw_value("gone"), "");
  EXPECT_TRUE(r.has("x"));
  EXPECT_FALSE(r.has("a"));
  EXPECT_EQ(r.where(), "f.jsonl:7");
}

TEST(Record, Integers) {
  EXPECT_EQ(record(R"({"a":[]})").integers("a"), std::vector<int64_t>{});
  for (const char* wrong : {"[1.0]", "[1e2]", "[9223372036854775808]", "[\"1\"]", "[[1]]", "[null]", "1"})
    EXPECT_EQ(record(std::string(R"({"a":)") + wrong + "}").integers("a"), std::nullopt) << wrong;
}

TEST(Record, MissingStringSaysWhatWasFound) {
  const Record r = record(R"({"a":17,"b":[1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0,1,2,3]})");
  EXPECT_EQ(error_of([&] { r.required_string("c"); }), "f.jsonl:7: no field \"c\"");
  EXPECT_EQ(error_of([&] { r.required_string("a"); }), "f.jsonl:7: field \"a\" is not a string but 17");
  EXPECT_EQ(error_of([&] { r.required_string("b"); }), "f.jsonl:7: field \"b\" is not a string but an array");
}

TEST(Record, BadLinesSayFileAndLine) {
  for (const char* wrong : {"", " ", "1", "[]", "\"a\"", "{", "{}x", "{}{}", "{\"a\":01}", "{\"a\":tru}", "{\"a\":[1,,2 xx]}",
                            "{\"a\":\"\xff\"}", "\xef\xbb\xbf{}", "{\"a\":1,}", "{\"a\":\"\\ud800\"}"}) {
    const std::string message = error_of([&] { record(wrong); });
    EXPECT_TRUE(message.starts_with("f.jsonl:7: ")) << wrong << " -> " << message;
  }
  EXPECT_CONTAINS(error_of([] { record(""); }), "empty line");
  EXPECT_CONTAINS(error_of([] { record("{\"a\":\"\xff\"}"); }), "not valid UTF-8");
}

TEST(Record, SetSplicesAndLeavesTheRestAlone) {
  Record r = record("{ \"a\" : 1.000 , \"b\":\"x\" }\r");
  r.set("c", "{\"d\": 1}");
  EXPECT_EQ(r.raw(), "{ \"a\" : 1.000 , \"b\":\"x\", \"c\": {\"d\": 1} }\r");
  r.set("a", "[1,2,3,4]");
  r.set("c", "2");
  r.set("b", "null");
  EXPECT_EQ(r.raw(), "{ \"a\" : [1,2,3,4] , \"b\":null, \"c\": 2 }\r");
  EXPECT_EQ(r.raw_value("c"), "2");
  EXPECT_EQ(r.raw_value("b"), "null");
  Record empty = record(" {  } ");
  empty.set("k\"", "1");
  EXPECT_EQ(empty.raw(), " {\"k\\\"\": 1  } ");
  empty.set("l", "2");
  EXPECT_EQ(empty.raw(), " {\"k\\\"\": 1, \"l\": 2  } ");
}

TEST(Record, LastOfEqualKeysWins) {
  Record r = record(R"({"a":1,"b":2,"\u0061":3})");
  EXPECT_EQ(r.raw_value("a"), "3");
  r.set("a", "44");
  EXPECT_EQ(r.raw(), R"({"a":1,"b":2,"\u0061":44})");
}

// After any series of edits the fields are those that a fresh parse of the line finds.
TEST(Record, EditsAgreeWithAFreshParse) {
  const Rng rng{11, 0};
  for (uint64_t round = 0, at = 0; round < 200; ++round) {
    Record r = record(round % 2 ? "{}" : R"({"b": [1, 2], "a":"x","b" :0})");
    for (int edit = 0; edit < 8; ++edit) {
      const std::string key(1, static_cast<char>('a' + rng.below(at++, 6)));
      r.set(key, "\"" + std::string(rng.below(at++, 12), 'y') + "\"");
      const Record fresh = record(r.raw());
      ASSERT_EQ(r.fields().size(), fresh.fields().size());
      for (size_t i = 0; i < fresh.fields().size(); ++i) {
        EXPECT_EQ(r.fields()[i].key, fresh.fields()[i].key);
        EXPECT_EQ(r.fields()[i].begin, fresh.fields()[i].begin);
        EXPECT_EQ(r.fields()[i].end, fresh.fields()[i].end);
      }
    }
  }
}

// What the two parsers say of texts made by breaking good ones is the same.
TEST(Record, AgreesWithTheTreeOnBrokenTexts) {
  const std::string good = R"({"a":[1,-2.5e+3,true,false,null,{"b":"\u00e9\\\n"}],"c":{"d":[]},"e":"xé"})";
  const Rng rng{12, 0};
  const std::string alphabet = "{}[]\",:\\0123eE+-.tfnu \xc3\x80";
  size_t accepted = 0;
  for (uint64_t i = 0; i < 8000; ++i) {
    std::string text = good;
    for (uint64_t k = 0; k <= i % 2; ++k) text[rng.below(4 * i + 2 * k, text.size())] = alphabet[rng.below(4 * i + 2 * k + 1, alphabet.size())];
    if (text[0] != '{') continue;
    const bool line = error_of([&] { record(text); }).empty();
    EXPECT_EQ(line, error_of([&] { parse_json(text, "f"); }).empty()) << text;
    accepted += line;
  }
  EXPECT_GT(accepted, 400u);
}

}  // namespace ds
