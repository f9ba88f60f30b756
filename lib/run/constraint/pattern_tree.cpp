#include "run/constraint/pattern_tree.h"

#include <algorithm>
#include <array>

#include "base/error.h"

namespace ds::constrain {

constexpr size_t kMostStates = 200'000;
constexpr char32_t kLastCharacter = 0x10FFFF;

void normalize(CharacterSet& set) {
  std::sort(set.begin(), set.end());
  CharacterSet out;
  for (const auto& [low, high] : set) {
    if (!out.empty() && low <= out.back().second + 1)
      out.back().second = std::max(out.back().second, high);
    else
      out.emplace_back(low, high);
  }
  set = std::move(out);
}

CharacterSet complement(const CharacterSet& set) {
  CharacterSet out;
  char32_t next = 0;
  for (const auto& [low, high] : set) {
    if (low > next) out.emplace_back(next, low - 1);
    next = high + 1;
  }
  if (next <= kLastCharacter) out.emplace_back(next, kLastCharacter);
  return out;
}

uint32_t Nfa::add() {
  require(states.size() < kMostStates, "the pattern is too large: more than ", kMostStates,
          " states; use fewer counted repetitions");
  states.emplace_back();
  return static_cast<uint32_t>(states.size() - 1);
}

namespace {

// Edges for the UTF-8 of the characters of a set, from one state to another. Sequences of two to four bytes share the
// states before any continuation bytes.
class Utf8Edges {
 public:
  Utf8Edges(Nfa& nfa, uint32_t from, uint32_t to) : nfa_(nfa), from_(from) { tails_.fill(none), tails_[0] = to; }

  void add(char32_t low, char32_t high) {
    static constexpr std::pair<char32_t, char32_t> lengths[] = {
        {0, 0x7F}, {0x80, 0x7FF}, {0x800, 0xD7FF}, {0xE000, 0xFFFF}, {0x10000, 0x10FFFF}};
    static constexpr int continuations[] = {0, 1, 2, 2, 3};
    for (size_t i = 0; i < 5; ++i) {
      const char32_t a = std::max(low, lengths[i].first), b = std::min(high, lengths[i].second);
      if (a <= b) split(from_, a, b, continuations[i], continuations[i]);
    }
  }

 private:
  static constexpr uint32_t none = ~0u;

  uint32_t tail(int length) {
    if (tails_[static_cast<size_t>(length)] == none) {
      const uint32_t next = tail(length - 1), made = nfa_.add();
      nfa_.states[made].edges.push_back({0x80, 0xBF, next});
      tails_[static_cast<size_t>(length)] = made;
    }
    return tails_[static_cast<size_t>(length)];
  }

  static uint8_t byte_of(char32_t c, int after, int length) {
    const auto bits = static_cast<uint8_t>(c >> (6 * after) & (after == length ? 0xFF : 0x3F));
    static constexpr uint8_t leads[] = {0, 0xC0, 0xE0, 0xF0};
    return after == length ? static_cast<uint8_t>(leads[length] | bits) : static_cast<uint8_t>(0x80 | bits);
  }

  // [low, high] share all bytes before the one with `after` bytes behind it.
  void split(uint32_t from, char32_t low, char32_t high, int after, int length) {
    const char32_t unit = char32_t{1} << (6 * after);
    while (low <= high) {
      const char32_t first = low / unit, last_in_first = (first + 1) * unit - 1;
      if (low % unit == 0 && high >= last_in_first) {
        const char32_t last = (high + 1) / unit - 1;  // whole units
        nfa_.states[from].edges.push_back({byte_of(low, after, length), byte_of(last * unit, after, length), 0});
        const uint32_t to = tail(after);
        nfa_.states[from].edges.back().to = to;
        low = (last + 1) * unit;
      } else {
        const char32_t end = std::min(high, last_in_first);
        const uint32_t next = nfa_.add();
        const uint8_t byte = byte_of(low, after, length);
        nfa_.states[from].edges.push_back({byte, byte, next});
        split(next, low, end, after - 1, length);
        low = end + 1;
      }
    }
  }

