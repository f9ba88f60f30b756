#include "clean/near_index.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/error.h"
#include "base/hash.h"
#include "text/shingles.h"

namespace ds {

constexpr int rank_bits = 20;
constexpr uint32_t long_list = 32;  // a shingle in the prefixes of more sets than this is frequent
constexpr size_t chunk_elements = 1 << 20;

static uint8_t& rank_of(std::vector<uint8_t>& ranks, uint64_t shingle) { return ranks[shingle >> (64 - rank_bits)]; }

NearIndex::NearIndex(double threshold) : threshold_(threshold) {
  if (!(threshold > 0 && threshold <= 1))
    throw UsageError(cat("the Jaccard threshold of near duplicates must be above 0 and at most 1, not ", threshold));
  heads_.assign(1024, 0);
  head_shift_ = 32 - 10;
  rank_.assign(size_t{1} << rank_bits, 0);
  next_rank_ = rank_;
}

// The smallest intersection of sets of sizes a and b whose Jaccard index is at least `bound`, by the very division that
// decides in the end; more than min(a, b) where there is none.
size_t NearIndex::least_overlap(size_t a, size_t b, double bound) const {
  const size_t most = std::min(a, b);
  size_t overlap = static_cast<size_t>(bound / (1 + bound) * static_cast<double>(a + b));
  overlap = std::min(overlap, most);
  while (overlap > 0 && jaccard(overlap - 1, a, b) >= bound) --overlap;
  while (overlap <= most && jaccard(overlap, a, b) < bound) ++overlap;
  return overlap;
}

// A partner has at least `least` of the set's shingles, since intersection/|set| >= intersection/union >= T and both
// divisions round the same way. So it has one of any |set| - least + 1 of them.
size_t NearIndex::prefix_length(size_t size) const {
  const auto share = [&](size_t part) { return static_cast<double>(part) / static_cast<double>(size); };
  size_t least = static_cast<size_t>(threshold_ * static_cast<double>(size));
  while (least > 0 && share(least - 1) >= threshold_) --least;
  while (share(least) < threshold_) ++least;
  return std::min(size - least + 1, size);
}

// The first `length` shingles in the order (rank, hash).
void NearIndex::take_prefix(std::span<const uint64_t> set, size_t length) {
  prefix_.clear();
  ranks_of_set_.resize(set.size());
  for (size_t i = 0; i < set.size(); ++i) {
    ranks_of_set_[i] = rank_of(rank_, set[i]);
    if (ranks_of_set_[i] == 0 && prefix_.size() < length) prefix_.push_back(set[i]);
  }
  rare_ = prefix_.size();
  for (uint8_t rank = 1; prefix_.size() < length && rank <= highest_rank_; ++rank)
    for (size_t i = 0; i < set.size() && prefix_.size() < length; ++i)
      if (ranks_of_set_[i] == rank) prefix_.push_back(set[i]);
}

void NearIndex::count(uint32_t entry, double size) {
  Count& count = counts_[entry];
  if (count.seen_by == query_) {
    ++count.shared;
    return;
  }
  const double other = static_cast<double>(count.size);
  if (std::min(size, other) / std::max(size, other) < threshold_) return;
  count.seen_by = query_;
  count.shared = 1;
  candidates_.push_back(entry);
}

// A shingle whose postings are long shall come later in the next order.
void NearIndex::note_length(uint64_t shingle, size_t length) {
  walked_since_rebuild_ += length;
  work_.postings_walked += length;
  if (length <= long_list) return;
  auto& rank = rank_of(next_rank_, shingle);
  const auto wanted = static_cast<uint8_t>((std::bit_width(length / long_list) + 1) / 2);  // factors of 4
  if (wanted > rank) {
    rank = wanted;
    ranks_changed_ = true;
  }
}

void NearIndex::collect_candidates(std::span<const uint64_t> set) {
  candidates_.clear();
  if (++query_ == 0) {  // the counter went round: forget the marks of 2^32 queries ago
    for (auto& count : counts_) count.seen_by = 0;
    query_ = 1;
  }
  const double size = static_cast<double>(set.size());
  for (size_t i = 0; i < rare_; ++i) {
    const auto tag = static_cast<uint32_t>(prefix_[i] >> 32);
    size_t length = 0;
    for (uint32_t at = heads_[tag >> head_shift_]; at != 0; at = postings_[at - 1].next) {
      const Posting& posting = postings_[at - 1];
      if (posting.tag != tag) continue;
      ++length;
      count(posting.entry, size);
    }
    note_length(prefix_[i], length);
  }
  for (size_t i = rare_; i < prefix_.size(); ++i) {
    const auto found = frequent_.find(prefix_[i]);
    if (found == frequent_.end()) continue;
    for (const uint32_t entry : found->second) count(entry, size);
    note_length(prefix_[i], found->second.size());
  }
  work_.candidates += candidates_.size();
}

// Of the shingles up to the smaller of two prefixes' ends the common ones have been counted; beyond it lie at most as
// many as the set of that prefix has left.
static size_t most_overlap(size_t shared, size_t size, size_t prefix, size_t other_size, size_t other_prefix) {
  return shared + std::max(size - prefix, other_size - other_prefix);
}

// Drops the candidates that cannot reach the threshold; those that share most come first, as they raise the bound.
void NearIndex::keep_possible(std::span<const uint64_t> set, size_t prefix) {
  size_t known_size = 0, least = 0;
  std::erase_if(candidates_, [&](uint32_t candidate) {
    const Entry& entry = entries_[candidate];
    if (entry.size != known_size) {
      known_size = entry.size;
      least = least_overlap(set.size(), entry.size, threshold_);
    }
    return most_overlap(counts_[candidate].shared, set.size(), prefix, entry.size, entry.prefix) < least;
  });
  std::sort(candidates_.begin(), candidates_.end(), [&](uint32_t a, uint32_t b) {
    return counts_[a].shared != counts_[b].shared ? counts_[a].shared > counts_[b].shared : a < b;
  });
}

std::optional<NearMatch> NearIndex::best_candidate(std::span<const uint64_t> set, size_t prefix) {
  keep_possible(set, prefix);
  std::optional<NearMatch> best;
  for (const uint32_t candidate : candidates_) {
    const Entry& entry = entries_[candidate];
    const size_t least = least_overlap(set.size(), entry.size, best ? best->jaccard : threshold_);
    const size_t most = most_overlap(counts_[candidate].shared, set.size(), prefix, entry.size, entry.prefix);
    if (most < least) continue;
    ++work_.compared;
    const size_t common = intersection_size(set, entry.set(), least);
    if (common < least) continue;
    const double index = jaccard(common, set.size(), entry.size);
    if (!best || index > best->jaccard || (index == best->jaccard && candidate < best->of))
      best = NearMatch{candidate, index};
  }
  return best;
}

std::optional<NearMatch> NearIndex::add(std::span<const uint64_t> set) {
  require(!set.empty() && set.size() < UINT32_MAX, "a set of ", set.size(), " shingles cannot be compared");
  require(entries_.size() < UINT32_MAX - 1, "near-duplicate search is limited to 2^32 distinct texts");
  const uint64_t whole = hash64({reinterpret_cast<const char*>(set.data()), set.size_bytes()});
  const auto [first, last] = equal_.equal_range(whole);
  for (auto it = first; it != last; ++it)
    if (std::ranges::equal(entries_[it->second].set(), set)) return NearMatch{it->second, 1.0};

  const size_t prefix = prefix_length(set.size());
  take_prefix(set, prefix);
  collect_candidates(set);
  const auto best = best_candidate(set, prefix);

  equal_.emplace(whole, size());
  entries_.push_back({store(set), static_cast<uint32_t>(set.size()), static_cast<uint32_t>(prefix)});
  counts_.push_back({0, 0, static_cast<uint32_t>(set.size())});
  index_entry(size() - 1);
  // A better order costs about as much as indexing all again: worth it when walking has cost a multiple of that.
  if (ranks_changed_ && walked_since_rebuild_ > 4 * indexed_ + 100000) rebuild();
  return best;
}

// Adds prefix_ to the postings of an entry.
void NearIndex::index_entry(uint32_t entry) {
  require(postings_.size() + prefix_.size() < UINT32_MAX, "the near-duplicate index is full (2^32 postings)");
  indexed_ += prefix_.size();
  for (size_t i = rare_; i < prefix_.size(); ++i) frequent_[prefix_[i]].push_back(entry);
  for (size_t i = 0; i < rare_; ++i) {
    if (postings_.size() == heads_.size() && head_shift_ > 0) {
      heads_.assign(heads_.size() * 2, 0);
      --head_shift_;
      for (uint32_t p = 0; p < postings_.size(); ++p) {
        uint32_t& head = heads_[postings_[p].tag >> head_shift_];
        postings_[p].next = head;
        head = p + 1;
      }
    }
    const auto tag = static_cast<uint32_t>(prefix_[i] >> 32);
    uint32_t& head = heads_[tag >> head_shift_];
    postings_.push_back({tag, entry, head});
    head = static_cast<uint32_t>(postings_.size());
  }
}

void NearIndex::rebuild() {
  rank_ = next_rank_;
  highest_rank_ = *std::max_element(rank_.begin(), rank_.end());
  postings_.clear();
  frequent_.clear();
  indexed_ = 0;
  std::fill(heads_.begin(), heads_.end(), 0);
  for (uint32_t i = 0; i < size(); ++i) {
    take_prefix(entries_[i].set(), entries_[i].prefix);
    index_entry(i);
  }
  ranks_changed_ = false;
  walked_since_rebuild_ = 0;
  ++work_.rebuilds;
}

const uint64_t* NearIndex::store(std::span<const uint64_t> set) {
  if (chunk_size_ - chunk_used_ < set.size()) {
    chunk_size_ = std::max(chunk_elements, set.size());
    chunks_.push_back(std::make_unique_for_overwrite<uint64_t[]>(chunk_size_));
    chunk_used_ = 0;
  }
  uint64_t* place = chunks_.back().get() + chunk_used_;
  std::copy(set.begin(), set.end(), place);
  chunk_used_ += set.size();
  return place;
}

}  // namespace ds
