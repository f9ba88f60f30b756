#include "text/wordpiece.h"

#include <algorithm>

#include "base/error.h"
#include "text/piece_cache.h"

namespace ds {
namespace {

bool begins_character(char c) { return (static_cast<uint8_t>(c) & 0xc0) != 0x80; }

}  // namespace

WordPiece::WordPiece(StringIds vocabulary, WordPieceOptions options)
    : vocabulary_(std::move(vocabulary)),
      options_(std::move(options)),
      unk_id_(id_or_none(vocabulary_, options_.unk_token)),
      owner_(PieceCache::new_owner()) {
  if (options_.whole_words) return;
  for (const auto& [token, id] : vocabulary_) {
    first_.insert(token, id);
    if (token.starts_with(options_.prefix)) rest_.insert(std::string_view(token).substr(options_.prefix.size()), id);
  }
}

void WordPiece::encode(std::string_view text, const std::vector<TextRange>& pieces, std::vector<int32_t>& ids) const {
  encode_pieces(owner_, text, pieces, ids,
                [&](std::string_view piece, std::vector<int32_t>& out) { encode_piece(piece, out); });
}

void WordPiece::encode_piece(std::string_view word, std::vector<int32_t>& ids) const {
  const size_t first = ids.size();
  if (options_.whole_words) {
    if (const int32_t id = id_or_none(vocabulary_, word); id >= 0) return ids.push_back(id);
  } else if (static_cast<size_t>(std::count_if(word.begin(), word.end(), begins_character)) <=
                 options_.max_characters &&
             cut(word, ids)) {
    return;
  }
  require(unk_id_ >= 0, "a text has a word that the tokenizer does not know, and its unk_token ", options_.unk_token,
          " is not in the vocabulary");
  ids.resize(first);
  ids.push_back(unk_id_);
}

bool WordPiece::cut(std::string_view word, std::vector<int32_t>& ids) const {
  for (size_t at = 0; at < word.size();) {
    size_t end = at;
    int32_t longest = -1;
    (at == 0 ? first_ : rest_).for_each_prefix(word.substr(at), [&](size_t size, int32_t id) {
      end = at + size;
      longest = id;
    });
    if (longest < 0) return false;
    ids.push_back(longest);
    at = end;
  }
  return true;
}

}  // namespace ds
