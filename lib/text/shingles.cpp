#include "text/shingles.h"

#include <algorithm>
#include <bit>
#include <charconv>

#include "base/error.h"
#include "base/hash.h"
#include "text/unicode.h"
#include "text/units.h"
#include "text/words.h"

namespace ds {

ShingleKind parse_shingle_kind(std::string_view text) {
  ShingleKind kind;
  const size_t colon = text.find(':');
  const std::string_view unit = text.substr(0, colon);
  if (unit == "char")
    kind.unit = ShingleKind::Unit::character;
  else if (unit == "unit")
    kind.unit = ShingleKind::Unit::unit;
  else if (unit != "word")
    throw UsageError(cat("a shingle is word:N, unit:N or char:N, not '", text, "'"));
  const std::string_view digits = colon == std::string_view::npos ? "" : text.substr(colon + 1);
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), kind.size);
  if (error != std::errc() || end != digits.data() + digits.size() || kind.size < 1 || kind.size > 1000)
    throw UsageError(cat("the size of a shingle is 1 to 1000, as in word:5 or char:13, not '", text, "'"));
  return kind;
}

std::string shingle_kind_name(ShingleKind kind) {
  static constexpr const char* names[] = {"word", "unit", "char"};
  return cat(names[static_cast<size_t>(kind.unit)], ":", kind.size);
}

// A polynomial in the hashes of n words, kept up to date from word to word, and mixed so that every bit of the result
// depends on every bit of it (the finaliser of MurmurHash3). The length goes in too: a short text's one shingle is none
// of a longer text's.
void word_shingle_sequence(std::span<const uint64_t> words, size_t n, std::vector<uint64_t>& out) {
  constexpr uint64_t base = 0x9E3779B97F4A7C15u;
  const size_t length = std::min(n, words.size());
  out.resize(words.size() - length + 1);
  uint64_t polynomial = 0, leaving = 1;  // base to the power length - 1
  for (size_t i = 0; i < length; ++i) polynomial = polynomial * base + words[i];
  for (size_t i = 1; i < length; ++i) leaving *= base;
  for (size_t i = 0;; ++i) {
    uint64_t mixed = polynomial + length;
    mixed = (mixed ^ mixed >> 33) * 0xFF51AFD7ED558CCDu;
    mixed = (mixed ^ mixed >> 33) * 0xC4CEB9FE1A85EC53u;
    out[i] = mixed ^ mixed >> 33;
    if (i + length >= words.size()) break;
    polynomial = (polynomial - words[i] * leaving) * base + words[i + length];
  }
}

static void character_shingles(std::string_view text, size_t n, std::vector<uint64_t>& out) {
  std::string folded;          // the text as the definition sees it
  std::vector<size_t> starts;  // where each of its characters begins
  folded.reserve(text.size());
  starts.reserve(text.size() + 1);
  bool space = false;
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    const char32_t c = decode_utf8(text, at);
    if (is_space(c)) {
      space = true;
      continue;
    }
    if (space && !starts.empty()) {
      starts.push_back(folded.size());
      folded += ' ';
    }
    space = false;
    const size_t first = folded.size();
    append_lower(folded, c, text, begin, at);
    for (size_t i = first; i < folded.size(); ++i)  // a lower case may be two characters
      if ((folded[i] & 0xC0) != 0x80) starts.push_back(i);
  }
  starts.push_back(folded.size());
  const size_t characters = starts.size() - 1, length = std::min(n, characters);
  out.resize(characters - length + 1);
  for (size_t i = 0; i < out.size(); ++i)
    out[i] = hash64(std::string_view(folded).substr(starts[i], starts[i + length] - starts[i]));
}

void shingle_sequence(std::string_view text, ShingleKind kind, std::vector<uint64_t>& out) {
  if (kind.unit != ShingleKind::Unit::character)
    word_shingle_sequence(kind.unit == ShingleKind::Unit::word ? word_hashes(text) : unit_hashes(text), kind.size, out);
  else
    character_shingles(text, kind.size, out);
}

ShingleSet shingles(std::string_view text, ShingleKind kind) {
  ShingleSet set;
  shingle_sequence(text, kind, set);
  std::sort(set.begin(), set.end());
  set.erase(std::unique(set.begin(), set.end()), set.end());
  return set;
}

// Zero marks a free slot; the shingle 0 stands in the list of distinct ones only.
void ShingleTable::assign(std::span<const uint64_t> shingles) {
  shift_ = 64 - std::max(4, static_cast<int>(std::bit_width(shingles.size())) + 1);
  slots_.assign(size_t{1} << (64 - shift_), 0);
  distinct_.clear();
  const size_t mask = slots_.size() - 1;
  bool zero = false;
  for (const uint64_t shingle : shingles) {
    if (shingle == 0) {
      if (!zero) distinct_.push_back(0);
      zero = true;
      continue;
    }
    size_t at = static_cast<size_t>(shingle >> shift_);
    while (slots_[at] != 0 && slots_[at] != shingle) at = (at + 1) & mask;
    if (slots_[at] == shingle) continue;
    slots_[at] = shingle;
    distinct_.push_back(shingle);
  }
}

bool ShingleTable::contains(uint64_t shingle) const {
  if (shingle == 0) return std::find(distinct_.begin(), distinct_.end(), 0u) != distinct_.end();
  const size_t mask = slots_.size() - 1;
  size_t at = static_cast<size_t>(shingle >> shift_);
  while (slots_[at] != 0 && slots_[at] != shingle) at = (at + 1) & mask;
  return slots_[at] == shingle;
}

size_t intersection_size(std::span<const uint64_t> a, std::span<const uint64_t> b, size_t at_least) {
  if (std::min(a.size(), b.size()) < at_least) return 0;
  size_t i = 0, j = 0, common = 0;
  while (i < a.size() && j < b.size()) {
    // In blocks, so that the test for giving up costs little.
    for (int step = 0; step < 64 && i < a.size() && j < b.size(); ++step) {
      const uint64_t x = a[i], y = b[j];
      common += x == y;
      i += x <= y;
      j += y <= x;
    }
    if (common + std::min(a.size() - i, b.size() - j) < at_least) return 0;
  }
  return common;
}

double jaccard(std::span<const uint64_t> a, std::span<const uint64_t> b) {
  return jaccard(intersection_size(a, b), a.size(), b.size());
}

}  // namespace ds
