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

static int32_t best_of(const Tensor& logits, int64_t row) {
  const float* const at = logits.f32() + row * logits.cols();
  return static_cast<int32_t>(std::max_element(at, at + logits.cols()) - at);
}

DraftModel::DraftModel(Engine& engine, const Engine& target)
    : engine_(engine),
      cache_(engine.model.config, target.options.batch_sequences, std::min(engine.max_length(), target.max_length())),
      done_(static_cast<size_t>(target.options.batch_sequences), 0) {
  require(engine.model.config.vocab_size == target.model.config.vocab_size, "the draft model ", engine.path, " has a vocabulary of ",
          engine.model.config.vocab_size, " tokens, and ", target.path, " one of ", target.model.config.vocab_size, ": they must be the same");
}

void DraftModel::guess(std::span<GuessRequest> requests) {
  // First what each sequence has that was not computed yet, then a token of each a pass.
  int64_t open = 0;
  std::vector<std::vector<int32_t>> tokens;
  for (GuessRequest& r : requests) {
    tokens.emplace_back(r.tokens.begin(), r.tokens.end());
    r.count = std::min(r.count, cache_.max_positions() - static_cast<int64_t>(r.tokens.size()));
    open += r.count > 0;
  }
  while (open > 0) {
    TokenBatch batch;
    std::vector<int32_t> rows;
    std::vector<size_t> whose;
    for (size_t i = 0; i < requests.size(); ++i) {
      GuessRequest& r = requests[i];
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
        const size_t i = whose[first + static_cast<size_t>(row)];
        requests[i].guesses.push_back(best_of(logits, row));
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

MtpHead::MtpHead(Engine& engine, KvCache& cache)
    : engine_(engine), cache_(cache), states_(static_cast<size_t>(cache.sequences() * engine.model.config.hidden_size)),
      followed_(static_cast<size_t>(cache.sequences()), 0) {
  require(engine.model.mtp.has_value(), engine.path, " was loaded without its head for multi-token prediction");
}

// Keeps the state of the last row of each sequence.
void MtpHead::step(const TokenBatch& next, const Tensor& hidden) {
  const Model& model = engine_.model;
  mtp_forward(model.config, model.weights, *model.mtp, next, hidden, cache_, activations_);
  const int64_t size = model.config.hidden_size;
  for (size_t t = 0; t < next.tokens.size(); ++t) {
    if (t + 1 < next.tokens.size() && next.sequences[t + 1] == next.sequences[t]) continue;
    std::copy_n(activations_.final_normed.f32() + static_cast<int64_t>(t) * size, size, state(next.sequences[t]));
    followed_[static_cast<size_t>(next.sequences[t])] = next.positions[t] + 1;
  }
}

void MtpHead::follow(const TokenBatch& next, std::span<const int32_t> rows) {
  if (rows.empty()) return;
  const auto count = static_cast<int64_t>(rows.size());
  memory_.reset();
  const Tensor hidden = memory_.make_uninitialized(DType::f32, {count, engine_.model.config.hidden_size});
  gather_rows(engine_.activations.final_normed, make_tensor(const_cast<int32_t*>(rows.data()), DType::i32, {count}), 1, hidden);
  step(next, hidden);
}

void MtpHead::guess(std::span<GuessRequest> requests) {
  const Config& config = engine_.model.config;
  std::vector<GuessRequest*> open;
  for (GuessRequest& r : requests)
    if (r.count > 0 && followed_[static_cast<size_t>(r.place)] + 1 == static_cast<int64_t>(r.tokens.size())) open.push_back(&r);
  while (!open.empty()) {
    // What a state says comes next; then one step further from there, where more is wanted.
    memory_.reset();
    const auto count = static_cast<int64_t>(open.size());
    const Tensor states = memory_.make_uninitialized(DType::f32, {count, config.hidden_size});
    for (int64_t i = 0; i < count; ++i) std::copy_n(state(open[static_cast<size_t>(i)]->place), config.hidden_size, states.f32() + i * config.hidden_size);
    const Tensor logits = memory_.make_uninitialized(DType::f32, {count, config.vocab_size});
    head(config, engine_.model.weights, states, logits);
    TokenBatch next;
    std::vector<GuessRequest*> further;
    for (int64_t i = 0; i < count; ++i) {
      GuessRequest& r = *open[static_cast<size_t>(i)];
      r.guesses.push_back(best_of(logits, i));
      const int64_t position = followed_[static_cast<size_t>(r.place)];
      if (static_cast<int64_t>(r.guesses.size()) == r.count || !cache_.reserve(r.place, position + 1)) continue;
      std::copy_n(states.f32() + i * config.hidden_size, config.hidden_size, states.f32() + static_cast<int64_t>(further.size()) * config.hidden_size);
      next.tokens.push_back(r.guesses.back());
      next.sequences.push_back(static_cast<int32_t>(r.place));
      next.positions.push_back(static_cast<int32_t>(position));
      next.generated.push_back(1);
      further.push_back(&r);
    }
    if (!further.empty()) step(next, rows(states, 0, static_cast<int64_t>(further.size())));
    open = std::move(further);
  }
}

void MtpHead::forget(int64_t place) { followed_[static_cast<size_t>(place)] = 0; }

}  // namespace ds
