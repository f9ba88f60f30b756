// Times many requests through the scheduler, as `ds-run generate` runs them, without tokenizer. Prints a JSON object.
//   bench_schedule MODEL REQUESTS PROMPT GENERATE [SEQUENCES [f32|i8 [LOOKUP [copy]]]]
// PROMPT and GENERATE are numbers of tokens, or FROM-TO: each request draws its own (log-uniformly), the same in every run.
// With LOOKUP, prompt look-up guesses so many tokens; `copy`: prompts repeat a passage of 64 tokens.
// The first SEQUENCES requests run once before the clock starts, and no prefix is kept: the cache's memory is there then,
// as after a while in a long run, and as llama-batched-bench has it.
#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "base/math.h"
#include "base/rng.h"
#include "run/scheduler.h"

using namespace ds;

namespace {

struct Range {
  int64_t from, to;
  int64_t draw(const Rng& rng, uint64_t at) const {
    if (from == to) return from;
    const double low = math::log(static_cast<double>(from)), high = math::log(static_cast<double>(to));
    return static_cast<int64_t>(math::exp(low + (high - low) * rng.uniform(at)));
  }
};
Range range_of(const char* text) {
  const char* const dash = std::strchr(text, '-');
  return {std::atoll(text), std::atoll(dash ? dash + 1 : text)};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) return std::fprintf(stderr, "bench_schedule MODEL REQUESTS PROMPT GENERATE [SEQUENCES [f32|i8 [LOOKUP [copy]]]]\n"), 2;
  const int64_t count = std::atoll(argv[2]);
  const Range prompt = range_of(argv[3]), generated = range_of(argv[4]);
  EngineOptions options{.batch_sequences = argc > 5 ? std::atoll(argv[5]) : 32};
  if (argc > 6 && std::string(argv[6]) == "i8") options.kv_cache_dtype = DType::i8;
  SchedulerOptions scheduling{.prefix_cache = false, .guesses = argc > 7 ? std::atoll(argv[7]) : 0};
  const bool copies = argc > 8 && std::string(argv[8]) == "copy";

  Engine engine(argv[1], options);
  const Rng rng{7, 1};
  std::vector<GenerateRequest> requests(static_cast<size_t>(count));
  for (size_t i = 0; i < requests.size(); ++i) {
    GenerateRequest& r = requests[i];
    const auto length = static_cast<size_t>(prompt.draw(rng, 2 * i));
    for (size_t t = 0; t < length; ++t)
      r.tokens.push_back(static_cast<int32_t>(rng.below((i + 1) * 100000 + (copies ? t % 64 : t), static_cast<uint64_t>(engine.model.config.vocab_size))));
    r.sampling.max_tokens = generated.draw(rng, 2 * i + 1);
    r.sampling.ignore_eos = true;
  }
  Scheduler scheduler(engine, scheduling);
  for (size_t i = 0; i < std::min(requests.size(), static_cast<size_t>(options.batch_sequences)); ++i) scheduler.submit(requests[i], {{}, [](GenerateResult&&) {}});
  while (scheduler.step()) {
  }
  engine.throughput = {};
  const SchedulerStats before = scheduler.stats();
  const auto start = std::chrono::steady_clock::now();
  uint64_t prompt_tokens = 0, answer_tokens = 0;
  for (GenerateRequest& r : requests) {
    prompt_tokens += r.tokens.size();
    scheduler.submit(std::move(r), {{}, [&](GenerateResult&& result) { answer_tokens += result.answers.at(0).tokens.size(); }});
  }
  while (scheduler.step()) {
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  const SchedulerStats stats = scheduler.stats();
  std::printf("{\"seconds\": %.3f, \"prompt_tokens\": %llu, \"generated_tokens\": %llu, \"generated_per_second\": %.1f, \"tokens_per_second\": %.1f, "
              "\"decode_per_second\": %.1f, \"prefill_per_second\": %.1f, \"guessed\": %llu, \"accepted\": %llu, \"preempted\": %llu, \"peak_mb\": %.0f}\n",
              seconds, static_cast<unsigned long long>(prompt_tokens), static_cast<unsigned long long>(answer_tokens),
              static_cast<double>(answer_tokens) / seconds, static_cast<double>(prompt_tokens + answer_tokens) / seconds,
              engine.throughput.decode_seconds > 0 ? static_cast<double>(engine.throughput.decode_tokens) / engine.throughput.decode_seconds : 0.0,
              engine.throughput.prefill_seconds > 0 ? static_cast<double>(engine.throughput.prefill_tokens) / engine.throughput.prefill_seconds : 0.0,
              static_cast<unsigned long long>(stats.guessed_tokens - before.guessed_tokens),
              static_cast<unsigned long long>(stats.accepted_tokens - before.accepted_tokens),
              static_cast<unsigned long long>(stats.preempted - before.preempted), static_cast<double>(usage.ru_maxrss) / 1024);
  return 0;
}
