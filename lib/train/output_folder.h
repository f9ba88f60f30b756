// What surrounds the weights in a model folder: where training starts from, the files beside model.safetensors, the lock.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "model/decoder.h"
#include "text/tokenizer.h"

namespace ds {

// Where training starts from. With `init`, model.weights are still empty.
struct SourceFolder {
  Model model;
  std::unique_ptr<Tokenizer> tokenizer;                          // null where none was given
  int32_t bos_id = -1, eos_id = -1;                              // as tokenizer_config.json names them; -1: not at all
  std::vector<std::pair<std::string, std::string>> hashes;       // what it was read from: name, XXH3-128
  std::map<std::string, std::string> companions;                 // file name -> bytes: tokenizer.json and the like
};

// What names it. One of arch (initial_config.h), init (a config.json) and model (a folder, with its own tokenizer).
struct SourceOptions {
  std::string arch, init, model;
  std::vector<std::string> set;   // KEY=VALUE of the config that arch or init give
  std::string tokenizer;          // a tokenizer.json, or a folder that holds one, for arch or init; "" for none
};
// Reads it. With arch, vocab_size is the tokenizer's where it is not set. Beside a NAME.tokenizer.json,
// NAME.tokenizer_config.json is read. bos, eos and pad ids that the config does not name are taken from the tokenizer. A
// tokenizer with more ids than the model's vocabulary is an Error.
SourceFolder open_source(const SourceOptions& options);

// Writes tokenizer.json, tokenizer_config.json and generation_config.json, fsynced; config.json is save_model's.
void write_companions(const SourceFolder& source, const std::string& folder);

// Holds a folder for this process alone: two runs in one folder would spoil each other's files. Error where another does.
class FolderLock {
 public:
  explicit FolderLock(const std::string& folder);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;

 private:
  int file_;
};

}  // namespace ds
