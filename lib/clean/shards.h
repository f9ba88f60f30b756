// --output-dir: each input has its output, so that a run that was stopped goes on where it was.
#pragma once
#include <string>
#include <vector>

#include "clean/index_folder.h"
#include "clean/options.h"
#include "io/input.h"
#include "io/report.h"

namespace ds {

struct InputShard {
  std::string name;  // its output with all folders, and the size of the input: what an index remembers
  StreamOptions stream;
};

// The inputs with their outputs and rejects (a folder then), those of --shard only. UsageError for standard input, two
// inputs of one name, and options that cannot go on after a stop.
std::vector<InputShard> input_shards(const CleanOptions& options);

// Makes the folders. What was written there with other options is an Error, by the file ".ds-clean" in the folder.
void open_output_folder(const CleanOptions& options, const std::string& options_json);

// Whether a shard was finished by an earlier run: the index says so or, without one, the output is there. Error where
// the index says so and the output is gone: its records are known by now, so it cannot be written again.
bool finished(const InputShard& shard, const IndexFolder* index);

}  // namespace ds
