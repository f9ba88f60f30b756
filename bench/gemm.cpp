// GFLOP/s of the matrix products next to OpenBLAS in the same run: one thread each, interleaved, the best of many.
//   gemm [SECONDS [TEXT]]     seconds for each line (1); only the lines whose name contains TEXT
#include <cblas.h>
#include <time.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>

#include "base/parallel.h"
#include "base/rng.h"
#include "tensor/cpu/dispatch.h"
#include "tensor/cpu/gemm.h"
#include "tensor/ops.h"
#include "tensor/quantized.h"

namespace {
using namespace ds;

// Processor time of this thread, which does all the work: what else the machine does counts less than on the clock.
double seconds_now() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

Tensor random_tensor(Arena& arena, std::initializer_list<int64_t> shape, uint64_t stream) {
  const Tensor t = arena.make_uninitialized(DType::f32, shape);
  const Rng rng{1, stream};
  for (int64_t i = 0; i < t.elements(); ++i) t.f32()[i] = static_cast<float>(rng.uniform(static_cast<uint64_t>(i)) - 0.5);
  return t;
}

std::string only;

// The two take turns, so that a slow moment of the machine meets both; each one's best time counts.
void compare(const std::string& name, double flops, double budget, const std::function<void()>& own,
             const std::function<void()>& other) {
  if (name.find(only) == std::string::npos) return;
  own(), other();
  double best_own = 1e30, best_other = 1e30;
  int rounds = 0;
  for (const double begin = seconds_now(); seconds_now() - begin < budget || rounds < 5; ++rounds) {
    const double t0 = seconds_now();
    own();
    const double t1 = seconds_now();
    other();
    best_own = std::min(best_own, t1 - t0), best_other = std::min(best_other, seconds_now() - t1);
  }
  std::printf("%-44s %8.1f %10.1f %7.2f\n", name.c_str(), flops / best_own * 1e-9, flops / best_other * 1e-9,
              best_other / best_own);
  std::fflush(stdout);
}

void sgemm(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const float* b,
           int64_t ldb, float beta, float* c, int64_t ldc) {
  cblas_sgemm(CblasRowMajor, trans_a ? CblasTrans : CblasNoTrans, trans_b ? CblasTrans : CblasNoTrans,
              static_cast<int>(m), static_cast<int>(n), static_cast<int>(k), 1, a, static_cast<int>(lda), b,
              static_cast<int>(ldb), beta, c, static_cast<int>(ldc));
}

// y = x w^T with w packed before, of the dtype; OpenBLAS has f32 in the layout that it likes best ([K, N]).
void bench_packed(int64_t m, int64_t n, int64_t k, DType dtype, double budget) {
  Arena arena;
  const Tensor x = random_tensor(arena, {m, k}, 1), w = random_tensor(arena, {n, k}, 2);
  const Tensor y = arena.make(DType::f32, {m, n}), y2 = arena.make(DType::f32, {m, n});
  Tensor packed;
  if (dtype == DType::f32) {
    packed = pack(w, arena);
  } else if (dtype == DType::q4) {
    packed = make_quantized(arena, 0, n, k, {DType::q4, 64, DType::f16, true, false});
  } else {
    const Tensor half = arena.make(dtype, {n, k});
    for (int64_t i = 0; i < n * k; ++i) half.as<uint16_t>()[i] = f32_to_bf16(w.f32()[i]);
    packed = pack(half, arena);
  }
  compare(cat(m, "x", n, "x", k, " ", dtype_name(dtype), " packed"), 2.0 * m * n * k, budget,
          [&] { cpu::linear(x, packed, y, false); },
          [&] { sgemm(false, true, m, n, k, x.f32(), k, w.f32(), k, 0, y2.f32(), n); });
}

// The three products of a training step with f32 weights as rows.
void bench_training(int64_t t, int64_t n, int64_t k, double budget) {
  Arena arena;
  const Tensor x = random_tensor(arena, {t, k}, 1), w = random_tensor(arena, {n, k}, 2), dy = random_tensor(arena, {t, n}, 3);
  const Tensor y = arena.make(DType::f32, {t, n}), dx = arena.make(DType::f32, {t, k}), dw = arena.make(DType::f32, {n, k});
  const std::string shape = cat("T=", t, " [", n, ", ", k, "]");
  const double flops = 2.0 * t * n * k;
  compare(shape + " forward", flops, budget, [&] { cpu::linear(x, w, y, false); },
          [&] { sgemm(false, true, t, n, k, x.f32(), k, w.f32(), k, 0, y.f32(), n); });
  compare(shape + " backward input", flops, budget, [&] { cpu::linear_backward_input(dy, w, dx, false); },
          [&] { sgemm(false, false, t, k, n, dy.f32(), n, w.f32(), k, 0, dx.f32(), k); });
  compare(shape + " backward weight", flops, budget, [&] { cpu::linear_backward_weight(dy, x, dw); },
          [&] { sgemm(true, false, n, k, t, dy.f32(), n, x.f32(), k, 1, dw.f32(), k); });
}

void bench_experts(int64_t experts, int64_t each, int64_t n, int64_t k, double budget) {
  Arena arena;
  const int64_t t = experts * each;
  const Tensor x = random_tensor(arena, {t, k}, 1), w = random_tensor(arena, {experts, n, k}, 2), dy = random_tensor(arena, {t, n}, 3);
  const Tensor y = arena.make(DType::f32, {t, n}), dx = arena.make(DType::f32, {t, k}), dw = arena.make(DType::f32, {experts, n, k});
  const Tensor offsets = arena.make(DType::i32, {experts + 1});
  for (int64_t e = 0; e <= experts; ++e) offsets.i32()[e] = static_cast<int32_t>(e * each);
  const std::string shape = cat(experts, " experts x ", each, " rows x [", n, ", ", k, "]");
  const double flops = 2.0 * t * n * k;
  const auto loop = [&](const auto& one) {
    for (int64_t e = 0; e < experts; ++e) one(e * each, e * n * k);
  };
  compare(shape + " forward", flops, budget, [&] { cpu::grouped_linear(x, offsets, w, y); },
          [&] { loop([&](int64_t r, int64_t at) { sgemm(false, true, each, n, k, x.f32() + r * k, k, w.f32() + at, k, 0, y.f32() + r * n, n); }); });
  compare(shape + " b. input", flops, budget, [&] { cpu::grouped_linear_backward_input(dy, offsets, w, dx, false); },
          [&] { loop([&](int64_t r, int64_t at) { sgemm(false, false, each, k, n, dy.f32() + r * n, n, w.f32() + at, k, 0, dx.f32() + r * k, k); }); });
  compare(shape + " b. weight", flops, budget, [&] { cpu::grouped_linear_backward_weight(dy, offsets, x, dw); },
          [&] { loop([&](int64_t r, int64_t at) { sgemm(true, false, n, k, each, dy.f32() + r * n, n, x.f32() + r * k, k, 1, dw.f32() + at, k); }); });
}

}  // namespace

int main(int argc, char** argv) {
  const double budget = argc > 1 ? std::atof(argv[1]) : 1;
  if (argc > 2) only = argv[2];
  set_threads(1);
  openblas_set_num_threads(1);
  std::printf("ds at %s, OpenBLAS %s; one thread; GFLOP/s\n", std::string(cpu::simd_width()).c_str(), openblas_get_corename());
  std::printf("%-44s %8s %10s %7s\n", "", "ds", "OpenBLAS", "ratio");
  bench_packed(1024, 1024, 1024, DType::f32, budget);
  bench_packed(1024, 1024, 1024, DType::bf16, budget);
  bench_packed(512, 2048, 768, DType::f32, budget);
  bench_packed(64, 512, 512, DType::f32, budget);
  bench_packed(1, 4096, 4096, DType::f32, budget);
  bench_packed(1, 4096, 4096, DType::bf16, budget);
  bench_packed(1, 4096, 4096, DType::q4, budget);
  bench_training(1024, 256, 768, budget);
  bench_training(1024, 4096, 256, budget);
  bench_experts(128, 32, 64, 192, budget);
  bench_experts(128, 32, 192, 64, budget);
}
