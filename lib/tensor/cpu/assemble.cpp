// Latent attention's keys and values, put together from their parts.
#include <cstring>

#include "base/parallel.h"
#include "tensor/ops.h"

namespace ds::cpu {

namespace {

// Sizes of a head, checked against all operands.
struct Heads {
  int64_t rows, heads, nope, rope, v_dim;
};

Heads check(const Tensor& kv_b, const Tensor& k_rope, int heads, const Tensor& k, const Tensor& v, const char* op) {
  bool fits = heads > 0;
  for (const Tensor* t : {&kv_b, &k_rope, &k, &v}) fits = fits && t->rank == 2 && t->dtype == DType::f32 && t->rows() == k.rows();
  fits = fits && k.cols() % heads == 0 && v.cols() % heads == 0;
  Heads s{};
  if (fits) {
    s = {k.rows(), heads, k.cols() / heads - k_rope.cols(), k_rope.cols(), v.cols() / heads};
    fits = s.nope >= 0 && kv_b.cols() == heads * (s.nope + s.v_dim);
  }
  require(fits, op, ": kv_b ", describe(kv_b), ", k_rope ", describe(k_rope), ", k ", describe(k), ", v ", describe(v), " and ",
          heads, " heads do not fit");
  return s;
}

void copy_floats(float* to, const float* from, int64_t count) { std::memcpy(to, from, static_cast<size_t>(count) * sizeof(float)); }

}  // namespace

void assemble_kv(const Tensor& kv_b, const Tensor& k_rope, int heads, const Tensor& k, const Tensor& v) {
  const Heads s = check(kv_b, k_rope, heads, k, v, "assemble_kv");
  parallel_for(static_cast<size_t>(s.rows), 8, [&](size_t begin, size_t end) {
    for (int64_t t = static_cast<int64_t>(begin); t < static_cast<int64_t>(end); ++t) {
      const float* from = kv_b.f32() + t * kv_b.row_stride;
      const float* const shared = k_rope.f32() + t * k_rope.row_stride;
      float *to_k = k.f32() + t * k.row_stride, *to_v = v.f32() + t * v.row_stride;
      for (int64_t h = 0; h < s.heads; ++h) {
        copy_floats(to_k, from, s.nope);
        copy_floats(to_k + s.nope, shared, s.rope);
        copy_floats(to_v, from + s.nope, s.v_dim);
        from += s.nope + s.v_dim, to_k += s.nope + s.rope, to_v += s.v_dim;
      }
    }
  });
}

void assemble_kv_backward(const Tensor& dk, const Tensor& dv, int heads, const Tensor& dkv_b, const Tensor& dk_rope) {
  const Heads s = check(dkv_b, dk_rope, heads, dk, dv, "assemble_kv_backward");
  parallel_for(static_cast<size_t>(s.rows), 8, [&](size_t begin, size_t end) {
    for (int64_t t = static_cast<int64_t>(begin); t < static_cast<int64_t>(end); ++t) {
      float* to = dkv_b.f32() + t * dkv_b.row_stride;
      float* const shared = dk_rope.f32() + t * dk_rope.row_stride;
      const float *from_k = dk.f32() + t * dk.row_stride, *from_v = dv.f32() + t * dv.row_stride;
      for (int64_t i = 0; i < s.rope; ++i) shared[i] = 0;
      for (int64_t h = 0; h < s.heads; ++h) {
        copy_floats(to, from_k, s.nope);
        copy_floats(to + s.nope, from_v, s.v_dim);
        for (int64_t i = 0; i < s.rope; ++i) shared[i] += from_k[s.nope + i];
        to += s.nope + s.v_dim, from_k += s.nope + s.rope, from_v += s.v_dim;
      }
    }
  });
}

}  // namespace ds::cpu
