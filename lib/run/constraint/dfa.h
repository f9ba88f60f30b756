// Deterministic automata over the bytes of a string's text, as schemas need them: intersected, complemented, counted.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "run/constraint/pattern_tree.h"

namespace ds::constrain {

// State 0 leads nowhere and takes all bytes. In a product, no other state is a dead end.
struct Dfa {
  std::array<uint8_t, 256> classes{};     // of bytes that all states treat alike
  uint32_t class_count = 1;
  uint32_t start = 0;
  std::vector<uint32_t> next;             // [states][class_count]
  std::vector<uint32_t> labels;           // of a state in which the text may end, what it is then; 0: it may not

  uint32_t step(uint32_t state, uint8_t byte) const { return next[size_t{state} * class_count + classes[byte]]; }
  uint32_t read(uint32_t state, std::string_view text) const {
    for (const char c : text) state = step(state, static_cast<uint8_t>(c));
    return state;
  }
  size_t states() const { return labels.size(); }
};

constexpr uint64_t kInfinite = std::numeric_limits<uint64_t>::max();

// Error beyond 20,000 states. `what` names the pattern or the keywords that are too large.
Dfa dfa_of_pattern(std::string_view pattern, std::string_view what);  // found anywhere in the text, as in a schema
Dfa dfa_of_words(std::span<const std::string> sorted);                // label: the place in the list, from 1
Dfa dfa_of_utf8();                                                    // every text
Dfa dfa_of_length(uint64_t least, uint64_t most, std::string_view what);  // in characters; most may be kInfinite
// All parts at once; label(labels of the parts) is that of a state. Without its dead ends.
Dfa product(std::span<const Dfa* const> parts, const std::function<uint32_t(std::span<const uint32_t>)>& label,
            std::string_view what);

// How many texts lead from each state to an end whose label `counts`; kInfinite where there are more than 2^32.
std::vector<uint64_t> count_texts(const Dfa& dfa, const std::function<bool(uint32_t label)>& counts);

}  // namespace ds::constrain
