// Times one sequence through a model, without tokenizer and sampler (as llama-bench does for llama.cpp): a prompt of random
// tokens with the logits of its last row, then generated tokens one by one. Prints a JSON object; seconds are medians.
//   bench_run MODEL PROMPT GENERATE [THREADS [REPEAT [int8] [cache8]]]
// int8: activations of quantized weights are rounded; cache8: keys and values are kept in 8 bits.
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string_view>

#include "base/parallel.h"
#include "base/rng.h"
#include "model/decoder.h"

using namespace ds;

namespace {

constexpr int64_t kBatchTokens = 2048;  // of one forward pass, as in ds-run

double seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return (values[(values.size() - 1) / 2] + values[values.size() / 2]) / 2;
}

// Bytes a second that all threads read together, from memory that no cache holds.
double read_bandwidth() {
  Arena arena;
  const std::span data(static_cast<uint64_t*>(arena.allocate(size_t{1} << 30)), size_t{1} << 27);
  std::fill(data.begin(), data.end(), 1);
  double best = 0;
  for (int run = 0; run < 5; ++run) {
    const double begin = seconds();
    parallel_for(data.size(), 1 << 16, [&](size_t first, size_t last) {
      uint64_t sum[8] = {};
      for (size_t i = first; i < last; i += 8)
        for (size_t j = 0; j < 8; ++j) sum[j] += data[i + j];
      data[first] = sum[0] + sum[1] + sum[2] + sum[3] + sum[4] + sum[5] + sum[6] + sum[7];
    });
    best = std::max(best, static_cast<double>(data.size() * sizeof(uint64_t)) / (seconds() - begin));
  }
  return best;
}

struct Runner {
  const Model& model;
  KvCache cache;
  Activations activations;
  Arena arena;

  Runner(const Model& m, int64_t positions, DType dtype) : model(m), cache(m.config, 1, positions, {.dtype = dtype}) {}

  // Rows [begin, end) of a sequence, and the logits of the last one.
  void forward_rows(int64_t begin, int64_t end, bool generated) {
    const Rng rng{1, 1};
    TokenBatch batch;
    for (int64_t p = begin; p < end; ++p) {
      batch.tokens.push_back(static_cast<int32_t>(rng.uniform(static_cast<uint64_t>(p)) * static_cast<double>(model.config.vocab_size)));
      batch.sequences.push_back(0);
      batch.positions.push_back(static_cast<int32_t>(p));
      batch.generated.push_back(generated);
    }
    forward(model.config, model.weights, batch, cache, activations);
  }
  void last_logits() {
    arena.reset();
    const Tensor logits = arena.make_uninitialized(DType::f32, {1, model.config.vocab_size});
    const Tensor& normed = activations.final_normed;
    head(model.config, model.weights, rows(normed, normed.rows() - 1, 1), logits);
  }
  double prompt(int64_t length) {
    cache.release(0);
    const double begin = seconds();
    for (int64_t p = 0; p < length; p += kBatchTokens) forward_rows(p, std::min(length, p + kBatchTokens), false);
    last_logits();
    return seconds() - begin;
  }
  double token(int64_t position) {
    const double begin = seconds();
    forward_rows(position, position + 1, true);
    last_logits();
    return seconds() - begin;
  }
};

int64_t number(int argc, char** argv, int i, int64_t otherwise) { return argc > i ? std::atoll(argv[i]) : otherwise; }

void measure(int argc, char** argv) {
  const int64_t length = number(argc, argv, 2, 512), generate = number(argc, argv, 3, 64), repeat = number(argc, argv, 5, 3);
  set_threads(static_cast<size_t>(number(argc, argv, 4, 2)));
  const double begin = seconds();
  const std::span words(argv + std::min(argc, 6), argv + argc);
  const auto given = [&](std::string_view word) { return std::find(words.begin(), words.end(), word) != words.end(); };
  const bool int8 = given("int8");
  const Model model = load_model(argv[1], {.pack = true, .rounding = int8 ? ActivationRounding::int8 : ActivationRounding::as_stored});
  const double loaded = seconds() - begin;
  Runner runner(model, length + generate + 1, given("cache8") ? DType::i8 : DType::f32);
  std::vector<double> prompts, tokens;
  require(runner.cache.reserve(0, length + generate), "no room");  // the memory is there before the clock starts
  runner.prompt(std::min<int64_t>(length, 64));
  runner.token(std::min<int64_t>(length, 64));
  for (int64_t i = 0; i < repeat; ++i) {
    prompts.push_back(runner.prompt(length));
    for (int64_t t = 0; t < generate; ++t) tokens.push_back(runner.token(length + t));
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  std::printf("{\"threads\": %zu, \"load_seconds\": %.4f, \"prompt_seconds\": %.6f, \"token_seconds\": %.7f, \"peak\": %ld, \"bandwidth\": %.4g}\n",
              threads(), loaded, median(prompts), median(tokens), usage.ru_maxrss * 1024L, read_bandwidth());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: bench_run MODEL PROMPT GENERATE [THREADS [REPEAT [int8] [cache8]]]\n");
    return 2;
  }
  try {
    measure(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_run: %s\n", error.what());
    return 1;
  }
}
