#include "text/bpe.h"

#include <algorithm>
#include <array>
#include <bit>
#include <limits>
#include <queue>

#include "base/error.h"
#include "text/byte_level.h"
#include "text/piece_cache.h"
#include "text/unicode.h"

namespace ds {
namespace {

constexpr size_t most_short = 64;  // symbols of a piece that merge_short takes

uint64_t join_hash(char32_t left, char32_t right) { return (uint64_t{left} << 32 | right) * 0x9e3779b97f4a7c15u; }

char32_t last_character(std::string_view text) {
  size_t at = text.size() - 1;
  while (at > 0 && (static_cast<uint8_t>(text[at]) & 0xc0) == 0x80) --at;
  return decode_utf8(text, at);
}

}  // namespace

std::string byte_token(int byte) {
  constexpr char digits[] = "0123456789ABCDEF";
  return {'<', '0', 'x', digits[byte >> 4], digits[byte & 15], '>'};
}

std::vector<TokenMerge> resolve_merges(const StringIds& vocabulary,
                                       const std::vector<std::pair<std::string, std::string>>& merges,
                                       const BpeOptions& options, const std::string& where) {
  std::vector<TokenMerge> out;
  out.reserve(merges.size());
  std::string joined;
  for (const auto& [a, b] : merges) {
    require(b.size() >= options.prefix.size(), where, ": merge ", out.size(), " (", a, " ", b, ") lacks the prefix ",
            options.prefix);
    joined.assign(a).append(b, options.prefix.size());
    const TokenMerge merge{id_or_none(vocabulary, a), id_or_none(vocabulary, b), id_or_none(vocabulary, joined)};
    require(merge.left >= 0 && merge.right >= 0 && merge.id >= 0, where, ": merge ", out.size(), " (", a, " ", b, "): ",
            merge.left < 0    ? a
            : merge.right < 0 ? b
                              : joined,
            " is not in the vocabulary");
    out.push_back(merge);
  }
  return out;
}

Bpe::Bpe(StringIds vocabulary, const std::vector<TokenMerge>& merges, const std::vector<int32_t>& ranks,
         const BpeOptions& options, const std::string& where)
    : options_(options), vocabulary_(std::move(vocabulary)), merges_(merges.size()), owner_(PieceCache::new_owner()) {
  require(merges.size() < size_t{std::numeric_limits<int32_t>::max()}, where, ": too many merges");
  int bits = 10;
  while (size_t{1} << bits < merges.size() * 8) ++bits;
  maybe_.assign(size_t{1} << (bits - 6), 0);
  maybe_shift_ = 64 - bits;
  for (size_t i = 0; i < merges.size(); ++i) {
    const uint64_t bit = pair_hash(pair_key(merges[i].left, merges[i].right)) >> maybe_shift_;
    maybe_[bit >> 6] |= uint64_t{1} << (bit & 63);
    const int32_t rank = ranks.empty() ? static_cast<int32_t>(i) : ranks[i];
    merges_[pair_key(merges[i].left, merges[i].right)] = {rank, merges[i].id};
    small_ranks_ =
        small_ranks_ && rank >= 0 && static_cast<uint32_t>(rank) < std::numeric_limits<uint32_t>::max() / most_short;
  }
  for (int byte = 0; byte < 256; ++byte)
    byte_ids_[byte] = id_or_none(
        vocabulary_, options_.byte_level ? to_byte_level(std::string(1, static_cast<char>(byte))) : byte_token(byte));
  unk_id_ = id_or_none(vocabulary_, options_.unk_token);
  require(!options_.byte_level || (!options_.byte_fallback && options_.prefix.empty() && options_.suffix.empty()),
          where, ": bytes with a fallback or affixes");
  if (options_.ignore_merges) list_whole_tokens(where);
  if (options_.byte_level) return;
  basic_ids_.assign(0x10000, -1);
  for (const auto& [token, id] : vocabulary_) {
    size_t at = 0;
    if (token.empty()) continue;
    const char32_t c = decode_utf8(token, at);
    if (at == token.size()) (c < 0x10000 ? basic_ids_[c] : other_ids_[c]) = id;
  }
  note_joins(merges);
}

void Bpe::list_whole_tokens(const std::string& where) {
  for (const auto& [token, id] : vocabulary_) {
    const std::optional<std::string> bytes = options_.byte_level ? from_byte_level(token) : token;
    if (!bytes || bytes->empty()) continue;
    require(token_bytes_.size() + bytes->size() < std::numeric_limits<uint32_t>::max(), where,
            ": the tokens are too long");
    Token& entry = tokens_[hash64(*bytes)];
    require(entry.size == 0, where, ": two tokens have one hash: ", token);
    entry = {static_cast<uint32_t>(token_bytes_.size()), static_cast<uint32_t>(bytes->size()), id};
    token_bytes_ += *bytes;
  }
}

const int32_t* Bpe::token_of_bytes(std::string_view bytes) const {
  const Token* token = tokens_.find(hash64(bytes));
  return token && std::string_view(token_bytes_).substr(token->begin, token->size) == bytes ? &token->id : nullptr;
}

// A long piece may be cut between two characters if no merge joins a token that ends with the one and a token that
// begins with the other; SentencePiece's vocabularies have none that joins a letter and a space after it. Merges of the
// tokens that stand for unknown characters would be missed, so then nothing is cut.
void Bpe::note_joins(const std::vector<TokenMerge>& merges) {
  if (!options_.prefix.empty() || !options_.suffix.empty() || options_.ignore_merges) return;
  int32_t highest = -1;
  for (const auto& [token, id] : vocabulary_) highest = std::max(highest, id);
  std::vector<std::string_view> texts(static_cast<size_t>(highest + 1));
  for (const auto& [token, id] : vocabulary_) texts[static_cast<size_t>(id)] = token;
  std::vector<bool> stands_in(texts.size());
  if (unk_id_ >= 0) stands_in[static_cast<size_t>(unk_id_)] = true;
  for (const int32_t id : byte_ids_)
    if (options_.byte_fallback && id >= 0) stands_in[static_cast<size_t>(id)] = true;
  int bits = 12;
  while (size_t{1} << bits < merges.size() * 8) ++bits;
  joins_.assign(size_t{1} << bits, false);
  joins_shift_ = 64 - bits;
  for (const TokenMerge& merge : merges) {
    if (stands_in[static_cast<size_t>(merge.left)] || stands_in[static_cast<size_t>(merge.right)]) return;
    const std::string_view left = texts[static_cast<size_t>(merge.left)],
                           right = texts[static_cast<size_t>(merge.right)];
    size_t at = 0;
    if (left.empty() || right.empty()) return;
    joins_[join_hash(last_character(left), decode_utf8(right, at)) >> joins_shift_] = true;
  }
  const bool whole = std::find(std::begin(byte_ids_), std::end(byte_ids_), -1) == std::end(byte_ids_);
  may_vanish_ = options_.unk_token.empty() && !(options_.byte_fallback && whole);
  may_cut_ = true;
  for (char32_t left = 0; left < 128; ++left)
    for (char32_t right = 0; right < 128; ++right) ascii_cuts_[left * 128 + right] = cuts(left, right);
}

// Whether no merge crosses from one character to the next. An unknown character stays with the one before it, with
// which it may fuse, and if it may vanish with the one after it, which then has another neighbour.
bool Bpe::cuts(char32_t left, char32_t right) const {
  return !joins_[join_hash(left, right) >> joins_shift_] && character_id(right) >= 0 &&
         (!may_vanish_ || character_id(left) >= 0);
}

// The parts of a piece that no merge crosses.
void Bpe::cut(std::string_view text, TextRange piece, std::vector<TextRange>& parts) const {
  size_t begin = piece.begin, at = begin;
  char32_t previous = next_character(text, at);
  while (at < piece.end) {
    const size_t here = at;
    const char32_t c = next_character(text, at);
    if ((previous | c) < 128 ? ascii_cuts_[previous * 128 + c] : cuts(previous, c)) {
      parts.push_back({begin, here});
      begin = here;
    }
    previous = c;
  }
  parts.push_back({begin, piece.end});
}

int32_t Bpe::character_id(char32_t c) const {
  if (c < 0x10000) return basic_ids_[c];
  const int32_t* id = other_ids_.find(c);
  return id ? *id : -1;
}

void Bpe::encode(std::string_view text, const std::vector<TextRange>& pieces, std::vector<int32_t>& ids) const {
  const auto encode_one = [&](std::string_view part, std::vector<int32_t>& out) { encode_part(part, out); };
  if (!may_cut_) return encode_pieces(owner_, text, pieces, ids, encode_one);
  std::vector<TextRange> parts;
  parts.reserve(pieces.size() + text.size() / 6);
  for (const TextRange& piece : pieces) {
    if (piece.end - piece.begin <= PieceCache::max_bytes)
      parts.push_back(piece);
    else
      cut(text, piece, parts);
  }
  encode_pieces(owner_, text, parts, ids, encode_one);
}

void Bpe::encode_part(std::string_view piece, std::vector<int32_t>& ids) const {
  if (options_.ignore_merges)
    if (const int32_t* id = token_of_bytes(piece)) return ids.push_back(*id);
  const size_t first = ids.size();
  if (options_.prefix.empty() && options_.suffix.empty())
    symbols(piece, ids);
  else
    affixed_symbols(piece, ids);
  if (ids.size() - first <= most_short && small_ranks_)
    merge_short(ids, first);
  else
    merge_long(ids, first);
}

namespace {

// Unknown characters wait: one that fuse_unk may join follows at most one; the tokens of bytes do not end the wait.
class Unknowns {
 public:
  Unknowns(const BpeOptions& options, int32_t id, std::vector<int32_t>& ids) : options_(options), id_(id), ids_(ids) {}
  void add() {
    if (options_.unk_token.empty()) return;
    require(id_ >= 0, "a text has a character that the tokenizer does not know, and its unk_token ", options_.unk_token,
            " is not in the vocabulary");
    if (waits_ && !options_.fuse_unk) ids_.push_back(id_);
    waits_ = true;
  }
  void flush() {
    if (waits_) ids_.push_back(id_);
    waits_ = false;
  }

