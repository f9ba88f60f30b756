// Tables of the angles' cosines and sines.
#pragma once
#include "model/config.h"
#include "tensor/tensor.h"

namespace ds {

// The rotations of positions [0, positions): cos and sin are f32[positions, rope_dim / 2], scaling included; those of the
// sliding layers (`local`) have rope_local_base_freq where there is one. Computed in double without libm, so that every
// machine has the same bytes.
struct RopeTables {
  Tensor cos, sin;
};
RopeTables make_rope_tables(const Config& config, int64_t positions, Arena& arena, bool local = false);
// Writes the rows [first, last) of such tables.
void fill_rope_tables(const Config& config, int64_t first, int64_t last, const RopeTables& tables, bool local);

}  // namespace ds
