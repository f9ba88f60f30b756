#include "text/bpe.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <limits>
#include <memory>
#include <queue>

#include "base/error.h"
#include "base/hash.h"
#include "text/byte_level.h"

namespace ds {
namespace {

// The ids of recent short pieces: direct-mapped, a cache line an entry, one table a thread.
struct PieceCache {
  static constexpr size_t entries = 1 << 14, max_bytes = 27, max_ids = 8;
  struct alignas(64) Entry {
    int32_t ids[max_ids];
    uint8_t size, count;  // size 0: unused
    char bytes[max_bytes];
  };
  uint64_t owner = 0;
  std::unique_ptr<Entry[]> table{new Entry[entries]()};

  static PieceCache& of(uint64_t instance) {
    static thread_local PieceCache cache;
    if (cache.owner != instance) {
      std::fill_n(cache.table.get(), entries, Entry{});
      cache.owner = instance;
    }
    return cache;
  }
};

uint64_t load(const char* bytes, size_t size) {
  uint64_t word = 0;
  std::memcpy(&word, bytes, size);
  return word;
}

// A cheap hash of at most 27 bytes; it only picks the entry, which is compared in full.
size_t cache_slot(std::string_view piece) {
  const char* p = piece.data();
  const size_t n = piece.size();
  uint64_t h = n;
  const auto mix = [&](uint64_t word) {
    h = (h ^ word) * 0x9e3779b97f4a7c15u;
    h ^= h >> 29;
  };
  if (n >= 8) {
    for (size_t i = 0; i + 8 < n; i += 8) mix(load(p + i, 8));
    mix(load(p + n - 8, 8));
  } else if (n >= 4) {
    mix(load(p, 4) << 32 | load(p + n - 4, 4));
  } else {
    mix(static_cast<uint64_t>(static_cast<uint8_t>(p[0])) << 16 |
        static_cast<uint64_t>(static_cast<uint8_t>(p[n / 2])) << 8 | static_cast<uint8_t>(p[n - 1]));
  }
  return (h * 0x9e3779b97f4a7c15u) >> (64 - 14);
}

std::string fallback_token(int byte) {
  constexpr char digits[] = "0123456789ABCDEF";
  return {'<', '0', 'x', digits[byte >> 4], digits[byte & 15], '>'};
}

}  // namespace

size_t StringHash::operator()(std::string_view text) const { return hash64(text); }

Bpe::Bpe(StringIds vocabulary, const std::vector<std::pair<std::string, std::string>>& merges,
         const BpeOptions& options, const std::string& where)
    : options_(options), vocabulary_(std::move(vocabulary)), merges_(merges.size()) {
  static std::atomic<uint64_t> instances{0};
  instance_ = ++instances;
  const auto id_of = [&](std::string_view token) {
    const auto it = vocabulary_.find(token);
    return it == vocabulary_.end() ? -1 : it->second;
  };
  require(merges.size() < size_t{std::numeric_limits<int32_t>::max()}, where, ": too many merges");
  std::string joined;
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const auto& [a, b] = merges[rank];
    joined.assign(a).append(b);
    const int32_t left = id_of(a), right = id_of(b), id = id_of(joined);
    require(left >= 0 && right >= 0 && id >= 0, where, ": merge ", rank, " (", a, " ", b, "): ",
            left < 0 ? a : right < 0 ? b : joined, " is not in the vocabulary");
    merges_[pair_key(left, right)] = {static_cast<int32_t>(rank), id};
  }
  for (int byte = 0; byte < 256; ++byte)
    byte_ids_[byte] = options_.byte_level ? id_of(to_byte_level(std::string(1, static_cast<char>(byte))))
                                          : id_of(fallback_token(byte));
  if (!options_.unk_token.empty()) {
    unk_id_ = id_of(options_.unk_token);
    require(unk_id_ >= 0, where, ": the unk_token ", options_.unk_token, " is not in the vocabulary");
  }
  if (options_.byte_level) {
    // Byte-level files with a hole in the alphabet and a fallback for it do not exist; refuse rather than guess.
    const bool whole = std::find(std::begin(byte_ids_), std::end(byte_ids_), -1) == std::end(byte_ids_);
    require(whole || !options_.byte_fallback, where, ": byte_fallback with ByteLevel is not supported");
    if (options_.ignore_merges)
      for (const auto& [token, id] : vocabulary_)
        if (auto bytes = from_byte_level(token)) pieces_.emplace(std::move(*bytes), id);
  }
}

void Bpe::encode(std::string_view piece, std::vector<int32_t>& ids) const {
  if (piece.empty()) return;
  if (piece.size() > PieceCache::max_bytes) return encode_uncached(piece, ids);
  PieceCache::Entry& entry = PieceCache::of(instance_).table[cache_slot(piece)];
  if (entry.size == piece.size() && std::memcmp(entry.bytes, piece.data(), piece.size()) == 0) {
    ids.insert(ids.end(), entry.ids, entry.ids + entry.count);
    return;
  }
  const size_t first = ids.size();
  encode_uncached(piece, ids);
  const size_t count = ids.size() - first;
  if (count > PieceCache::max_ids) return;
  entry.size = static_cast<uint8_t>(piece.size());
  entry.count = static_cast<uint8_t>(count);
  std::memcpy(entry.bytes, piece.data(), piece.size());
  std::copy_n(ids.begin() + static_cast<ptrdiff_t>(first), count, entry.ids);
}

