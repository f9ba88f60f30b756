// Exact duplicates in a stream: the first text of each hash. Memory: at most 31 bytes a distinct text; ids lie in a
// file.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/hash.h"
#include "clean/duplicates/hash_index.h"
#include "clean/duplicates/index_log.h"
#include "io/mapped_memory.h"
#include "io/spill.h"

namespace ds {

class ExactIndex {
 public:
  // `folder` empty: in memory, ids in a temporary file. Else in that folder: its texts up to the mark are loaded and
  // later ones forgotten. Error where the folder does not hold them.
  explicit ExactIndex(const std::string& folder = "", const LogMark& mark = {});

  // The number of the text with this hash (96 of its bits decide: among 10^9 texts two share them with probability
  // 10^-11).
  std::optional<uint32_t> find(Hash128 hash) const;
  // Adds a text that find() does not know, under the number size().
  void add(Hash128 hash, std::string_view id);
  std::string id(uint32_t text) const;
  uint32_t size() const { return size_; }
  uint64_t memory_bytes() const { return hashes_.bytes() + places_.size(); }
  void flush();          // writes out what belongs into the folder
  LogMark mark() const;  // opening the folder with it finds all texts

 private:
  struct Slot {
    uint32_t hash, value_plus_1;
    uint64_t rest;
  };
  struct Row {  // of the log
    uint64_t high, low, place;
  };
  void load(const std::string& folder, const LogMark& mark);
  void enter(const Row& row);

  HashIndex<Slot> hashes_;
  MappedMemory places_;  // in ids_, by number
  uint32_t size_ = 0;
  Spill ids_;
  std::optional<IndexLog> log_;
};

}  // namespace ds
