#include "io/record.h"

#include <set>

#include "base/rng.h"
#include "io/json.h"
#include "scratch.h"

namespace ds {

static Record record(const std::string& raw) { return Record(raw, "f.jsonl", 7); }

TEST(Record, FieldsAreViewsIntoTheLine) {
  const Record r = record(
      R"( { "id" : 123456789012345678901234567890 , "text":"a\tb\u00e9", "n": -1.50, "k\"": [1, -2 ,3] ,"x":{"id":1}}  )");
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
  for (const char* wrong :
       {"", " ", "1", "[]", "\"a\"", "{", "{}x", "{}{}", "{\"a\":01}", "{\"a\":tru}", "{\"a\":[1,,2 xx]}",
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
      r.set(key, cat('"', std::string(rng.below(at++, 12), 'y'), '"'));
      const Record fresh = record(std::string(r.raw()));
      ASSERT_EQ(r.fields().size(), fresh.fields().size());
      for (size_t i = 0; i < fresh.fields().size(); ++i) {
        EXPECT_EQ(r.fields()[i].key, fresh.fields()[i].key);
        EXPECT_EQ(r.fields()[i].begin, fresh.fields()[i].begin);
        EXPECT_EQ(r.fields()[i].end, fresh.fields()[i].end);
      }
    }
  }
}

// A random text: its characters, and how each stands in the JSON.
struct EscapedText {
  std::vector<std::string> characters, escaped;
  EscapedText(const Rng& rng, uint64_t& at, size_t size) {
    static const std::vector<std::pair<std::string, std::vector<std::string>>> kinds = {
        {"a", {"a", "\\u0061"}},
        {" ", {" "}},
        {"\n", {"\\n", "\\u000a", "\\u000A"}},
        {"\"", {"\\\"", "\\u0022"}},
        {"\\", {"\\\\", "\\u005c"}},
        {"/", {"/", "\\/"}},
        {"\t", {"\\t"}},
        {"\b", {"\\b"}},
        {"\r", {"\\r"}},
        {"\f", {"\\f"}},
        {std::string(1, '\0'), {"\\u0000"}},
        {"\x7f", {"\x7f", "\\u007f"}},
        {"é", {"é", "\\u00e9", "\\u00E9"}},
        {"世", {"世", "\\u4e16"}},
        {"😀", {"😀", "\\ud83d\\ude00", "\\uD83D\\uDE00"}}};
    for (size_t i = 0; i < size; ++i) {
      const auto& [character, ways] = kinds[rng.below(at++, kinds.size())];
      characters.push_back(character);
      escaped.push_back(ways[rng.below(at++, ways.size())]);
    }
  }
  static std::string join(const std::vector<std::string>& parts, size_t begin, size_t end) {
    std::string all;
    for (size_t i = begin; i < end; ++i) all += parts[i];
    return all;
  }
  std::string text(size_t begin, size_t end) const { return join(characters, begin, end); }
  std::string json(size_t begin, size_t end) const { return join(escaped, begin, end); }
};

TEST(Record, SpliceEditsTheTextAndNothingElse) {
  const Rng rng{13, 0};
  uint64_t at = 0;
  for (int round = 0; round < 3000; ++round) {
    const size_t size = rng.below(at++, 40);
    const EscapedText t(rng, at, size);
    std::vector<TextEdit> edits;
    std::string text, json;
    size_t kept = 0;
    for (size_t i = rng.below(at++, 8); i <= size; i += 1 + rng.below(at++, 12)) {
      const size_t end = std::min(size, i + rng.below(at++, 4)), length = rng.below(at++, 4);
      const std::string replacement = EscapedText(rng, at, length).text(0, length);
      edits.push_back({t.text(0, i).size(), t.text(0, end).size(), replacement});
      text += t.text(kept, i) + replacement;
      const std::string quoted = json_string(replacement);
      json += t.json(kept, i) + quoted.substr(1, quoted.size() - 2);
      kept = i = end;
    }
    text += t.text(kept, size), json += t.json(kept, size);
    Record r = record(cat("{\"b\": 1.0 ,\"text\": \"", t.json(0, size), "\" , \"c\":\"\\u0041\"}\r"));
    EXPECT_EQ(r.required_string("text"), t.text(0, size));
    r.splice("text", edits);
    ASSERT_EQ(r.raw(), cat("{\"b\": 1.0 ,\"text\": \"", json, "\" , \"c\":\"\\u0041\"}\r"));
    ASSERT_EQ(r.required_string("text"), text);
    ASSERT_EQ(record(std::string(r.raw())).required_string("c"), "A");
  }
}

