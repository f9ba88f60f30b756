// Generation: sequences enter as places become free, prompts in chunks beside the single rows of those under way.
#include <algorithm>
#include <cstring>
#include <numeric>

#include "base/math.h"
#include "base/rng.h"
#include "base/stop.h"
#include "run/engine.h"

namespace ds {

int32_t sample(std::span<const float> logits, const Sampling& sampling, double u) {
  const auto greedy = std::max_element(logits.begin(), logits.end());
  if (sampling.temperature <= 0) return static_cast<int32_t>(greedy - logits.begin());

  // Candidates in falling order, the lower id first among equals.
  std::vector<int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  const auto before = [&](int32_t a, int32_t b) { return logits[a] != logits[b] ? logits[a] > logits[b] : a < b; };
  std::sort(order.begin(), order.end(), before);
  size_t kept = order.size();
  if (sampling.top_k > 0 && static_cast<size_t>(sampling.top_k) < kept) {
    kept = static_cast<size_t>(sampling.top_k);
    while (kept < order.size() && logits[order[kept]] == logits[order[sampling.top_k - 1]]) ++kept;
  }
  std::vector<double> p(kept);
  double sum = 0;
  for (size_t i = 0; i < kept; ++i)
    sum += p[i] = math::exp((static_cast<double>(logits[order[i]]) - *greedy) / sampling.temperature);
  if (sampling.top_p < 1) {
    // The token whose probability crosses top_p is kept; at least one is.
    double cumulative = 0;
    size_t nucleus = 0;
    while (nucleus < kept && (nucleus == 0 || cumulative < sampling.top_p * sum)) cumulative += p[nucleus++];
    kept = nucleus;
    sum = cumulative;
  }
  double rest = u * sum;
  for (size_t i = 0; i + 1 < kept; ++i) {
    if (rest < p[i]) return order[i];
    rest -= p[i];
  }
  return order[kept - 1];
}

namespace {

struct Sequence {
  size_t request = 0;
  int64_t place = 0;           // its sequence index in the cache
  int64_t done = 0;            // positions in the cache
  std::vector<int32_t> tokens; // prompt and generated
};

}  // namespace

static bool is_end(const Engine& engine, int32_t token) {
  return token == engine.model.config.eos_token_id || (engine.tokenizer.eos_id() && token == *engine.tokenizer.eos_id());
}

// Adds the next rows of a sequence to the batch, as many as fit; true where the last of its tokens is among them.
static bool add_rows(Sequence& sequence, int64_t room, TokenBatch& batch) {
  const int64_t count = std::min<int64_t>(room, static_cast<int64_t>(sequence.tokens.size()) - sequence.done);
  for (int64_t i = 0; i < count; ++i) {
    batch.tokens.push_back(sequence.tokens[static_cast<size_t>(sequence.done)]);
    batch.sequences.push_back(static_cast<int32_t>(sequence.place));
    batch.positions.push_back(static_cast<int32_t>(sequence.done++));
  }
  return sequence.done == static_cast<int64_t>(sequence.tokens.size());
}

std::vector<GenerateResult> generate(Engine& engine, std::span<const GenerateRequest> requests, const Sampling& sampling,
                                     uint64_t seed) {
  const Config& config = engine.model.config;
  int64_t longest = 0;
  for (const auto& request : requests) {
    require(!request.tokens.empty(), "a prompt needs at least one token");
    for (const int32_t token : request.tokens)
      require(token >= 0 && token < config.vocab_size, "token id ", token, " is not in the vocabulary of ", config.vocab_size);
    const auto length = static_cast<int64_t>(request.tokens.size());
    require(length <= engine.max_length(), "a prompt of ", length, " tokens is longer than the model's ", engine.max_length(),
            " positions");
    longest = std::max(longest, std::min(length + std::max<int64_t>(sampling.max_tokens, 0), engine.max_length()));
  }
  std::vector<GenerateResult> results(requests.size());
  const int64_t places = std::min<int64_t>(engine.options.batch_sequences, static_cast<int64_t>(requests.size()));
  if (places == 0) return results;
  KvCache cache(config, places, longest);
  std::vector<int64_t> free_places(static_cast<size_t>(places));
  std::iota(free_places.rbegin(), free_places.rend(), 0);
  std::vector<Sequence> active;
  size_t next = 0;
  Arena arena;
  while (next < requests.size() || !active.empty()) {
    throw_if_stopped();
    while (next < requests.size() && !free_places.empty()) {
      if (sampling.max_tokens <= 0) {
        results[next++].finish_reason = "length";
        continue;
      }
      active.push_back({next, free_places.back(), 0, requests[next].tokens});
      free_places.pop_back();
      ++next;
    }
    TokenBatch batch;
    std::vector<size_t> ready;       // sequences whose last token is in this batch
    std::vector<int32_t> ready_rows;
    for (size_t i = 0; i < active.size(); ++i) {
      const int64_t room = engine.options.batch_tokens - static_cast<int64_t>(batch.tokens.size());
      if (room <= 0) break;
      cache.reserve(active[i].place, static_cast<int64_t>(active[i].tokens.size()));
      if (add_rows(active[i], room, batch)) {
        ready.push_back(i);
        ready_rows.push_back(static_cast<int32_t>(batch.tokens.size() - 1));
      }
    }
    if (batch.tokens.empty()) continue;
    forward(config, engine.model.weights, batch, cache, engine.activations);
    if (ready.empty()) continue;
    arena.reset();
    const auto count = static_cast<int64_t>(ready.size());
    const Tensor index = make_tensor(ready_rows.data(), DType::i32, {count});
    const Tensor normed = arena.make_uninitialized(DType::f32, {count, config.hidden_size});
    gather_rows(engine.activations.final_normed, index, 1, normed);
    const Tensor logits = arena.make_uninitialized(DType::f32, {count, config.vocab_size});
    head(config, engine.model.weights, normed, logits);
    std::vector<bool> finished(active.size());
    for (size_t r = 0; r < ready.size(); ++r) {
      Sequence& sequence = active[ready[r]];
      GenerateResult& result = results[sequence.request];
      const Rng rng{seed, requests[sequence.request].stream};
      const float* const row = logits.f32() + static_cast<int64_t>(r) * config.vocab_size;
      const int32_t token = sample({row, static_cast<size_t>(config.vocab_size)}, sampling, rng.uniform(result.tokens.size()));
      if (!sampling.ignore_eos && is_end(engine, token)) {
        result.finish_reason = "stop";
      } else {
        result.tokens.push_back(token);
        sequence.tokens.push_back(token);
        if (static_cast<int64_t>(result.tokens.size()) >= sampling.max_tokens ||
            static_cast<int64_t>(sequence.tokens.size()) >= engine.max_length())
          result.finish_reason = "length";
      }
      if (!result.finish_reason.empty()) {
        finished[ready[r]] = true;
        cache.release(sequence.place);
        free_places.push_back(sequence.place);
      }
    }
    size_t kept = 0;
    for (size_t i = 0; i < active.size(); ++i)
      if (!finished[i]) {
        if (kept != i) active[kept] = std::move(active[i]);
        ++kept;
      }
    active.resize(kept);
  }
  return results;
}

}  // namespace ds
