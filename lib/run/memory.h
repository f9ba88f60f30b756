// What a run takes of memory, and how much of it the cache of keys and values gets: the one plan that inspect prints, and that
// generate, serve and chat keep.
#pragma once
#include <algorithm>
#include <cstdint>

#include "model/kv_cache.h"

namespace ds {

// What is to run.
struct MemoryNeeds {
  uint64_t weight_bytes = 0;       // as they are packed, adapters included
  uint64_t reading_bytes = 0;      // what reading the largest matrix takes besides (reading_bytes)
  int64_t tokens = 0;              // of the tokenizer; 0: none
  int64_t sequences = 1, positions = 0;  // under way at once, and of each, prompt and answer
  int64_t batch_tokens = 2048;     // rows of a forward pass
  DType kv_cache_dtype = DType::f32;
  bool adapters = false;           // are loaded
};

// Bytes of each part when it is full; what a run touches of it grows with what it does.
struct MemoryPlan {
  CacheOptions options;            // of the cache: dtype and pages of both kinds; as many as all sequences can use at once
  int64_t least_window_pages = 0;  // without which a sequence cannot be computed: those of a window, and of the rows of a pass
  uint64_t weights = 0, activations = 0;
  uint64_t cache = 0;              // its pages,
  uint64_t positions = 0;          // and its tables: rotations, and where the pages of each sequence are
  uint64_t process = 0;            // the program, its threads, and the tokenizer
  uint64_t reading = 0;            // while the model is read, when there is no cache yet
  uint64_t total() const { return weights + process + std::max(reading, activations + cache + positions); }
};
// A window drops the pages behind it, so windowed layers have those of the windows, and as many for beginnings that prompts
// share. Sizes that overflow are an Error.
MemoryPlan plan_memory(const Config& config, const MemoryNeeds& needs);

// What reading a matrix [n, k] takes besides its place among the weights: the part of the file, and of quantized ones (with
// groups of so many values) the values and what belongs to each group.
uint64_t reading_bytes(int64_t n, int64_t k, int64_t bits, int64_t group);

// Lessens the pages so that the cache takes no more than `bytes`. Error where that is not enough for a sequence to begin.
void limit_cache(const Config& config, MemoryPlan& plan, uint64_t bytes);
// Lessens the pages so that all takes no more than `bytes`. Error where what is not the cache takes that already.
void limit_memory(const Config& config, MemoryPlan& plan, uint64_t bytes);

// Bytes that the machine, or the control group that the process is in, has left.
uint64_t free_memory();

// The rows whose logits are computed at a time, of so many.
int64_t logit_rows(const Config& config, int64_t rows);

}  // namespace ds
