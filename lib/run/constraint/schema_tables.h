// A schema worked out for every place in a value: what may stand there, and whether that can be completed.
#pragma once
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "run/constraint/schema_shapes.h"

namespace ds::constrain {

enum class ValueType : uint8_t { null, false_, true_, number, string, array, object };

// One way to meet a node; index: of the table of its type.
struct Alternative {
  ValueType type;
  uint32_t index;
  auto operator<=>(const Alternative&) const = default;
};

// A place in a value, by the schemas that the value must meet.
struct Node {
  Terms terms;
  std::vector<Alternative> alternatives;
  bool possible = false;  // some finite value is met
};

struct StringTable {
  Dfa dfa;                                // of the text; its labels are 1 where it may end
  uint64_t least = 0, most = kUnlimited;  // characters, where the dfa is of every text
};

constexpr uint32_t kNoNode = ~0u;

struct ArrayTable {
  std::vector<std::vector<uint32_t>> nodes;  // [place, the last for all further ones][set of `contains` that the item is counted for]
  uint64_t least = 0, most = kUnlimited;
  std::vector<Contains> contains;
};
struct ArrayState {
  uint64_t length = 0;
  std::vector<uint64_t> counts;              // of each contains; as far as they matter
  auto operator<=>(const ArrayState&) const = default;
};

struct ObjectTable {
  std::vector<std::string> names;             // sorted: those that the schema speaks of
  std::vector<std::vector<uint32_t>> classes; // of keys: the first are the names. [class][set of witnesses that it is]: node
  std::vector<uint64_t> sizes;                // of the others: how many keys there are
  std::vector<uint32_t> required;             // of names
  uint64_t least = 0, most = kUnlimited;
  uint32_t witnesses = 0;
  Dfa keys;                                   // labels: class + 1
  std::vector<uint64_t> others;               // of a state of keys: how many keys that are no names it leads to
  std::vector<std::vector<bool>> reaches;     // with witnesses: of each other class, whether a state leads to it
  std::vector<std::pair<uint32_t, uint32_t>> reach;  // and which names: [first, second)
};
struct ObjectState {
  uint64_t size = 0;                          // as far as it matters
  uint32_t seen_witnesses = 0;                // a set
  std::string seen;                           // a byte for each of the names
  std::vector<std::string> others;            // the other keys, sorted
};

class SchemaTables {
 public:
  explicit SchemaTables(std::string_view json);

  uint32_t root() const { return 0; }
  const Node& node(uint32_t n) const { return nodes_[n]; }
  const NumberSet& number(uint32_t i) const { return numbers_[i]; }
  const StringTable& string(uint32_t i) const { return strings_[i]; }
  const ArrayTable& array(uint32_t i) const { return arrays_[i]; }
  const ObjectTable& object(uint32_t i) const { return objects_[i]; }

  // Whether the state can be completed, and whether it is complete.
  bool can_end(const ArrayTable& array, const ArrayState& state) const;
  bool is_possible(const ArrayTable& array, const ArrayState& state) const;
  bool is_complete(const ObjectTable& object, const ObjectState& state) const;
  bool is_possible(const ObjectTable& object, const ObjectState& state) const;
  // The state after one more item or property that counts for a set of contains or witnesses; false where the set does not
  // apply, its node is not possible or the state after it is not.
  bool take(const ArrayTable& array, ArrayState& state, uint32_t set, uint32_t& node) const;
  bool take(const ObjectTable& object, ObjectState& state, uint32_t key_class, std::string_view key, uint32_t set, uint32_t& node) const;
  // Whether a key that begins with `text`, after which the keys' dfa is at `at`, can be taken.
  bool has_key(const ObjectTable& object, const ObjectState& state, uint32_t at, std::string_view text) const;

 private:
  uint32_t intern(const Terms& terms);
  void work_out(uint32_t node);
  void add_string(Node& node, const StringDemand& demand);
  void add_array(Node& node, const ArrayDemand& demand, const std::string& where);
  void add_object(Node& node, const ObjectDemand& demand, const std::string& where);
  void add_classes(ObjectTable& table, const ObjectDemand& demand, const std::string& where);
  Terms property_terms(const ObjectDemand& demand, const std::string& name, bool is_name, const std::map<uint32_t, bool>& in) const;
  uint32_t language(const Terms& terms, const std::string& what);
  const Dfa& dfa(uint32_t number) const { return number < kOwnDfas ? shapes_.dfa(number) : own_dfas_[number - kOwnDfas]; }
  void find_possible();
  bool meets(const Alternative& alternative) const;
  void finish(ObjectTable& object);
  bool cover(const ObjectTable& object, const ObjectState& state, uint32_t pending, uint64_t room,
             std::vector<std::pair<uint32_t, uint32_t>>& used) const;

  static constexpr uint32_t kOwnDfas = 1'000'000;
  Shapes shapes_;
  std::deque<Node> nodes_;
  std::map<Terms, uint32_t> node_ids_;
  std::deque<NumberSet> numbers_;
  std::deque<StringTable> strings_;
  std::map<StringDemand, uint32_t> string_ids_;
  std::deque<ArrayTable> arrays_;
  std::deque<ObjectTable> objects_;
  std::deque<Dfa> own_dfas_;
  std::map<Terms, uint32_t> languages_;
  mutable std::map<std::pair<const ArrayTable*, ArrayState>, bool> array_memory_;
  size_t dfa_states_ = 0;
};

}  // namespace ds::constrain
