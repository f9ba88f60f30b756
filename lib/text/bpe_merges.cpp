// The greedy loop of BPE training: the most frequent pair becomes a symbol, counts follow incrementally.
#include <algorithm>
#include <limits>
#include <queue>
#include <unordered_map>

#include "base/error.h"
#include "base/stop.h"
#include "text/bpe_trainer.h"
#include "text/flat_map.h"

namespace ds {
namespace {

uint64_t pair_key(int32_t a, int32_t b) {
  return uint64_t{static_cast<uint32_t>(a)} << 32 | static_cast<uint32_t>(b);
}

// A pair that waits for its turn, with the words in which it came to be. Highest count first, then smallest ids.
struct Waiting {
  int64_t count;
  uint64_t pair;
  uint32_t places;  // index into Learner::places
  bool operator<(const Waiting& other) const { return count != other.count ? count < other.count : pair > other.pair; }
};

struct Learner {
  CountedWords words;
  std::vector<uint32_t> lengths;              // symbols left in each word
  FlatMap<int64_t> pair_counts;
  std::vector<std::vector<uint32_t>> places;  // word indices, in order, each once
  std::vector<uint32_t> free_places;
  std::priority_queue<Waiting> queue;
  FlatMap<uint32_t> fresh;                    // pairs of the current step: index into places
  std::vector<uint64_t> fresh_order;

  explicit Learner(CountedWords w) : words(std::move(w)) {
    require(words.counts.size() < std::numeric_limits<uint32_t>::max(), "too many words to learn merges from");
    for (uint32_t i = 0; i < words.counts.size(); ++i) {
      lengths.push_back(static_cast<uint32_t>(words.begins[i + 1] - words.begins[i]));
      const int32_t* symbol = words.symbols.data() + words.begins[i];
      for (uint32_t j = 0; j + 1 < lengths[i]; ++j) change(pair_key(symbol[j], symbol[j + 1]), words.counts[i], i);
    }
    enqueue_fresh();
  }

  void change(uint64_t pair, int64_t amount, uint32_t word) {
    pair_counts[pair] += amount;
    if (amount <= 0) return;
    uint32_t& slot = fresh[pair];  // index + 1
    if (!slot) {
      fresh_order.push_back(pair);
      if (free_places.empty()) {
        places.emplace_back();
        slot = static_cast<uint32_t>(places.size());
      } else {
        slot = free_places.back() + 1;
        free_places.pop_back();
      }
    }
    auto& list = places[slot - 1];
    if (list.empty() || list.back() != word) list.push_back(word);
  }

  void enqueue_fresh() {
    for (const uint64_t pair : fresh_order) {
      const uint32_t slot = fresh[pair] - 1;
      const int64_t count = pair_counts[pair];
      if (count > 0)
        queue.push({count, pair, slot});
      else
        release(slot);
    }
    fresh_order.clear();
    fresh = FlatMap<uint32_t>();
  }

  void release(uint32_t slot) {
    std::vector<uint32_t>().swap(places[slot]);
    free_places.push_back(slot);
  }

  // Joins every (left, right) of a word, from left to right. The pair's own count is left as it is: it is never asked
  // for again, unless a second pair with the same text makes the same token, and then it must count on from there.
  void merge(uint32_t word, int32_t left, int32_t right, int32_t id) {
    int32_t* symbol = words.symbols.data() + words.begins[word];
    const int64_t count = words.counts[word];
    uint32_t length = lengths[word], kept = 0;
    for (uint32_t i = 0; i < length; ++i) {
      if (i + 1 < length && symbol[i] == left && symbol[i + 1] == right) {
        if (kept > 0) {
          change(pair_key(symbol[kept - 1], left), -count, word);
          change(pair_key(symbol[kept - 1], id), count, word);
        }
        if (i + 2 < length) {
          change(pair_key(right, symbol[i + 2]), -count, word);
          change(pair_key(id, symbol[i + 2]), count, word);
        }
        symbol[kept++] = id;
        ++i;
      } else {
        symbol[kept++] = symbol[i];
      }
    }
    lengths[word] = kept;
  }
};

}  // namespace

std::vector<BpeMerge> learn_merges(CountedWords words, std::vector<std::string>& tokens, size_t vocab_size,
                                   int64_t min_frequency) {
  std::unordered_map<std::string, int32_t> id_of;
  for (size_t i = 0; i < tokens.size(); ++i) id_of.emplace(tokens[i], static_cast<int32_t>(i));
  Learner learner(std::move(words));
  std::vector<BpeMerge> merges;
  const size_t first = tokens.size();
  while (tokens.size() < vocab_size && !learner.queue.empty()) {
    Waiting top = learner.queue.top();
    learner.queue.pop();
    if (const int64_t now = learner.pair_counts[top.pair]; now != top.count) {
      top.count = now;
      learner.queue.push(top);
      continue;
    }
    if (top.count < 1 || top.count < min_frequency) break;
    const auto left = static_cast<int32_t>(top.pair >> 32), right = static_cast<int32_t>(top.pair & 0xffffffff);
    const std::string text = tokens[static_cast<size_t>(left)] + tokens[static_cast<size_t>(right)];
    const auto [entry, is_new] = id_of.emplace(text, static_cast<int32_t>(tokens.size()));
    if (is_new) tokens.push_back(text);
    merges.push_back({left, right, entry->second});
    const std::vector<uint32_t> where = std::move(learner.places[top.places]);
    learner.release(top.places);
    for (const uint32_t word : where) learner.merge(word, left, right, entry->second);
    learner.enqueue_fresh();
    if (merges.size() % 64 == 0) {
      throw_if_stopped();
      progress({"merges", "merge", tokens.size() - first, vocab_size - first, ""});
    }
  }
  return merges;
}

}  // namespace ds
