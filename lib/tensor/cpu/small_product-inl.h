// Products of matrices that lie in the caches, for attention: c[M, N] (+)= a[M, K] b[K, N]. Each element of c is one chain
// of fused multiply-adds in the order of k, whatever the blocking, so the blocking may differ from width to width.
//
// Included once a target, after foreach_target.h, as simd.h is.
#if defined(DS_TENSOR_CPU_SMALL_PRODUCT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef DS_TENSOR_CPU_SMALL_PRODUCT_INL_H_
#undef DS_TENSOR_CPU_SMALL_PRODUCT_INL_H_
#else
#define DS_TENSOR_CPU_SMALL_PRODUCT_INL_H_
#endif

#include "tensor/cpu/simd.h"

HWY_BEFORE_NAMESPACE();
namespace ds::cpu::HWY_NAMESPACE {

// a[m, k] is at a[m * a_row + k * a_step]: a_step 1 for rows, a_row 1 for the transposed product.
struct SmallProduct {
  size_t n, k;
  const float* a;
  size_t a_row, a_step;
  const float* b;
  size_t b_row;
  float* c;
  size_t c_row;
  bool accumulate;
};

// R rows by C vectors of c at (row, col); the last vector has `tail` lanes where partial.
template <size_t R, size_t C, bool partial>
HWY_INLINE void small_tile(const SmallProduct& p, size_t row, size_t col, size_t tail) {
  const float* HWY_RESTRICT a = p.a + row * p.a_row;
  const float* HWY_RESTRICT b = p.b + col;
  float* const c = p.c + row * p.c_row + col;
  const auto load_b = [&](const float* at) HWY_ATTR { return partial ? load_partial(at, tail) : load(at); };
  F32x16 sum[R][C];
  for (size_t r = 0; r < R; ++r)
    for (size_t j = 0; j < C; ++j) sum[r][j] = p.accumulate ? load_b(c + r * p.c_row + j * kLanes) : F32x16(0.0f);
  for (size_t k = 0; k < p.k; ++k) {
    F32x16 bk[C];
    for (size_t j = 0; j < C; ++j) bk[j] = load_b(b + k * p.b_row + j * kLanes);
    for (size_t r = 0; r < R; ++r) {
      const F32x16 ak = a[r * p.a_row + k * p.a_step];
      for (size_t j = 0; j < C; ++j) sum[r][j] = mul_add(ak, bk[j], sum[r][j]);
    }
  }
  for (size_t r = 0; r < R; ++r)
    for (size_t j = 0; j < C; ++j) {
      if constexpr (partial)
        store_partial(sum[r][j], c + r * p.c_row + j * kLanes, tail);
      else
        store(sum[r][j], c + r * p.c_row + j * kLanes);
    }
}

// All columns of R rows from `row` on, C vectors at a time.
template <size_t R, size_t C>
HWY_NOINLINE void small_rows(const SmallProduct& p, size_t row) {
  size_t col = 0;
  for (; col + C * kLanes <= p.n; col += C * kLanes) small_tile<R, C, false>(p, row, col, 0);
  for (; col + kLanes <= p.n; col += kLanes) small_tile<R, 1, false>(p, row, col, 0);
  if (col < p.n) small_tile<R, 1, true>(p, row, col, p.n - col);
}

// Rows [begin, end) of the product. Blocks that keep 12 to 16 chains in registers: 16 of 32 with AVX-512, 12 of 16 with
// AVX2 (where a vector is two).
HWY_INLINE void small_product(const SmallProduct& p, size_t begin, size_t end) {
  constexpr size_t kRows = kParts == 1 ? 8 : 6, kCols = kParts == 1 ? 2 : 1;
  size_t row = begin;
  for (; row + kRows <= end; row += kRows) small_rows<kRows, kCols>(p, row);
  for (; row + 3 <= end; row += 3) small_rows<3, kCols>(p, row);
  for (; row < end; ++row) small_rows<1, 4>(p, row);
}

}  // namespace ds::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
