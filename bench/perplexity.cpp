// The perplexity of a text with the cache of keys and values in f32 and in 8-bit integers. Prints a line each.
//   bench_perplexity MODEL TEXT [TOKENS [WINDOW]]
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>

#include "base/math.h"
#include "run/score.h"

using namespace ds;

int main(int argc, char** argv) {
  if (argc < 3) return std::fprintf(stderr, "bench_perplexity MODEL TEXT [TOKENS [WINDOW]]\n"), 2;
  std::ifstream file(argv[2], std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  for (const DType dtype : {DType::f32, DType::i8}) {
    Engine engine(argv[1], {.kv_cache_dtype = dtype});
    std::vector<int32_t> tokens = engine.tokenizer().encode(text, false);
    if (argc > 3) tokens.resize(std::min(tokens.size(), static_cast<size_t>(std::atoll(argv[3]))));
    const int64_t window = argc > 4 ? std::atoll(argv[4]) : std::min<int64_t>(2048, engine.max_length());
    double sum = 0;
    for (const ScoreResult& r : score(engine, rolling_windows(tokens, prefix_token(engine), window))) sum += r.logprob;
    std::printf("%-4s %zu tokens, perplexity %.5f\n", dtype == DType::f32 ? "f32" : "int8", tokens.size(), math::exp(-sum / static_cast<double>(tokens.size())));
  }
  return 0;
}
