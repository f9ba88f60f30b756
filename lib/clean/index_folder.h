// An index of deduplication that lasts: a folder with the texts that were seen, and the runs and shards that are done.
#pragma once
#include <memory>
#include <set>
#include <string>

#include "clean/dedup.h"

namespace ds {

// What counts in the folder is what its file `state.json` says, which commit() replaces whole: after a kill -9 the next
// one to open it finds the last commit, and whatever came later is cut off. One process at a time may write.
class IndexFolder {
 public:
  // Opens or makes the folder. An index that was made with other options is an Error that names them. `run` names what
  // will be added: where it is what the last commit added (the same command again, after a kill in its last moments,
  // say), that is forgotten first, so that the records do not become duplicates of themselves. Empty: it is always new.
  IndexFolder(const std::string& folder, const DedupOptions& options, bool writable, const std::string& run = "");
  IndexFolder(const IndexFolder&) = delete;

  DedupIndex& index() { return *index_; }
  // The shards that were finished, by name.
  bool finished(const std::string& shard) const { return finished_.contains(shard); }
  // Makes all that was added so far last, and a shard finished where one is named.
  void commit(const std::string& shard = "");

 private:
  std::string folder_, options_json_, run_;
  struct Lock {
    int file = -1;
    ~Lock();
  } lock_;
  uint32_t exact_before_ = 0, near_before_ = 0;  // texts when it was opened
  std::set<std::string> finished_;
  std::unique_ptr<DedupIndex> index_;
};

}  // namespace ds
