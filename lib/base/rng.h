// Counter-based random numbers: a value is a pure function of (seed, stream, position), never of thread or order.
// Philox4x32-10: Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011.
#pragma once
#include <array>
#include <cstdint>

namespace ds {

// The raw generator: 128 random bits for a 128-bit counter and a 64-bit key.
std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

// One stream of random numbers, read at any position.
struct Rng {
  uint64_t seed = 0;
  uint64_t stream = 0;

  uint64_t bits(uint64_t position) const;                    // 64 uniform bits
  double uniform(uint64_t position) const;                   // in [0, 1), 53 bits
  double normal(uint64_t position) const;                    // mean 0, variance 1; the same bytes on every processor
  uint64_t below(uint64_t position, uint64_t bound) const;   // in [0, bound), bound > 0; bias < 2^-64 * bound
};

}  // namespace ds
