// Speed of encoding: bench_tokenizer TOKENIZER JSONL [THREADS [REPEAT]] encodes the "text" of every line and prints, for
// each round, MB a second of wall time, MB a second of processor time, and the number of ids.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "io/json.h"
#include "text/tokenizer.h"

namespace {

void run(const std::string& tokenizer_file, const std::string& texts_file, size_t threads, int rounds) {
  const ds::Tokenizer tokenizer(tokenizer_file);
  std::vector<std::string> texts;
  double megabytes = 0;
  std::ifstream in(texts_file);
  for (std::string line; std::getline(in, line);) {
    const ds::Json record = ds::parse_json(line, texts_file);
    const ds::Json* text = record.find("text");
    ds::require(text, texts_file, ": a line without text");
    texts.push_back(text->as_string(texts_file));
    megabytes += static_cast<double>(texts.back().size()) / 1e6;
  }
  ds::require(!texts.empty(), texts_file, ": no texts");
  for (int round = 0; round < rounds; ++round) {
    std::vector<size_t> counts(threads);
    const auto start = std::chrono::steady_clock::now();
    const std::clock_t cpu = std::clock();
    std::vector<std::thread> workers;
    for (size_t t = 0; t < threads; ++t)
      workers.emplace_back([&, t] {
        for (size_t i = t; i < texts.size(); i += threads) counts[t] += tokenizer.encode(texts[i]).size();
      });
    for (std::thread& worker : workers) worker.join();
    const double cpu_seconds = static_cast<double>(std::clock() - cpu) / CLOCKS_PER_SEC;
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    size_t ids = 0;
    for (const size_t count : counts) ids += count;
    std::printf("%.1f %.1f %zu\n", megabytes / seconds, megabytes / cpu_seconds, ids);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3 || argc > 5) {
    std::fprintf(stderr, "usage: bench_tokenizer TOKENIZER JSONL [THREADS [REPEAT]]\n");
    return 2;
  }
  try {
    run(argv[1], argv[2], argc > 3 ? std::strtoul(argv[3], nullptr, 10) : 1, argc > 4 ? std::atoi(argv[4]) : 3);
  } catch (const ds::Error& error) {
    std::fprintf(stderr, "bench_tokenizer: %s\n", error.what());
    return 1;
  }
}
