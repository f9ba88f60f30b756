#include "run/constraint/dfa.h"

#include <algorithm>
#include <map>
#include <unordered_map>

#include "base/error.h"

namespace ds::constrain {
namespace {

constexpr size_t kMostStates = 20'000;

struct KeyHash {
  size_t operator()(const std::vector<uint32_t>& key) const {
    uint64_t hash = key.size();
    for (const uint32_t k : key) hash = (hash ^ k) * 0x9E3779B97F4A7C15u, hash ^= hash >> 29;
    return static_cast<size_t>(hash);
  }
};

// Bytes get a class by what tells them apart: `columns(byte)` are equal for equal classes.
void set_classes(Dfa& dfa, const std::function<std::vector<uint32_t>(unsigned)>& columns) {
  std::map<std::vector<uint32_t>, uint8_t> numbers;
  for (unsigned b = 0; b < 256; ++b)
    dfa.classes[b] = numbers.try_emplace(columns(b), static_cast<uint8_t>(numbers.size())).first->second;
  dfa.class_count = static_cast<uint32_t>(numbers.size());
}

std::vector<uint8_t> class_bytes(const Dfa& dfa) {
  std::vector<uint8_t> out(dfa.class_count);
  for (unsigned b = 0; b < 256; ++b) out[dfa.classes[b]] = static_cast<uint8_t>(b);
  return out;
}

// Sets of states of an nfa, made as they are reached.
class Subsets {
 public:
  Subsets(const Nfa& nfa, std::string_view what) : nfa_(nfa), what_(what), mark_(nfa.states.size()) {}

  Dfa run() {
    // Bytes between two borders of edges are alike.
    std::vector<uint32_t> border(257);
    for (const Nfa::State& state : nfa_.states)
      for (const Nfa::Edge& edge : state.edges) border[edge.low] = border[edge.high + 1u] = 1;
    for (unsigned b = 1; b < 256; ++b) border[b] += border[b - 1];
    set_classes(dfa_, [&](unsigned b) { return std::vector<uint32_t>{border[b]}; });
    const std::vector<uint8_t> bytes = class_bytes(dfa_);
    number({});
    std::vector<uint32_t> first = {nfa_.starts[0]};
    dfa_.start = number(close(first));
    for (size_t s = 0; s < sets_.size(); ++s)
      for (uint32_t c = 0; c < dfa_.class_count; ++c) {
        std::vector<uint32_t> to;
        for (const uint32_t n : sets_[s])
          for (const Nfa::Edge& edge : nfa_.states[n].edges)
            if (edge.low <= bytes[c] && bytes[c] <= edge.high) to.push_back(edge.to);
        const uint32_t made = number(close(to));
        dfa_.next.resize(sets_.size() * dfa_.class_count);
        dfa_.next[s * dfa_.class_count + c] = made;
      }
    return std::move(dfa_);
  }

 private:
  std::vector<uint32_t> close(std::vector<uint32_t>& pending) {
    std::vector<uint32_t> kept, touched;
    while (!pending.empty()) {
      const uint32_t s = pending.back();
      pending.pop_back();
      if (mark_[s]) continue;
      mark_[s] = true;
      touched.push_back(s);
      if (!nfa_.states[s].edges.empty() || nfa_.states[s].returns) kept.push_back(s);
      pending.insert(pending.end(), nfa_.states[s].jumps.begin(), nfa_.states[s].jumps.end());
    }
    for (const uint32_t s : touched) mark_[s] = false;
    std::sort(kept.begin(), kept.end());
    return kept;
  }
  uint32_t number(std::vector<uint32_t> set) {
    const auto [at, is_new] = numbers_.try_emplace(set, static_cast<uint32_t>(sets_.size()));
    if (!is_new) return at->second;
    work_ += set.size();
    require(sets_.size() < kMostStates && work_ < 20'000'000, what_, " is too large: more than ", kMostStates, " states");
    bool ends = false;
    for (const uint32_t s : set) ends |= nfa_.states[s].returns;
    dfa_.labels.push_back(ends);
    sets_.push_back(std::move(set));
    return at->second;
  }

