// The unigram language model: the cut of a piece into tokens that has the greatest sum of log probabilities.
// Kudo, "Subword Regularization", 2018; the details are those of Hugging Face tokenizers.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/byte_trie.h"
#include "text/scanners.h"
#include "text/string_ids.h"

namespace ds {

// Immutable; all threads may encode at once.
class Unigram {
 public:
  // Tokens with their scores, in order of ids. unk_id -1: none, an unknown character is then an Error. byte_fallback:
  // what is unknown becomes the tokens <0xHH> of its bytes, if all exist.
  Unigram(const std::vector<std::pair<std::string, double>>& tokens, int32_t unk_id, bool byte_fallback,
          const std::string& where);

  // Appends the ids of pieces of a UTF-8 text.
  void encode(std::string_view text, const std::vector<TextRange>& pieces, std::vector<int32_t>& ids) const;

  const StringIds& vocabulary() const { return vocabulary_; }

 private:
  void encode_piece(std::string_view piece, std::vector<int32_t>& ids) const;
  void append(std::string_view segment, std::vector<int32_t>& ids) const;

  StringIds vocabulary_;
  std::vector<double> scores_;  // by id
  ByteTrie tokens_;
  int32_t unk_id_;
  double unk_score_ = 0;
  bool byte_fallback_;
  int32_t byte_ids_[256];
  uint32_t owner_;
};

}  // namespace ds
