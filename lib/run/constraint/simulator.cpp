#include "run/constraint/simulator.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace ds {

using constrain::Moves;

constexpr size_t kMostStacks = 4096;

size_t Simulator::StacksHash::operator()(const std::vector<uint32_t>& stacks) const {
  uint64_t hash = stacks.size();
  for (const uint32_t s : stacks) hash = (hash ^ s) * 0x9E3779B97F4A7C15u, hash ^= hash >> 29;
  return static_cast<size_t>(hash);
}

void Simulator::clear() {
  stacks_ = {{~0u, ~0u}, {~0u, ~0u}};  // empty_stack, unknown_stack
  position({});                       // nowhere
}

uint32_t Simulator::frame(const std::string& text) {
  const auto [at, is_new] = frame_ids_.try_emplace(text, static_cast<uint32_t>(frames_.size()));
  if (is_new) {
    frames_.push_back(&at->first);
    bytes_ += text.size() + 96;
  }
  return at->second;
}

uint32_t Simulator::stack(uint32_t frame, uint32_t below) {
  const auto [at, is_new] =
      stack_ids_.try_emplace(uint64_t{frame} << 32 | below, static_cast<uint32_t>(stacks_.size()));
  if (is_new) {
    stacks_.push_back({frame, below});
    bytes_ += 64;
  }
  return at->second;
}

uint32_t Simulator::position(std::vector<uint32_t> stacks) {
  static const Row untried = [] { Row row; return row.fill(unknown_position), row; }();
  static const Row nothing = [] { Row row; return row.fill(nowhere), row; }();
  const auto [at, is_new] = position_ids_.try_emplace(std::move(stacks), static_cast<uint32_t>(positions_.size()));
  if (is_new) {
    Position& p = positions_.emplace_back();
    p.stacks = at->first;
    p.next = p.stacks.empty() ? &nothing : &untried;
    for (const uint32_t s : p.stacks) {
      p.may_end |= s == empty_stack;
      p.is_unknown |= s == unknown_stack;
    }
    bytes_ += sizeof(Position) + 8 * p.stacks.size() + 96;
  }
  return at->second;
}

void Simulator::apply(const Moves& moves, uint32_t below, std::vector<uint32_t>& pending) {
  for (const auto& frames : moves.list) {
    uint32_t made = below;
    for (const std::string& text : frames) made = stack(frame(text), made);
    pending.push_back(made);
  }
  if (moves.unknown) pending.push_back(unknown_stack);
}

// Everything that is reached without reading, as far as it reads bytes or is the end.
std::vector<uint32_t> Simulator::close(std::vector<uint32_t> pending) {
  std::vector<uint32_t> seen, kept;
  std::sort(pending.begin(), pending.end());
  pending.erase(std::unique(pending.begin(), pending.end()), pending.end());
  seen = pending;
  Moves moves;
  while (!pending.empty()) {
    const uint32_t s = pending.back();
    pending.pop_back();
    if (s == empty_stack || s == unknown_stack) {
      kept.push_back(s);
      continue;
    }
    const Stack top = stacks_[s];
    if (automaton_.reads(*frames_[top.frame])) kept.push_back(s);
    moves.list.clear();
    moves.unknown = false;
    automaton_.expand(*frames_[top.frame], moves);
    std::vector<uint32_t> made;
    apply(moves, top.below, made);
    for (const uint32_t m : made) {
      const auto at = std::lower_bound(seen.begin(), seen.end(), m);
      if (at != seen.end() && *at == m) continue;
      seen.insert(at, m);
      require(seen.size() <= kMostStacks, "the constraint is too ambiguous: more than ", kMostStacks,
              " readings of the text so far are under way");
      pending.push_back(m);
    }
  }
  std::sort(kept.begin(), kept.end());
  return kept;
}

uint32_t Simulator::start(bool exact) {
  std::vector<uint32_t> pending;
  apply(automaton_.start(exact), empty_stack, pending);
  return position(close(std::move(pending)));
}

