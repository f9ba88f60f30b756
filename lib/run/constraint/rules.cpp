// Regular expressions, choices and grammars: an automaton of states that call rules.
#include <cstring>
#include <utility>

#include "base/error.h"
#include "io/json.h"
#include "run/constraint/automaton.h"
#include "run/constraint/grammar.h"
#include "run/constraint/pattern_tree.h"

namespace ds::constrain {
namespace {

class RuleAutomaton final : public Automaton {
 public:
  RuleAutomaton(Nfa nfa, std::string_view name) : nfa_(std::move(nfa)) {
    nfa_.resolve_anchors();
    nfa_.trim();
    const Nfa::State& start = nfa_.states[nfa_.starts[0]];
    require(start.returns || !start.edges.empty() || !start.jumps.empty() || !start.calls.empty(),
            name, ": no text is ever complete");
  }

  Moves start(bool) const override {
    Moves moves;
    moves.add(text(nfa_.starts[0]));
    return moves;
  }
  void read(std::string_view frame, uint8_t byte, Moves& moves) const override {
    for (const Nfa::Edge& edge : state(frame).edges)
      if (edge.low <= byte && byte <= edge.high) moves.add(text(edge.to));
  }
  void expand(std::string_view frame, Moves& moves) const override {
    const Nfa::State& at = state(frame);
    if (at.returns) moves.add();
    for (const uint32_t to : at.jumps) moves.add(text(to));
    for (const auto& [rule, to] : at.calls) {
      if (only_returns(nfa_.states[to], 16))
        moves.add(text(nfa_.starts[rule]));  // the rule returns for this one too: lists do not pile up
      else
        moves.add(text(to), text(nfa_.starts[rule]));
    }
  }
  bool reads(std::string_view frame) const override { return !state(frame).edges.empty(); }

 private:
  static std::string text(uint32_t state) {
    std::string out(4, '\0');
    std::memcpy(out.data(), &state, 4);
    return out;
  }
  const Nfa::State& state(std::string_view frame) const {
    uint32_t number;
    std::memcpy(&number, frame.data(), 4);
    return nfa_.states[number];
  }
  bool only_returns(const Nfa::State& at, int depth) const {
    if (depth == 0 || !at.edges.empty() || !at.calls.empty()) return false;
    for (const uint32_t to : at.jumps)
      if (!only_returns(nfa_.states[to], depth - 1)) return false;
    return at.returns || !at.jumps.empty();
  }
  Nfa nfa_;
};

}  // namespace

std::unique_ptr<Automaton> regex_automaton(std::string_view pattern) {
  Nfa nfa;
  nfa.starts = {nfa.add()};
  const uint32_t end = nfa.append(parse_regex(pattern, Dialect::plain, "regex"), nfa.starts[0]);
  nfa.states[end].returns = true;
  return std::make_unique<RuleAutomaton>(std::move(nfa), "regex");
}

std::unique_ptr<Automaton> choice_automaton(std::string_view json) {
  const Json list = parse_json(json, "choice");
  require(list.type == Json::Type::array && !list.items.empty(), "choice: an array of strings is expected, with one at least");
  // A trie, so that a thousand choices with one beginning are one way on.
  Nfa nfa;
  nfa.starts = {nfa.add()};
  for (const Json& item : list.items) {
    uint32_t at = nfa.starts[0];
    for (const char c : item.as_string("choice: an item")) {
      const auto byte = static_cast<uint8_t>(c);
      uint32_t next = 0;
      for (const Nfa::Edge& edge : nfa.states[at].edges)
        if (edge.low == byte) next = edge.to;
      if (!next) {
        next = nfa.add();
        nfa.states[at].edges.push_back({byte, byte, next});
      }
      at = next;
    }
    nfa.states[at].returns = true;
  }
  return std::make_unique<RuleAutomaton>(std::move(nfa), "choice");
}

std::unique_ptr<Automaton> grammar_automaton(std::string_view grammar) {
  const std::vector<Rule> rules = parse_grammar(grammar);
  Nfa nfa;
  for (size_t i = 0; i < rules.size(); ++i) nfa.starts.push_back(nfa.add());
  for (size_t i = 0; i < rules.size(); ++i) {
    const uint32_t end = nfa.append(rules[i].tree, nfa.starts[i]);
    nfa.states[end].returns = true;
  }
  return std::make_unique<RuleAutomaton>(std::move(nfa), "grammar");
}

}  // namespace ds::constrain
