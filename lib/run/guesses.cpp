#include "run/guesses.h"

#include <algorithm>

#include "base/error.h"
#include "base/hash.h"

namespace ds {

int64_t GuessPace::next() {
  if (pause_ == 0) return length_;
  --pause_;
  return 0;
}

void GuessPace::judge(int64_t right, int64_t guessed) {
  if (guessed == 0) return;
  if (2 * right >= guessed) {
    failures_ = 0;
    if (right == guessed) length_ = std::min(most_, length_ * 2);
    return;
  }
  length_ = std::min(most_, std::max<int64_t>(2, right + 1));
  if (right == 0) pause_ = int64_t{1} << std::min<int64_t>(++failures_, 6);
}

static uint64_t key_of(std::span<const int32_t> tokens) {
  return hash64({reinterpret_cast<const char*>(tokens.data()), tokens.size_bytes()});
}

std::vector<int32_t> PromptLookup::guess(std::span<const int32_t> tokens, int64_t count) {
  // The place after the last match_ tokens is entered only once something stands there.
  for (seen_ = std::max(seen_, match_); seen_ < tokens.size(); ++seen_)
    after_[key_of(tokens.subspan(seen_ - match_, match_))] = static_cast<uint32_t>(seen_);
  if (tokens.size() < match_ || count <= 0) return {};
  const auto last = tokens.last(match_);
  const auto found = after_.find(key_of(last));
  if (found == after_.end()) return {};
  const size_t begin = found->second;
  if (!std::equal(last.begin(), last.end(), tokens.begin() + static_cast<std::ptrdiff_t>(begin - match_))) return {};
  const auto guesses = tokens.subspan(begin, std::min(static_cast<size_t>(count), tokens.size() - begin));
  return {guesses.begin(), guesses.end()};
}

DraftModel::DraftModel(Engine& engine, const Engine& target)
    : engine_(engine),
      cache_(engine.model.config, target.options.batch_sequences, std::min(engine.max_length(), target.max_length())),
      done_(static_cast<size_t>(target.options.batch_sequences), 0) {
  require(engine.model.config.vocab_size == target.model.config.vocab_size, "the draft model ", engine.path, " has a vocabulary of ",
          engine.model.config.vocab_size, " tokens, and ", target.path, " one of ", target.model.config.vocab_size, ": they must be the same");
}

void DraftModel::guess(std::span<Request> requests) {
  // First what each sequence has that was not computed yet, then a token of each a pass.
  int64_t open = 0;
  std::vector<std::vector<int32_t>> tokens;
  for (Request& r : requests) {
    tokens.emplace_back(r.tokens.begin(), r.tokens.end());
    r.count = std::min(r.count, cache_.max_positions() - static_cast<int64_t>(r.tokens.size()));
    open += r.count > 0;
  }
  while (open > 0) {
    TokenBatch batch;
    std::vector<int32_t> rows;
    std::vector<size_t> whose;
    for (size_t i = 0; i < requests.size(); ++i) {
      Request& r = requests[i];
      int64_t& done = done_[static_cast<size_t>(r.place)];
      if (static_cast<int64_t>(r.guesses.size()) >= r.count) continue;
      const int64_t room = engine_.options.batch_tokens - static_cast<int64_t>(batch.tokens.size());
      for (const int64_t end = std::min(static_cast<int64_t>(tokens[i].size()), done + room); done < end; ++done) {
        batch.tokens.push_back(tokens[i][static_cast<size_t>(done)]);
        batch.sequences.push_back(static_cast<int32_t>(r.place));
        batch.positions.push_back(static_cast<int32_t>(done));
      }
      if (done < static_cast<int64_t>(tokens[i].size())) continue;
      rows.push_back(static_cast<int32_t>(batch.tokens.size() - 1));
      whose.push_back(i);
    }
    forward(engine_.model.config, engine_.model.weights, batch, cache_, engine_.activations);
    for_each_logits(engine_, rows, [&](const Tensor& logits, size_t first) {
      for (int64_t row = 0; row < logits.rows(); ++row) {
        const float* const at = logits.f32() + row * logits.cols();
        const size_t i = whose[first + static_cast<size_t>(row)];
        requests[i].guesses.push_back(static_cast<int32_t>(std::max_element(at, at + logits.cols()) - at));
        tokens[i].push_back(requests[i].guesses.back());
        open -= static_cast<int64_t>(requests[i].guesses.size()) == requests[i].count;
      }
    });
  }
}

void DraftModel::forget(int64_t place, int64_t length) {
  int64_t& done = done_[static_cast<size_t>(place)];
  if (length >= done) return;
  done = length;
  if (length == 0) cache_.release(place);
  else cache_.truncate(place, length);
}

}  // namespace ds
