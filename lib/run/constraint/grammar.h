// Grammars in llama.cpp's GBNF.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "run/constraint/pattern_tree.h"

namespace ds::constrain {

struct Rule {
  std::string name;
  Tree tree;
};

// The rules, root first. A rule that begins with itself is rewritten as a repetition; rules that begin with each other in
// a circle are an Error that names them. Error "grammar:line:column: what is wrong", also for a name without a rule.
std::vector<Rule> parse_grammar(std::string_view text);

}  // namespace ds::constrain
