#include "run/engine.h"

#include <algorithm>
#include <cstring>

#include "base/stop.h"

namespace ds {

Engine::Engine(const std::string& folder, const EngineOptions& engine_options)
    : model(load_model(folder, {.device = Device::cpu, .pack = true})), tokenizer(folder), options(engine_options) {
  require(tokenizer.vocab_size() <= model.config.vocab_size, folder, ": the tokenizer has ", tokenizer.vocab_size(),
          " tokens, the model only ", model.config.vocab_size, ": they do not belong together");
}

// The logits of some rows of `normed`, a chunk at a time so that memory stays at chunk * vocabulary.
static void for_each_logits(const Engine& engine, const Tensor& normed, const std::vector<int32_t>& wanted_rows,
                            const std::function<void(const Tensor& logits, size_t begin, size_t end)>& use) {
  constexpr size_t kChunk = 256;
  const Config& config = engine.model.config;
  Arena arena;
  for (size_t begin = 0; begin < wanted_rows.size(); begin += kChunk) {
    const size_t end = std::min(wanted_rows.size(), begin + kChunk);
    const auto count = static_cast<int64_t>(end - begin);
    arena.reset();
    const Tensor index = arena.make_uninitialized(DType::i32, {count});
    std::memcpy(index.data, &wanted_rows[begin], static_cast<size_t>(count) * sizeof(int32_t));
    const Tensor gathered = arena.make_uninitialized(DType::f32, {count, config.hidden_size});
    gather_rows(normed, index, 1, gathered);
    const Tensor logits = arena.make_uninitialized(DType::f32, {count, config.vocab_size});
    head(config, engine.model.weights, gathered, logits);
    use(logits, begin, end);
  }
}

// ---- Scoring ----

ScoreRequest continuation_request(const Engine& engine, const std::string& context, const std::string& continuation) {
  const size_t last = context.find_last_not_of(" \t\n\r\v\f");
  const size_t cut = last == std::string::npos ? 0 : last + 1;
  ScoreRequest request;
  if (context.empty()) {
    const auto prefix = engine.tokenizer.bos_id() ? engine.tokenizer.bos_id() : engine.tokenizer.eos_id();
    require(prefix.has_value(), "an empty prompt needs a BOS or EOS token, and the tokenizer names neither");
    request.tokens = engine.tokenizer.encode(continuation, false);
    if (request.tokens.empty() || request.tokens[0] != *prefix) request.tokens.insert(request.tokens.begin(), *prefix);
  } else {
    request.tokens = engine.tokenizer.encode(context + continuation);
    // The continuation's tokens are those past as many as the context alone has; encoding may differ at the seam.
    const auto context_tokens = engine.tokenizer.encode(context.substr(0, cut));
    request.first = std::max<int64_t>(1, std::min<int64_t>(static_cast<int64_t>(context_tokens.size()),
                                                           static_cast<int64_t>(request.tokens.size())));
  }
  const auto length = static_cast<int64_t>(request.tokens.size());
  // The last token is only predicted, so one more than max_length fits.
  const int64_t surplus = std::max<int64_t>(0, length - (engine.max_length() + 1));
  require(surplus < request.first, "a completion of ", length - request.first, " tokens does not fit the model's ",
          engine.max_length(), " positions");
  request.tokens.erase(request.tokens.begin(), request.tokens.begin() + surplus);
  request.first -= surplus;
  return request;
}

// Scores requests [begin, end) in one pass: their rows are all there is in the batch.
static void score_batch(Engine& engine, std::span<const ScoreRequest> requests, std::span<ScoreResult> results) {
  const Config& config = engine.model.config;
  TokenBatch batch;
  std::vector<int32_t> wanted, targets;
  std::vector<std::pair<size_t, size_t>> owner;  // of each wanted row: request, index of its result
  int64_t longest = 1;
  for (size_t r = 0; r < requests.size(); ++r) {
    const auto& request = requests[r];
    const auto length = static_cast<int64_t>(request.tokens.size());
    results[r].logprobs.resize(static_cast<size_t>(std::max<int64_t>(0, length - request.first)));
    results[r].greedy.resize(results[r].logprobs.size());
    longest = std::max(longest, length - 1);
    for (int64_t i = 0; i + 1 < length; ++i) {
      if (i + 1 >= request.first) {
        owner.emplace_back(r, static_cast<size_t>(i + 1 - request.first));
        wanted.push_back(static_cast<int32_t>(batch.tokens.size()));
        targets.push_back(request.tokens[static_cast<size_t>(i) + 1]);
      }
      batch.tokens.push_back(request.tokens[static_cast<size_t>(i)]);
      batch.sequences.push_back(static_cast<int32_t>(r));
      batch.positions.push_back(static_cast<int32_t>(i));
    }
  }
  if (!batch.tokens.empty()) {
    KvCache cache(config, static_cast<int64_t>(requests.size()), longest);
    for (size_t r = 0; r < requests.size(); ++r)
      cache.reserve(static_cast<int64_t>(r), static_cast<int64_t>(requests[r].tokens.size()) - 1);
    forward(config, engine.model.weights, batch, cache, engine.activations);
  }
  Arena arena;
  for_each_logits(engine, engine.activations.final_normed, wanted, [&](const Tensor& logits, size_t begin, size_t end) {
    const auto count = static_cast<int64_t>(end - begin);
    arena.reset();
    const Tensor target = make_tensor(&targets[begin], DType::i32, {count});
    const Tensor loss = arena.make_uninitialized(DType::f32, {count}), best = arena.make_uninitialized(DType::i32, {count});
    cross_entropy(logits, target, loss);
    argmax(logits, best);
    for (size_t i = begin; i < end; ++i) {
      auto& result = results[owner[i].first];
      result.logprobs[owner[i].second] = -loss.f32()[i - begin];
      result.greedy[owner[i].second] = best.i32()[i - begin] == targets[i];
    }
  });
  for (auto& result : results)
    for (const float logprob : result.logprobs) result.logprob += logprob;
}

std::vector<ScoreResult> score(Engine& engine, std::span<const ScoreRequest> requests) {
  std::vector<ScoreResult> results(requests.size());
  for (const auto& request : requests) {
    require(request.first >= 1, "the first token of a sequence cannot be scored: nothing stands before it");
    require(static_cast<int64_t>(request.tokens.size()) <= engine.max_length() + 1, "a text of ", request.tokens.size(),
            " tokens is longer than the model's ", engine.max_length(), " positions: cut it into pieces");
    for (const int32_t token : request.tokens)
      require(token >= 0 && token < engine.model.config.vocab_size, "token id ", token, " is not in the vocabulary of ",
              engine.model.config.vocab_size);
  }
  size_t begin = 0;
  while (begin < requests.size()) {
    throw_if_stopped();
    int64_t tokens = 0;
    size_t end = begin;
    while (end < requests.size() && static_cast<int64_t>(end - begin) < engine.options.batch_sequences * 8) {
      const auto length = static_cast<int64_t>(requests[end].tokens.size());
      if (end > begin && tokens + length > engine.options.batch_tokens) break;
      tokens += length;
      ++end;
    }
    score_batch(engine, requests.subspan(begin, end - begin), std::span(results).subspan(begin, end - begin));
    begin = end;
  }
  return results;
}

}  // namespace ds
