#include "base/rng.h"

namespace ds {

std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> c, std::array<uint32_t, 2> k) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53} * c[0], p1 = uint64_t{0xCD9E8D57} * c[2];
    c = {static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ k[0], static_cast<uint32_t>(p1),
         static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ k[1], static_cast<uint32_t>(p0)};
    k[0] += 0x9E3779B9;
    k[1] += 0xBB67AE85;
  }
  return c;
}

static std::array<uint32_t, 4> block(const Rng& rng, uint64_t index) {
  return philox4x32({static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32),
                     static_cast<uint32_t>(rng.stream), static_cast<uint32_t>(rng.stream >> 32)},
                    {static_cast<uint32_t>(rng.seed), static_cast<uint32_t>(rng.seed >> 32)});
}

uint64_t Rng::bits(uint64_t position) const {
  const auto b = block(*this, position / 2);
  return position % 2 == 0 ? b[0] | uint64_t{b[1]} << 32 : b[2] | uint64_t{b[3]} << 32;
}

double Rng::uniform(uint64_t position) const { return static_cast<double>(bits(position) >> 11) * 0x1p-53; }

uint64_t Rng::below(uint64_t position, uint64_t bound) const {
  return static_cast<uint64_t>((static_cast<unsigned __int128>(bits(position)) * bound) >> 64);
}

// The sum of twelve uniforms: variance 1, computed exactly in double, and without libm, whose log and cos differ between
// processors. Its tails end at 6 sigma, which suits weight initialisation and random projections.
double Rng::normal(uint64_t position) const {
  double sum = -6.0;
  for (uint64_t i = 0; i < 6; ++i) {
    const uint64_t b = bits(position * 6 + i);
    sum += static_cast<double>(static_cast<uint32_t>(b)) * 0x1p-32 + static_cast<double>(b >> 32) * 0x1p-32;
  }
  return sum;
}

}  // namespace ds