  Nfa& nfa_;
  uint32_t from_;
  std::array<uint32_t, 4> tails_;
};

}  // namespace

uint32_t Nfa::append(const Tree& tree, uint32_t from) {
  require(++work <= 4 * kMostStates, "the pattern is too large; use fewer counted repetitions");
  switch (tree.type) {
    case Tree::Type::empty:
      return from;
    case Tree::Type::characters: {
      const uint32_t to = add();
      Utf8Edges edges(*this, from, to);
      for (const auto& [low, high] : tree.characters) edges.add(low, high);
      return to;
    }
    case Tree::Type::sequence:
      for (const Tree& child : tree.children) from = append(child, from);
      return from;
    case Tree::Type::either: {
      const uint32_t to = add();
      for (const Tree& child : tree.children) {
        // Each starts in a state of its own: an edge that leads back there must not lead into its sisters.
        const uint32_t start = add();
        states[from].jumps.push_back(start);
        const uint32_t end = append(child, start);
        states[end].jumps.push_back(to);
      }
      return to;
    }
    case Tree::Type::repeat: {
      for (uint32_t i = 0; i < tree.least; ++i) from = append(tree.children[0], from);
      const uint32_t to = add();
      if (tree.most == Tree::unlimited) {
        const uint32_t loop = add();
        states[from].jumps.push_back(loop);
        const uint32_t end = append(tree.children[0], loop);
        states[end].jumps.push_back(loop);
        states[loop].jumps.push_back(to);
        return to;
      }
      states[from].jumps.push_back(to);
      for (uint32_t i = tree.least; i < tree.most; ++i) {
        const uint32_t start = add();
        states[from].jumps.push_back(start);
        from = append(tree.children[0], start);
        states[from].jumps.push_back(to);
      }
      return to;
    }
    case Tree::Type::begin:
    case Tree::Type::end: {
      const uint32_t to = add();
      (tree.type == Tree::Type::begin ? states[from].at_begin : states[from].at_end).push_back(to);
      return to;
    }
    case Tree::Type::rule: {
      const uint32_t to = add();
      states[from].calls.emplace_back(tree.rule, to);
      return to;
    }
  }
  return from;
}

// Four copies of each state: at the beginning of the text or not, at its end (where nothing more is read) or not.
void Nfa::resolve_anchors() {
  const auto has_anchor = [](const State& s) { return !s.at_begin.empty() || !s.at_end.empty(); };
  if (std::none_of(states.begin(), states.end(), has_anchor)) return;
  enum : uint32_t { middle = 0, begun = 1, ended = 2 };
  std::vector<State> made(states.size() * 4);
  for (uint32_t s = 0; s < states.size(); ++s)
    for (uint32_t where = 0; where < 4; ++where) {
      State& to = made[s * 4 + where];
      to.returns = states[s].returns;
      if (!(where & ended))
        for (const Edge& edge : states[s].edges) to.edges.push_back({edge.low, edge.high, edge.to * 4 + middle});
      for (const uint32_t next : states[s].jumps) to.jumps.push_back(next * 4 + where);
      if (where & begun)
        for (const uint32_t next : states[s].at_begin) to.jumps.push_back(next * 4 + where);
      for (const uint32_t next : states[s].at_end) to.jumps.push_back(next * 4 + (where | ended));
    }
  states = std::move(made);
  starts[0] = starts[0] * 4 + begun;
}

void Nfa::trim() {
  // From the ends backwards. A call leads on when both its rule has an end and the state after it leads to one.
  std::vector<std::vector<uint32_t>> before(states.size());
  std::vector<uint32_t> pending;
  for (uint32_t s = 0; s < states.size(); ++s) {
    for (const Edge& edge : states[s].edges) before[edge.to].push_back(s);
    for (const uint32_t to : states[s].jumps) before[to].push_back(s);
    for (const auto& [rule, to] : states[s].calls) {
      before[to].push_back(s);
      before[starts[rule]].push_back(s);
    }
    if (states[s].returns) pending.push_back(s);
  }
  std::vector<bool> lives(states.size());
  for (const uint32_t s : pending) lives[s] = true;
  const auto leads_on = [&](const State& state) {
    for (const Edge& edge : state.edges)
      if (lives[edge.to]) return true;
    for (const uint32_t to : state.jumps)
      if (lives[to]) return true;
    for (const auto& [rule, to] : state.calls)
      if (lives[to] && lives[starts[rule]]) return true;
    return false;
  };
  while (!pending.empty()) {
    const uint32_t s = pending.back();
    pending.pop_back();
    for (const uint32_t b : before[s])
      if (!lives[b] && leads_on(states[b])) {
        lives[b] = true;
        pending.push_back(b);
      }
  }
  const auto dead = [&](uint32_t s) { return !lives[s]; };
  for (State& state : states) {
    std::erase_if(state.edges, [&](const Edge& edge) { return dead(edge.to); });
    std::erase_if(state.jumps, dead);
    std::erase_if(state.calls, [&](const auto& call) { return dead(call.second) || dead(starts[call.first]); });
  }
}

}  // namespace ds::constrain
