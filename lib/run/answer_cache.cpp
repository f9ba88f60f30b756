#include "run/answer_cache.h"

#include <cmath>
#include <cstring>
#include <type_traits>

#include "base/error.h"

namespace ds {

namespace {

// Bytes of a key; what varies in length has its length before it.
struct KeyBytes {
  std::string text;
  template <class T>
  void add(const T& value) {
    static_assert(std::is_arithmetic_v<T> || std::is_enum_v<T>);
    text.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  void add(std::string_view bytes) {
    add(bytes.size());
    text += bytes;
  }
};

}  // namespace

static void add_parameters(KeyBytes& key, const GenerateRequest& request) {
  // Every field by a name: a new one does not compile until it stands here.
  const auto& [max_tokens, min_tokens, temperature, top_k, top_p, min_p, repetition_penalty, frequency_penalty, presence_penalty, order,
               ignore_eos, stop, logprobs, n, best_of, beams, length_penalty] = request.sampling;
  key.add(max_tokens), key.add(min_tokens), key.add(temperature), key.add(top_k), key.add(top_p), key.add(min_p);
  key.add(repetition_penalty), key.add(frequency_penalty), key.add(presence_penalty), key.add(order), key.add(ignore_eos);
  key.add(stop.size());
  for (const std::string& one : stop) key.add(std::string_view(one));
  key.add(logprobs), key.add(n), key.add(best_of), key.add(beams), key.add(length_penalty);
  key.add(request.seed), key.add(request.adapter);
  const Hash128 constraint = request.constraint ? identity(*request.constraint) : Hash128{};
  key.add(constraint.high), key.add(constraint.low);
}

Hash128 parameters_key(const GenerateRequest& request) {
  KeyBytes key;
  add_parameters(key, request);
  return hash128(key.text);
}

Hash128 request_key(const GenerateRequest& request) {
  KeyBytes key;
  add_parameters(key, request);
  key.add(request.stream);
  key.add(std::string_view(reinterpret_cast<const char*>(request.tokens.data()), request.tokens.size() * sizeof(int32_t)));
  return hash128(key.text);
}

// What an entry takes, its place in the list and the map included.
static uint64_t bytes_of(const AnswerCache::Key& key, const GenerateResult& result) {
  uint64_t bytes = 512 + key.vector.size() * sizeof(float);
  for (const Answer& answer : result.answers) {
    bytes += sizeof answer + answer.tokens.size() * sizeof(int32_t) + answer.text.size() + answer.logprobs.size() * sizeof(TokenLogprobs);
    for (const TokenLogprobs& one : answer.logprobs) bytes += one.top.size() * sizeof(TokenLogprob);
  }
  return bytes;
}

// In the order of the numbers, so that it is the same everywhere.
static double dot(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return sum;
}

AnswerCache::AnswerCache(uint64_t bytes, Engine* model, double threshold, const Tokenizer* tokenizer)
    : most_(bytes), model_(model), threshold_(threshold), tokenizer_(tokenizer) {
  if (!model_) return;
  require(tokenizer_, "answers to near prompts need prompts as text, and the model has no tokenizer");
  require(threshold_ >= -1 && threshold_ <= 1, "the threshold of near prompts is a cosine, not ", threshold_);
  pooling_ = read_pooling(model_->path);
  if (!pooling_.max_length || pooling_.max_length > model_->max_length()) pooling_.max_length = model_->max_length();
}

std::vector<float> AnswerCache::vector_of(const GenerateRequest& request) {
  std::vector<int32_t> known;
  for (const int32_t id : request.tokens)
    if (tokenizer_->has(id)) known.push_back(id);
  bool cut = false;
  const std::vector<int32_t> ids[] = {encode_cut(*model_, tokenizer_->decode(known), pooling_.max_length, cut)};
  if (ids[0].empty()) return {};
  std::vector<float> vector = std::move(embed(*model_, ids, pooling_)[0]);
  const double norm = std::sqrt(dot(vector, vector));
  if (!(norm > 0) || !std::isfinite(norm)) return {};
  for (float& x : vector) x = static_cast<float>(static_cast<double>(x) / norm);
  return vector;
}

std::optional<GenerateResult> AnswerCache::find(const GenerateRequest& request, Key& key) {
  key.request = request_key(request);
  if (const auto at = by_request_.find(key.request); at != by_request_.end()) {
    entries_.splice(entries_.begin(), entries_, at->second);
    return entries_.front().result;
  }
  if (!model_) return std::nullopt;
  key.parameters = parameters_key(request);
  key.vector = vector_of(request);
  if (key.vector.empty()) return std::nullopt;
  auto nearest = entries_.end();
  double highest = threshold_;
  for (auto at = entries_.begin(); at != entries_.end(); ++at) {
    if (at->key.parameters != key.parameters || at->key.vector.size() != key.vector.size()) continue;
    const double cosine = dot(at->key.vector, key.vector);
    if (cosine >= highest && (nearest == entries_.end() || cosine > highest)) nearest = at, highest = cosine;
  }
  if (nearest == entries_.end()) return std::nullopt;
  entries_.splice(entries_.begin(), entries_, nearest);
  GenerateResult result = nearest->result;
  result.similarity = highest;
  return result;
}

void AnswerCache::add(const Key& key, const GenerateResult& result) {
  const uint64_t bytes = bytes_of(key, result);
  if (bytes > most_ || by_request_.contains(key.request)) return;
  entries_.push_front({key, result, bytes});
  by_request_[key.request] = entries_.begin();
  held_ += bytes;
  while (held_ > most_ || (model_ && entries_.size() > kMostVectors)) {
    held_ -= entries_.back().bytes;
    by_request_.erase(entries_.back().key.request);
    entries_.pop_back();
  }
}

}  // namespace ds
