// Products with 8-bit activations next to what the machine can do: read bandwidth for one row, dot products of 8-bit
// integers that touch only registers for many. The best of many: by the clock, or of one thread the processor time.
//   int8 [SECONDS [TEXT [THREADS]]]     seconds for each line (0.5); only the lines whose name contains TEXT
// DS_SIMD=avx2 measures AVX2, DS_NO_VNNI=1 AVX-512 without VNNI, and the peak with their instructions.
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "base/parallel.h"
#include "base/rng.h"
#include "tensor/cpu/dispatch.h"
#include "tensor/cpu/int8_gemm.h"
#include "tensor/quantized.h"

namespace {
using namespace ds;

double seconds_now() {
  timespec t;
  clock_gettime(threads() == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

double best_seconds(double budget, const std::function<void()>& run) {
  run();
  double best = 1e30;
  int rounds = 0;
  for (const double begin = seconds_now(); seconds_now() - begin < budget || rounds < 5; ++rounds) {
    const double t0 = seconds_now();
    run();
    best = std::min(best, seconds_now() - t0);
  }
  return best;
}

// Multiplications and additions of 8-bit integers a second, of all threads.
double peak(bool avx2, bool vnni) {
#if defined(__x86_64__)
  constexpr int64_t kRounds = 1 << 20;
  const double seconds = best_seconds(0.5, [&] {
    parallel_for(threads(), 1, [&](size_t begin, size_t end) {
      for (size_t t = begin; t < end; ++t) {
        for (int64_t i = 0; i < kRounds; ++i) {
          if (avx2) {
            asm volatile(
                ".irp r,0,1,2,3,4,5,6,7\n vpmaddubsw %%ymm14,%%ymm15,%%ymm\\r\n.endr\n"
                ".irp r,0,1,2,3,4,5,6,7\n vpmaddwd %%ymm\\r,%%ymm15,%%ymm\\r\n vpaddd "
                "%%ymm\\r,%%ymm13,%%ymm13\n.endr" ::
                    : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm13");
          } else if (!vnni) {
            asm volatile(
                ".irp r,0,1,2,3,4,5,6,7\n vpmaddubsw %%zmm14,%%zmm15,%%zmm\\r\n.endr\n"
                ".irp r,0,1,2,3,4,5,6,7\n vpmaddwd %%zmm\\r,%%zmm15,%%zmm\\r\n vpaddd "
                "%%zmm\\r,%%zmm13,%%zmm13\n.endr" ::
                    : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm13");
          } else {
            asm volatile(".irp r,0,1,2,3,4,5,6,7,8,9,10,11\n vpdpbusd %%zmm14,%%zmm15,%%zmm\\r\n.endr" ::
                             : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
                               "xmm11");
          }
        }
      }
    });
  });
  const double per_round = avx2 ? 8 * 32 : vnni ? 12 * 64 : 8 * 64;
  return 2 * per_round * static_cast<double>(kRounds) * static_cast<double>(threads()) / seconds;
#else
  (void)avx2, (void)vnni;
  return 0;
#endif
}

// Bytes a second that all threads read from memory.
double bandwidth() {
  std::vector<uint64_t> data(64 << 20, 1);
  std::vector<uint64_t> sums(threads());
  const double seconds = best_seconds(2, [&] {
    parallel_for(threads() * 16, 1, [&](size_t begin, size_t end) {
      const size_t share = data.size() / (threads() * 16);
      uint64_t sum = 0;
      for (size_t i = begin * share; i < end * share; ++i) sum += data[i];
      sums[begin * sums.size() / (threads() * 16)] += sum;
    });
  });
  return static_cast<double>(data.size() * sizeof(uint64_t)) / seconds;
}

struct Format {
  std::string name;
  DType dtype;
  int64_t group_size;  // 0: a row
  bool zeros, mins;
};

Tensor random_weight(Arena& arena, const Format& f, int64_t n, int64_t k, uint64_t stream) {
  const Tensor w =
      make_quantized(arena, 0, n, k, {f.dtype, f.group_size ? f.group_size : k, DType::f32, f.zeros, f.mins});
  const Rng rng{3, stream};
  std::vector<uint8_t> values(static_cast<size_t>(n * k));
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<uint8_t>(rng.bits(i) & (f.dtype == DType::q4 ? 15 : 255));
  const auto groups = static_cast<size_t>(n * cpu::groups_of(w));
  const std::vector<float> scales(groups, 0.01f), mins(f.mins ? groups : 0, 0.1f);
  const std::vector<uint8_t> zeros(f.zeros ? groups : 0, 8);
  set_quantized(w, {values, scales, zeros, mins});
  return w;
}

double weight_bytes(const Format& f, int64_t n, int64_t k) {
  const int64_t groups = f.group_size ? (k + f.group_size - 1) / f.group_size : 1;
  return static_cast<double>(n) * (static_cast<double>(k) / (f.dtype == DType::q4 ? 2 : 1) +
                                   static_cast<double>(groups) * (4 + f.zeros + 4 * f.mins));
}

}  // namespace

int main(int argc, char** argv) {
  const double budget = argc > 1 ? std::atof(argv[1]) : 0.5;
  const std::string only = argc > 2 ? argv[2] : "";
  set_threads(argc > 3 ? static_cast<size_t>(std::atoi(argv[3])) : 0);
  const bool vnni = cpu::use_vnni(std::getenv("DS_NO_VNNI") == nullptr), avx2 = cpu::simd_width() == "avx2";
  const double top = peak(avx2, vnni), bytes = bandwidth();
  std::printf("%zu threads, %s%s: %.0f G operations/s in registers, %.1f GB/s read from memory\n", threads(),
              std::string(cpu::simd_width()).c_str(), vnni ? " with VNNI" : "", top * 1e-9, bytes * 1e-9);
  const Format formats[] = {{"q8 row", DType::q8, 0, false, false},
                            {"q8 g128", DType::q8, 128, false, false},
                            {"q8 g32", DType::q8, 32, false, false},
                            {"q4 g128 zeros", DType::q4, 128, true, false},
                            {"q4 g32 mins", DType::q4, 32, false, true}};
  const int64_t shapes[][2] = {{768, 768}, {2048, 768}, {768, 2048}, {32000, 768}, {4096, 4096}};
  for (const Format& f : formats) {
    for (const auto& [n, k] : shapes) {
      for (const int64_t m : {1, 2, 4, 16, 512}) {
        const std::string name = cat(f.name, " M=", m, " ", n, "x", k);
        if (name.find(only) == std::string::npos) continue;
        if (m == 512 && n == 32000 && f.name != "q8 row") continue;
        Arena arena;
        // Few rows wait for memory: weights in turn, so many that no cache holds them.
        const int64_t count = m >= 16 ? 1 : std::max<int64_t>(1, static_cast<int64_t>(200e6 / weight_bytes(f, n, k)));
        std::vector<Tensor> weights;
        for (int64_t i = 0; i < count; ++i) weights.push_back(random_weight(arena, f, n, k, static_cast<uint64_t>(i)));
        std::vector<float> x(static_cast<size_t>(m * k)), y(static_cast<size_t>(m * n));
        const Rng rng{4, 0};
        for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(rng.normal(i));
        const double seconds =
            best_seconds(budget,
                         [&] {
                           for (const Tensor& w : weights) {
                             const cpu::Product product{
                                 .m = m, .n = n, .k = k, .a = x.data(), .a_row = k, .b = w, .c = y.data(), .c_row = n};
                             cpu::multiply_int8({&product, 1});
                           }
                         }) /
            static_cast<double>(count);
        const double operations = 2.0 * static_cast<double>(m * n * k) / seconds,
                     read = weight_bytes(f, n, k) / seconds;
        std::printf("%-32s %9.1f us %8.1f GB/s %5.0f %% %8.0f G/s %5.0f %%\n", name.c_str(), seconds * 1e6, read * 1e-9,
                    100 * read / bytes, operations * 1e-9, 100 * operations / top);
        std::fflush(stdout);
      }
    }
  }
}
