#include "run/sequence.h"

#include <algorithm>

#include "base/error.h"
#include "base/rng.h"
#include "tensor/ops.h"

namespace ds {

// The first answer to a prompt has the request's own stream of random numbers, whatever n is.
static uint64_t stream_of(uint64_t stream, int64_t number) {
  if (number == 0) return stream;
  const uint64_t pair[] = {stream, static_cast<uint64_t>(number)};
  return hash64({reinterpret_cast<const char*>(pair), sizeof pair});
}

Sequence::Sequence(std::shared_ptr<const GenerateRequest> r, uint64_t id_, int64_t number_, const AnswerRules& rules)
    : request(std::move(r)), id(id_), number(number_), tokens(request->tokens), given(static_cast<int64_t>(tokens.size())),
      stream_(stream_of(request->stream, number_)), stops_(request->sampling.stop) {
  const Sampling& s = request->sampling;
  counting_ = s.repetition_penalty != 1 || s.frequency_penalty != 0 || s.presence_penalty != 0;
  if (counting_)
    for (const int32_t token : tokens) counts_.see(token, false);
  if (request->constraint) {
    constraint_.emplace(request->constraint, rules.trie);
    allowed_.resize(rules.trie->words());
  }
  if (rules.tokenizer) text_.emplace(*rules.tokenizer);
}

int32_t Sequence::take(std::span<float> logits, const AnswerRules& rules) {
  const Sampling& s = request->sampling;
  const bool wants_logprobs = s.logprobs >= 0 || s.best_of > s.n;
  std::vector<float> raw;
  if (wants_logprobs) raw.assign(logits.begin(), logits.end());
  if (counting_) counts_.penalize(logits, s);
  const bool may_not_end = !constraint_ && generated() < s.min_tokens;
  if (may_not_end)
    for (const int32_t end : rules.ends) logits[static_cast<size_t>(end)] = -std::numeric_limits<float>::infinity();
  if (constraint_) constraint_->mask(allowed_);
  const int32_t token = sample(logits, s, constraint_ ? std::span<const uint64_t>(allowed_) : std::span<const uint64_t>(),
                               Rng{request->seed, stream_}.uniform(static_cast<uint64_t>(generated())));
  const bool ends = std::binary_search(rules.ends.begin(), rules.ends.end(), token) && (!s.ignore_eos || constraint_);
  if (wants_logprobs && !ends) {
    answer.logprobs.push_back(logprobs_of(raw, token, std::max<int64_t>(0, s.logprobs)));
    answer.logprob += static_cast<double>(answer.logprobs.back().logprob);
  }
  if (ends) finish("stop");
  else append(token, rules);
  return token;
}

void Sequence::take_candidates(std::span<const float> logits, int64_t count) {
  candidates = logprobs_of(logits, 0, count).top;
}

void Sequence::branch(int32_t token) {
  tokens.push_back(token);
  candidates.clear();
}

std::unique_ptr<Sequence> Sequence::twin(const AnswerRules& rules) const {
  auto other = std::make_unique<Sequence>(request, id, number, rules);
  other->tokens = tokens;
  return other;
}

Answer Sequence::answer_of(const std::vector<int32_t>& tokens, const std::string& reason, const AnswerRules& rules) {
  Answer answer;
  answer.tokens = tokens;
  answer.finish_reason = reason;
  if (!rules.tokenizer) return answer;
  StreamDecoder text(*rules.tokenizer);
  for (const int32_t token : tokens)
    if (rules.tokenizer->has(token)) answer.text += text.add(token);
  answer.text += text.finish();
  return answer;
}

void Sequence::append(int32_t token, const AnswerRules& rules) {
  tokens.push_back(token);
  answer.tokens.push_back(token);
  if (counting_) counts_.see(token, true);
  // Ids past the tokenizer's are those of a padded embedding: they stand for no text.
  if (text_ && rules.tokenizer->has(token) && stops_.add(text_->add(token), answer.text)) {
    answer.finish_reason = "stop";
    return;
  }
  if (constraint_) {
    require(constraint_->accept(token), "a token that the constraint does not allow was drawn");
    if (constraint_->must_end()) return finish("stop");
  }
  if (generated() >= request->sampling.max_tokens || length() >= rules.max_length) finish("length");
}

void Sequence::finish(const std::string& reason) {
  answer.finish_reason = reason;
  if (!text_) return;
  if (!stops_.add(text_->finish(), answer.text)) stops_.finish(answer.text);
}

void Sequence::fail(const std::string& what) {
  error = what;
  answer.finish_reason = "error";
}

Delta Sequence::news() {
  Delta delta{number, answer.text.substr(told_text_), {}, {}};
  delta.tokens.assign(answer.tokens.begin() + static_cast<std::ptrdiff_t>(told_tokens_), answer.tokens.end());
  if (!answer.logprobs.empty() && request->sampling.logprobs >= 0)
    delta.logprobs.assign(answer.logprobs.begin() + static_cast<std::ptrdiff_t>(told_tokens_), answer.logprobs.end());
  told_text_ = answer.text.size();
  told_tokens_ = answer.tokens.size();
  return delta;
}

std::span<const Hash128> Sequence::keys(int64_t blocks, bool forms_matter) {
  while (static_cast<int64_t>(keys_.size()) < blocks) {
    const size_t begin = keys_.size() * kKeyBlock;
    std::vector<uint8_t> forms;
    if (forms_matter)
      for (size_t i = begin; i < begin + kKeyBlock; ++i) forms.push_back(static_cast<int64_t>(i) >= given);
    keys_.push_back(block_key(keys_.empty() ? first_key(request->adapter) : keys_.back(),
                              std::span(tokens).subspan(begin, kKeyBlock), forms));
  }
  return std::span(keys_).first(static_cast<size_t>(blocks));
}

}  // namespace ds
