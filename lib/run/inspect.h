// What a model consists of, what it needs, and what of it would be refused: from the headers of its files alone.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "model/config.h"

namespace ds {

struct InspectOptions {
  std::string model;                 // a model folder or a .gguf file
  bool json = false;
  int64_t batch_sequences = 1;       // for the memory: sequences under way,
  int64_t context = 0;               // positions of each (0: as many as the model has),
  int64_t batch_tokens = 2048;       // and rows of a forward pass
};

struct Inspection {
  std::vector<std::string> refused;                     // why it, or a part of it, cannot be run; empty: nothing
  std::optional<Config> config;                         // none where it is refused
  uint64_t parameters = 0, active_parameters = 0;       // all, and those that one token meets
  std::map<std::string, uint64_t> stored_bytes;         // by the file format's name of the dtype
  uint64_t tensors = 0;                                 // in the files
  uint64_t ignored_tensors = 0, ignored_bytes = 0;      // of them, those that no run reads (a vision tower)
  std::string tokenizer;                                // its kind ("BPE"); empty: none
  int64_t tokenizer_tokens = 0;
  bool chat_template = false;
  // Bytes when it runs with those options: weights as they are packed, keys and values, activations.
  uint64_t cache_bytes_per_token = 0, weight_bytes = 0, cache_bytes = 0, activation_bytes = 0;
};
// Error where there is no such model.
Inspection inspect(const InspectOptions& options);
// As a table to read, or as JSON; ends in a newline.
std::string describe(const Inspection& inspection, const InspectOptions& options);

}  // namespace ds
