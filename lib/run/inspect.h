// What a model consists of, what it needs, and what of it would be refused: from the headers of its files alone.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "model/config.h"
#include "run/memory.h"

namespace ds {

struct InspectOptions {
  std::string model;                 // a model folder or a .gguf file
  bool json = false;
  int64_t sequences = 1;             // for the memory: sequences under way,
  int64_t context = 0;               // positions of each (0: as many as the model has; more is refused),
  int64_t batch_tokens = 2048;       // rows of a forward pass,
  DType kv_cache_dtype = DType::f32; // and the cache's: f32 or i8
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
  // When it runs with those options; none where it is refused. A token's bytes are those in all layers, windowed ones too.
  std::optional<MemoryPlan> memory;
  uint64_t cache_bytes_per_token = 0;
};
// Error where there is no such model.
Inspection inspect(const InspectOptions& options);
// As a table to read, or as JSON; ends in a newline.
std::string describe(const Inspection& inspection, const InspectOptions& options);

}  // namespace ds
