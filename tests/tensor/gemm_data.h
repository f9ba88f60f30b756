// Random matrices and weights in every format, for the tests of the matrix products.
#pragma once
#include <vector>

#include "base/rng.h"
#include "tensor/cpu/gemm.h"
#include "tensor/ops.h"
#include "tensor/quantized.h"

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

// A random weight [N, K] (or [E, N, K] with experts > 0) of f32, f16 or bf16, as rows or panels.
inline Tensor random_weight(Arena& arena, DType dtype, Layout layout, int64_t experts, int64_t n, int64_t k, uint64_t stream) {
  const int64_t count = std::max<int64_t>(experts, 1);
  const Tensor w = experts > 0 ? arena.make(dtype, {experts, n, k}) : arena.make(dtype, {n, k});
  const auto values = random_values(count * n * k, stream);
  for (int64_t i = 0; i < count * n * k; ++i) {
    if (dtype == DType::f32) w.f32()[i] = values[static_cast<size_t>(i)];
    if (dtype == DType::bf16) w.as<uint16_t>()[i] = f32_to_bf16(values[static_cast<size_t>(i)]);
    if (dtype == DType::f16) w.as<uint16_t>()[i] = f32_to_f16(values[static_cast<size_t>(i)] * 1e-3f);  // subnormals too
  }
  return layout == Layout::panels ? pack(w, arena) : w;
}

// The plain arrays of a random quantized weight [N, K]. Scales of both signs and sizes, every value there is.
struct QuantizedArrays {
  std::vector<uint8_t> values, zeros;
  std::vector<float> scales, mins;
  QuantizedRows rows() const { return {values, scales, zeros, mins}; }
};
inline QuantizedArrays random_quantized(int64_t n, int64_t k, const QuantizedFormat& format, uint64_t stream) {
  const Rng rng{11, stream};
  QuantizedArrays q;
  const int64_t groups = n * ((k + format.group_size - 1) / format.group_size);
  for (int64_t i = 0; i < n * k; ++i) {
    const uint64_t bits = rng.below(static_cast<uint64_t>(i), format.dtype == DType::q4 ? 16 : 256);
    q.values.push_back(format.dtype == DType::f8_e4m3 && bits % 128 == 127 ? 0 : static_cast<uint8_t>(bits));
  }
  for (int64_t i = 0; i < groups; ++i) {
    const auto at = static_cast<uint64_t>(i) + (1u << 20);
    const float scale = static_cast<float>(rng.normal(at)) * 0.1f;
    q.scales.push_back(format.scale_dtype == DType::f16 ? f16_to_f32(f32_to_f16(scale)) : scale);
    if (format.zeros) q.zeros.push_back(static_cast<uint8_t>(rng.below(at + (1u << 20), 17)));
    if (format.mins) q.mins.push_back(static_cast<float>(rng.normal(at + (1u << 21))));
  }
  return q;
}
inline Tensor random_weight(Arena& arena, const QuantizedFormat& format, int64_t experts, int64_t n, int64_t k, uint64_t stream) {
  const Tensor w = make_quantized(arena, experts, n, k, format);
  for (int64_t e = 0; e < std::max<int64_t>(experts, 1); ++e)
    set_quantized(experts ? item(w, e) : w, random_quantized(n, k, format, stream + static_cast<uint64_t>(e)).rows());
  return w;
}

}  // namespace ds
