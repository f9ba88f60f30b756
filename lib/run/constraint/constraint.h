// Constrained decoding: what the text of an answer may be, and which tokens may come next so that it stays so.
// Every constraint is an automaton over bytes with a stack. No allowed prefix is a dead end: each can be completed.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/hash.h"

namespace ds {

class Tokenizer;

struct ConstraintSpec {
  enum class Kind {
    regex,        // source: a regular expression that the whole text matches; \d \w \s are ASCII, . is any but \n;
                  // no look-around, back references or word boundaries
    choice,       // source: a JSON array of strings
    grammar,      // source: a grammar in llama.cpp's GBNF; the text is derived from the rule root
    json_schema,  // source: a JSON schema, draft 2020-12 (see compile_constraint)
    json,         // any JSON value; no source
    brackets,     // () [] {} balance outside of quoted strings and // # /* */ comments; no source
    python        // brackets, strings, and indentation as Python reads them; no source
  };
  Kind kind = Kind::json;
  std::string source;
};

// Compiled once and shared by any number of answers and threads (what it learns while it runs is kept within 64 MiB).
struct Constraint;

// Error: what is wrong or not supported, with "line:column" in a regex or grammar and the path and keyword in a schema, or
// the limit that it exceeds.
// Schemas: all keywords of the core, applicator, validation and unevaluated vocabularies but $dynamicRef, references to
// other documents, uniqueItems of arrays of more than one item, unevaluatedItems beside contains, and unevaluated* or
// uniqueItems within a negation; format and content* are annotations; unknown keywords are an Error but for x-*.
// JSON is compact, or has one space or a line end with up to 64 blanks after { [ , : and before ] }.
std::shared_ptr<const Constraint> compile_constraint(const ConstraintSpec& spec);
// Of its kind and source: two with the same one accept the same.
Hash128 identity(const Constraint& constraint);
// Bytes of what it has learnt so far.
size_t learnt_bytes(const Constraint& constraint);

// Whether a whole text is accepted. Of numbers in a schema this takes every spelling (1e2, 100.0), where an answer under
// construction is held to the plain one (100).
bool matches(const Constraint& constraint, std::string_view text);

// The tokens of a vocabulary by their bytes. Made once a model; immutable.
class TokenTrie {
 public:
  // bytes[id]: what token id adds to a text; empty: the token is never allowed (special tokens). At most 2^20 ids.
  // `end`: the tokens that end an answer.
  TokenTrie(std::span<const std::string> bytes, std::span<const int32_t> end);
  // Of a tokenizer; its special tokens, which decode to nothing, are never allowed.
  TokenTrie(const Tokenizer& tokenizer, std::span<const int32_t> end);

  size_t vocab_size() const { return bytes_.size(); }
  size_t words() const { return (bytes_.size() + 63) / 64; }     // of a mask
  std::string_view bytes(int32_t id) const { return bytes_[static_cast<size_t>(id)]; }
  std::span<const int32_t> end() const { return end_; }

  // Depth first, children by byte; node 0 is the root.
  struct Node {
    uint32_t subtree_end;          // the node after the last one below this
    uint32_t tokens, tokens_end;   // ids() of the tokens that end here
    uint16_t depth;
    uint8_t byte;
  };
  std::span<const Node> nodes() const { return nodes_; }
  std::span<const int32_t> ids() const { return ids_; }
  uint64_t serial() const { return serial_; }                    // another one for each trie

 private:
  void build();
  std::vector<std::string> bytes_;
  std::vector<int32_t> end_, ids_;
  std::vector<Node> nodes_;
  uint64_t serial_;
};

class Simulator;

// Where one answer stands. A copy costs two pointers; copies are independent. States of one constraint may be used by all
// threads at once.
class ConstraintState {
 public:
  ConstraintState(std::shared_ptr<const Constraint> constraint, std::shared_ptr<const TokenTrie> trie);

  // Sets bit id of `bits` (trie.words() words, all overwritten) for every token that may come next, the end tokens
  // included where the answer may end. At least one is set, but where the vocabulary lacks a token for every way on, or
  // after an end token.
  void mask(std::span<uint64_t> bits);
  // Takes a token; false (and the state stays as it was) where it is not allowed. After an end token none is.
  bool accept(int32_t token);
  // Takes bytes, all or none.
  bool accept_bytes(std::string_view bytes);
  bool may_end() const;   // the text so far is a whole answer
  bool must_end() const;  // and nothing can be added to it

 private:
  std::shared_ptr<const Constraint> constraint_;
  std::shared_ptr<const TokenTrie> trie_;
  std::shared_ptr<Simulator> simulator_;
  uint32_t position_ = 0;
  bool ended_ = false;
};

}  // namespace ds
