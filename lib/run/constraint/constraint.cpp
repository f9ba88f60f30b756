#include "run/constraint/constraint.h"

#include <algorithm>
#include <mutex>
#include <utility>

#include "base/error.h"
#include "run/constraint/automaton.h"
#include "run/constraint/simulator.h"

namespace ds {

using namespace constrain;

constexpr size_t kMostMemory = size_t{64} << 20;
constexpr size_t kMostSource = size_t{1} << 20;

struct Constraint {
  std::unique_ptr<Automaton> automaton;
  Hash128 identity;
  mutable std::mutex mutex;
  mutable std::shared_ptr<Simulator> simulator;  // replaced when it has learnt too much; states take their positions along

  // With the mutex held: the simulator to go on with, to which a state's position is moved.
  void refresh(std::shared_ptr<Simulator>& held, uint32_t& position) const {
    if (!simulator || simulator->bytes() > kMostMemory) simulator = std::make_shared<Simulator>(*automaton);
    if (held == simulator) return;
    if (held) position = simulator->import(*held, position);
    held = simulator;
  }
};

namespace {

std::unique_ptr<Automaton> make_automaton(const ConstraintSpec& spec) {
  using Kind = ConstraintSpec::Kind;
  switch (spec.kind) {
    case Kind::regex: return regex_automaton(spec.source);
    case Kind::choice: return choice_automaton(spec.source);
    case Kind::grammar: return grammar_automaton(spec.source);
    case Kind::json_schema: return schema_automaton(spec.source);
    case Kind::json: return schema_automaton("true");
    case Kind::brackets: return brackets_automaton();
    case Kind::python: return python_automaton();
  }
  fail("a constraint of an unknown kind");
}

}  // namespace

std::shared_ptr<const Constraint> compile_constraint(const ConstraintSpec& spec) {
  require(spec.source.size() <= kMostSource, "the constraint has ", spec.source.size(), " bytes, at most ", kMostSource,
          " are allowed");
  auto made = std::make_shared<Constraint>();
  made->automaton = make_automaton(spec);
  made->identity = hash128(cat(static_cast<int>(spec.kind), ' ', spec.source));
  return made;
}

Hash128 identity(const Constraint& constraint) { return constraint.identity; }

size_t learnt_bytes(const Constraint& constraint) {
  const std::lock_guard lock(constraint.mutex);
  return constraint.simulator ? constraint.simulator->bytes() : 0;
}

bool matches(const Constraint& constraint, std::string_view text) {
  const Constraint& c = constraint;
  const std::lock_guard lock(c.mutex);
  std::shared_ptr<Simulator> simulator;
  uint32_t position = 0;
  c.refresh(simulator, position);
  position = simulator->start(true);
  for (size_t i = 0; i < text.size() && position != Simulator::nowhere; ++i) {
    position = simulator->step(position, static_cast<uint8_t>(text[i]));
    if (i % 4096 == 0) c.refresh(simulator, position);
  }
  return simulator->may_end(position);
}

ConstraintState::ConstraintState(std::shared_ptr<const Constraint> constraint, std::shared_ptr<const TokenTrie> trie)
    : constraint_(std::move(constraint)), trie_(std::move(trie)) {
  const Constraint& c = *constraint_;
  const std::lock_guard lock(c.mutex);
  c.refresh(simulator_, position_);
  position_ = simulator_->start(false);
}

void ConstraintState::mask(std::span<uint64_t> bits) {
  require(bits.size() == trie_->words(), "a mask of ", bits.size(), " words for a vocabulary of ", trie_->vocab_size());
  if (ended_) return std::fill(bits.begin(), bits.end(), 0);
  const Constraint& c = *constraint_;
  const std::lock_guard lock(c.mutex);
  c.refresh(simulator_, position_);
  simulator_->mask(position_, *trie_, bits);
  if (!simulator_->may_end(position_)) return;
  for (const int32_t id : trie_->end()) bits[static_cast<size_t>(id) / 64] |= uint64_t{1} << (id % 64);
}

bool ConstraintState::accept(int32_t token) {
  if (ended_ || token < 0 || static_cast<size_t>(token) >= trie_->vocab_size()) return false;
  if (std::find(trie_->end().begin(), trie_->end().end(), token) != trie_->end().end()) return ended_ = may_end();
  const std::string_view bytes = trie_->bytes(token);
  return !bytes.empty() && accept_bytes(bytes);
}

bool ConstraintState::accept_bytes(std::string_view bytes) {
  if (ended_) return false;
  const Constraint& c = *constraint_;
  const std::lock_guard lock(c.mutex);
  c.refresh(simulator_, position_);
  uint32_t position = position_;
  for (const char byte : bytes) {
    position = simulator_->step(position, static_cast<uint8_t>(byte));
    if (position == Simulator::nowhere) return false;
  }
  position_ = position;
  return true;
}

bool ConstraintState::may_end() const {
  const std::lock_guard lock(constraint_->mutex);
  return ended_ || simulator_->may_end(position_);
}

bool ConstraintState::must_end() const {
  const std::lock_guard lock(constraint_->mutex);
  return ended_ || (simulator_->may_end(position_) && !simulator_->reads_on(position_));
}

}  // namespace ds
