// GFLOP/s of the matrix products next to OpenBLAS in the same run: one thread each, interleaved, the best of many. Then
// products with few rows, which wait for the weights: GB/s of them next to plain reading of as many bytes.
//   gemm [SECONDS [TEXT]]     seconds for each line (1); only the lines whose name contains TEXT
#include <cblas.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

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

// ---- Few rows ----

struct DecodeFormat {
  const char* name;
  DType dtype;
  QuantizedFormat quantized = {};
};
const DecodeFormat kDecode[] = {
    {"f32", DType::f32},
    {"f16", DType::f16},
    {"bf16", DType::bf16},
    {"q8 rows", DType::q8, {DType::q8, 1 << 20, DType::f32, false, false}},
    {"q8 groups of 32", DType::q8, {DType::q8, 32, DType::f16, false, false}},
    {"f8 groups of 128", DType::f8_e4m3, {DType::f8_e4m3, 128, DType::f32, false, false}},
    {"q4 groups of 128, zeros", DType::q4, {DType::q4, 128, DType::f16, true, false}},
    {"q4 groups of 32, mins", DType::q4, {DType::q4, 32, DType::f32, false, true}},
};

Tensor zero_weight(const DecodeFormat& f, int64_t n, int64_t k, Arena& arena) {
  if (f.quantized.dtype == f.dtype) return make_quantized(arena, 0, n, k, f.quantized);
  Tensor w = arena.make(f.dtype, {n, k});  // zeros are zeros in any layout
  w.layout = Layout::panels;
  return w;
}

// Processor time of all threads by their number: the seconds that the work takes where nothing else runs.
double thread_seconds_now() {
  timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec)) / static_cast<double>(threads());
}

// Reads all numbers of `t`, on all threads.
void read_all(const Tensor& t) {
  std::atomic<uint64_t> total = 0;
  parallel_for(static_cast<size_t>(t.elements()), 1 << 17, [&](size_t begin, size_t end) {
    uint64_t sum[4] = {};
    for (size_t i = begin; i + 4 <= end; i += 4)
      for (size_t j = 0; j < 4; ++j) sum[j] += t.as<const uint64_t>()[i + j];
    total += sum[0] + sum[1] + sum[2] + sum[3];
  });
  require(total == 0, "the numbers are zeros");
}

// Products with as many copies of a weight as do not fit a cache, one after the other: GB/s of all that they read, and
// its share of the rate of plain reading, which takes turns with them (the median: both meet the machine's slow moments).
void bench_decode(const DecodeFormat& f, int64_t n, int64_t k, size_t thread_count, double budget) {
  const std::string title = cat(f.name, ", ", thread_count, thread_count == 1 ? " thread" : " threads");
  if (title.find(only) == std::string::npos) return;
  set_threads(thread_count);
  std::printf("%-34s", title.c_str());
  Arena arena;
  std::vector<Tensor> weights = {zero_weight(f, n, k, arena)};
  const size_t each = arena.bytes_used();
  constexpr double kBytes = 256e6;
  while (static_cast<double>(weights.size() * each) < kBytes) weights.push_back(zero_weight(f, n, k, arena));
  const Tensor numbers = arena.make(DType::i64, {static_cast<int64_t>(kBytes) / 8});
  for (const int64_t m : {1, 2, 4, 8, 16, 32}) {
    const Tensor x = random_tensor(arena, {m, k}, 1), y = arena.make(DType::f32, {m, n});
    std::vector<double> rates, shares;
    for (const double begin = thread_seconds_now(); thread_seconds_now() - begin < budget || rates.size() < 3;) {
      const double t0 = thread_seconds_now();
      read_all(numbers);
      const double t1 = thread_seconds_now();
      for (const Tensor& one : weights) cpu::linear(x, one, y, false);
      rates.push_back(static_cast<double>(weights.size() * each) / (thread_seconds_now() - t1));
      shares.push_back(rates.back() * (t1 - t0) / kBytes);
    }
    std::sort(rates.begin(), rates.end()), std::sort(shares.begin(), shares.end());
    std::printf(" %6.1f %3.0f%%", rates[rates.size() / 2] * 1e-9, 100 * shares[shares.size() / 2]);
    std::fflush(stdout);
  }
  std::printf("\n");
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
  for (const int64_t m : {1, 8, 32}) bench_packed(m, 4096, 4096, DType::f32, budget);
  bench_packed(1, 4096, 4096, DType::bf16, budget);
  bench_packed(1, 4096, 4096, DType::q4, budget);
  bench_training(1024, 256, 768, budget);
  bench_training(1024, 4096, 256, budget);
  bench_experts(128, 32, 64, 192, budget);
  bench_experts(128, 32, 192, 64, budget);
  std::printf("\nproducts with 4096x4096 from memory: GB/s, and the share of plain reading\n%-34s", "");
  for (const int m : {1, 2, 4, 8, 16, 32}) std::printf("        M=%-2d", m);
  std::printf("\n");
  for (const size_t thread_count : {1, 2})
    for (const DecodeFormat& f : kDecode) bench_decode(f, 4096, 4096, thread_count, budget);
}
