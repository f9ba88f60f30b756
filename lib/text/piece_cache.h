// The ids of recent short pieces, so that frequent words are tokenized once: a direct-mapped table a thread, shared by
// the models (an entry says whose it is).
#pragma once
#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

#include "base/hash.h"
#include "text/scanners.h"

namespace ds {

class PieceCache {
 public:
  static constexpr size_t max_bytes = 26, max_ids = 7;
  struct Key {
    uint64_t words[4];  // the piece, padded with zeros to 26 bytes; its size (2 bytes); the owner (4 bytes)
    bool operator==(const Key& other) const {
      return ((words[0] ^ other.words[0]) | (words[1] ^ other.words[1]) | (words[2] ^ other.words[2]) |
              (words[3] ^ other.words[3])) == 0;
    }
  };
  struct alignas(64) Entry {
    Key key;  // all zero: unused
    int32_t ids[max_ids];
    uint32_t count;
  };

  // Longer pieces, such as indented words where a space takes three bytes.
  static constexpr size_t max_long_bytes = 92, max_long_ids = 23;
  struct LongEntry {
    uint32_t owner;  // 0: unused
    uint16_t size, count;
    char bytes[max_long_bytes];
    int32_t ids[max_long_ids];
    bool holds(std::string_view piece, uint32_t of) const {
      return owner == of && size == piece.size() && std::memcmp(bytes, piece.data(), size) == 0;
    }
  };

  // A number of their own for each model: 1, 2, ...
  static uint32_t new_owner() {
    static std::atomic<uint32_t> owners{0};
    return ++owners;
  }
  static PieceCache& of_thread() {
    static thread_local PieceCache cache;
    return cache;
  }
  // Key of a piece of 1 to 26 bytes. `readable`: bytes that may be read from its beginning.
  static Key key_of(const char* piece, size_t size, size_t readable, uint32_t owner) {
    Key key;
    if (readable >= sizeof key) {
      std::memcpy(&key, piece, sizeof key);
      for (size_t i = 0; i < 4; ++i) key.words[i] &= masks[size][i];
    } else {
      key = {};
      std::memcpy(&key, piece, size);
    }
    key.words[3] |= uint64_t{size} << 16 | uint64_t{owner} << 32;
    return key;
  }
  // The place of a key; compare before use.
  Entry& slot(const Key& key) {
    uint64_t h = key.words[0] * 0x9e3779b97f4a7c15u ^ key.words[1] * 0xc2b2ae3d27d4eb4fu;
    h ^= key.words[2] * 0x165667b19e3779f9u ^ key.words[3] * 0xff51afd7ed558ccdu;
    h ^= h >> 32;
    return table_[h * 0x9e3779b97f4a7c15u >> (64 - bits)];
  }
  LongEntry& slot(std::string_view piece) { return long_table_[hash64(piece) >> (64 - long_bits)]; }

 private:
  static constexpr int bits = 16, long_bits = 13;  // 4 and 1.5 MiB
  static constexpr std::array<std::array<uint64_t, 4>, max_bytes + 1> masks = [] {
    std::array<std::array<uint64_t, 4>, max_bytes + 1> out{};
    for (size_t size = 0; size <= max_bytes; ++size)
      for (size_t i = 0; i < size; ++i) out[size][i / 8] |= uint64_t{0xff} << (i % 8 * 8);
    return out;
  }();
  std::unique_ptr<Entry[]> table_{new Entry[size_t{1} << bits]()};
  std::unique_ptr<LongEntry[]> long_table_{new LongEntry[size_t{1} << long_bits]()};
};
static_assert(sizeof(PieceCache::Entry) == 64);

// Appends the ids of each piece of a text; `encode(piece, ids)` appends those of one that the cache has not.
template <class Encode>
void encode_pieces(uint32_t owner, std::string_view text, const std::vector<TextRange>& pieces,
                   std::vector<int32_t>& ids, const Encode& encode) {
  constexpr size_t block = 16;  // pieces whose places in the cache are fetched ahead
  PieceCache& cache = PieceCache::of_thread();
  PieceCache::Key keys[block];
  PieceCache::Entry* entries[block];
  std::vector<int32_t> fresh;
  size_t count = ids.size();
  const auto make_room = [&](size_t wanted) {
    if (ids.size() - count < wanted) ids.resize(std::max(count + wanted, ids.size() + ids.size() / 2 + 64));
  };
  const auto encode_fresh = [&](std::string_view piece) {
    fresh.clear();
    encode(piece, fresh);
    make_room(fresh.size());
    std::copy(fresh.begin(), fresh.end(), ids.begin() + static_cast<ptrdiff_t>(count));
    count += fresh.size();
  };
  const auto encode_long = [&](std::string_view piece) {
    if (piece.size() > PieceCache::max_long_bytes) return encode_fresh(piece);
    PieceCache::LongEntry& entry = cache.slot(piece);
    if (entry.holds(piece, owner)) {
      make_room(entry.count);
      std::copy_n(entry.ids, entry.count, ids.begin() + static_cast<ptrdiff_t>(count));
      count += entry.count;
      return;
    }
    encode_fresh(piece);
    if (fresh.size() > PieceCache::max_long_ids) return;
    entry.owner = owner;
    entry.size = static_cast<uint16_t>(piece.size());
    entry.count = static_cast<uint16_t>(fresh.size());
    std::copy(piece.begin(), piece.end(), entry.bytes);
    std::copy(fresh.begin(), fresh.end(), entry.ids);
  };
  for (size_t first = 0; first < pieces.size(); first += block) {
    const size_t here = std::min(block, pieces.size() - first);
    for (size_t i = 0; i < here; ++i) {
      const TextRange& range = pieces[first + i];
      const size_t size = range.end - range.begin;
      entries[i] = nullptr;
      if (size > PieceCache::max_bytes) continue;
      keys[i] = PieceCache::key_of(text.data() + range.begin, size, text.size() - range.begin, owner);
      entries[i] = &cache.slot(keys[i]);
      __builtin_prefetch(entries[i]);
    }
    for (size_t i = 0; i < here; ++i) {
      const TextRange& range = pieces[first + i];
      const std::string_view piece = text.substr(range.begin, range.end - range.begin);
      PieceCache::Entry* entry = entries[i];
      if (!entry) {
        encode_long(piece);
        continue;
      }
      if (entry->key == keys[i]) {
        make_room(PieceCache::max_ids);
        std::memcpy(ids.data() + count, entry->ids, sizeof entry->ids);
        count += entry->count;
        continue;
      }
      encode_fresh(piece);
      if (fresh.size() > PieceCache::max_ids) continue;
      entry->key = keys[i];
      entry->count = static_cast<uint32_t>(fresh.size());
      std::copy(fresh.begin(), fresh.end(), entry->ids);
    }
  }
  ids.resize(count);
}

}  // namespace ds