uint32_t Simulator::compute_step(uint32_t from, uint8_t byte) {
  std::vector<uint32_t> pending;
  Moves moves;
  const std::vector<uint32_t> stacks = positions_[from].stacks;
  for (const uint32_t s : stacks) {
    if (s == empty_stack || s == unknown_stack) continue;
    const Stack top = stacks_[s];
    moves.list.clear();
    moves.unknown = false;
    automaton_.read(*frames_[top.frame], byte, moves);
    apply(moves, top.below, pending);
  }
  const uint32_t to = position(close(std::move(pending)));
  Position& p = positions_[from];
  if (!p.row) {
    p.row = std::make_unique<Row>(*p.next);
    p.next = p.row.get();
    bytes_ += sizeof(Row);
  }
  (*p.row)[byte] = to;
  return to;
}

bool Simulator::reads_on(uint32_t position) const {
  for (const uint32_t s : positions_[position].stacks)
    if (s != empty_stack) return true;
  return false;
}

// The tops of the stacks alone, each over what is not known, or over nothing where that is known.
uint32_t Simulator::outline_of(uint32_t from, size_t longest) {
  if (positions_[from].outline != unknown_position) return positions_[from].outline;
  std::vector<uint32_t> tops;
  const std::vector<uint32_t> stacks = positions_[from].stacks;
  for (const uint32_t s : stacks)
    if (s > unknown_stack)
      tops.push_back(stack(frame(automaton_.outline(*frames_[stacks_[s].frame], longest)),
                           stacks_[s].below == empty_stack ? empty_stack : unknown_stack));
  std::sort(tops.begin(), tops.end());
  tops.erase(std::unique(tops.begin(), tops.end()), tops.end());
  const uint32_t made = position(std::move(tops));
  positions_[from].outline = made;
  return made;
}

// Sets the bits of the tokens below node `begin` that can be read from `from`. With `open`, nodes at which the position
// is not known are put there; else there are none.
void Simulator::walk(uint32_t from, const TokenTrie& trie, uint32_t begin, std::span<uint64_t> bits, Mask* open) {
  const auto nodes = trie.nodes();
  const auto ids = trie.ids();
  const uint32_t base = nodes[begin].depth;
  path_[base] = from;
  for (uint32_t i = begin + 1, end = nodes[begin].subtree_end; i < end;) {
    const TokenTrie::Node& node = nodes[i];
    const uint32_t to = step(path_[node.depth - 1u], node.byte);
    if (to == nowhere) {
      i = node.subtree_end;
      continue;
    }
    if (open && positions_[to].is_unknown) {
      open->open.push_back(i);
      i = node.subtree_end;
      continue;
    }
    path_[node.depth] = to;
    for (uint32_t t = node.tokens; t < node.tokens_end; ++t)
      bits[static_cast<size_t>(ids[t]) / 64] |= uint64_t{1} << (ids[t] % 64);
    ++i;
  }
}

const Simulator::Mask& Simulator::mask_of(uint32_t outline, const TokenTrie& trie) {
  if (positions_[outline].mask >= 0) return masks_[static_cast<size_t>(positions_[outline].mask)];
  Mask mask;
  mask.bits.resize(trie.words());
  walk(outline, trie, 0, mask.bits, &mask);
  for (const uint32_t node : mask.open) {
    // The bytes on the way: a token below the node has them.
    const TokenTrie::Node& n = trie.nodes()[node];
    uint32_t at = node;
    while (trie.nodes()[at].tokens == trie.nodes()[at].tokens_end) ++at;
    const std::string_view text = trie.bytes(trie.ids()[trie.nodes()[at].tokens]).substr(0, n.depth);
    mask.paths.insert(mask.paths.end(), text.begin(), text.end());
  }
  bytes_ += mask.bits.size() * 8 + mask.open.size() * 4 + mask.paths.size();
  positions_[outline].mask = static_cast<int32_t>(masks_.size());
  return masks_.emplace_back(std::move(mask));
}

