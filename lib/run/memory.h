// How much memory a model needs to run, and how it is divided.
#pragma once
#include <cstdint>

#include "model/kv_cache.h"

namespace ds {

// What the arenas of a forward pass hold: rows of f32, see model/forward.cpp.
uint64_t activation_bytes(const Config& config, int64_t batch_tokens);

// Pages that sequences of so many positions can need at once, when a pass has batch_tokens rows: of layers that keep all
// keys, and of windowed ones, which hold their window and the rows of the pass only.
struct CachePages {
  int64_t full = 0, window = 0;
};
CachePages plan_cache(const Config& config, const CacheOptions& cache, int64_t sequences, int64_t positions, int64_t batch_tokens);
uint64_t cache_bytes(const Config& config, const CacheOptions& cache);   // of its pages
// Lessens cache.pages, then window_pages, until they take `budget` bytes. Error where not even one page of each fits.
void fit_cache(const Config& config, CacheOptions& cache, uint64_t budget);

// Bytes that the machine, or the control group of the process, has free.
uint64_t free_memory();

}  // namespace ds
