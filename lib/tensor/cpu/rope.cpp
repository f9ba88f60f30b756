// Rotary position embedding.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/rope.cpp"
#include <hwy/foreach_target.h>
#include "tensor/cpu/simd.h"

HWY_BEFORE_NAMESPACE();
namespace ds::cpu::HWY_NAMESPACE {

// (a, b) -> (a cos - b sin, a sin + b cos); `sign` of the angle is -1 to rotate back.
static void rotate_halves(float* a, float* b, const float* cos, const float* sin, float sign, size_t pairs) {
  for (size_t i = 0; i < pairs; i += kLanes) {
    const size_t n = pairs - i;
    const F32x16 x = load(a + i, n), y = load(b + i, n), c = load(cos + i, n), s = load(sin + i, n) * sign;
    store(neg_mul_add(y, s, x * c), a + i, n);
    store(mul_add(y, c, x * s), b + i, n);
  }
}

static void rotate_interleaved(float* x, const float* cos, const float* sin, float sign, size_t pairs) {
  size_t i = 0;
  for (; i + kLanes <= pairs; i += kLanes) {
    F32x16 a, b;
    load_pairs(x + 2 * i, a, b);
    const F32x16 c = load(cos + i), s = load(sin + i) * sign;
    store_pairs(neg_mul_add(b, s, a * c), mul_add(b, c, a * s), x + 2 * i);
  }
  for (; i < pairs; ++i) {
    const float a = x[2 * i], b = x[2 * i + 1], c = cos[i], s = sin[i] * sign;
    x[2 * i] = std::fma(-b, s, a * c);
    x[2 * i + 1] = std::fma(b, c, a * s);
  }
}

}  // namespace ds::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "tensor/cpu/arguments.h"
#include "tensor/cpu/dispatch.h"
#include "tensor/ops.h"

namespace ds::cpu {
HWY_EXPORT(rotate_halves);
HWY_EXPORT(rotate_interleaved);

void rope(const Tensor& x, const Tensor& positions, const Tensor& cos, const Tensor& sin, const RopeSpec& spec) {
  const Matrix m = matrix("rope", x), c = matrix("rope", cos), s = matrix("rope", sin, c.rows, c.cols);
  const int32_t* const position = i32_array("rope", positions, m.rows);
  require(spec.head_dim > 0 && spec.offset >= 0 && m.cols % static_cast<size_t>(spec.head_dim) == 0 &&
              spec.offset + 2 * static_cast<int64_t>(c.cols) <= spec.head_dim,
          "rope: ", 2 * c.cols, " columns from ", spec.offset, " on do not fit heads of ", spec.head_dim, " in ", describe(x));
  for (size_t r = 0; r < m.rows; ++r)
    require(position[r] >= 0 && static_cast<size_t>(position[r]) < c.rows, "rope: position ", position[r], " is not in the table of ",
            c.rows);
  const float sign = spec.inverse ? -1.0f : 1.0f;
  const auto interleaved = DS_SIMD_DISPATCH(rotate_interleaved);
  const auto halves = DS_SIMD_DISPATCH(rotate_halves);
  parallel_for(m.rows, row_grain(m.cols), [&](size_t begin, size_t end) {
    for (size_t r = begin; r < end; ++r) {
      const float* const cr = c.row(static_cast<size_t>(position[r]));
      const float* const sr = s.row(static_cast<size_t>(position[r]));
      for (size_t h = static_cast<size_t>(spec.offset); h < m.cols; h += static_cast<size_t>(spec.head_dim)) {
        float* const a = m.row(r) + h;
        if (spec.interleaved)
          interleaved(a, cr, sr, sign, c.cols);
        else
          halves(a, a + c.cols, cr, sr, sign, c.cols);
      }
    }
  });
}

}  // namespace ds::cpu
#endif
