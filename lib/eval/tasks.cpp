#include "eval/tasks.h"

#include <algorithm>
#include <optional>

#include "base/hash.h"
#include "base/rng.h"
#include "base/stop.h"
#include "text/ngram.h"

namespace ds {

constexpr double kLog2E = 1.4426950408889634074;  // bits in a nat

// ---- Bits per byte ----

TaskResult bits_per_byte(Engine& engine, const std::vector<Document>& documents) {
  constexpr size_t kGroup = 64;  // documents scored together
  TaskResult result{.task = "bits_per_byte", .metric = "bits_per_byte", .higher_is_better = false};
  const int32_t prefix = prefix_token(engine);
  for (size_t begin = 0; begin < documents.size(); begin += kGroup) {
    const size_t end = std::min(documents.size(), begin + kGroup);
    std::vector<ScoreRequest> requests;
    std::vector<size_t> owner;
    for (size_t d = begin; d < end; ++d)
      for (auto& window : rolling_windows(engine.tokenizer().encode(documents[d].text, false), prefix, engine.max_length())) {
        requests.push_back(std::move(window));
        owner.push_back(d);
      }
    std::vector<double> bits(end - begin);
    const auto scores = score(engine, requests);
    for (size_t i = 0; i < scores.size(); ++i) bits[owner[i] - begin] -= scores[i].logprob * kLog2E;
    for (size_t d = begin; d < end; ++d) {
      if (documents[d].text.empty()) continue;
      result.ids.push_back(documents[d].id);
      result.values.push_back(bits[d - begin]);
      result.weights.push_back(static_cast<double>(documents[d].text.size()));
    }
    progress({.label = "bits_per_byte", .unit = "documents", .done = end, .total = documents.size(), .detail = ""});
  }
  result.estimate = ratio_estimate(result.values, result.weights);
  return result;
}

TaskResult ngram_bits_per_byte(const std::vector<Document>& training, const std::vector<Document>& documents) {
  NgramTrainer trainer;
  for (const Document& document : training) trainer.add(document.text);
  const NgramModel model = trainer.train();
  TaskResult result{.task = "bits_per_byte", .metric = "bits_per_byte", .higher_is_better = false};
  for (const Document& document : documents) {
    throw_if_stopped();
    if (document.text.empty()) continue;
    result.ids.push_back(document.id);
    result.values.push_back(-model.log2_probability(document.text));
    result.weights.push_back(static_cast<double>(document.text.size()));
  }
  result.estimate = ratio_estimate(result.values, result.weights);
  return result;
}

// ---- Cloze ----

constexpr size_t kContextWords = 48, kChoiceWords = 10, kChoices = 4;
constexpr size_t kChoiceBytes = 120;  // at most: a rule of dashes is a word too, and choices should be of a length

// Byte ranges of the words (runs of non-space) of a text.
static std::vector<std::pair<size_t, size_t>> word_ranges(const std::string& text) {
  std::vector<std::pair<size_t, size_t>> words;
  const std::string_view spaces = " \t\n\r\v\f";
  size_t at = 0;
  while ((at = text.find_first_not_of(spaces, at)) != std::string::npos) {
    const size_t end = std::min(text.find_first_of(spaces, at), text.size());
    words.emplace_back(at, end);
    at = end;
  }
  return words;
}

std::vector<ClozeItem> make_cloze(const std::vector<Document>& documents, size_t items, uint64_t seed) {
  const Rng rng{seed, hash64("cloze")};
  uint64_t position = 0;
  std::vector<std::vector<std::pair<size_t, size_t>>> words;
  std::vector<size_t> long_enough;
  const auto has_short_span = [](const std::vector<std::pair<size_t, size_t>>& w) {
    for (size_t first = 0; first + kChoiceWords <= w.size(); ++first)
      if (w[first + kChoiceWords - 1].second - w[first].first <= kChoiceBytes) return true;
    return false;
  };
  for (size_t d = 0; d < documents.size(); ++d) {
    words.push_back(word_ranges(documents[d].text));
    if (words[d].size() >= kContextWords + kChoiceWords && has_short_span(words[d])) long_enough.push_back(d);
  }
  std::vector<ClozeItem> out;
  if (long_enough.size() < kChoices) return out;
  std::vector<size_t> order = long_enough;
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[rng.below(position++, i)]);
  const auto span = [&](size_t d, size_t first) {
    return " " + documents[d].text.substr(words[d][first].first, words[d][first + kChoiceWords - 1].second - words[d][first].first);
  };
  // The first word of a span with `before` words in front of it, none where ten draws found only over-long ones.
  const auto draw_start = [&](size_t d, size_t before) -> std::optional<size_t> {
    for (int draw = 0; draw < 10; ++draw) {
      const size_t first = before + rng.below(position++, words[d].size() - kChoiceWords - before + 1);
      if (words[d][first + kChoiceWords - 1].second - words[d][first].first <= kChoiceBytes) return first;
    }
    return std::nullopt;
  };
  const auto draw_distractor = [&](size_t d) {
    while (true) {
      const size_t other = long_enough[rng.below(position++, long_enough.size())];
      if (other == d) continue;
      if (const auto first = draw_start(other, 0)) return span(other, *first);
    }
  };
  for (const size_t d : order) {
    if (out.size() == items) break;
    ClozeItem item;
    item.id = documents[d].id;
    const auto start = draw_start(d, kContextWords);
    if (!start) continue;
    const auto& w = words[d];
    const size_t context_begin = w[*start - kContextWords].first;
    item.context = documents[d].text.substr(context_begin, w[*start - 1].second - context_begin);
    item.gold = rng.below(position++, kChoices);
    for (size_t choice = 0; choice < kChoices; ++choice) {
      item.choices.push_back(choice == item.gold ? span(d, *start) : draw_distractor(d));
    }
    out.push_back(std::move(item));
  }
  return out;
}

