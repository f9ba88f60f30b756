// Rows of weights in f32, f16 or bf16 as f32.
#pragma once
#include <cstddef>

#include "base/dtype.h"

namespace ds::cpu {

// to[0 .. count) = the numbers at `from`, exact. Another dtype is an Error.
void widen(DType dtype, const void* from, float* to, size_t count);

}  // namespace ds::cpu
