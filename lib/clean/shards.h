// --output-dir: each input has its output, so that a run that was stopped goes on where it was.
#pragma once
#include <string>
#include <vector>

#include "clean/clean.h"
#include "clean/duplicates/index_folder.h"

namespace ds {

struct InputShard {
  std::string name;  // its output with all folders, and the size of its input: what is remembered
  StreamOptions stream;
};

// The inputs with their outputs and rejects (a folder then), those of --shard only. UsageError for standard input, two
// inputs of one name, an input that its output would replace, and options that cannot go on after a stop. `dedups`:
// whether there is an index of records.
std::vector<InputShard> input_shards(const CleanOptions& options, bool dedups);

// Makes the folders. What was written there with other options is an Error, by the file ".ds-clean" in the folder, and
// so are outputs where that file is not.
void open_output_folder(const CleanOptions& options, const std::vector<InputShard>& shards,
                        const std::string& options_json);

// Whether a shard was finished by an earlier run: the index says so or, without one, the output is there. Error where
// the index says so and the output is gone.
bool finished(const InputShard& shard, const IndexFolder* index);

}  // namespace ds
