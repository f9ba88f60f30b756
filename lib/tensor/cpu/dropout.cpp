#include <cmath>

#include "base/parallel.h"
#include "base/rng.h"
#include "tensor/cpu/arguments.h"
#include "tensor/ops.h"

namespace ds::cpu {

// Eight elements of a row take the 16-bit parts of one block of the generator. Rows begin with a block of their own, so
// that where a row stands in the batch and how wide it is do not matter to the others.
void dropout(const Tensor& x, const DropoutSpec& spec) {
  const Matrix m = matrix("dropout", x);
  require(spec.rate >= 0 && spec.rate < 1 && spec.first_row >= 0, "dropout: a rate of ", spec.rate, " is not in [0, 1)");
  const auto threshold = static_cast<uint32_t>(std::lround(spec.rate * 65536));
  const float factor = 1 / (1 - spec.rate);
  const size_t blocks = (m.cols + 7) / 8;
  const std::array<uint32_t, 2> key = {static_cast<uint32_t>(spec.seed), static_cast<uint32_t>(spec.seed >> 32)};
  parallel_for(m.rows, row_grain(4 * m.cols), [&](size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t) {
      float* const row = m.row(t);
      for (size_t b = 0; b < blocks; ++b) {
        const uint64_t at = (static_cast<uint64_t>(spec.first_row) + t) * blocks + b;
        const auto bits = philox4x32({static_cast<uint32_t>(at), static_cast<uint32_t>(at >> 32), static_cast<uint32_t>(spec.stream),
                                      static_cast<uint32_t>(spec.stream >> 32)}, key);
        for (size_t i = 8 * b; i < std::min(8 * b + 8, m.cols); ++i) {
          const uint32_t part = bits[i % 8 / 2] >> (i % 2 * 16) & 0xffff;
          row[i] = part < threshold ? 0.0f : row[i] * factor;
        }
      }
    }
  });
}

}  // namespace ds::cpu
