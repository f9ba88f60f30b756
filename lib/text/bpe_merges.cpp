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

// Words up to so many symbols are read through at each of their merges; longer ones have an index of their pairs.
constexpr uint32_t scanned_symbols = 256;

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

struct PairState {
  int64_t count = 0;
  uint32_t fresh = 0;  // of a pair of the current step: index into Learner::places, + 1
};

// A long word: symbols that are left form a list, and each pair knows where it came to be, whether it still is there
// or not. A merge then costs what it changes: every symbol is listed at most three times in all.
struct LongWord {
  static constexpr uint32_t none = ~uint32_t{0};
  std::vector<uint32_t> previous, next;        // positions
  FlatMap<uint32_t> index_of;                  // of a pair: into positions, + 1
  std::vector<std::vector<uint32_t>> positions;

  void list(uint64_t pair, uint32_t at) {
    uint32_t& index = index_of[pair];
    if (!index) {
      positions.emplace_back();
      index = static_cast<uint32_t>(positions.size());
    }
    positions[index - 1].push_back(at);
  }
};

struct Word {
  size_t begin;     // in Learner::symbols
  int64_t count;
  uint32_t length;  // symbols left; of a long word, at the beginning
  bool is_long() const { return length > scanned_symbols; }  // a short one never grows
};

struct Learner {
  std::vector<int32_t> symbols;
  std::vector<Word> words;
  std::unordered_map<uint32_t, LongWord> long_words;
  FlatMap<PairState> pairs;
  std::vector<std::vector<uint32_t>> places;  // word indices, in order, each once
  std::vector<uint32_t> free_places;
  std::priority_queue<Waiting> queue;
  std::vector<uint64_t> fresh;                // pairs of the current step

  explicit Learner(CountedWords counted) : symbols(std::move(counted.symbols)) {
    require(counted.counts.size() < std::numeric_limits<uint32_t>::max(), "too many words to learn merges from");
    words.reserve(counted.counts.size());
    for (size_t i = 0; i < counted.counts.size(); ++i) {
      const size_t begin = counted.begins[i], length = counted.begins[i + 1] - begin;
      require(length < LongWord::none, "too long a word to learn merges from");
      words.push_back({begin, counted.counts[i], static_cast<uint32_t>(length)});
    }
    counted = {};
    for (uint32_t i = 0; i < words.size(); ++i) {
      if (i % 65536 == 0) throw_if_stopped();
      list_pairs(i);
    }
    enqueue_fresh();
  }

  void list_pairs(uint32_t word) {
    const int32_t* symbol = symbols.data() + words[word].begin;
    const uint32_t length = words[word].length;
    LongWord* chain = words[word].is_long() ? &long_words[word] : nullptr;
    if (chain) link(*chain, length);
    for (uint32_t i = 0; i + 1 < length; ++i) {
      const uint64_t pair = pair_key(symbol[i], symbol[i + 1]);
      change(pair, words[word].count, word);
      if (chain) chain->list(pair, i);
    }
  }

  static void link(LongWord& word, uint32_t length) {
    word.previous.resize(length);
    word.next.resize(length);
    for (uint32_t i = 0; i < length; ++i) {
      word.previous[i] = i ? i - 1 : LongWord::none;
      word.next[i] = i + 1 < length ? i + 1 : LongWord::none;
    }
  }

  void change(uint64_t pair, int64_t amount, uint32_t word) {
    PairState& state = pairs[pair];
    state.count += amount;
    if (amount <= 0) return;
    if (!state.fresh) {
      fresh.push_back(pair);
      if (free_places.empty()) {
        places.emplace_back();
        state.fresh = static_cast<uint32_t>(places.size());
      } else {
        state.fresh = free_places.back() + 1;
        free_places.pop_back();
      }
    }
    auto& list = places[state.fresh - 1];
    if (list.empty() || list.back() != word) list.push_back(word);
  }

  void enqueue_fresh() {
    for (const uint64_t pair : fresh) {
      PairState& state = *pairs.find(pair);
      if (state.count > 0)
        queue.push({state.count, pair, state.fresh - 1});
      else
        release(state.fresh - 1);
      state.fresh = 0;
    }
    fresh.clear();
  }

  void release(uint32_t slot) {
    std::vector<uint32_t>().swap(places[slot]);
    free_places.push_back(slot);
  }

  // Joins every (left, right) of a word, from left to right. The pair's own count is left as it is: it is never asked
  // for again, unless a second pair with the same text makes the same token, and then it must count on from there.
  void merge(uint32_t word, int32_t left, int32_t right, int32_t id) {
    if (words[word].is_long()) return merge_long(word, left, right, id);
    int32_t* symbol = symbols.data() + words[word].begin;
    const int64_t count = words[word].count;
    const uint32_t length = words[word].length;
    uint32_t kept = 0;
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
    words[word].length = kept;
  }

  // The same by the word's index. A joined symbol stands where its left part stood; its right part's place is free.
  void merge_long(uint32_t word, int32_t left, int32_t right, int32_t id) {
    LongWord& chain = long_words.at(word);
    int32_t* symbol = symbols.data() + words[word].begin;
    const int64_t count = words[word].count;
    const uint32_t* index = chain.index_of.find(pair_key(left, right));
    if (!index) return;
    std::vector<uint32_t> where;
    where.swap(chain.positions[*index - 1]);
    std::sort(where.begin(), where.end());
    for (const uint32_t at : where) {
      if (symbol[at] != left) continue;  // free, or joined to something since
      const uint32_t other = chain.next[at];
      if (other == LongWord::none || symbol[other] != right) continue;
      const uint32_t before = chain.previous[at], after = chain.next[other];
      if (before != LongWord::none) {
        change(pair_key(symbol[before], left), -count, word);
        change(pair_key(symbol[before], id), count, word);
        chain.list(pair_key(symbol[before], id), before);
      }
      if (after != LongWord::none) {
        change(pair_key(right, symbol[after]), -count, word);
        change(pair_key(id, symbol[after]), count, word);
        chain.list(pair_key(id, symbol[after]), at);
        chain.previous[after] = at;
      }
      symbol[at] = id;
      symbol[other] = -1;
      chain.next[at] = after;
    }
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
    if (const int64_t now = learner.pairs.find(top.pair)->count; now != top.count) {
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
