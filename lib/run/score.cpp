#include "run/score.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "text/unicode.h"

namespace ds {

// White space as Python's str.isspace, str.strip and re's \s have it: the four separators of ASCII are among it.
static bool is_python_space(char32_t c) { return is_space(c) || (c >= 0x1c && c <= 0x1f); }

// Bytes of a text before its trailing white space.
static size_t stripped_size(std::string_view text) {
  size_t kept = 0;
  for (size_t at = 0; at < text.size();)
    if (!is_python_space(decode_utf8(text, at))) kept = at;
  return kept;
}

uint64_t count_words(std::string_view text) {
  uint64_t words = 1;
  bool space = false;
  for (size_t at = 0; at < text.size();) {
    const bool now = is_python_space(decode_utf8(text, at));
    words += now && !space;
    space = now;
  }
  return words;
}

ScoreRequest continuation_request(const Engine& engine, std::string_view context, std::string_view continuation) {
  ScoreRequest request;
  const size_t cut = stripped_size(context);
  const std::string both = std::string(context) + std::string(continuation);
  size_t context_tokens = 0;
  if (!context.empty()) {
    request.tokens = encode(engine, both);
    context_tokens = std::min(encode(engine, context.substr(0, cut)).size(), request.tokens.size());
  } else {
    request.tokens = engine.tokenizer().encode(both, false);
  }
  if (context_tokens == 0) {  // nothing there to begin with
    const int32_t prefix = prefix_token(engine);
    if (request.tokens.empty() || request.tokens[0] != prefix) request.tokens.insert(request.tokens.begin(), prefix);
    context_tokens = 1;
  }
  check_ids(engine.model.config, request.tokens);
  const auto length = static_cast<int64_t>(request.tokens.size());
  request.first = static_cast<int64_t>(context_tokens);
  require(length > request.first, "the completion has no tokens to score");
  require(length - request.first <= engine.max_length(), "a completion of ", length - request.first,
          " tokens does not fit the model's ", engine.max_length(), " positions");
  const int64_t surplus = std::max<int64_t>(0, length - (engine.max_length() + 1));
  request.tokens.erase(request.tokens.begin(), request.tokens.begin() + surplus);
  request.first -= surplus;
  return request;
}

std::vector<ScoreRequest> rolling_windows(std::span<const int32_t> tokens, int32_t prefix, int64_t max_length) {
  std::vector<ScoreRequest> windows;
  const auto n = static_cast<int64_t>(tokens.size());
  for (int64_t begin = 0; begin < n; begin += max_length) {
    const int64_t end = std::min(n, begin + max_length);
    ScoreRequest window;
    // The first of the tokens that the window sees; -1 is the prefix. All windows but the first see max_length of them.
    const int64_t seen = begin == 0 ? -1 : end - 1 - max_length;
    if (seen < 0) window.tokens.push_back(prefix);
    window.tokens.insert(window.tokens.end(), tokens.begin() + std::max<int64_t>(seen, 0), tokens.begin() + end);
    window.first = static_cast<int64_t>(window.tokens.size()) - (end - begin);
    windows.push_back(std::move(window));
  }
  return windows;
}

std::vector<ScoreResult> score(Engine& engine, std::span<const ScoreRequest> requests) {
  std::vector<ScoreResult> results(requests.size());
  std::vector<std::span<const int32_t>> sequences(requests.size());
  std::vector<int32_t> adapters;
  for (const auto& request : requests) adapters.push_back(request.adapter);
  for (size_t r = 0; r < requests.size(); ++r) {
    const auto& request = requests[r];
    require(request.first >= 1, "the first token of a sequence cannot be scored: nothing stands before it");
    require(static_cast<int64_t>(request.tokens.size()) <= engine.max_length() + 1, "a text of ", request.tokens.size(),
            " tokens is longer than the model's ", engine.max_length(), " positions: score it in windows");
    check_ids(engine.model.config, request.tokens);
    const auto scored = static_cast<int64_t>(request.tokens.size()) - request.first;
    if (scored <= 0) continue;
    results[r].logprobs.resize(static_cast<size_t>(scored));
    results[r].greedy.resize(static_cast<size_t>(scored));
    sequences[r] = std::span(request.tokens).first(request.tokens.size() - 1);  // the last token is only predicted
  }
  Arena arena;
  run_sequences(engine, sequences, adapters, [&](std::span<const Piece> pieces) {
    std::vector<int32_t> wanted, targets;
    std::vector<std::pair<size_t, size_t>> owner;  // of each wanted row: request, index of its result
    for (const Piece& piece : pieces) {
      const ScoreRequest& request = requests[piece.sequence];
      for (int64_t at = std::max(piece.begin, request.first - 1); at < piece.end; ++at) {
        wanted.push_back(static_cast<int32_t>(piece.row + at - piece.begin));
        targets.push_back(request.tokens[static_cast<size_t>(at) + 1]);
        owner.emplace_back(piece.sequence, static_cast<size_t>(at + 1 - request.first));
      }
    }
    for_each_logits(engine, wanted, [&](const Tensor& logits, size_t first) {
      const int64_t count = logits.rows();
      arena.reset();
      const Tensor target = make_tensor(&targets[first], DType::i32, {count});
      const Tensor loss = arena.make_uninitialized(DType::f32, {count}), best = arena.make_uninitialized(DType::i32, {count});
      cross_entropy(logits, target, loss);
      argmax(logits, best);
      for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
        auto& result = results[owner[first + i].first];
        require(!std::isnan(loss.f32()[i]), "the model's logits are not finite: are its weights, or an adapter's, damaged?");
        result.logprobs[owner[first + i].second] = -loss.f32()[i];
        result.greedy[owner[first + i].second] = best.i32()[i] == targets[first + i];
      }
    });
  });
  for (auto& result : results)
    for (const float logprob : result.logprobs) result.logprob += logprob;
  return results;
}

}  // namespace ds