TaskResult cloze(Engine& engine, const std::vector<ClozeItem>& items) {
  TaskResult result{.task = "cloze", .metric = "acc", .higher_is_better = true, .chance = 1.0 / kChoices};
  constexpr size_t kGroup = 64;
  for (size_t begin = 0; begin < items.size(); begin += kGroup) {
    const size_t end = std::min(items.size(), begin + kGroup);
    std::vector<ScoreRequest> requests;
    for (size_t i = begin; i < end; ++i)
      for (const auto& choice : items[i].choices) requests.push_back(continuation_request(engine, items[i].context, choice));
    const auto scores = score(engine, requests);
    size_t next = 0;
    for (size_t i = begin; i < end; ++i) {
      size_t best = 0;
      for (size_t c = 1; c < items[i].choices.size(); ++c)
        if (scores[next + c].logprob > scores[next + best].logprob) best = c;
      next += items[i].choices.size();
      result.ids.push_back(items[i].id);
      result.values.push_back(best == items[i].gold ? 1 : 0);
    }
    progress({.label = "cloze", .unit = "items", .done = end, .total = items.size(), .detail = ""});
  }
  result.estimate = mean_estimate(result.values);
  return result;
}

// ---- Expert load ----

ExpertLoadCounter::ExpertLoadCounter(Engine& engine) : engine_(engine) {
  const Config& config = engine.model.config;
  std::vector<size_t> slot(static_cast<size_t>(config.num_hidden_layers), SIZE_MAX);
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer)
    if (config.is_moe(layer)) {
      slot[static_cast<size_t>(layer)] = loads_.size();
      loads_.push_back({layer, std::vector<uint64_t>(static_cast<size_t>(config.n_routed_experts))});
    }
  engine.activations.after_layer = [this, slot](int64_t layer, const LayerActivations& acts) {
    if (slot[static_cast<size_t>(layer)] == SIZE_MAX) return;
    auto& tokens = loads_[slot[static_cast<size_t>(layer)]].tokens;
    for (size_t e = 0; e < tokens.size(); ++e)
      tokens[e] += static_cast<uint64_t>(acts.offsets.i32()[e + 1] - acts.offsets.i32()[e]);
  };
}

ExpertLoadCounter::~ExpertLoadCounter() { engine_.activations.after_layer = nullptr; }

}  // namespace ds