void Bpe::encode_uncached(std::string_view piece, std::vector<int32_t>& ids) const {
  if (options_.ignore_merges) {
    const StringIds& tokens = options_.byte_level ? pieces_ : vocabulary_;
    if (const auto it = tokens.find(piece); it != tokens.end()) {
      ids.push_back(it->second);
      return;
    }
  }
  const size_t first = ids.size();
  symbols(piece, ids);
  if (ids.size() - first <= 48)
    merge_short(ids, first);
  else
    merge_long(ids, first);
}

void Bpe::symbols(std::string_view piece, std::vector<int32_t>& ids) const {
  bool pending = false;  // an unk that fuse_unk may still join
  const auto unknown = [&] {
    if (unk_id_ < 0 || (pending && options_.fuse_unk)) return;
    ids.push_back(unk_id_);
    pending = true;
  };
  if (options_.byte_level) {
    for (const char c : piece) {
      const int32_t id = byte_ids_[static_cast<uint8_t>(c)];
      if (id < 0) {
        unknown();
      } else {
        ids.push_back(id);
        pending = false;
      }
    }
    return;
  }
  for (size_t at = 0; at < piece.size();) {
    const std::string_view character = piece.substr(at, utf8_length(piece[at]));
    at += character.size();
    if (const auto it = vocabulary_.find(character); it != vocabulary_.end()) {
      ids.push_back(it->second);
      pending = false;
      continue;
    }
    const bool fallback = options_.byte_fallback && std::all_of(character.begin(), character.end(), [&](char c) {
      return byte_ids_[static_cast<uint8_t>(c)] >= 0;
    });
    if (!fallback) {
      unknown();
      continue;
    }
    for (const char c : character) ids.push_back(byte_ids_[static_cast<uint8_t>(c)]);
    pending = false;
  }
}

// Few symbols: look for the lowest rank among all pairs, join the leftmost such pair, again.
void Bpe::merge_short(std::vector<int32_t>& ids, size_t first) const {
  size_t count = ids.size() - first;
  if (count < 2) return;
  int32_t* symbol = ids.data() + first;
  constexpr Merge none{std::numeric_limits<int32_t>::max(), 0};
  const auto lookup = [&](size_t i) {
    const Merge* merge = merge_of(symbol[i], symbol[i + 1]);
    return merge ? *merge : none;
  };
  std::array<Merge, 48> merges;
  for (size_t i = 0; i + 1 < count; ++i) merges[i] = lookup(i);
  while (count > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < count; ++i)
      if (merges[i].rank < merges[best].rank) best = i;
    if (merges[best].rank == none.rank) break;
    symbol[best] = merges[best].id;
    std::copy(symbol + best + 2, symbol + count, symbol + best + 1);
    std::copy(merges.begin() + static_cast<ptrdiff_t>(best) + 1, merges.begin() + static_cast<ptrdiff_t>(count) - 1,
              merges.begin() + static_cast<ptrdiff_t>(best));
    --count;
    if (best + 1 < count) merges[best] = lookup(best);
    if (best > 0) merges[best - 1] = lookup(best - 1);
  }
  ids.resize(first + count);
}

// Many symbols: a linked list, and a heap of candidate pairs by (rank, position); stale candidates are skipped.
void Bpe::merge_long(std::vector<int32_t>& ids, size_t first) const {
  struct Symbol {
    int32_t id;
    uint32_t previous, next;
  };
  struct Candidate {
    int32_t rank, id;
    uint32_t position;
    int32_t left, right;
    bool operator>(const Candidate& other) const {
      return rank != other.rank ? rank > other.rank : position > other.position;
    }
  };
  const size_t count = ids.size() - first;
  constexpr uint32_t end = std::numeric_limits<uint32_t>::max();
  require(count < end, "a piece of ", count, " symbols is too long to tokenize");
  std::vector<Symbol> list(count);
  for (uint32_t i = 0; i < count; ++i) list[i] = {ids[first + i], i ? i - 1 : end, i + 1 < count ? i + 1 : end};

  std::vector<Candidate> initial;
  const auto candidate = [&](uint32_t at, auto&& add) {
    const uint32_t next = list[at].next;
    if (next == end) return;
    if (const Merge* m = merge_of(list[at].id, list[next].id))
      add(Candidate{m->rank, m->id, at, list[at].id, list[next].id});
  };
  for (uint32_t i = 0; i < count; ++i) candidate(i, [&](const Candidate& c) { initial.push_back(c); });
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue(std::greater<>{}, std::move(initial));
  while (!queue.empty()) {
    const Candidate top = queue.top();
    queue.pop();
    Symbol& left = list[top.position];
    if (left.id != top.left || left.next == end || list[left.next].id != top.right) continue;
    Symbol& right = list[left.next];
    left.id = top.id;
    right.id = -1;
    left.next = right.next;
    if (left.next != end) list[left.next].previous = top.position;
    const auto push = [&](const Candidate& c) { queue.push(c); };
    candidate(top.position, push);
    if (left.previous != end) candidate(left.previous, push);
  }
  ids.resize(first);
  for (uint32_t i = 0; i != end && count; i = list[i].next) ids.push_back(list[i].id);
}

}  // namespace ds
