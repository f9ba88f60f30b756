#include "run/sample.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/math.h"

namespace ds {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

void check(const Sampling& s) {
  const auto between = [](const char* name, auto value, auto low, auto high) {
    require(value >= low && value <= high, name, " is ", value, ": it is from ", low, " to ", high);  // NaN is not
  };
  between("max_tokens", s.max_tokens, int64_t{0}, int64_t{1} << 30);
  between("min_tokens", s.min_tokens, int64_t{0}, s.max_tokens);
  between("temperature", s.temperature, 0.0, 1e6);
  between("top_k", s.top_k, int64_t{0}, int64_t{1} << 30);
  between("top_p", s.top_p, 0.0, 1.0);
  between("min_p", s.min_p, 0.0, 1.0);
  between("repetition_penalty", s.repetition_penalty, 1e-3, 1e3);
  between("frequency_penalty", s.frequency_penalty, -100.0, 100.0);
  between("presence_penalty", s.presence_penalty, -100.0, 100.0);
  between("logprobs", s.logprobs, int64_t{-1}, int64_t{20});
  between("n", s.n, int64_t{1}, int64_t{128});
  between("beams", s.beams, int64_t{1}, int64_t{64});
  between("length_penalty", s.length_penalty, -100.0, 100.0);
  if (s.best_of != 0) between("best_of", s.best_of, s.n, int64_t{128});
  if (s.beams > 1) {
    require(s.n <= s.beams, "n is ", s.n, ": a search with ", s.beams, " beams gives so many answers at most");
    require(s.best_of == 0, "best_of is ", s.best_of, ": it does not go with beams");
  }
  require(s.stop.size() <= 64, "there are ", s.stop.size(), " stop strings: 64 at most");
  for (const std::string& stop : s.stop) require(!stop.empty() && stop.size() <= 1024, "a stop string has ", stop.size(), " bytes: it is from 1 to 1024");
}

// ---- Penalties ----

bool has_penalties(const Sampling& s) { return s.repetition_penalty != 1 || s.frequency_penalty != 0 || s.presence_penalty != 0; }

void TokenCounts::see(int32_t id, bool generated) {
  Count& count = counts_[id];
  ++count.all, count.answer += generated;
  recent_[seen_++ % recent_.size()] = id;
}

// `count`: how often frequency_ and presence_penalty see it.
static void penalize_one(std::span<float> logits, int32_t id, int64_t count, const Sampling& s) {
  require(id >= 0 && static_cast<size_t>(id) < logits.size(), "token ", id, " is outside the vocabulary of ", logits.size());
  float& logit = logits[static_cast<size_t>(id)];
  const auto repetition = static_cast<float>(s.repetition_penalty);  // in f32, as transformers and vLLM do
  if (repetition != 1) logit = logit < 0 ? logit * repetition : logit / repetition;
  if (count == 0 || (s.frequency_penalty == 0 && s.presence_penalty == 0)) return;
  logit = static_cast<float>(static_cast<double>(logit) - (static_cast<double>(count) * s.frequency_penalty + s.presence_penalty));
}

void TokenCounts::penalize(std::span<float> logits, const Sampling& s) const {
  if (!has_penalties(s)) return;
  if (s.order == SamplingOrder::hugging_face) {
    for (const auto& [id, count] : counts_) penalize_one(logits, id, count.answer, s);
    return;
  }
  std::array<int32_t, 64> window = recent_;
  const auto end = window.begin() + static_cast<std::ptrdiff_t>(std::min<uint64_t>(seen_, window.size()));
  std::sort(window.begin(), end);
  for (auto i = window.begin(); i != end;) {
    const auto next = std::upper_bound(i, end, *i);
    penalize_one(logits, *i, next - i, s);
    i = next;
  }
}

// ---- Sampling ----

namespace {

struct Candidate {
  int32_t id;
  float logit;
  double weight;  // its probability times a constant
};

bool likelier(const Candidate& a, const Candidate& b) { return a.logit != b.logit ? a.logit > b.logit : a.id < b.id; }

// Calls use(id) for every allowed token, in order.
template <class F>
void each_allowed(size_t vocabulary, std::span<const uint64_t> allowed, F use) {
  if (allowed.empty()) {
    for (size_t i = 0; i < vocabulary; ++i) use(i);
    return;
  }
  for (size_t word = 0; word < allowed.size(); ++word)
    for (uint64_t bits = allowed[word]; bits; bits &= bits - 1) {
      const size_t i = word * 64 + static_cast<size_t>(std::countr_zero(bits));
      if (i >= vocabulary) return;
      use(i);
    }
}

// The likeliest allowed token, the lower id among equals. Every logit is checked, allowed or not.
size_t likeliest(std::span<const float> logits, std::span<const uint64_t> allowed) {
  constexpr size_t kLanes = 16;
  float most[kLanes];
  int32_t wrong[kLanes] = {};
  std::fill(most, most + kLanes, -kInfinity);
  const size_t whole = logits.size() / kLanes * kLanes;
  const auto look = [&](size_t lane, float x) {
    most[lane] = x > most[lane] ? x : most[lane];
    wrong[lane] |= !(x < kInfinity);
  };
  for (size_t i = 0; i < whole; i += kLanes)
    for (size_t lane = 0; lane < kLanes; ++lane) look(lane, logits[i + lane]);
  for (size_t i = whole; i < logits.size(); ++i) look(i - whole, logits[i]);
  require(std::all_of(wrong, wrong + kLanes, [](int32_t w) { return w == 0; }),
          "the model's logits are not finite: are its weights, or an adapter's, damaged?");
  size_t best = logits.size();
  if (allowed.empty()) {
    const float top = *std::max_element(most, most + kLanes);
    if (top > -kInfinity) best = static_cast<size_t>(std::find(logits.begin(), logits.end(), top) - logits.begin());
  } else {
    float top = -kInfinity;
    each_allowed(logits.size(), allowed, [&](size_t i) {
      if (logits[i] > top) top = logits[i], best = i;
    });
  }
  require(best < logits.size(), allowed.empty() ? "all of the model's logits are minus infinity" : "the constraint allows no token that the model can give");
  return best;
}

// The k likeliest allowed tokens in order of their ids, no logit below `least`; with `ties` also those equal to the k-th.
// One pass: what cannot be among them any more is dropped whenever the buffer is full.
void keep_top(std::span<const float> logits, std::span<const uint64_t> allowed, size_t k, float least, bool ties, std::vector<Candidate>& kept) {
  const size_t full = std::max<size_t>(1024, 4 * k);
  const auto cut = [&] {
    if (kept.size() <= k) return;
    std::nth_element(kept.begin(), kept.begin() + static_cast<std::ptrdiff_t>(k - 1), kept.end(), likelier);
    const Candidate kth = kept[k - 1];
    least = kth.logit;
    std::erase_if(kept, [&](const Candidate& c) { return ties ? c.logit < kth.logit : likelier(kth, c); });
  };
  size_t limit = full;
  each_allowed(logits.size(), allowed, [&](size_t i) {
    if (!(logits[i] >= least)) return;
    kept.push_back({static_cast<int32_t>(i), logits[i], 0});
    if (kept.size() < limit) return;
    cut();
    limit = std::max(full, 2 * kept.size());  // ties may be many
  });
  cut();
  std::sort(kept.begin(), kept.end(), [](const Candidate& a, const Candidate& b) { return a.id < b.id; });
}

// Keeps the likeliest candidates until their weights reach `share` of all, at least one. They are dealt into buckets by
// logit; only those of the bucket in which the share is reached are sorted. `scale`: buckets for a step of 1 in the logit.
void keep_nucleus(std::vector<Candidate>& candidates, double share, float best, double scale) {
  constexpr size_t kBuckets = 1024;
  static thread_local std::vector<double> weights;
  weights.assign(kBuckets, 0);
  const auto bucket_of = [&](const Candidate& c) {
    const double place = (static_cast<double>(best) - static_cast<double>(c.logit)) * scale;
    return place < kBuckets - 1 ? static_cast<size_t>(place) : kBuckets - 1;
  };
  for (const Candidate& c : candidates) weights[bucket_of(c)] += c.weight;
  double sum = 0, before = 0;
  for (const double w : weights) sum += w;
  const double wanted = share * sum;
  size_t bucket = 0;
  while (bucket + 1 < kBuckets && before + weights[bucket] < wanted) before += weights[bucket++];
  std::vector<Candidate> inside;
  for (const Candidate& c : candidates)
    if (bucket_of(c) == bucket) inside.push_back(c);
  std::sort(inside.begin(), inside.end(), likelier);
  size_t count = 0;
  for (; count < inside.size() && (before < wanted || (bucket == 0 && count == 0)); ++count) before += inside[count].weight;
  std::erase_if(candidates, [&](const Candidate& c) {
    const size_t place = bucket_of(c);
    return place > bucket || (place == bucket && (count == 0 || likelier(inside[count - 1], c)));
  });
}

}  // namespace

int32_t sample(std::span<const float> logits, const Sampling& s, std::span<const uint64_t> allowed, double u) {
  const size_t first = likeliest(logits, allowed);
  if (s.temperature <= 0) return static_cast<int32_t>(first);
  const float best = logits[first];
  const bool llama = s.order == SamplingOrder::llama_cpp;
  const double temperature = llama ? 1 : s.temperature;  // that of the filters
  const auto weigh = [&](const Candidate& c, double t) { return math::exp((static_cast<double>(c.logit) - static_cast<double>(best)) / t); };

  static thread_local std::vector<Candidate> candidates;  // keeps its memory from call to call
  candidates.clear();
  const double reach = 45 * std::max(temperature, s.temperature);
  const float least = reach < 1e30 ? static_cast<float>(static_cast<double>(best) - reach) : -std::numeric_limits<float>::max();
  if (s.top_k > 0 && static_cast<size_t>(s.top_k) < logits.size()) {
    keep_top(logits, allowed, static_cast<size_t>(s.top_k), least, !llama, candidates);
  } else {
    each_allowed(logits.size(), allowed, [&](size_t i) {
      if (logits[i] >= least) candidates.push_back({static_cast<int32_t>(i), logits[i], 0});
    });
  }
  for (Candidate& c : candidates) c.weight = weigh(c, temperature);
  if (s.top_p < 1) keep_nucleus(candidates, s.top_p, best, 32 / temperature);
  if (s.min_p > 0)  // the likeliest one's weight is 1
    std::erase_if(candidates, [&](const Candidate& c) { return c.weight < s.min_p; });
  if (llama)
    for (Candidate& c : candidates) c.weight = weigh(c, s.temperature);
  double sum = 0, passed = 0;
  for (const Candidate& c : candidates) sum += c.weight;
  const double place = u * sum;
  for (const Candidate& c : candidates)
    if ((passed += c.weight) > place) return c.id;
  return static_cast<int32_t>(first);  // u * sum was rounded up to the sum
}

// ---- Log-probabilities ----

TokenLogprobs logprobs_of(std::span<const float> logits, int32_t token, int64_t count) {
  require(token >= 0 && static_cast<size_t>(token) < logits.size(), "token ", token, " is outside the vocabulary of ", logits.size());
  const double best = logits[likeliest(logits, {})];
  double sum = 0;
  for (const float logit : logits) sum += math::exp(static_cast<double>(logit) - best);
  const double of_all = best + math::log(sum);
  const auto logprob = [&](float logit) { return static_cast<float>(static_cast<double>(logit) - of_all); };
  TokenLogprobs result{logprob(logits[static_cast<size_t>(token)]), {}};
  if (count <= 0) return result;
  std::vector<Candidate> top;
  keep_top(logits, {}, static_cast<size_t>(count), -kInfinity, false, top);
  std::sort(top.begin(), top.end(), likelier);
  for (const Candidate& c : top) result.top.push_back({c.id, logprob(c.logit)});
  return result;
}

}  // namespace ds
