// Byte-pair encoding of one piece of text: its bytes or characters, joined pair by pair in the order of the merges.
// Sennrich et al., "Neural Machine Translation of Rare Words with Subword Units", 2016.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/flat_map.h"
#include "text/scanners.h"
#include "text/string_ids.h"

namespace ds {

struct BpeOptions {
  bool byte_level = false;     // symbols are bytes, written in the vocabulary in the byte-level alphabet
  bool byte_fallback = false;  // an unknown character becomes the tokens <0xHH> of its bytes
  bool fuse_unk = false;       // adjacent unknown characters become one unk
  bool ignore_merges = false;  // a piece that is a token is that token
  std::string unk_token;       // empty: unknown characters vanish
  std::string prefix;          // of every character but the first of a piece ("##")
  std::string suffix;          // of the last character of a piece ("</w>")
};

// The token <0xHH> of a byte, of SentencePiece.
std::string byte_token(int byte);

// Two tokens that become one.
struct TokenMerge {
  int32_t left, right, id;
};
// Merges by the strings of their parts, in order of rank; parts and results must be tokens. The prefix of options does
// not show in the middle of a result.
std::vector<TokenMerge> resolve_merges(const StringIds& vocabulary,
                                       const std::vector<std::pair<std::string, std::string>>& merges,
                                       const BpeOptions& options, const std::string& where);

// Immutable; all threads may encode at once.
class Bpe {
 public:
  // `ranks`: of each merge, lowest first; empty: their order. Equal ranks join the leftmost pair first.
  Bpe(StringIds vocabulary, const std::vector<TokenMerge>& merges, const std::vector<int32_t>& ranks,
      const BpeOptions& options, const std::string& where);

  // Appends the ids of pieces of a UTF-8 text (of any bytes, if byte_level).
  void encode(std::string_view text, const std::vector<TextRange>& pieces, std::vector<int32_t>& ids) const;

  const StringIds& vocabulary() const { return vocabulary_; }

 private:
  struct Merge {
    int32_t rank = 0, id = 0;
  };
  static uint64_t pair_key(int32_t a, int32_t b) {
    return uint64_t{static_cast<uint32_t>(a)} << 32 | static_cast<uint32_t>(b);
  }
  // Most pairs are no merge: a bit for each hash says so without a visit to the table.
  static uint64_t pair_hash(uint64_t key) { return (key ^ key >> 29) * 0xc2b2ae3d27d4eb4fu; }
  const Merge* merge_of(int32_t a, int32_t b) const {
    const uint64_t key = pair_key(a, b), bit = pair_hash(key) >> maybe_shift_;
    return maybe_[bit >> 6] >> (bit & 63) & 1 ? merges_.find(key) : nullptr;
  }
  const int32_t* token_of_bytes(std::string_view bytes) const;
  int32_t character_id(char32_t c) const;
  void list_whole_tokens(const std::string& where);
  void note_joins(const std::vector<TokenMerge>& merges);
  bool cuts(char32_t left, char32_t right) const;
  void cut(std::string_view text, TextRange piece, std::vector<TextRange>& parts) const;
  void encode_part(std::string_view piece, std::vector<int32_t>& ids) const;
  void symbols(std::string_view piece, std::vector<int32_t>& ids) const;
  void affixed_symbols(std::string_view piece, std::vector<int32_t>& ids) const;
  void merge_short(std::vector<int32_t>& ids, size_t first) const;
  void merge_long(std::vector<int32_t>& ids, size_t first) const;

  BpeOptions options_;
  StringIds vocabulary_;
  struct Token {
    uint32_t begin, size;
    int32_t id;
  };
  FlatMap<Token> tokens_;  // with ignore_merges, by hash: the tokens, as bytes if byte_level
  std::string token_bytes_;
  FlatMap<Merge> merges_;
  std::vector<uint64_t> maybe_;
  int maybe_shift_ = 0;
  int32_t byte_ids_[256];           // of single bytes (byte_level) or of <0xHH> (byte_fallback); -1 where missing
  std::vector<int32_t> basic_ids_;  // of characters below U+10000; -1 where missing
  FlatMap<int32_t> other_ids_;      // of those above
  std::vector<bool> joins_;         // by hash of two characters: some merge may join what ends and begins with them
  int joins_shift_ = 0;
  std::array<bool, 128 * 128> ascii_cuts_{};  // cuts() of two characters of ASCII
  bool small_ranks_ = true, may_cut_ = false, may_vanish_ = false;
  int32_t unk_id_ = -1;
  uint32_t owner_;
};

}  // namespace ds
