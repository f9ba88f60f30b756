#include "clean/rules/expression.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"

namespace ds {
namespace {

// One record and its signals for the tables below.
const char* const kRecord =
    R"({"id": "a-1", "text": "line one\nÉcole \"quoted\"", "n": 5, "big": 1e999, "tiny": 1e-999, "flag": true, "off": false,)"
    R"( "nothing": null, "tags": ["spam", 7, "a\tb", null, true], "empty": [], "digits": "12.5", "words": "seven",)"
    R"( "odd name": "odd", "meta": {"source": "web", "score": 0.25, "in": 1, "x.y": {"z": -2}, "tags": []},)"
    R"( "clean": {"repetition": 0.75}, "messages": [{"role": "user"}, {"role": "assistant", "content": "no"}],)"
    R"( "twice": 1, "twice": 2, "long": 123456789012345678901234567890})";

Signals some_signals() {
  Signals signals;
  signals[Signal::repetition] = 0.5;
  signals[Signal::words] = 40;
  signals[Signal::stopwords] = 0;
  signals.lang = "en";
  return signals;
}

bool holds(std::string_view text, const Signals& signals = some_signals(), const char* json = kRecord) {
  return Expression::parse(text, "test").evaluate(signals, Record(json, "in.jsonl", 1));
}

void expect_all(bool expected, std::initializer_list<const char*> texts) {
  for (const char* text : texts) EXPECT_EQ(holds(text), expected) << text;
}

std::string message_of(std::string_view text, std::string_view where = "p") {
  try {
    Expression::parse(text, where);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(Expression, ReadsSignalsAndFields) {
  expect_all(true, {"repetition == 0.5",
                    "words == 40",
                    "lang == 'en'",
                    "n == 5",
                    "meta.source == 'web'",
                    "meta[\"source\"] == \"web\"",
                    "record.words == 'seven'",
                    "record['odd name'] == 'odd'",
                    "clean.repetition > 0.7 and repetition < 0.7",
                    "meta['x.y'].z == -2",
                    "meta.in == 1",
                    "messages[0].role == 'user'",
                    "messages[-1].role == 'assistant'",
                    "messages[-2].role == 'user'",
                    "twice == 2",
                    "flag",
                    "record.flag",
                    "id == 'a-1'",
                    "text == \"line one\\n\\u00c9cole \\\"quoted\\\"\"",
                    "record.meta.source == meta.source",
                    "messages [ 1 ] . content == 'no'",
                    "tags[1] == 7"});
  expect_all(false,
             {"off", "nothing", "absent", "n", "text", "tags", "meta", "meta.source.x == 'web'", "meta[0] == 'web'",
              "messages[2].role == 'user'", "messages[-3].role == 'user'", "messages.role == 'user'", "words.x == 40",
              "record['meta.source'] == 'web'", "characters > 0", "not flag", "tags[9] == 7"});
}

TEST(Expression, GroupsAreOfTheSignalsThatItReads) {
  const auto groups = [](const char* text) { return Expression::parse(text, "test").groups(); };
  EXPECT_EQ(groups("n > 1 and clean.repetition > 1 and record.words == 'x' and record.lang == 'x'"), 0u);
  EXPECT_EQ(groups("repetition > 1"), static_cast<uint32_t>(SignalGroup::repetition));
  EXPECT_EQ(groups("false and (lang == 'en' or stopwords < 2)"), SignalGroup::language | SignalGroup::gopher_quality);
  for (size_t i = 0; i < signal_count; ++i)  // each by its name, alone
    EXPECT_EQ(groups(cat(signal_table[i].name, " > 0").c_str()), static_cast<uint32_t>(signal_table[i].group));
}

TEST(Expression, EverySignalIsReadByItsName) {
  for (size_t i = 0; i < signal_count; ++i) {
    Signals signals;
    signals.values[i] = 3;
    EXPECT_TRUE(holds(cat(signal_table[i].name, " == 3"), signals));
    EXPECT_FALSE(holds(cat(signal_table[i].name, " == 3"), Signals()));
  }
}

TEST(Expression, Precedence) {
  expect_all(true, {"true or true and false",
                    "not false and true",
                    "not (true and false)",
                    "!false && !false",
                    "false && false || true",
                    "not 1 == 2",
                    "! 1 > 2",
                    "1 + 2 * 3 == 7",
                    "(1 + 2) * 3 == 9",
                    "2 - 1 - 1 == 0",
                    "8 / 2 / 2 == 2",
                    "-2 + 3 == 1",
                    "- 2 * 3 == -6",
                    "2 * -3 == -6",
                    "--2 == 2",
                    "1 - -1 == 2",
                    "not not true",
                    "not false or crash",
                    "1 < 2 and 2 < 3 or false",
                    "1 + 1 in [2]",
                    "not 1 in [2]",
                    "1 not in [2, 3]",
                    "not 1 not in [1]",
                    "6 / 3 * 2 == 4",
                    "1 + 1 == 2 and 'a' < 'b'",
                    "true == (1 < 2)",
                    "true != false",
                    "1 < 2 # and false",
                    "# first\n1 < 2 # and\n# last"});
  expect_all(false, {"true and false or false", "not true or false", "not (false or true)", "(true or true) and false",
                     "not 1 not in [2]", "2 - (1 - 1) == 0"});
}

TEST(Expression, NumbersAreDoubles) {
  expect_all(true, {"0.1 + 0.2 == 0.30000000000000004", "1e2 == 100", "1E+2 == 100", "0 == -0", "0.5e-1 == 0.05",
                    "9007199254740993 == 9007199254740992", "long > 1e29", "long == 123456789012345678901234567890",
                    "1e308 < 1.7e308", "5e-324 > 0", "0.25 == meta.score"});
}

TEST(Expression, WhatIsMissingComparesFalse) {
  expect_all(false, {"characters == 0",
                     "characters < 1e300",
                     "characters >= 0",
                     "characters == characters",
                     "absent == absent",
                     "nothing == nothing",
                     "nothing == false",
                     "absent in [absent, 1]",
                     "absent in tags",
                     "has(absent)",
                     "has(nothing)",
                     "has(characters)",
                     "has(big)",
                     "has(tiny)",
                     "big > 0",
                     "1 / 0 > 0",
                     "0 / 0 == 0 / 0",
                     "1e308 * 10 > 0",
                     "characters + 1 > 0",
                     "-absent < 0",
                     "length(absent) == 0",
                     "lower(absent) == ''",
                     "absent matches ''",
                     "contains(absent, '')",
                     "number(absent) == 0",
                     "number(text) == 0",
                     "absent"});
  expect_all(true,
             {"characters != 0", "absent != absent", "nothing != 1", "not (absent < 1)", "not absent", "has(n)",
              "has(off)", "has(lang)", "has(repetition)", "has(meta)", "has(empty)", "has(1)", "absent not in [1]",
              "absent not matches ''", "1 / 0 != 0", "not has(meta.none)", "has(meta.source)"});
  Signals nothing;
  EXPECT_FALSE(holds("lang == '' or has(lang)", nothing));
  nothing[Signal::words] = std::nan("");
  EXPECT_FALSE(holds("words < 1 or words >= 1 or words == words", nothing));
  nothing[Signal::words] = HUGE_VAL;
  EXPECT_FALSE(holds("has(words)", nothing));
}

TEST(Expression, OtherTypesCompareFalse) {
  expect_all(false, {"n == '5'",       "n < '6'",           "text > 5",
                     "flag == 1",      "flag == 'true'",    "flag > off",
                     "tags == tags",   "meta == meta",      "empty == 0",
                     "tags < 1",       "digits == 12.5",    "text + 1 > 0",
                     "flag + 1 == 2",  "-text < 0",         "n and true",
                     "flag and n",     "'n' in text",       "'source' in meta",
                     "n matches '5'",  "lower(n) == '5'",   "contains(tags, 'spam')",
                     "length(n) == 1", "length(flag) == 1", "number(flag) == 1"});
  expect_all(true, {"n != '5'", "tags != tags", "n or true", "flag == true", "off == false", "flag != off"});
}

TEST(Expression, ListsAndArrays) {
  expect_all(true, {"lang in ['de', 'en']", "lang not in ['de']", "n in [1, 2 + 3]", "n in ['5', 5]", "'spam' in tags",
                    "7 in tags", "\"a\\tb\" in tags", "true in tags", "'x' not in tags", "n not in empty", "n in [n]",
                    "flag in [true]", "(n in [5]) in [true]", "n not in n", "id in ['b', id]"});
  expect_all(false, {"lang in ['EN', 'e', 'enn']", "n in ['5']", "'7' in tags", "false in tags", "n in empty",
                     "n in meta", "n in absent", "'spa' in tags", "tags in [1]"});
}

TEST(Expression, StringsAndFunctions) {
  expect_all(true, {"text matches 'one'",
                    "text matches '^line'",
                    "text matches '(?i)LINE'",
                    "text not matches '^one'",
                    "text matches '(?m)^\xc3\x89'",
                    "lower(text) matches 'école'",
                    "lower('ÀΣ') == 'àς'",
                    "length('日本語') == 3",
                    "length(text) == 23",
                    "length(tags) == 5",
                    "length(empty) == 0",
                    "length(meta) == 5",
                    "length('') == 0",
                    "number(digits) == 12.5",
                    "number(n) == 5",
                    "number('1e2') == 100",
                    "contains(text, 'e o')",
                    "contains(text, '\"quoted\"')",
                    "startswith(text, 'line')",
                    "endswith(text, '\"')",
                    "contains(text, '')",
                    "startswith('ab', 'ab')",
                    "'a' < 'b'",
                    "'a' < 'aa'",
                    "'Z' < 'a'",
                    "'' < 'a'",
                    "'é' < '日'",
                    "id >= 'a-1' and id <= 'a-1'",
                    "'\\n' == \"\\\\n\"",
                    "'it\"s' == \"it\\\"s\"",
                    "\"\\t\\r\\u0041\" == \"\\u0009\\u000dA\"",
                    "length(\"\\u0000\") == 1",
                    "'two\nlines' == \"two\\nlines\"",
                    "'a' matches \"^\\\\w$\"",
                    "'a' matches '^\\w$'",
                    "'# no comment' != ''",
                    "contains(lower(text), 'quoted')"});
  expect_all(false,
             {"text matches 'two'", "number('01') == 1", "number('1 ') == 1", "number('') == 0", "number('0x10') == 16",
              "number('inf') > 0", "number('1e999') > 0", "startswith('a', 'ab')", "endswith('a', 'ba')"});
}

TEST(Expression, StopsWhereTheAnswerIsKnown) {
  // The second operand would cost seconds: a thousand searches of a megabyte.
  const std::string json = "{\"text\": \"" + std::string(1'000'000, 'x') + "\"}";
  std::string slow = "(false";
  for (int i = 0; i < 1000; ++i) slow += " or text matches '[a-z][0-9]$'";
  slow += ")";
  const Record record(json, "in.jsonl", 1);
  const auto quick = Expression::parse("true or " + slow, "test"),
             quick2 = Expression::parse("false and " + slow, "test");
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 1000; ++i) {
    EXPECT_TRUE(quick.evaluate(Signals(), record));
    EXPECT_FALSE(quick2.evaluate(Signals(), record));
  }
  EXPECT_LT(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count(), 10);
}

// ---- Errors ----

TEST(Expression, ErrorsNameThePlace) {
  EXPECT_EQ(message_of("repetition > ", "policy.toml: rule 'short'"),
            "policy.toml: rule 'short': at column 14: expected a value after '>'");
  const std::pair<const char*, const char*> cases[] = {
      {"", "at column 1: expected a value"},
      {"  # nothing\n", "at line 2, column 1: expected a value"},
      {"n > )", "at column 5: expected a value after '>', found ')'"},
      {"and n", "at column 1: expected a value, found 'and'"},
      {"n > 1 and", "at column 10: expected a value after 'and'"},
      {"n > 1 n < 2", "at column 7: expected an operator or the end, found 'n'"},
      {"n > 1 AND n < 2", "at column 7: expected an operator or the end, found 'AND'; did you mean 'and'?"},
      {"n > 1\nand é",
       "at line 2, column 5: a name is of the letters a to z, digits and _; a field with another is record[\"...\"]"},
      {"'日本' == é",
       "at column 9: a name is of the letters a to z, digits and _; a field with another is record[\"...\"]"},
      {"(n > 1", "at column 7: expected ')' for the '(' at column 1, found the end"},
      {"(n > 1]", "at column 7: expected ')' for the '(' at column 1, found ']'"},
      {"n > 1)", "at column 6: expected an operator or the end, found ')'"},
      {"n = 1", "at column 3: expected '==' where a single '=' stands"},
      {"n > 1 & n < 2", "at column 7: expected '&&' where a single '&' stands"},
      {"n > 1 | n < 2", "at column 7: expected '||' where a single '|' stands"},
      {"n > .5", "at column 5: a number begins with a digit: 0.5, not .5"},
      {"n > 01", "at column 5: '01' is not a number; write it like 12, 0.5 or 1e-3"},
      {"n > 1.", "at column 5: '1.' is not a number; write it like 12, 0.5 or 1e-3"},
      {"n > 0x1F", "at column 5: '0x1F' is not a number; write it like 12, 0.5 or 1e-3"},
      {"n > 1_000", "at column 5: '1_000' is not a number; write it like 12, 0.5 or 1e-3"},
      {"n > 1e", "at column 5: '1e' is not a number; write it like 12, 0.5 or 1e-3"},
      {"n > 1e999", "at column 5: the number '1e999' is too large or too small"},
      {"n > 80%", "at column 7: an unexpected '%'"},
      {"n > \x01", "at column 5: a control character"},
      {"id == 'a", "at column 7: a string without its closing '"},
      {"id == \"a'", "at column 7: a string without its closing \""},
      {"id == \"a\\", "at column 7: a string without its closing \""},
      {"id == \"\\d\"",
       "at column 8: an unknown escape in a string; a backslash itself is \\\\, or write the string in single "
       "quotes, where nothing is an escape"},
      {"id == \"\\ud800\"", "at column 8: \\u takes the four hexadecimal digits of a character"},
      {"id == \"\\u12\"", "at column 8: \\u takes the four hexadecimal digits of a character"},
      {"id == \"\\u+123\"", "at column 8: \\u takes the four hexadecimal digits of a character"},
      {"1 < n < 3", "at column 7: comparisons do not chain; join two of them with 'and'"},
      {"n in [1] in tags", "at column 10: comparisons do not chain; join two of them with 'and'"},
      {"n not 1", "at column 7: expected 'in' or 'matches' after 'not', found '1'"},
      {"n == not flag", "at column 6: expected a value after '==', found 'not'"},
      {"lang in ('en', 'de')",
       "at column 9: expected a list in square brackets or a field that is one after 'in', found '('"},
      {"lang in []", "at column 10: expected a value after '[', found ']'"},
      {"lang in ['en' 'de']", "at column 15: expected ',' or ']' in a list, found ''de''"},
      {"lang in ['en', 1]", "at column 16: 'in' compares a string with a number, which are never equal"},
      {"'a' in 'abc'",
       "at column 8: expected a list in square brackets or a field that is one after 'in', found ''abc''"},
      {"'a' in lang",
       "at column 8: 'in' looks into a list, and this is a string; contains(x, 'part') looks into a string"},
      {"text matches n", "at column 14: expected a pattern in quotes after 'matches', found 'n'"},
      {"text matches 'a('", "at column 14: the pattern 'a(' is wrong: missing ): a("},
      {"words matches 'a'", "at column 1: 'matches' needs a string, and this is a number"},
      {"words", "at column 1: the whole expression needs a condition, and this is a number"},
      {"'a'", "at column 1: the whole expression needs a condition, and this is a string"},
      {"words and flag", "at column 1: 'and' needs a condition, and this is a number"},
      {"flag || (words)", "at column 9: '||' needs a condition, and this is a number"},
      {"not words", "at column 5: 'not' needs a condition, and this is a number"},
      {"words < 'x'", "at column 9: '<' compares a number with a string, which are never equal"},
      {"lang == 5", "at column 9: '==' compares a string with a number, which are never equal"},
      {"true == 1", "at column 9: '==' compares a condition with a number, which are never equal"},
      {"true < flag", "at column 1: '<' cannot compare a condition"},
      {"n < (1 < 2)", "at column 5: '<' cannot compare a condition"},
      {"lang + 1 > 0", "at column 1: '+' needs a number, and this is a string"},
      {"1 * lang > 0", "at column 5: '*' needs a number, and this is a string"},
      {"-true == 1", "at column 2: '-' needs a number, and this is a condition"},
      {"lenght(text) > 1", "at column 1: no function 'lenght'; did you mean 'length'?"},
      {"matchall(text)",
       "at column 1: no function 'matchall'; there are has, length, lower, number, contains, startswith, endswith"},
      {"words(text) > 1", "at column 1: 'words' is a signal and no function; write it without parentheses"},
      {"length() > 1", "at column 1: 'length' takes 1 argument, not 0"},
      {"contains(text)", "at column 1: 'contains' takes 2 arguments, not 1"},
      {"contains(text, 'a', 'b')", "at column 1: 'contains' takes 2 arguments, not 3"},
      {"length(words) > 1", "at column 8: 'length' needs a string, and this is a number"},
      {"length(text", "at column 12: expected ')' after the arguments of 'length', found the end"},
      {"has(text", "at column 9: expected ')' after the arguments of 'has', found the end"},
      {"repetitoin > 1",
       "at column 1: no signal 'repetitoin'; did you mean 'repetition'? A field of that name is record.repetitoin"},
      {"Words > 1", "at column 1: no signal 'Words'; did you mean 'words'? A field of that name is record.Words"},
      {"n == null", "at column 6: nothing compares with null; not has(x) asks whether x is missing"},
      {"record", "at column 1: expected a field of the record: record.name or record[\"name\"]"},
      {"record[0]", "at column 8: a record has no items; a field is record[\"name\"]"},
      {"meta.", "at column 6: expected a name after '.', found the end"},
      {"meta.'x'", "at column 6: expected a name after '.', found ''x''"},
      {"meta[x]", "at column 6: expected a name in quotes or the number of an item after '[', found 'x'"},
      {"meta[1.5]", "at column 6: expected a name in quotes or the number of an item after '[', found '1.5'"},
      {"meta[-'x']", "at column 7: expected a name in quotes or the number of an item after '[', found ''x''"},
      {"meta['x'", "at column 9: expected ']', found the end"},
      {"meta[99999999999999999999]",
       "at column 6: expected a name in quotes or the number of an item after '[', found '99999999999999999999'"},
      {"n > 'aaaaaaaaaabbbbbbbbbbccccccccccdddddddddd' 1", "at column 48: expected an operator or the end, found '1'"},
      {"n 'aaaaaaaaaabbbbbbbbbbccccccccccdddddddd日本'",
       "at column 3: expected an operator or the end, found ''aaaaaaaaaabbbbbbbbbbccccccccccdddddddd...'"},
  };
  for (const auto& [text, message] : cases) EXPECT_EQ(message_of(text), cat("p: ", message)) << text;
}

TEST(Expression, InvalidUtf8IsRefused) {
  EXPECT_EQ(message_of("id == '\xff'"), "p: not valid UTF-8");
  EXPECT_EQ(message_of("id == '\xed\xa0\x80'"), "p: not valid UTF-8");
  EXPECT_EQ(message_of(std::string_view("n > 1\0", 6)), "p: at column 6: a control character");
}

TEST(Expression, DepthAndSizeAreLimited) {
  const auto nested = [](size_t n, const std::string& open, const std::string& inside, const std::string& close) {
    std::string text;
    for (size_t i = 0; i < n; ++i) text += open;
    text += inside;
    for (size_t i = 0; i < n; ++i) text += close;
    return text;
  };
  const size_t most = Expression::most_depth;
  struct Nest {
    const char *open, *inside, *close, *tail;
  };
  for (const Nest& nest :
       {Nest{"(", "true", ")", ""}, Nest{"not ", "true", "", ""}, Nest{"!", "true", "", ""},
        Nest{"-", "n", " ", "== 1"}, Nest{"lower(", "id", ")", " == 'a'"}, Nest{"1 + 2 * (", "n", ")", " == 1"}}) {
    EXPECT_EQ(message_of(nested(most, nest.open, nest.inside, nest.close) + nest.tail), "accepted") << nest.open;
    for (const size_t n : {most + 1, size_t{6000}}) {
      const std::string message = message_of(nested(n, nest.open, nest.inside, nest.close) + nest.tail);
      EXPECT_TRUE(message.ends_with(": nested too deep; at most 200 levels are allowed")) << nest.open << message;
    }
  }
  EXPECT_TRUE(holds(nested(most, "not ", "false", "")) == false && holds(nested(most - 1, "not ", "false", "")));
  EXPECT_TRUE(holds(nested(most, "1 + 1 * (", "n", ")") + " == 205"));
  EXPECT_TRUE(holds(nested(most / 2, "true == (", "true", ")")));
  EXPECT_NE(message_of(std::string(1 << 20, '(')).find("p: an expression of 1048576 bytes; at most 65536"),
            std::string::npos);
  EXPECT_NE(message_of(std::string(60000, '(')).find("nested too deep"), std::string::npos);
  EXPECT_NE(message_of(std::string(60000, '!')).find("nested too deep"), std::string::npos);
}

TEST(Expression, LongChainsAreNeitherDeepNorSlow) {
  std::string any = "n == 0", sum = "n", list = "n not in [0", mixed = "n > 1";
  for (int i = 0; i < 3500; ++i)
    any += cat(" or n == ", i == 3499 ? 5 : 9), sum += " + 1", list += ", 6", mixed += " and not off";
  EXPECT_TRUE(holds(any));
  EXPECT_TRUE(holds(sum + " == 3505"));
  EXPECT_TRUE(holds(list + "]"));
  EXPECT_TRUE(holds(mixed));
}

TEST(Expression, CatastrophicPatternsAreLinear) {
  const std::string json = "{\"text\": \"" + std::string(100'000, 'a') + "!\"}";
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_FALSE(
      holds("text matches '(a+)+$' or text matches '^(a|a)*$' or text matches '(.*)*b'", Signals(), json.c_str()));
  EXPECT_LT(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count(), 10);
}

TEST(Expression, OneExpressionOnManyThreads) {
  const Expression expression = Expression::parse("text matches 'x[0-9]+$' and n > 10 and lower(text) != ''", "test");
  const Expression copy = expression;
  std::vector<std::thread> threads;
  std::vector<int> wrong(4);
  for (size_t t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 500; ++i) {
        const std::string json = cat("{\"text\": \"a\\tx", i, "\", \"n\": ", i, "}");
        wrong[t] += copy.evaluate(Signals(), Record(json, "t", 1)) != (i > 10);
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4));
}

}  // namespace
}  // namespace ds
