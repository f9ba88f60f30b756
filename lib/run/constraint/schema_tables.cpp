#include "run/constraint/schema_tables.h"

#include <algorithm>

#include "base/error.h"

namespace ds::constrain {

constexpr size_t kMostNodes = 20'000;
constexpr size_t kMostDfaStates = 300'000;
constexpr size_t kMostWitnesses = 3;   // contains of an array, and properties that must be there without a name

SchemaTables::SchemaTables(std::string_view json) : shapes_(json) {
  intern({{0, false}});
  for (uint32_t n = 0; n < nodes_.size(); ++n) work_out(n);
  find_possible();
  for (Node& node : nodes_) std::erase_if(node.alternatives, [&](const Alternative& a) { return !meets(a); });
  for (ObjectTable& object : objects_) finish(object);
  require(nodes_[0].possible, "schema: no value meets it");
}

uint32_t SchemaTables::intern(const Terms& terms) {
  const auto [at, is_new] = node_ids_.try_emplace(terms, static_cast<uint32_t>(nodes_.size()));
  if (is_new) {
    require(nodes_.size() < kMostNodes, "schema: more than ", kMostNodes, " combinations of schemas");
    nodes_.push_back({terms, {}, false});
  }
  return at->second;
}

void SchemaTables::work_out(uint32_t n) {
  const Terms terms = nodes_[n].terms;
  const std::string where = terms.empty() ? "schema" : shapes_.document().where(terms[0].schema);
  Node node;
  for (const Shape& shape : shapes_.choice(terms)) {
    for (const auto& [bit, type] : {std::pair{kNull, ValueType::null}, {kFalse, ValueType::false_}, {kTrue, ValueType::true_}})
      if (shape.types & bit) node.alternatives.push_back({type, 0});
    if (shape.types & kNumber) {
      const auto at = std::find(numbers_.begin(), numbers_.end(), shape.number);
      node.alternatives.push_back({ValueType::number, static_cast<uint32_t>(at - numbers_.begin())});
      if (at == numbers_.end()) numbers_.push_back(shape.number);
    }
    if (shape.types & kString) add_string(node, shape.string);
    if (shape.types & kArray) add_array(node, shape.array, where);
    if (shape.types & kObject) add_object(node, shape.object, where);
  }
  std::sort(node.alternatives.begin(), node.alternatives.end());
  node.alternatives.erase(std::unique(node.alternatives.begin(), node.alternatives.end()), node.alternatives.end());
  nodes_[n].alternatives = std::move(node.alternatives);
}

void SchemaTables::add_string(Node& node, const StringDemand& demand) {
  const auto [at, is_new] = string_ids_.try_emplace(demand, static_cast<uint32_t>(strings_.size()));
  node.alternatives.push_back({ValueType::string, at->second});
  if (!is_new) return;
  StringTable table;
  const bool counts = demand.least > 0 || demand.most != kUnlimited;
  if (demand.dfas.empty()) {
    table.dfa = dfa(shapes_.utf8());
    table.least = demand.least, table.most = demand.most;
  } else {
    std::vector<const Dfa*> parts = {&dfa(shapes_.utf8())};
    for (const auto& [number, inside] : demand.dfas) parts.push_back(&dfa(number));
    Dfa length;
    if (counts) length = dfa_of_length(demand.least, demand.most, "schema: minLength and maxLength"), parts.push_back(&length);
    table.dfa = product(parts, [&](std::span<const uint32_t> labels) -> uint32_t {
      for (size_t i = 0; i < demand.dfas.size(); ++i)
        if ((labels[i + 1] != 0) != demand.dfas[i].second) return 0;
      return labels[0] && (!counts || labels.back());
    }, "schema: a pattern together with others, or with minLength and maxLength,");
  }
  dfa_states_ += table.dfa.states();
  require(dfa_states_ < kMostDfaStates, "schema: its patterns come to more than ", kMostDfaStates, " states");
  strings_.push_back(std::move(table));
}

void SchemaTables::add_array(Node& node, const ArrayDemand& demand, const std::string& where) {
  ArrayTable table;
  table.least = demand.least, table.most = demand.most;
  require(!demand.unique || table.most <= 1, where, ": uniqueItems is not supported for arrays of more than one item");
  size_t places = demand.prefix.size();
  for (const Contains& c : demand.contains) {
    places = std::max<size_t>(places, c.from);
    if (c.most > 0) table.contains.push_back(c);
  }
  const size_t count = table.contains.size();
  require(count <= kMostWitnesses, where, ": more than ", kMostWitnesses, " contains together (not, if and oneOf make some of items)");
  for (size_t place = 0; place <= places; ++place) {
    Terms base = place < demand.prefix.size() ? demand.prefix[place] : demand.rest;
    for (const Contains& c : demand.contains)  // none at all: no item may be one
      if (c.most == 0 && place >= c.from) add_term(base, {c.term.schema, !c.term.negated});
    auto& nodes = table.nodes.emplace_back(size_t{1} << count, kNoNode);
    for (uint32_t set = 0; set < nodes.size(); ++set) {
      Terms terms = base;
      bool applies = true;
      for (size_t i = 0; i < count; ++i) {
        const Contains& c = table.contains[i];
        const bool in = set >> i & 1;
        if (place < c.from) applies &= !in;
        else if (in) add_term(terms, c.term);
        else if (c.most != kUnlimited) add_term(terms, {c.term.schema, !c.term.negated});
      }
      if (applies) nodes[set] = intern(terms);
    }
  }
  if (count) {
    uint64_t states = std::max<uint64_t>(table.least, places) + 1;
    if (table.most != kUnlimited) states = std::max(states, table.most + 1);
    for (const Contains& c : table.contains) states = std::min<uint64_t>(states, 1'000'000) * std::min<uint64_t>((c.most == kUnlimited ? c.least : c.most) + 1, 1'000'000);
    require(states <= 5000, where, ": contains together with such large minItems, maxItems, minContains or maxContains is not supported");
  }
  node.alternatives.push_back({ValueType::array, static_cast<uint32_t>(arrays_.size())});
  arrays_.push_back(std::move(table));
}

// The texts of strings that meet all terms.
uint32_t SchemaTables::language(const Terms& terms, const std::string& what) {
  const auto [at, is_new] = languages_.try_emplace(terms, static_cast<uint32_t>(kOwnDfas + own_dfas_.size()));
  if (!is_new) return at->second;
  std::vector<const Dfa*> parts = {&dfa(shapes_.utf8())};
  std::deque<Dfa> lengths;
  std::vector<std::vector<std::pair<size_t, bool>>> ways;
  for (const Shape& shape : shapes_.choice(terms)) {
    if (!(shape.types & kString)) continue;
    auto& way = ways.emplace_back();
    for (const auto& [number, inside] : shape.string.dfas) {
      way.emplace_back(parts.size(), inside);
      parts.push_back(&dfa(number));
    }
    if (shape.string.least > 0 || shape.string.most != kUnlimited) {
      way.emplace_back(parts.size(), true);
      parts.push_back(&lengths.emplace_back(dfa_of_length(shape.string.least, shape.string.most, what)));
    }
  }
  own_dfas_.push_back(product(parts, [&](std::span<const uint32_t> labels) -> uint32_t {
    return labels[0] && std::any_of(ways.begin(), ways.end(), [&](const auto& way) {
             return std::all_of(way.begin(), way.end(), [&](const auto& part) { return (labels[part.first] != 0) == part.second; });
           });
  }, what));
  return at->second;
}

Terms SchemaTables::property_terms(const ObjectDemand& demand, const std::string& name, bool is_name, const std::map<uint32_t, bool>& in) const {
  Terms terms;
  for (const PropertyRule& rule : demand.rules) {
    bool matched = false;
    const auto at = std::lower_bound(rule.names.begin(), rule.names.end(), name, [](const auto& a, const std::string& b) { return a.first < b; });
    if (is_name && at != rule.names.end() && at->first == name) matched = true, add_term(terms, at->second);
    for (const auto& [pattern, term] : rule.patterns)
      if (in.at(pattern)) matched = true, add_term(terms, term);
    if (!matched && rule.others) add_term(terms, *rule.others);
  }
  return terms;
}

void SchemaTables::add_classes(ObjectTable& table, const ObjectDemand& demand, const std::string& where) {
  std::vector<uint32_t> numbers;  // of dfas that tell keys apart
  for (const PropertyRule& rule : demand.rules)
    for (const auto& [pattern, term] : rule.patterns) numbers.push_back(pattern);
  for (const Witness& w : demand.witnesses) {
    if (w.pattern) numbers.push_back(*w.pattern);
    numbers.insert(numbers.end(), w.except_patterns.begin(), w.except_patterns.end());
    if (w.name) numbers.push_back(language({*w.name}, where + "/propertyNames"));
  }
  std::optional<uint32_t> allowed;
  if (!demand.names.empty()) numbers.push_back(*(allowed = language(demand.names, where + "/propertyNames")));
  std::sort(numbers.begin(), numbers.end());
  numbers.erase(std::unique(numbers.begin(), numbers.end()), numbers.end());

  const Dfa words = dfa_of_words(table.names);
  std::vector<const Dfa*> parts = {&dfa(shapes_.utf8()), &words};
  for (const uint32_t number : numbers) parts.push_back(&dfa(number));
  table.classes.assign(table.names.size(), std::vector<uint32_t>(size_t{1} << table.witnesses, kNoNode));
  const auto fill = [&](std::vector<uint32_t>& nodes, const std::string& name, bool is_name, const std::map<uint32_t, bool>& in) {
    const Terms base = property_terms(demand, name, is_name, in);
    nodes.assign(size_t{1} << table.witnesses, kNoNode);
    for (uint32_t set = 0; set < nodes.size(); ++set) {
      Terms terms = base;
      bool applies = true;
      for (size_t i = 0; i < demand.witnesses.size(); ++i) {
        if (!(set >> i & 1)) continue;
        const Witness& w = demand.witnesses[i];
        if (w.pattern) applies &= in.at(*w.pattern);
        if (w.name) applies &= in.at(language({*w.name}, where));
        if (is_name && std::binary_search(w.except_names.begin(), w.except_names.end(), name)) applies = false;
        for (const uint32_t pattern : w.except_patterns) applies &= !in.at(pattern);
        if (w.value) add_term(terms, *w.value);
      }
      if (applies) nodes[set] = intern(terms);
    }
  };
  std::map<std::vector<bool>, uint32_t> others;
  table.keys = product(parts, [&](std::span<const uint32_t> labels) -> uint32_t {
    if (!labels[0]) return 0;
    std::map<uint32_t, bool> in;
    std::vector<bool> key;
    for (size_t i = 0; i < numbers.size(); ++i) in[numbers[i]] = labels[i + 2] != 0, key.push_back(labels[i + 2] != 0);
    if (allowed && !in[*allowed]) return 0;
    if (const uint32_t name = labels[1]) {
      fill(table.classes[name - 1], table.names[name - 1], true, in);
      return name;
    }
    const auto [at, is_new] = others.try_emplace(key, static_cast<uint32_t>(table.classes.size()));
    if (is_new) fill(table.classes.emplace_back(), "", false, in);
    return at->second + 1;
  }, where + ": properties and patternProperties");
  for (uint32_t c = static_cast<uint32_t>(table.names.size()); c < table.classes.size(); ++c)
    table.sizes.push_back(count_texts(table.keys, [&](uint32_t label) { return label == c + 1; })[table.keys.start]);
  dfa_states_ += table.keys.states();
  require(dfa_states_ < kMostDfaStates, "schema: its properties and patterns come to more than ", kMostDfaStates, " states");
}

void SchemaTables::add_object(Node& node, const ObjectDemand& demand, const std::string& where) {
  ObjectTable table;
  table.least = demand.least, table.most = demand.most;
  require(demand.witnesses.size() <= kMostWitnesses, where, ": more than ", kMostWitnesses,
          " negations (not, if, oneOf) of additionalProperties, patternProperties or propertyNames together");
  table.witnesses = static_cast<uint32_t>(demand.witnesses.size());
  table.names = demand.required;
  for (const PropertyRule& rule : demand.rules)
    for (const auto& [name, term] : rule.names) table.names.push_back(name);
  for (const Witness& w : demand.witnesses) table.names.insert(table.names.end(), w.except_names.begin(), w.except_names.end());
  std::sort(table.names.begin(), table.names.end());
  table.names.erase(std::unique(table.names.begin(), table.names.end()), table.names.end());
  for (const std::string& name : demand.required)
    table.required.push_back(static_cast<uint32_t>(std::lower_bound(table.names.begin(), table.names.end(), name) - table.names.begin()));
  add_classes(table, demand, where);
  if (table.witnesses)
    for (const uint64_t size : table.sizes)
      require(size == kInfinite, where, ": a negation (not, if, oneOf) of patternProperties or propertyNames that allow finitely many names is not supported");
  node.alternatives.push_back({ValueType::object, static_cast<uint32_t>(objects_.size())});
  objects_.push_back(std::move(table));
}

// The least set of nodes that are possible: a recursive schema is not possible by itself alone.
void SchemaTables::find_possible() {
  for (bool changed = true; changed;) {
    changed = false;
    array_memory_.clear();
    for (Node& node : nodes_) {
      if (node.possible) continue;
      node.possible = std::any_of(node.alternatives.begin(), node.alternatives.end(), [&](const Alternative& a) { return meets(a); });
      changed |= node.possible;
    }
  }
  array_memory_.clear();
}

bool SchemaTables::meets(const Alternative& a) const {
  switch (a.type) {
    case ValueType::string: return strings_[a.index].dfa.start != 0;
    case ValueType::array: {
      ArrayState state;
      state.counts.resize(arrays_[a.index].contains.size());
      return is_possible(arrays_[a.index], state);
    }
    case ValueType::object: {
      ObjectState state;
      state.seen.resize(objects_[a.index].names.size());
      return is_possible(objects_[a.index], state);
    }
    default: return true;
  }
}

// Keys whose values are not possible are no keys.
void SchemaTables::finish(ObjectTable& object) {
  const auto usable = [&](uint32_t label) {
    const uint32_t node = label ? object.classes[label - 1][0] : kNoNode;
    return node != kNoNode && nodes_[node].possible;
  };
  Dfa& keys = object.keys;
  for (uint32_t& label : keys.labels)
    if (!usable(label)) label = 0;
  const std::vector<uint64_t> all = count_texts(keys, [](uint32_t) { return true; });
  for (uint32_t& to : keys.next)
    if (!all[to]) to = 0;
  if (!all[keys.start]) keys.start = 0;
  const auto names = static_cast<uint32_t>(object.names.size());
  object.others = count_texts(keys, [&](uint32_t label) { return label > names; });
  for (uint32_t c = names; object.witnesses && c < object.classes.size(); ++c) {
    std::vector<bool>& reaches = object.reaches.emplace_back();
    for (const uint64_t n : count_texts(keys, [&](uint32_t label) { return label == c + 1; })) reaches.push_back(n != 0);
  }
  // The names below a state: of a trie, so they are neighbours, and a state has one way to it.
  object.reach.assign(keys.states(), {names, 0});
  for (uint32_t i = 0; i < names; ++i) {
    uint32_t at = keys.start;
    for (size_t c = 0;; ++c) {
      if (!at) break;
      object.reach[at].first = std::min(object.reach[at].first, i);
      object.reach[at].second = std::max(object.reach[at].second, i + 1);
      if (c == object.names[i].size()) break;
      at = keys.step(at, static_cast<uint8_t>(object.names[i][c]));
    }
  }
}

// --- Arrays.

bool SchemaTables::can_end(const ArrayTable& array, const ArrayState& state) const {
  if (state.length < array.least || state.length > array.most) return false;
  for (size_t i = 0; i < array.contains.size(); ++i)
    if (state.counts[i] < array.contains[i].least) return false;
  return true;
}

bool SchemaTables::take(const ArrayTable& array, ArrayState& state, uint32_t set, uint32_t& node) const {
  if (state.length >= array.most) return false;
  node = array.nodes[std::min<size_t>(state.length, array.nodes.size() - 1)][set];
  if (node == kNoNode || !nodes_[node].possible) return false;
  // Lengths and counts beyond what matters are one.
  const uint64_t last = std::max<uint64_t>(array.least, array.nodes.size() - 1);
  ++state.length;
  if (array.most == kUnlimited) state.length = std::min(state.length, last);
  for (size_t i = 0; i < array.contains.size(); ++i) {
    if (!(set >> i & 1)) continue;
    const Contains& c = array.contains[i];
    if (++state.counts[i] > c.most) return false;
    if (c.most == kUnlimited) state.counts[i] = std::min(state.counts[i], c.least);
  }
  return is_possible(array, state);
}

bool SchemaTables::is_possible(const ArrayTable& array, const ArrayState& state) const {
  if (array.contains.empty()) {
    // Items up to the least number have to be possible.
    for (uint64_t i = state.length; i < array.least; ++i) {
      const uint32_t node = array.nodes[std::min<size_t>(i, array.nodes.size() - 1)][0];
      if (!nodes_[node].possible) return false;
      if (i >= array.nodes.size()) break;
    }
    return array.least <= array.most && state.length <= array.most;
  }
  if (can_end(array, state)) return true;
  const auto [at, is_new] = array_memory_.try_emplace({&array, state}, false);  // false while it is looked into: a circle adds nothing
  if (!is_new) return at->second;
  for (uint32_t set = 0; set < uint32_t{1} << array.contains.size(); ++set) {
    ArrayState next = state;
    uint32_t node;
    if (take(array, next, set, node)) return array_memory_[{&array, state}] = true;
  }
  return false;
}

// --- Objects.

bool SchemaTables::is_complete(const ObjectTable& object, const ObjectState& state) const {
  if (state.size < object.least || state.size > object.most) return false;
  if (state.seen_witnesses != (1u << object.witnesses) - 1) return false;
  return std::all_of(object.required.begin(), object.required.end(), [&](uint32_t name) { return state.seen[name] != 0; });
}

// Whether every witness that is still to come finds a key; `room`: how many that are not required may be added. used: keys that
// were given witnesses.
bool SchemaTables::cover(const ObjectTable& object, const ObjectState& state, uint32_t pending, uint64_t room,
                         std::vector<std::pair<uint32_t, uint32_t>>& used) const {
  if (!pending) return true;
  const uint32_t bit = pending & (0u - pending);
  const auto possible = [&](uint32_t key_class, uint32_t set) {
    const uint32_t node = object.classes[key_class][set];
    return node != kNoNode && nodes_[node].possible;
  };
  for (size_t i = 0; i < used.size(); ++i)
    if (possible(used[i].first, used[i].second | bit)) {
      used[i].second |= bit;
      if (cover(object, state, pending & ~bit, room, used)) return true;
      used[i].second &= ~bit;
    }
  for (uint32_t c = 0; c < object.classes.size(); ++c) {
    const bool is_name = c < object.names.size();
    const bool is_used = is_name && std::any_of(used.begin(), used.end(), [&](const auto& u) { return u.first == c; });
    if ((is_name && state.seen[c]) || is_used || !possible(c, bit)) continue;
    const bool is_required = is_name && std::find(object.required.begin(), object.required.end(), c) != object.required.end();
    if (!is_required && room == 0) continue;
    used.emplace_back(c, bit);
    if (cover(object, state, pending & ~bit, is_required || room == kUnlimited ? room : room - 1, used)) return true;
    used.pop_back();
  }
  return false;
}

bool SchemaTables::is_possible(const ObjectTable& object, const ObjectState& state) const {
  const auto possible = [&](uint32_t key_class) {
    const uint32_t node = object.classes[key_class][0];
    return node != kNoNode && nodes_[node].possible;
  };
  uint64_t missing = 0;
  for (const uint32_t name : object.required) {
    if (state.seen[name]) continue;
    ++missing;
    if (!possible(name)) return false;
  }
  if (object.most != kUnlimited && state.size + missing > object.most) return false;
  if (state.size + missing < object.least) {
    uint64_t left = 0;
    for (uint32_t c = 0; c < object.names.size(); ++c) left += !state.seen[c] && possible(c);
    for (uint32_t c = static_cast<uint32_t>(object.names.size()); c < object.classes.size() && left != kInfinite; ++c) {
      const uint64_t size = possible(c) ? object.sizes[c - object.names.size()] : 0;
      left = size == kInfinite ? kInfinite : left + size;
    }
    if (left != kInfinite && state.size + left - std::min<uint64_t>(left, state.others.size()) < object.least) return false;
  }
  const uint32_t pending = ((1u << object.witnesses) - 1) & ~state.seen_witnesses;
  if (!pending) return true;
  std::vector<std::pair<uint32_t, uint32_t>> used;
  return cover(object, state, pending, object.most == kUnlimited ? kUnlimited : object.most - state.size - missing, used);
}

bool SchemaTables::take(const ObjectTable& object, ObjectState& state, uint32_t key_class, std::string_view key, uint32_t set,
                        uint32_t& node) const {
  node = object.classes[key_class][set];
  if (node == kNoNode || !nodes_[node].possible || (set & state.seen_witnesses)) return false;
  if (key_class < object.names.size()) {
    if (state.seen[key_class]) return false;
    state.seen[key_class] = 1;
  } else {
    const auto at = std::lower_bound(state.others.begin(), state.others.end(), key);
    if (at != state.others.end() && *at == key) return false;
    state.others.emplace(at, key);
  }
  state.seen_witnesses |= set;
  ++state.size;
  if (object.most == kUnlimited) state.size = std::min(state.size, object.least);
  return is_possible(object, state);
}

bool SchemaTables::has_key(const ObjectTable& object, const ObjectState& state, uint32_t at, std::string_view text) const {
  if (!at) return false;
  const std::string new_key = std::string(text) + '\xff';  // one that was not seen
  const auto takes = [&](uint32_t key_class) {
    for (uint32_t set = 0; set < uint32_t{1} << object.witnesses; ++set) {
      ObjectState next = state;
      uint32_t node;
      if (take(object, next, key_class, new_key, set, node)) return true;
    }
    return false;
  };
  if (object.others[at]) {
    const auto first = std::lower_bound(state.others.begin(), state.others.end(), text);
    uint64_t seen = 0;
    for (auto o = first; o != state.others.end() && std::string_view(*o).starts_with(text); ++o) ++seen;
    // Without witnesses all other keys that have possible values are alike.
    if (object.others[at] == kInfinite || object.others[at] > seen) {
      if (!object.witnesses && (object.most == kUnlimited)) return true;
      for (uint32_t c = static_cast<uint32_t>(object.names.size()); c < object.classes.size(); ++c)
        if ((!object.witnesses || object.reaches[c - object.names.size()][at]) && takes(c)) return true;
    }
  }
  for (uint32_t c = object.reach[at].first; c < object.reach[at].second; ++c)
    if (takes(c)) return true;
  return false;
}

}  // namespace ds::constrain
