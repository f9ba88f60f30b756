// Byte-pair encoding of one piece of text: its bytes or characters, joined pair by pair in the order of the merges.
// Sennrich et al., "Neural Machine Translation of Rare Words with Subword Units", 2016.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "text/flat_map.h"

namespace ds {

// Looks up std::string keys by view.
struct StringHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const;
};
using StringIds = std::unordered_map<std::string, int32_t, StringHash, std::equal_to<>>;

struct BpeOptions {
  bool byte_level = false;     // symbols are bytes, written in the vocabulary in the byte-level alphabet
  bool byte_fallback = false;  // an unknown character becomes the tokens <0xHH> of its bytes
  bool fuse_unk = false;       // adjacent unknown characters become one unk
  bool ignore_merges = false;  // a piece that is a token is that token
  std::string unk_token;       // empty: unknown characters vanish
};

// Immutable; all threads may encode at once. Each thread keeps a cache of short pieces (1 MiB).
class Bpe {
 public:
  // `vocabulary` and `merges` as the file writes them; merges in order of rank, their parts and results tokens.
  Bpe(StringIds vocabulary, const std::vector<std::pair<std::string, std::string>>& merges, const BpeOptions& options,
      const std::string& where);

  // Appends the ids of a piece of UTF-8 (of any bytes, if byte_level).
  void encode(std::string_view piece, std::vector<int32_t>& ids) const;

  const StringIds& vocabulary() const { return vocabulary_; }

 private:
  struct Merge {
    int32_t rank = 0, id = 0;
  };
  static uint64_t pair_key(int32_t a, int32_t b) { return uint64_t{static_cast<uint32_t>(a)} << 32 | static_cast<uint32_t>(b); }
  const Merge* merge_of(int32_t a, int32_t b) const { return merges_.find(pair_key(a, b)); }
  void encode_uncached(std::string_view piece, std::vector<int32_t>& ids) const;
  void symbols(std::string_view piece, std::vector<int32_t>& ids) const;
  void merge_short(std::vector<int32_t>& ids, size_t first) const;
  void merge_long(std::vector<int32_t>& ids, size_t first) const;

  BpeOptions options_;
  StringIds vocabulary_;
  StringIds pieces_;             // byte_level with ignore_merges: the bytes of each token
  FlatMap<Merge> merges_;
  int32_t byte_ids_[256];        // of single bytes (byte_level) or of <0xHH> (byte_fallback); -1 where missing
  int32_t unk_id_ = -1;
  uint64_t instance_;            // tells the caches of different objects apart
};

}  // namespace ds
