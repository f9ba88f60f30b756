// An index of deduplication that lasts: a folder with the texts that were seen, and the runs and shards that are done.
#pragma once
#include <memory>
#include <set>
#include <string>

#include "clean/duplicates/dedup.h"
#include "io/jsonl.h"

namespace ds {

// By what a run is known again: its inputs with their sizes and times, and its output. Empty where one of them is no
// regular file.
std::string run_name(const StreamOptions& stream);

// What counts in the folder is what its file `state.json` says, which commit() replaces whole: after a kill -9 the next
// one to open it finds the last commit, and whatever came later is cut off. One process at a time may write.
class IndexFolder {
 public:
  // Opens or makes the folder. An index that was made with other options is an Error that names them, and so is one
  // that is not as it was left. Where the last commit was of the run of this name, what it added is forgotten: the run
  // is done again, with the same outcome.
  IndexFolder(const std::string& folder, const DedupOptions& options, bool writable, std::string run = "");
  IndexFolder(const IndexFolder&) = delete;

  DedupIndex& index() { return *index_; }
  // The shards that were finished, by name.
  bool finished(const std::string& shard) const { return finished_.contains(shard); }
  // Makes all that was added so far last, and a shard finished where one is named.
  void commit(const std::string& shard = "");

 private:
  bool read_state();
  void write_state(const IndexMarks& marks, bool with_run) const;

  std::string folder_, options_json_, run_;
  struct Lock {
    int file = -1;
    ~Lock();
  } lock_;
  IndexMarks before_;  // this run
  std::set<std::string> finished_;
  std::unique_ptr<DedupIndex> index_;
};

}  // namespace ds
