// Constraints by grammars, and the two modes for code.
#include <gtest/gtest.h>

#include "io/json.h"
#include "run/constraint/vocabulary.h"

namespace ds {
namespace {

using Kind = ConstraintSpec::Kind;

const char* const kJson = R"(# JSON
root   ::= value
value  ::= object | array | string | number | "true" | "false" | "null"
object ::= "{" ( pair ( "," pair )* )? "}"
pair   ::= string ":" value
array  ::= "[" ( value
                 ( "," value )* )? "]"
string ::= "\"" ( [^"\\\x00-\x1F] | "\\" ( ["\\/bfnrt] | "u" [0-9a-fA-F]{4} ) )* "\""
number ::= "-"? ( "0" | [1-9] [0-9]{0,15} ) ( "." [0-9]+ )?
)";

TEST(GrammarConstraint, Json) {
  const auto constraint = compiled(Kind::grammar, kJson);
  for (const char* text : {"{}", "[]", "[1,[2,{\"a\":-0.5}]]", "\"\\u00e9\\n\"", "true"}) EXPECT_TRUE(matches(*constraint, text)) << text;
  for (const char* text : {"", "{", "[1,]", "{\"a\"}", "01", "\"\n\"", "tru", "1 "}) EXPECT_FALSE(matches(*constraint, text)) << text;
  std::string deep(20'000, '[');
  EXPECT_TRUE(matches(*constraint, deep + std::string(20'000, ']')));
  EXPECT_FALSE(matches(*constraint, deep + std::string(19'999, ']')));
  for (uint64_t seed = 0; seed < 200; ++seed) {
    const auto text = random_answer(constraint, seed, 40);
    ASSERT_TRUE(text);
    EXPECT_TRUE(matches(*constraint, *text)) << *text;
    EXPECT_NO_THROW(parse_json(*text, "answer")) << *text;
  }
}

TEST(GrammarConstraint, LeftRecursionIsRepetition) {
  const auto sum = compiled(Kind::grammar, "root ::= root \"+\" term | root \"-\" term | term\nterm ::= [0-9]+ | \"(\" root \")\"");
  for (const char* text : {"1", "1+2-3", "(1+2)-(3)"}) EXPECT_TRUE(matches(*sum, text)) << text;
  for (const char* text : {"", "+1", "1+", "(1"}) EXPECT_FALSE(matches(*sum, text)) << text;
  EXPECT_EQ(error_of(Kind::grammar, "root ::= a \"x\" | \"y\"\na ::= b?  root"),
            "grammar:2:7: there is no rule b");
  EXPECT_EQ(error_of(Kind::grammar, "root ::= a \"x\" | \"y\"\na ::= \"b\"? root"),
            "grammar: the rules root -> a -> root begin with each other before anything is read (left recursion); rewrite them as "
            "repetitions");
}

// Even palindromes need a stack and every reading at once; the reference is the definition.
TEST(GrammarConstraint, AmbiguousReadings) {
  const auto constraint = compiled(Kind::grammar, "root ::= \"a\" root \"a\" | \"b\" root \"b\" | \"\"");
  for (int length = 0; length <= 8; ++length)
    for (int bits = 0; bits < 1 << length; ++bits) {
      std::string text;
      for (int i = 0; i < length; ++i) text += bits >> i & 1 ? 'a' : 'b';
      EXPECT_EQ(matches(*constraint, text), length % 2 == 0 && text == std::string(text.rbegin(), text.rend())) << text;
    }
}

// A long list by right recursion does not pile up, and dead alternatives are never entered.
TEST(GrammarConstraint, ListsAndDeadEnds) {
  const auto list = compiled(Kind::grammar, "root ::= item root | item\nitem ::= \"x\" | \"y\" never\nnever ::= \"z\" never");
  EXPECT_TRUE(matches(*list, std::string(100'000, 'x')));
  ConstraintState state(list, small_vocabulary());
  EXPECT_FALSE(state.accept('y'));
  EXPECT_EQ(error_of(Kind::grammar, "root ::= \"z\" root"), "grammar: no text is ever complete");
}

TEST(GrammarConstraint, RefusesByLineAndColumn) {
  EXPECT_EQ(error_of(Kind::grammar, "rot ::= \"a\""), "grammar: there is no rule root");
  EXPECT_EQ(error_of(Kind::grammar, "root ::= \"a"), "grammar:1:10: a string that is not closed");
  EXPECT_EQ(error_of(Kind::grammar, "root ::= \"a\"\nroot ::= \"b\""), "grammar:2:1: a second rule root");
  EXPECT_EQ(error_of(Kind::grammar, "root ::= \"a\"{5000}"), "grammar:1:13: more than 1000 repetitions");
  EXPECT_EQ(error_of(Kind::grammar, "root := \"a\""), "grammar:1:6: '::=' is expected after the name of a rule");
}

TEST(BracketsConstraint, Balance) {
  const auto constraint = compiled(Kind::brackets, "");
  for (const char* text : {"", "f(a[1], {b: 2});", "\"(\" ')' // (\n", "/* ( */ x", "'\\'(' # ]", "a / (b)", "é(你)"})
    EXPECT_TRUE(matches(*constraint, text)) << text;
  for (const char* text : {"(", ")", "(]", "f(\")", "\"abc", "/* )", "/* (*/)", "\"a\nb\"", "\xff"}) EXPECT_FALSE(matches(*constraint, text)) << text;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    const auto text = random_answer(constraint, seed, 60, "\"'`)]}\n*/ x", false);
    ASSERT_TRUE(text);
    EXPECT_TRUE(matches(*constraint, *text)) << *text;
  }
}

TEST(PythonConstraint, IndentsAndBalances) {
  const auto constraint = compiled(Kind::python, "");
  for (const char* text :
       {"", "x = 1\n", "def f(a,\n  b):\n    return a\n", "if x:\n  y\nelse:\n    z\n", "for i in x:\n    if i:\n        y\n    z\nw",
        "s = \"\"\"a\n  b: (\n\"\"\"\n", "s = ''\nt = 'a\\'b'\n", "d = {1: 2,\n3: 4}\n", "if a:  # why\n\n  # note\n  b\n", "x = 1 + \\\n  2\n",
        "class A:\n    \"\"\"Doc (.\"\"\"\n    def f(self): return {}\n", "x: int = 3\n", "if x: y = ''"})
    EXPECT_TRUE(matches(*constraint, text)) << text;
  for (const char* text : {" x", "def f(:\n", "if x:\n", "if x:", "if x:\ny\n", "if x:\n    y\n  z\n", "x = 'a\n'", "f(\n", "x = 1\n  y = 2\n", "'''a''",
                           "if x:\n  (\n"})
    EXPECT_FALSE(matches(*constraint, text)) << text;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    const auto text = random_answer(constraint, seed, 60, "\"'`)]}\n*/ x", false);
    ASSERT_TRUE(text);
    EXPECT_TRUE(matches(*constraint, *text)) << *text;
  }
}

}  // namespace
}  // namespace ds
