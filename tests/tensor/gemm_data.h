// Random matrices and weights in every format, for the tests of the matrix products.
#pragma once
#include <vector>

#include "base/rng.h"
#include "tensor/cpu/gemm.h"
#include "tensor/ops.h"

namespace ds {

inline std::vector<float> random_values(int64_t count, uint64_t stream) {
  const Rng rng{7, stream};
  std::vector<float> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(rng.normal(i));
  return values;
}

inline Tensor view(std::vector<float>& values, int64_t rows, int64_t cols) {
  return make_tensor(values.data(), DType::f32, {rows, cols});
}

// A random weight [N, K] (or [E, N, K] with experts > 0) of the dtype, as rows or panels.
inline Tensor random_weight(Arena& arena, DType dtype, Layout layout, int64_t experts, int64_t n, int64_t k,
                            int group_size, uint64_t stream) {
  const int64_t count = std::max<int64_t>(experts, 1);
  const Rng rng{11, stream};
  Tensor w = experts > 0 ? arena.make(dtype, {experts, n, k}) : arena.make(dtype, {n, k});
  if (dtype == DType::q4) {
    const int64_t groups = count * n * (k / group_size);
    uint16_t* const scales = static_cast<uint16_t*>(arena.allocate(static_cast<size_t>(groups) * 2));
    uint8_t* const zeros = static_cast<uint8_t*>(arena.allocate(static_cast<size_t>(groups)));
    for (int64_t i = 0; i < groups; ++i) {
      scales[i] = f32_to_f16(static_cast<float>(rng.normal(static_cast<uint64_t>(i))) * 0.1f);
      zeros[i] = static_cast<uint8_t>(rng.below(static_cast<uint64_t>(i) + (1u << 20), 16));
    }
    for (int64_t i = 0; i < count * n * k / 2; ++i) w.as<uint8_t>()[i] = static_cast<uint8_t>(rng.bits(static_cast<uint64_t>(i)) >> 7);
    w.scales = scales;
    w.zeros = zeros;
    w.group_size = group_size;
  } else {
    const auto values = random_values(count * n * k, stream);
    for (int64_t i = 0; i < count * n * k; ++i) {
      if (dtype == DType::f32) w.f32()[i] = values[static_cast<size_t>(i)];
      if (dtype == DType::bf16) w.as<uint16_t>()[i] = f32_to_bf16(values[static_cast<size_t>(i)]);
      if (dtype == DType::f16) w.as<uint16_t>()[i] = f32_to_f16(values[static_cast<size_t>(i)] * 1e-3f);  // subnormals too
    }
  }
  return layout == Layout::panels ? pack(w, arena) : w;
}

}  // namespace ds