// Every border of a text is accepted where a character begins or the text ends, and nowhere else.
TEST(Record, SpliceRefusesBordersInsideOfCharacters) {
  const Rng rng{14, 0};
  uint64_t at = 0;
  for (int round = 0; round < 50; ++round) {
    const EscapedText t(rng, at, 12);
    std::set<size_t> borders;
    for (size_t i = 0; i <= 12; ++i) borders.insert(t.text(0, i).size());
    for (size_t i = 0; i < t.text(0, 12).size() + 3; ++i) {
      Record r = record(cat("{\"t\":\"", t.json(0, 12), "\"}"));
      const std::string before(r.raw());
      const std::vector<TextEdit> insert = {{i, i, "x"}}, remove = {{0, i, ""}};
      EXPECT_EQ(error_of([&] { r.splice("t", insert); }).empty(), borders.contains(i)) << before << " at " << i;
      if (!borders.contains(i)) {
        EXPECT_EQ(r.raw(), before);
      }
      Record q = record(before);
      EXPECT_EQ(error_of([&] { q.splice("t", remove); }).empty(), borders.contains(i)) << before << " to " << i;
    }
  }
}

TEST(Record, SpliceRefusesWhatIsNoEdit) {
  Record r = record(R"({"n":1,"t":"abc"})");
  const auto error = [&](const char* key, std::vector<TextEdit> edits) {
    return error_of([&] { r.splice(key, edits); });
  };
  EXPECT_EQ(error("gone", {}), "f.jsonl:7: no field \"gone\"");
  EXPECT_EQ(error("n", {}), "f.jsonl:7: field \"n\" is not a string but 1");
  EXPECT_CONTAINS(error("t", {{2, 1, ""}}), "f.jsonl:7: field \"t\": no edit of the text's bytes 2 to 1");
  EXPECT_CONTAINS(error("t", {{0, 2, ""}, {1, 3, ""}}), "1 to 3");
  EXPECT_CONTAINS(error("t", {{0, 1, "\xff"}}), "UTF-8");
  EXPECT_CONTAINS(error("t", {{SIZE_MAX, SIZE_MAX, ""}}), "past the end");
  EXPECT_EQ(r.raw(), R"({"n":1,"t":"abc"})");
  EXPECT_EQ(error("t", {}), "");
  EXPECT_EQ(r.raw(), R"({"n":1,"t":"abc"})");
  EXPECT_EQ(error("t", {{0, 0, "1"}, {0, 0, "2"}, {0, 3, ""}, {3, 3, "\""}}), "");
  EXPECT_EQ(r.raw(), R"({"n":1,"t":"12\""})");
}

TEST(Record, TextViewIsTheUnescapedText) {
  const Rng rng{15, 0};
  uint64_t at = 0;
  std::string scratch;
  for (int round = 0; round < 400; ++round) {
    std::string text, json;
    for (size_t piece = 0; piece < 6; ++piece) {  // plain runs longer and shorter than a vector, escapes between them
      const std::string run(rng.below(at++, 3) == 0 ? rng.below(at++, 100) : rng.below(at++, 6), 'p');
      const size_t size = round % 4 == 0 ? 0 : rng.below(at++, 3);
      const EscapedText t(rng, at, size);
      text += run + t.text(0, size), json += run + t.json(0, size);
    }
    const Record r = record(cat("{\"n\":1,\"t\":\"", json, "\"}"));
    const std::string_view view = r.text_view("t", scratch);
    ASSERT_EQ(view, text);
    ASSERT_EQ(r.string("t"), text);
    const bool inside = view.data() >= r.raw().data() && view.data() < r.raw().data() + r.raw().size();
    EXPECT_EQ(inside, json.find('\\') == std::string::npos);
    EXPECT_CONTAINS(error_of([&] { r.text_view("n", scratch); }), "field \"n\" is not a string but 1");
    EXPECT_EQ(error_of([&] { r.require_string("t"); }), "");
    EXPECT_CONTAINS(error_of([&] { r.require_string("u"); }), "no field \"u\"");
  }
}