  const Nfa& nfa_;
  std::string_view what_;
  Dfa dfa_;
  std::vector<bool> mark_;
  std::vector<std::vector<uint32_t>> sets_;
  std::unordered_map<std::vector<uint32_t>, uint32_t, KeyHash> numbers_;
  size_t work_ = 0;
};

Tree any_text() {
  Tree any, repeat;
  any.type = Tree::Type::characters;
  any.characters = {{0, 0x10FFFF}};
  repeat.type = Tree::Type::repeat;
  repeat.most = Tree::unlimited;
  repeat.children.push_back(std::move(any));
  return repeat;
}

Dfa dfa_of_tree(const Tree& tree, std::string_view what) {
  Nfa nfa;
  nfa.starts = {nfa.add()};
  const uint32_t end = nfa.append(tree, nfa.starts[0]);
  nfa.states[end].returns = true;
  nfa.resolve_anchors();
  nfa.trim();
  return Subsets(nfa, what).run();
}

}  // namespace

Dfa dfa_of_pattern(std::string_view pattern, std::string_view what) {
  Tree all;
  all.type = Tree::Type::sequence;
  all.children.push_back(any_text());
  all.children.push_back(parse_regex(pattern, Dialect::ecma, what));
  all.children.push_back(any_text());
  return dfa_of_tree(all, what);
}

Dfa dfa_of_utf8() { return dfa_of_tree(any_text(), "text"); }

Dfa dfa_of_words(std::span<const std::string> sorted) {
  Dfa dfa;
  std::array<bool, 256> used{};
  for (const std::string& word : sorted)
    for (const char c : word) used[static_cast<uint8_t>(c)] = true;
  set_classes(dfa, [&](unsigned b) { return std::vector<uint32_t>{used[b] ? b + 1 : 0}; });
  dfa.labels = {0, 0};
  dfa.start = 1;
  dfa.next.resize(2 * dfa.class_count);
  for (size_t i = 0; i < sorted.size(); ++i) {
    uint32_t at = dfa.start;
    for (const char c : sorted[i]) {
      const size_t edge = size_t{at} * dfa.class_count + dfa.classes[static_cast<uint8_t>(c)];
      if (!dfa.next[edge]) {
        require(dfa.labels.size() < 10 * kMostStates, "the names of properties or values are too many");
        dfa.next[edge] = static_cast<uint32_t>(dfa.labels.size());
        dfa.labels.push_back(0);
        dfa.next.resize(dfa.labels.size() * dfa.class_count);
      }
      at = dfa.next[edge];
    }
    dfa.labels[at] = static_cast<uint32_t>(i + 1);
  }
  return dfa;
}

Dfa dfa_of_length(uint64_t least, uint64_t most, std::string_view what) {
  const uint64_t last = most == kInfinite ? least : most;
  require(last < 5000, what, ": a length of ", last, " together with a pattern or other values is too large");
  Dfa dfa;
  set_classes(dfa, [](unsigned b) { return std::vector<uint32_t>{(b & 0xC0) == 0x80}; });
  const uint32_t within = dfa.classes[0x80], first = dfa.classes[0];
  dfa.labels.assign(last + 2, 0);
  dfa.next.assign((last + 2) * 2, 0);
  dfa.start = 1;
  for (uint32_t n = 0; n <= last; ++n) {
    dfa.labels[n + 1] = n >= least;
    dfa.next[(n + 1) * 2 + within] = n + 1;
    dfa.next[(n + 1) * 2 + first] = n < last ? n + 2 : most == kInfinite ? n + 1 : 0;
  }
  return dfa;
}

Dfa product(std::span<const Dfa* const> parts, const std::function<uint32_t(std::span<const uint32_t>)>& label,
            std::string_view what) {
  Dfa dfa;
  set_classes(dfa, [&](unsigned b) {
    std::vector<uint32_t> out;
    for (const Dfa* part : parts) out.push_back(part->classes[b]);
    return out;
  });
  const std::vector<uint8_t> bytes = class_bytes(dfa);
  std::unordered_map<std::vector<uint32_t>, uint32_t, KeyHash> numbers;
  std::vector<std::vector<uint32_t>> tuples;
  const auto number = [&](std::vector<uint32_t> tuple) {
    const auto [at, is_new] = numbers.try_emplace(tuple, static_cast<uint32_t>(tuples.size()));
    if (!is_new) return at->second;
    require(tuples.size() < kMostStates, what, " is too large: more than ", kMostStates, " states");
    std::vector<uint32_t> labels;
    for (size_t i = 0; i < tuple.size(); ++i) labels.push_back(parts[i]->labels[tuple[i]]);
    dfa.labels.push_back(tuples.empty() ? 0 : label(labels));
    tuples.push_back(std::move(tuple));
    return at->second;
  };
  number({});  // the state that leads nowhere
  std::vector<uint32_t> first;
  for (const Dfa* part : parts) first.push_back(part->start);
  dfa.start = number(std::move(first));
  dfa.next.assign(dfa.class_count, 0);
  for (size_t s = 1; s < tuples.size(); ++s)
    for (uint32_t c = 0; c < dfa.class_count; ++c) {
      std::vector<uint32_t> to(parts.size());
      for (size_t i = 0; i < parts.size(); ++i) to[i] = parts[i]->step(tuples[s][i], bytes[c]);
      // The first part is all texts that are UTF-8: where it is at its end, so is the product.
      const uint32_t made = to[0] == 0 ? 0 : number(std::move(to));
      dfa.next.push_back(made);
    }
  const std::vector<uint64_t> counts = count_texts(dfa, [](uint32_t l) { return l != 0; });
  for (uint32_t& to : dfa.next)
    if (counts[to] == 0) to = 0;
  if (counts[dfa.start] == 0) dfa.start = 0;
  return dfa;
}

std::vector<uint64_t> count_texts(const Dfa& dfa, const std::function<bool(uint32_t label)>& counts) {
  constexpr uint64_t most = uint64_t{1} << 32;
  const size_t n = dfa.states();
  std::vector<std::vector<uint32_t>> before(n);
  for (size_t s = 1; s < n; ++s)
    for (uint32_t c = 0; c < dfa.class_count; ++c)
      if (const uint32_t to = dfa.next[s * dfa.class_count + c]) before[to].push_back(static_cast<uint32_t>(s));
  std::vector<bool> lives(n);
  std::vector<uint32_t> pending;
  for (uint32_t s = 1; s < n; ++s)
    if (dfa.labels[s] && counts(dfa.labels[s])) lives[s] = true, pending.push_back(s);
  while (!pending.empty()) {
    const uint32_t s = pending.back();
    pending.pop_back();
    for (const uint32_t b : before[s])
      if (!lives[b]) lives[b] = true, pending.push_back(b);
  }
  // States from the ends backwards, each after all that it leads to; those that are left lead into a circle.
  std::array<uint32_t, 256> width{};
  for (const uint8_t c : dfa.classes) ++width[c];
  std::vector<uint32_t> open(n);
  for (uint32_t s = 1; s < n; ++s)
    for (uint32_t c = 0; c < dfa.class_count; ++c) open[s] += lives[dfa.next[size_t{s} * dfa.class_count + c]];
  std::vector<uint64_t> out(n);
  for (uint32_t s = 1; s < n; ++s) {
    out[s] = lives[s] ? kInfinite : 0;
    if (lives[s] && open[s] == 0) pending.push_back(s);
  }
  while (!pending.empty()) {
    const uint32_t s = pending.back();
    pending.pop_back();
    uint64_t sum = dfa.labels[s] && counts(dfa.labels[s]);
    for (uint32_t c = 0; c < dfa.class_count; ++c)
      if (const uint64_t more = out[dfa.next[size_t{s} * dfa.class_count + c]]) sum = more >= most ? most : std::min(most, sum + width[c] * more);
    out[s] = sum >= most ? kInfinite : sum;
    for (const uint32_t b : before[s])
      if (lives[b] && --open[b] == 0) pending.push_back(b);
  }
  return out;
}

}  // namespace ds::constrain
