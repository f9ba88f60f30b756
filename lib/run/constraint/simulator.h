// Runs an automaton: sets of stacks, made deterministic as they are met and kept by number.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "run/constraint/automaton.h"
#include "run/constraint/constraint.h"

namespace ds {

// Positions are numbers of sets of stacks. One thread at a time.
class Simulator {
 public:
  explicit Simulator(const constrain::Automaton& automaton) : automaton_(automaton) { clear(); }

  static constexpr uint32_t nowhere = 0;  // the empty set
  uint32_t start(bool exact);
  // The position after a byte, or nowhere. Error where more than 4096 stacks would be under way: the constraint is too
  // ambiguous here.
  uint32_t step(uint32_t position, uint8_t byte) {
    const uint32_t next = (*positions_[position].next)[byte];
    return next != unknown_position ? next : compute_step(position, byte);
  }
  bool may_end(uint32_t position) const { return positions_[position].may_end; }
  bool reads_on(uint32_t position) const;
  void mask(uint32_t position, const TokenTrie& trie, std::span<uint64_t> bits);

  size_t bytes() const { return bytes_; }  // memory of what was learnt
  // The position in this simulator that is `position` in another one of the same automaton.
  uint32_t import(const Simulator& other, uint32_t position);

 private:
  static constexpr uint32_t unknown_position = ~0u;
  static constexpr uint32_t empty_stack = 0, unknown_stack = 1;
  using Row = std::array<uint32_t, 256>;
  struct Stack {
    uint32_t frame, below;
  };
  struct Position {
    std::vector<uint32_t> stacks;
    const Row* next = nullptr;         // all unknown until the first step is made, then row
    std::unique_ptr<Row> row;
    bool may_end = false, is_unknown = false;
    int32_t mask = -1;        // of masks_, for the position as an outline
    uint32_t outline = unknown_position;
  };
  // The tokens that an outline allows for sure, and the nodes of the trie from which on the position itself has to be asked.
  struct Mask {
    std::vector<uint64_t> bits;
    std::vector<uint32_t> open;
    std::vector<uint8_t> paths;        // the bytes to each open node, one after the other
  };

  void clear();
  uint32_t frame(const std::string& text);
  uint32_t stack(uint32_t frame, uint32_t below);
  uint32_t position(std::vector<uint32_t> stacks);
  uint32_t compute_step(uint32_t position, uint8_t byte);
  void apply(const constrain::Moves& moves, uint32_t below, std::vector<uint32_t>& pending);
  std::vector<uint32_t> close(std::vector<uint32_t> pending);
  uint32_t outline_of(uint32_t position, size_t longest);
  const Mask& mask_of(uint32_t outline, const TokenTrie& trie);
  void walk(uint32_t position, const TokenTrie& trie, uint32_t begin, std::span<uint64_t> bits, Mask* open);

  void walk_from(uint32_t at, const TokenTrie& trie, uint32_t node, std::span<uint64_t> bits);
  void ask_again(uint32_t from, const TokenTrie& trie, std::span<uint64_t> bits);

  const constrain::Automaton& automaton_;
  std::unordered_map<std::string, uint32_t> frame_ids_;
  std::vector<const std::string*> frames_;
  std::unordered_map<uint64_t, uint32_t> stack_ids_;
  std::vector<Stack> stacks_;
  struct StacksHash {
    size_t operator()(const std::vector<uint32_t>& stacks) const;
  };
  std::unordered_map<std::vector<uint32_t>, uint32_t, StacksHash> position_ids_;
  std::vector<Position> positions_;
  std::vector<Mask> masks_;
  std::vector<uint32_t> path_;
  uint64_t trie_serial_ = 0;
  size_t bytes_ = 0, longest_ = 0;
};

}  // namespace ds