// A byte that ends plain text is found wherever it stands in a string, and no other is.
TEST(Record, EndsOfPlainTextAtEveryPlace) {
  for (size_t size = 1; size < 80; ++size)
    for (size_t i = 0; i < size; ++i)
      for (const char odd : {'\0', '\x1f', ' ', '!', '#', '[', ']', '\x7f', '\t'}) {
        std::string text(size, 'x');
        text[i] = odd;
        const std::string message = error_of([&] { record(cat("{\"", text, "\":0}")); });
        const bool control = static_cast<unsigned char>(odd) < 0x20;
        ASSERT_EQ(message, control ? cat("f.jsonl:7: a control character in a string at byte ", i + 3) : "");
      }
  for (size_t size = 0; size < 80; ++size) {
    const std::string text(size, 'x');
    EXPECT_EQ(record(cat("{\"a\":\"", text, "\",\"b\":\"y\"}")).string("a"), text);
    EXPECT_EQ(record(cat("{\"a\":\"", text, "\\\"\"}")).string("a"), text + "\"");
    EXPECT_CONTAINS(error_of([&] { record(cat("{\"a\":\"", text)); }), "without its closing quote");
  }
}

TEST(Record, RefersToALineUntilItIsEditedOrCopied) {
  const std::string file = "a file name that is longer than a short string";
  std::string first = R"({"id": 1, "text": "long enough not to lie in the string object"})", second = "{\"b\":2}";
  const std::string was = first;
  Record r;
  r.refer({first, &file, 3});
  EXPECT_EQ(r.raw().data(), first.data());
  EXPECT_FALSE(r.owns());
  EXPECT_EQ(r.where(), file + ":3");
  Record copy = r, moved = std::move(r);
  EXPECT_TRUE(copy.owns());
  EXPECT_FALSE(moved.owns());
  first.assign(first.size(), '#');
  EXPECT_EQ(copy.raw(), was);
  EXPECT_EQ(copy.raw_value("id"), "1");
  EXPECT_NE(&copy.file(), &file);
  EXPECT_EQ(copy.file(), file);
  moved.refer({second, &file, 4});
  EXPECT_EQ(moved.fields().size(), 1u);
  moved.set("c", "3");
  EXPECT_TRUE(moved.owns());
  EXPECT_EQ(moved.raw(), "{\"b\":2, \"c\": 3}");
  EXPECT_EQ(second, "{\"b\":2}");
  moved.refer({second, &file, 5});
  EXPECT_EQ(moved.raw(), second);
  copy = moved;
  second = "changed";
  EXPECT_EQ(copy.raw(), "{\"b\":2}");
  EXPECT_CONTAINS(error_of([&] { moved.refer({std::string_view(), &file, 6}); }), ":6: an empty line");
}

// What the two parsers say of texts made by breaking good ones is the same.
TEST(Record, AgreesWithTheTreeOnBrokenTexts) {
  const std::string good = R"({"a":[1,-2.5e+3,true,false,null,{"b":"\u00e9\\\n"}],"c":{"d":[]},"e":"xé"})";
  const Rng rng{12, 0};
  const std::string alphabet = "{}[]\",:\\0123eE+-.tfnu \xc3\x80";
  size_t accepted = 0;
  for (uint64_t i = 0; i < 8000; ++i) {
    std::string text = good;
    for (uint64_t k = 0; k <= i % 2; ++k)
      text[rng.below(4 * i + 2 * k, text.size())] = alphabet[rng.below(4 * i + 2 * k + 1, alphabet.size())];
    if (text[0] != '{') continue;
    const bool line = error_of([&] { record(text); }).empty();
    EXPECT_EQ(line, error_of([&] { parse_json(text, "f"); }).empty()) << text;
    accepted += line;
  }
  EXPECT_GT(accepted, 400u);
}

TEST(RecordSpliceStrings, ReachesEveryStringButKeys) {
  Record record(
      R"({"id": "aa", "m": [{"aa": "xaay\u0061\u0061", "n": [1, "aa", {"k": ["b", "\"aa\" : "]}]} , "aa" ], "z": "aa"})",
      "f", 1);
  const auto edits_of = [](std::string_view text) {
    std::vector<TextEdit> edits;
    for (size_t at = text.find("aa"); at != std::string_view::npos; at = text.find("aa", at + 2))
      edits.push_back({at, at + 2, "<\">"});
    return edits;
  };
  EXPECT_TRUE(record.splice_strings("m", edits_of));
  EXPECT_EQ(
      record.raw(),
      R"({"id": "aa", "m": [{"aa": "x<\">y<\">", "n": [1, "<\">", {"k": ["b", "\"<\">\" : "]}]} , "<\">" ], "z": "aa"})");
  EXPECT_FALSE(record.splice_strings("m", edits_of));
  EXPECT_FALSE(record.splice_strings("absent", edits_of));
  EXPECT_TRUE(record.splice_strings("z", edits_of));
  EXPECT_EQ(record.string("z"), "<\">");
}

}  // namespace ds