// The node of a text, or 0.
static uint32_t find_node(const TokenTrie& trie, std::string_view text) {
  const auto nodes = trie.nodes();
  uint32_t at = 0;
  for (const char c : text) {
    uint32_t child = at + 1;
    const uint32_t end = nodes[at].subtree_end;
    while (child < end && nodes[child].byte != static_cast<uint8_t>(c)) child = nodes[child].subtree_end;
    if (child >= end) return 0;
    at = child;
  }
  return at;
}

// Decides anew on the tokens that begin with a text that an outline reads and its frame does not.
void Simulator::ask_again(uint32_t from, const TokenTrie& trie, std::span<uint64_t> bits) {
  const std::vector<uint32_t> stacks = positions_[from].stacks;
  for (const uint32_t s : stacks) {
    if (s <= unknown_stack) continue;
    for (const std::string& text : automaton_.refused(*frames_[stacks_[s].frame])) {
      const uint32_t node = find_node(trie, text);
      if (!node) continue;
      const auto& nodes = trie.nodes();
      const uint32_t last = nodes[node].subtree_end;
      for (uint32_t t = nodes[node].tokens, end = last < nodes.size() ? nodes[last].tokens : static_cast<uint32_t>(trie.ids().size()); t < end; ++t)
        bits[static_cast<size_t>(trie.ids()[t]) / 64] &= ~(uint64_t{1} << (trie.ids()[t] % 64));
      uint32_t at = from;
      for (const char c : text) at = step(at, static_cast<uint8_t>(c));
      if (at != nowhere) walk_from(at, trie, node, bits);
    }
  }
}

// The tokens of a node and below.
void Simulator::walk_from(uint32_t at, const TokenTrie& trie, uint32_t node, std::span<uint64_t> bits) {
  const TokenTrie::Node& n = trie.nodes()[node];
  for (uint32_t t = n.tokens; t < n.tokens_end; ++t)
    bits[static_cast<size_t>(trie.ids()[t]) / 64] |= uint64_t{1} << (trie.ids()[t] % 64);
  walk(at, trie, node, bits, nullptr);
}

void Simulator::mask(uint32_t from, const TokenTrie& trie, std::span<uint64_t> bits) {
  if (trie_serial_ != trie.serial()) {
    for (Position& p : positions_) p.mask = -1, p.outline = unknown_position;
    masks_.clear();
    trie_serial_ = trie.serial();
    longest_ = 0;
    for (const TokenTrie::Node& node : trie.nodes()) longest_ = std::max<size_t>(longest_, node.depth);
    path_.resize(longest_ + 1);
  }
  const Mask& mask = mask_of(outline_of(from, longest_), trie);
  std::copy(mask.bits.begin(), mask.bits.end(), bits.begin());
  ask_again(from, trie, bits);
  const uint8_t* path = mask.paths.data();
  for (const uint32_t node : mask.open) {
    const TokenTrie::Node& n = trie.nodes()[node];
    uint32_t at = from;
    for (uint32_t d = 0; d < n.depth && at != nowhere; ++d) at = step(at, path[d]);
    path += n.depth;
    if (at != nowhere) walk_from(at, trie, node, bits);
  }
}

uint32_t Simulator::import(const Simulator& other, uint32_t from) {
  std::vector<uint32_t> made;
  for (const uint32_t s : other.positions_[from].stacks) {
    std::vector<uint32_t> frames;
    for (uint32_t at = s; at > unknown_stack; at = other.stacks_[at].below) frames.push_back(other.stacks_[at].frame);
    uint32_t to = empty_stack;
    for (size_t i = frames.size(); i-- > 0;) to = stack(frame(*other.frames_[frames[i]]), to);
    made.push_back(to);
  }
  std::sort(made.begin(), made.end());
  return position(std::move(made));
}

}  // namespace ds
