// Training steps one at a time, for train.py, which lets them take turns with those of PyTorch.
//   bench_train MODEL TOKENS ROWS LENGTH THREADS
// MODEL is a folder of f32 safetensors, TOKENS a file of ROWS x (LENGTH + 1) i32 ids. Reads words from standard input and
// answers each with a line of JSON: `step` does a step on these rows (clip 1.0, AdamW with a rate of 1e-3), `memory` says
// the peak of resident memory so far, `profile N` does N steps and says nothing of them (for perf record).
//   bench_train sgemm THREADS
// prints the GFLOP/s of OpenBLAS: the best of 20 products of 1024 x 1024 x 1024.
#include <cblas.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <string>

#include "base/error.h"
#include "base/parallel.h"
#include "train/step.h"

using namespace ds;

namespace {

double seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

double sgemm_rate(int threads) {
  openblas_set_num_threads(threads);
  constexpr int n = 1024;
  std::vector<float> a(n * n, 0.5f), b(n * n, 0.25f), c(n * n);
  double best = 1e30;
  for (int run = 0; run < 20; ++run) {
    const double begin = seconds();
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, n, n, 1, a.data(), n, b.data(), n, 0, c.data(), n);
    best = std::min(best, seconds() - begin);
  }
  return 2.0 * n * n * n / best * 1e-9;
}

TrainingBatch read_batch(const std::string& path, int64_t rows, int64_t length) {
  std::vector<int32_t> ids(static_cast<size_t>(rows * (length + 1)));
  std::ifstream in(path, std::ios::binary);
  const auto bytes = static_cast<std::streamsize>(ids.size() * sizeof(int32_t));
  require(in.read(reinterpret_cast<char*>(ids.data()), bytes).gcount() == bytes, path, " has fewer than ", ids.size(), " ids");
  TrainingBatch b;
  for (int64_t r = 0; r < rows; ++r) {
    const int32_t* const row = ids.data() + r * (length + 1);
    for (int64_t t = 0; t < length; ++t) {
      b.batch.tokens.push_back(row[t]);
      b.batch.sequences.push_back(static_cast<int32_t>(r));
      b.batch.positions.push_back(static_cast<int32_t>(t));
      b.targets.push_back(row[t + 1]);
      b.weights.push_back(1);
    }
    b.lengths.push_back(static_cast<int32_t>(length));
  }
  return b;
}

double step(TrainState& state, const TrainingBatch& batch) {
  const StepSpec spec;
  StepResult result = accumulate_gradients(state, {&batch, 1}, spec);
  apply_step(state, spec, result);
  return result.loss;
}

int run(int argc, char** argv) {
  if (argc == 3 && std::string(argv[1]) == "sgemm") {
    std::printf("%.1f\n", sgemm_rate(std::atoi(argv[2])));
    return 0;
  }
  require(argc == 6, "bench_train MODEL TOKENS ROWS LENGTH THREADS, or bench_train sgemm THREADS");
  set_threads(static_cast<size_t>(std::atoi(argv[5])));
  TrainState state = make_state(load_model(argv[1]));
  const TrainingBatch batch = read_batch(argv[2], std::atoi(argv[3]), std::atoi(argv[4]));
  std::printf("{}\n");  // ready
  std::fflush(stdout);
  for (std::string word; std::cin >> word;) {
    if (word == "step") {
      const double begin = seconds(), loss = step(state, batch);
      std::printf("{\"seconds\": %.6f, \"loss\": %.6f}\n", seconds() - begin, loss);
    } else if (word == "memory") {
      rusage usage;
      getrusage(RUSAGE_SELF, &usage);
      std::printf("{\"peak_bytes\": %ld}\n", usage.ru_maxrss * 1024);
    } else {
      require(word == "profile", "step, memory or profile is expected, not ", word);
      int count = 0;
      std::cin >> count;
      for (int i = 0; i < count; ++i) step(state, batch);
      std::printf("{}\n");
    }
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
