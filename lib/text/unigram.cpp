#include "text/unigram.h"

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "text/bpe.h"
#include "text/byte_level.h"
#include "text/piece_cache.h"

namespace ds {

Unigram::Unigram(const std::vector<std::pair<std::string, double>>& tokens, int32_t unk_id, bool byte_fallback,
                 const std::string& where)
    : unk_id_(unk_id), byte_fallback_(byte_fallback), owner_(PieceCache::new_owner()) {
  require(!tokens.empty(), where, ": an empty vocabulary");
  require(unk_id < static_cast<int64_t>(tokens.size()), where, ": unk_id ", unk_id, " is not in the vocabulary of ",
          tokens.size());
  require(tokens.size() < size_t{std::numeric_limits<int32_t>::max()}, where, ": too many tokens");
  double lowest = std::numeric_limits<double>::infinity();
  vocabulary_.reserve(tokens.size());
  for (const auto& [token, score] : tokens) {
    const auto id = static_cast<int32_t>(scores_.size());
    lowest = std::min(lowest, score);
    scores_.push_back(score);
    vocabulary_[token] = id;  // the last of equals
    tokens_.insert(token, id);
  }
  unk_score_ = lowest - 10;
  for (int byte = 0; byte < 256; ++byte) byte_ids_[byte] = id_or_none(vocabulary_, byte_token(byte));
}

void Unigram::encode(std::string_view text, const std::vector<TextRange>& pieces, std::vector<int32_t>& ids) const {
  encode_pieces(owner_, text, pieces, ids,
                [&](std::string_view piece, std::vector<int32_t>& out) { encode_piece(piece, out); });
}

// Viterbi over the places between characters; of equal sums the one found first stays.
void Unigram::encode_piece(std::string_view piece, std::vector<int32_t>& ids) const {
  struct Place {
    double score = 0;
    size_t from = std::string_view::npos;
    int32_t id = -1;
  };
  std::vector<Place> places(piece.size() + 1);
  const auto offer = [&](size_t from, size_t to, double score, int32_t id) {
    Place& place = places[to];
    if (place.from == std::string_view::npos || score > place.score) place = {score, from, id};
  };
  for (size_t at = 0; at < piece.size();) {
    const double so_far = places[at].score;
    const size_t length = utf8_length(piece[at]);
    bool single = false;
    tokens_.for_each_prefix(piece.substr(at), [&](size_t size, int32_t id) {
      offer(at, at + size, scores_[static_cast<size_t>(id)] + so_far, id);
      single = single || size == length;
    });
    if (!single) {
      require(unk_id_ >= 0, "a text has a character that the tokenizer does not know, and it has no unk_id");
      offer(at, at + length, unk_score_ + so_far, unk_id_);
    }
    at += length;
  }
  std::vector<std::pair<size_t, size_t>> segments;  // from the last to the first; unknown neighbours are one
  bool unknown_before = false;
  for (size_t end = piece.size(); end > 0; end = places[end].from) {
    const bool unknown = unk_id_ >= 0 && places[end].id == unk_id_;
    if (unknown && unknown_before)
      segments.back().first = places[end].from;
    else
      segments.emplace_back(places[end].from, end);
    unknown_before = unknown;
  }
  for (auto it = segments.rbegin(); it != segments.rend(); ++it)
    append(piece.substr(it->first, it->second - it->first), ids);
}

void Unigram::append(std::string_view segment, std::vector<int32_t>& ids) const {
  if (const int32_t id = id_or_none(vocabulary_, segment); id >= 0) {
    ids.push_back(id);
  } else if (byte_fallback_ && std::all_of(segment.begin(), segment.end(),
                                           [&](char c) { return byte_ids_[static_cast<uint8_t>(c)] >= 0; })) {
    for (const char c : segment) ids.push_back(byte_ids_[static_cast<uint8_t>(c)]);
  } else {
    ids.push_back(unk_id_);
  }
}

}  // namespace ds
