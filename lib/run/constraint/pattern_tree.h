// Patterns as trees, and as automata over the bytes of UTF-8: what regular expressions and grammars have in common.
#pragma once
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace ds::constrain {

// Characters [first, second], in order and apart from one another.
using CharacterSet = std::vector<std::pair<char32_t, char32_t>>;

void normalize(CharacterSet& set);  // puts ranges in order and joins them
CharacterSet complement(const CharacterSet& set);

struct Tree {
  enum class Type : uint8_t { empty, characters, sequence, either, repeat, begin, end, rule };
  Type type = Type::empty;
  CharacterSet characters;
  std::vector<Tree> children;
  uint32_t least = 0, most = 0;  // repeat; most == unlimited
  uint32_t rule = 0;
  static constexpr uint32_t unlimited = ~0u;
};

constexpr int kDeepestPattern = 200;     // groups within groups
constexpr uint32_t kMostRepeats = 1000;  // of one {m,n}; what they come to together is bounded by the states

enum class Dialect {
  plain,  // of a constraint: \s is ASCII, . is any but \n, a brace that starts no repetition is itself
  ecma    // of a schema: ECMA-262 with the flag u
};
// Error "line:column: what is wrong". `name` begins messages.
Tree parse_regex(std::string_view pattern, Dialect dialect, std::string_view name);

// A nondeterministic automaton over bytes with calls.
struct Nfa {
  struct Edge {
    uint8_t low, high;
    uint32_t to;
  };
  struct State {
    std::vector<Edge> edges;
    std::vector<uint32_t> jumps;                       // without a byte
    std::vector<std::pair<uint32_t, uint32_t>> calls;  // rule, and where it goes on
    std::vector<uint32_t> at_begin, at_end;            // jumps at the ends of the text alone
    bool returns = false;                              // the end of a rule
  };
  std::vector<State> states;
  std::vector<uint32_t> starts;                        // of rules
  uint64_t work = 0;

  // A new state. Error beyond 200,000 of them.
  uint32_t add();
  // Appends what `tree` reads from state `from` on; returns the state after it.
  uint32_t append(const Tree& tree, uint32_t from);
  // Of one rule without calls: makes anchors into plain jumps.
  void resolve_anchors();
  // Takes away what leads to no end. There are no anchors any more.
  void trim();
};

}  // namespace ds::constrain
