// --report: what a run read, kept, dropped and why, how long each stage took, and the hashes that chain one run's
// outputs to the next one's inputs.
#pragma once
#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/hash.h"

namespace ds {

struct Report {
  std::string tool, command;                                 // "ds-clean", the verb or ""
  std::vector<std::pair<std::string, std::string>> options;  // name, value as JSON text; filled by cli
  struct File {
    std::string path;
    uint64_t bytes = 0, records = 0;
    Hash128 hash;
  };
  std::vector<File> inputs, outputs;
  uint64_t read = 0, kept = 0, dropped = 0, bad = 0;         // records
  uint64_t bad_bytes = 0;                                    // of the bad lines, newlines included
  std::map<std::string, uint64_t> reasons;                   // why dropped, counted
  std::vector<std::pair<std::string, std::string>> results;  // tool's own sections: key, JSON text
  std::vector<std::pair<std::string, double>> seconds;       // stage, wall seconds

  // Times a stage until the returned object dies.
  struct Stage {
    Report* report;
    std::string name;
    std::chrono::steady_clock::time_point start;
    Stage(Report* report, std::string name);
    ~Stage();
    Stage(const Stage&) = delete;
  };
  Stage stage(std::string name) { return Stage(this, std::move(name)); }

  // The report as JSON: fields above, versions, threads, peak memory; times only under names that begin with "seconds".
  std::string json() const;
  // Writes json() to path (atomic); nothing where path is empty.
  void write(const std::string& path) const;
};

}  // namespace ds
