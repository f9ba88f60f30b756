#include "text/ngram.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/math.h"
#include "base/parallel.h"
#include "base/stop.h"

namespace ds {
namespace {

constexpr size_t shards = 64;                          // tables small enough for the cache, filled side by side
constexpr size_t batch_keys = size_t{1} << 22;
constexpr uint64_t line_ends = 0x0a0a0a0a0a0a0a0a;     // what stands before a text

uint64_t low_bytes(uint64_t key, int bytes) { return key & ((uint64_t{1} << (8 * bytes)) - 1); }
size_t shard_of(uint64_t key) { return (key * 0xd6e8feb86659fd93u) >> 58; }

// What is taken from counts of 1, 2, and 3 or more.
struct Discounts {
  std::array<double, 3> by_count;
  double of(uint64_t count) const { return by_count[std::min<uint64_t>(count, 3) - 1]; }
};

Discounts estimate_discounts(const FlatMap<uint32_t>& counts) {
  std::array<double, 5> n{};  // n[c]: sequences seen c times
  counts.for_each([&](uint64_t, uint32_t count) {
    if (count < n.size()) n[count] += 1;
  });
  Discounts discounts{{0.5, 1.0, 1.5}};
  if (n[1] == 0 || n[2] == 0 || n[3] == 0 || n[4] == 0) return discounts;
  const double y = n[1] / (n[1] + 2 * n[2]);
  for (size_t c = 1; c <= 3; ++c) {
    const auto count = static_cast<double>(c);
    discounts.by_count[c - 1] = std::clamp(count - (count + 1) * y * n[c + 1] / n[c], 0.05 * count, 0.95 * count);
  }
  return discounts;
}

// The counts that follow one context.
struct ContextSums {
  uint64_t total = 0;
  std::array<uint32_t, 3> kinds{};  // followers seen once, twice, more often
  double remainder(const Discounts& discounts) const {
    double taken = 0;
    for (size_t i = 0; i < 3; ++i) taken += discounts.by_count[i] * kinds[i];
    return taken / static_cast<double>(total);
  }
};

FlatMap<ContextSums> sum_contexts(const FlatMap<uint32_t>& counts) {
  FlatMap<ContextSums> contexts(counts.size() / 2);
  counts.for_each([&](uint64_t key, uint32_t count) {
    ContextSums& sums = contexts[key >> 8];
    sums.total += count;
    sums.kinds[std::min<uint32_t>(count, 3) - 1] += 1;
  });
  return contexts;
}

}  // namespace

struct NgramTrainer::Impl {
  NgramOptions options;
  std::array<std::vector<uint64_t>, shards> keys;
  std::array<FlatMap<uint32_t>, shards> counts;
  size_t gathered = 0;

  void count_gathered() {
    const size_t most = std::max<size_t>(options.max_ngrams / shards, 16);
    parallel_for(shards, 1, [&](size_t begin, size_t end) {
      for (size_t s = begin; s < end; ++s) {
        for (const uint64_t key : keys[s]) {
          uint32_t& count = counts[s][key];
          if (count != ~uint32_t{0}) ++count;
        }
        keys[s].clear();
        for (uint32_t rare = 1; counts[s].size() > most; rare *= 2) drop_rare(counts[s], rare);
      }
    });
    gathered = 0;
    throw_if_stopped();
  }

  static void drop_rare(FlatMap<uint32_t>& table, uint32_t rare) {
    FlatMap<uint32_t> kept;
    table.for_each([&](uint64_t key, uint32_t count) {
      if (count > rare) kept[key] = count;
    });
    table = std::move(kept);
  }

