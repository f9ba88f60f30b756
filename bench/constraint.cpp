// What token masks cost: bench_constraint TOKENIZER_JSON. For each constraint, answers are drawn from the masks, first with
// nothing learnt and then again, and the time of mask() is printed in microseconds, with that of taking a token.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/rng.h"
#include "run/constraint/constraint.h"
#include "text/tokenizer.h"

namespace {

using namespace ds;
using Clock = std::chrono::steady_clock;

double microseconds(Clock::time_point from) { return std::chrono::duration<double, std::micro>(Clock::now() - from).count(); }

void print(const char* name, const char* pass, std::vector<double> times, double accept) {
  std::sort(times.begin(), times.end());
  const double mean = std::accumulate(times.begin(), times.end(), 0.0) / static_cast<double>(times.size());
  std::printf("%-10s %-5s masks %6zu  mean %8.1f  p50 %8.1f  p99 %8.1f  max %8.1f  accept %6.2f us\n", name, pass, times.size(), mean,
              times[times.size() / 2], times[times.size() * 99 / 100], times.back(), accept / static_cast<double>(times.size()));
}

// Tokens of the mask at random, those with letters ten times as often, so that answers look like text.
void run(const char* name, const ConstraintSpec& spec, const std::shared_ptr<const TokenTrie>& trie) {
  const auto start = Clock::now();
  const auto constraint = compile_constraint(spec);
  std::printf("%-10s compiled in %.1f ms\n", name, microseconds(start) / 1000);
  std::vector<uint64_t> bits(trie->words());
  for (const char* pass : {"first", "again"}) {
    std::vector<double> times;
    double accept = 0;
    for (uint64_t answer = 0; answer < 20; ++answer) {
      ConstraintState state(constraint, trie);
      const Rng rng{answer, 1};
      for (uint64_t step = 0; step < 100; ++step) {
        auto from = Clock::now();
        state.mask(bits);
        times.push_back(microseconds(from));
        int32_t best = -1;
        for (uint64_t tries = 0; tries < 20000 && best < 0; ++tries) {
          const auto id = static_cast<int32_t>(rng.below(step * 20000 + tries, trie->vocab_size()));
          if (bits[static_cast<size_t>(id) / 64] >> (id % 64) & 1) best = id;
        }
        for (size_t id = 0; id < trie->vocab_size() && best < 0; ++id)
          if (bits[id / 64] >> (id % 64) & 1) best = static_cast<int32_t>(id);
        if (best < 0) break;
        from = Clock::now();
        state.accept(best);
        accept += microseconds(from);
        if (state.must_end()) break;
      }
    }
    print(name, pass, times, accept);
  }
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 2) return std::fprintf(stderr, "usage: %s TOKENIZER_JSON\n", argv[0]), 2;
  const Tokenizer tokenizer{std::string(argv[1])};
  std::vector<int32_t> end;
  if (tokenizer.eos_id()) end.push_back(*tokenizer.eos_id());
  const auto start = Clock::now();
  const auto trie = std::make_shared<const TokenTrie>(tokenizer, end);
  std::printf("%zu tokens, %zu nodes, made in %.0f ms\n", trie->vocab_size(), trie->nodes().size(), microseconds(start) / 1000);
  using Kind = ConstraintSpec::Kind;
  run("schema", {Kind::json_schema, R"({"type":"object","properties":{"name":{"type":"string"},"age":{"type":"integer","minimum":0,"maximum":150},
      "email":{"type":"string","pattern":"^[a-z.]+@[a-z]+\\.[a-z]{2,3}$"},"tags":{"type":"array","items":{"type":"string","maxLength":40}},
      "kind":{"enum":["person","company"]},"notes":{"anyOf":[{"type":"string"},{"type":"null"}]}},
      "required":["name","age","email","kind"],"additionalProperties":false})"}, trie);
  run("open", {Kind::json_schema, R"({"type":"object","properties":{"name":{"type":"string"},"age":{"type":"integer"}},"required":["name"]})"}, trie);
  run("json", {Kind::json, ""}, trie);
  run("regex", {Kind::regex, "([A-Z][a-z]+ ){2,5}\\d{1,3}(, [^,\\n]{1,60}){3}"}, trie);
  run("grammar", {Kind::grammar, "root ::= value\nvalue ::= object | array | string | number | \"true\" | \"false\" | \"null\"\n"
      "object ::= \"{\" ( pair ( \",\" pair )* )? \"}\"\npair ::= string \":\" value\narray ::= \"[\" ( value ( \",\" value )* )? \"]\"\n"
      "string ::= \"\\\"\" ( [^\"\\\\\\x00-\\x1F] | \"\\\\\" ( [\"\\\\/bfnrt] | \"u\" [0-9a-fA-F]{4} ) )* \"\\\"\"\n"
      "number ::= \"-\"? ( \"0\" | [1-9] [0-9]{0,15} ) ( \".\" [0-9]+ )?\n"}, trie);
  run("brackets", {Kind::brackets, ""}, trie);
  run("python", {Kind::python, ""}, trie);
} catch (const Error& error) {
  return std::fprintf(stderr, "%s\n", error.what()), 1;
}