 private:
  const BpeOptions& options_;
  int32_t id_;
  std::vector<int32_t>& ids_;
  bool waits_ = false;
};

}  // namespace

void Bpe::symbols(std::string_view piece, std::vector<int32_t>& ids) const {
  Unknowns unknowns(options_, unk_id_, ids);
  for (size_t at = 0; at < piece.size();) {
    const size_t begin = at;
    const int32_t id =
        options_.byte_level ? byte_ids_[static_cast<uint8_t>(piece[at++])] : character_id(decode_utf8(piece, at));
    if (id >= 0) {
      unknowns.flush();
      ids.push_back(id);
      continue;
    }
    const std::string_view bytes = piece.substr(begin, at - begin);
    if (options_.byte_fallback &&
        std::all_of(bytes.begin(), bytes.end(), [&](char c) { return byte_ids_[static_cast<uint8_t>(c)] >= 0; }))
      for (const char c : bytes) ids.push_back(byte_ids_[static_cast<uint8_t>(c)]);
    else
      unknowns.add();
  }
  unknowns.flush();
}

// The same with affixes, which are part of a symbol's text.
void Bpe::affixed_symbols(std::string_view piece, std::vector<int32_t>& ids) const {
  Unknowns unknowns(options_, unk_id_, ids);
  std::string symbol;
  for (size_t at = 0; at < piece.size();) {
    const size_t size = utf8_length(piece[at]);
    symbol.assign(at > 0 ? options_.prefix : "").append(piece, at, size);
    at += size;
    if (at >= piece.size()) symbol += options_.suffix;
    if (const int32_t id = id_or_none(vocabulary_, symbol); id >= 0) {
      unknowns.flush();
      ids.push_back(id);
      continue;
    }
    if (options_.byte_fallback &&
        std::all_of(symbol.begin(), symbol.end(), [&](char c) { return byte_ids_[static_cast<uint8_t>(c)] >= 0; }))
      for (const char c : symbol) ids.push_back(byte_ids_[static_cast<uint8_t>(c)]);
    else
      unknowns.add();
  }
  unknowns.flush();
}

// Few symbols: look for the lowest rank among all pairs, join the leftmost such pair, again. A pair waits at the place of
// its left symbol as one number, its rank and then the place, so that the least number is the leftmost of equal ranks.
void Bpe::merge_short(std::vector<int32_t>& ids, size_t first) const {
  const size_t count = ids.size() - first;
  if (count < 2) return;
  int32_t* const symbol = ids.data() + first;
  constexpr uint32_t none = std::numeric_limits<uint32_t>::max();
  std::array<uint32_t, most_short> waiting;
  std::array<int32_t, most_short> joined;
  waiting.fill(none);
  const auto look = [&](size_t at, size_t next) {
    const Merge* merge = merge_of(symbol[at], symbol[next]);
    waiting[at] = merge ? static_cast<uint32_t>(merge->rank) * most_short + static_cast<uint32_t>(at) : none;
    if (merge) joined[at] = merge->id;
  };
  for (size_t at = 0; at + 1 < count; ++at) look(at, at + 1);
  uint64_t alive = ~uint64_t{0} >> (most_short - count);  // a bit for each symbol that is not joined to one before it
  const size_t scanned = (count + 7) / 8 * 8;
  while (true) {
    uint32_t least = none;
    for (size_t i = 0; i < scanned; ++i) least = std::min(least, waiting[i]);
    if (least == none) break;
    const size_t at = least % most_short;
    uint64_t behind = alive & ~uint64_t{1} << at;  // never empty: the pair has a right symbol
    const auto right = static_cast<size_t>(std::countr_zero(behind));
    symbol[at] = joined[at];
    alive &= ~(uint64_t{1} << right);
    waiting[right] = waiting[at] = none;
    behind &= behind - 1;
    const uint64_t before = alive & ((uint64_t{1} << at) - 1);
    if (behind) look(at, static_cast<size_t>(std::countr_zero(behind)));
    if (before) look(static_cast<size_t>(std::bit_width(before)) - 1, at);
  }
  size_t kept = 0;
  for (; alive; alive &= alive - 1) symbol[kept++] = symbol[std::countr_zero(alive)];
  ids.resize(first + kept);
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
