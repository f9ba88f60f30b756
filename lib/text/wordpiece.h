// WordPiece: a word is cut into the longest tokens from left to right (Devlin et al., BERT, 2019). WordLevel: a word is
// a token.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/byte_trie.h"
#include "text/scanners.h"
#include "text/string_ids.h"

namespace ds {

struct WordPieceOptions {
  std::string unk_token = "[UNK]";  // a word that cannot be cut becomes this one
  std::string prefix = "##";        // of tokens that continue a word
  size_t max_characters = 100;      // a longer word is unknown
  bool whole_words = false;         // WordLevel
};

// Immutable; all threads may encode at once.
class WordPiece {
 public:
  WordPiece(StringIds vocabulary, WordPieceOptions options);

  // Appends the ids of pieces of a UTF-8 text. An unknown word is an Error where unk_token is not in the vocabulary.
  void encode(std::string_view text, const std::vector<TextRange>& pieces, std::vector<int32_t>& ids) const;

  const StringIds& vocabulary() const { return vocabulary_; }

 private:
  void encode_piece(std::string_view word, std::vector<int32_t>& ids) const;
  bool cut(std::string_view word, std::vector<int32_t>& ids) const;

  StringIds vocabulary_;
  WordPieceOptions options_;
  ByteTrie first_, rest_;  // tokens that begin a word; those that continue one, without the prefix
  int32_t unk_id_;
  uint32_t owner_;
};

}  // namespace ds