  // Counts by length - 1: the longest as seen, a shorter one by the number of different bytes seen before it.
  std::vector<FlatMap<uint32_t>> count_levels() {
    std::vector<FlatMap<uint32_t>> levels(static_cast<size_t>(options.order) + 1);
    size_t total = 0;
    for (const auto& shard : counts) total += shard.size();
    levels.back() = FlatMap<uint32_t>(total);
    for (auto& shard : counts) {
      shard.for_each([&](uint64_t key, uint32_t count) { levels.back()[key] = count; });
      shard = FlatMap<uint32_t>();
    }
    for (int length = options.order; length > 0; --length) {
      auto& level = levels[static_cast<size_t>(length) - 1];
      levels[static_cast<size_t>(length)].for_each([&](uint64_t key, uint32_t) { ++level[low_bytes(key, length)]; });
    }
    return levels;
  }
};

NgramTrainer::NgramTrainer(const NgramOptions& options) : impl_(new Impl) {
  if (options.order < 1 || options.order > 6)
    throw UsageError(cat("the order of a byte model is 1 to 6, not ", options.order));
  impl_->options = options;
}
NgramTrainer::~NgramTrainer() = default;

void NgramTrainer::add(std::string_view text) {
  uint64_t history = line_ends;
  for (const char c : text) {
    history = history << 8 | static_cast<uint8_t>(c);
    const uint64_t key = low_bytes(history, impl_->options.order + 1);
    impl_->keys[shard_of(key)].push_back(key);
    if (++impl_->gathered >= batch_keys) impl_->count_gathered();
  }
}

NgramModel NgramTrainer::train() {
  impl_->count_gathered();
  auto counts = impl_->count_levels();
  NgramModel model;
  model.order_ = impl_->options.order;
  model.levels_.resize(counts.size());
  for (size_t level = 0; level < counts.size(); ++level) {
    const Discounts discounts = estimate_discounts(counts[level]);
    const FlatMap<ContextSums> contexts = sum_contexts(counts[level]);
    FlatMap<NgramModel::Node> nodes(counts[level].size());
    counts[level].for_each([&](uint64_t key, uint32_t count) {
      const ContextSums& sums = *contexts.find(key >> 8);
      const double shorter =
          level == 0 ? 1.0 / 256
                     : model.levels_[level - 1].find(low_bytes(key, static_cast<int>(level)))->probability;
      nodes[key].probability = static_cast<float>((count - discounts.of(count)) / static_cast<double>(sums.total) +
                                                  sums.remainder(discounts) * shorter);
    });
    contexts.for_each([&](uint64_t key, const ContextSums& sums) {
      const double remainder = sums.remainder(discounts);
      if (level == 0)
        model.uniform_weight_ = remainder;
      else
        model.levels_[level - 1][key].remainder = static_cast<float>(remainder);
    });
    model.levels_[level] = std::move(nodes);
    counts[level] = FlatMap<uint32_t>();
    throw_if_stopped();
  }
  return model;
}

double NgramModel::probability(uint64_t history, uint8_t byte) const {
  const uint64_t extended = history << 8 | byte;
  double weight = 1;
  for (int length = order_ + 1; length > 0; --length) {
    const Node* node = levels_[static_cast<size_t>(length) - 1].find(low_bytes(extended, length));
    if (node && node->probability > 0) return weight * node->probability;
    if (length == 1) break;
    const Node* context = levels_[static_cast<size_t>(length) - 2].find(low_bytes(history, length - 1));
    if (context) weight *= context->remainder;
  }
  return weight * uniform_weight_ / 256;
}

double NgramModel::probability(std::string_view context, uint8_t byte) const {
  uint64_t history = line_ends;
  for (const char c : context) history = history << 8 | static_cast<uint8_t>(c);
  return probability(history, byte);
}

double NgramModel::log2_probability(std::string_view text) const {
  constexpr double log2_e = 1.4426950408889634;
  uint64_t history = line_ends;
  double sum = 0;
  for (const char c : text) {
    const auto byte = static_cast<uint8_t>(c);
    sum += math::log(probability(history, byte)) * log2_e;
    history = history << 8 | byte;
  }
  return sum;
}

size_t NgramModel::ngrams() const {
  size_t count = 0;
  for (const auto& level : levels_) count += level.size();
  return count;
}

}  // namespace ds
