#include "text/shingles.h"

#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "base/hash.h"
#include "text/unicode.h"
#include "text/words.h"

namespace ds {

ShingleKind parse_shingle_kind(std::string_view text) {
  ShingleKind kind;
  const size_t colon = text.find(':');
  const std::string_view unit = text.substr(0, colon);
  if (unit == "char")
    kind.unit = ShingleKind::Unit::character;
  else if (unit != "word")
    throw UsageError(cat("a shingle is word:N or char:N, not '", text, "'"));
  const std::string_view digits = colon == std::string_view::npos ? "" : text.substr(colon + 1);
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), kind.size);
  if (error != std::errc() || end != digits.data() + digits.size() || kind.size < 1 || kind.size > 1000)
    throw UsageError(cat("the size of a shingle is 1 to 1000, as in word:5 or char:13, not '", text, "'"));
  return kind;
}

static ShingleSet sorted_set(ShingleSet set) {
  std::sort(set.begin(), set.end());
  set.erase(std::unique(set.begin(), set.end()), set.end());
  return set;
}

ShingleSet word_shingles(std::span<const uint64_t> words, size_t n) {
  const size_t length = std::min(n, words.size());
  ShingleSet set(words.size() - length + 1);
  for (size_t i = 0; i < set.size(); ++i)
    set[i] = hash64({reinterpret_cast<const char*>(words.data() + i), length * sizeof(uint64_t)});
  return sorted_set(std::move(set));
}

static ShingleSet character_shingles(std::string_view text, size_t n) {
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
  ShingleSet set(characters - length + 1);
  for (size_t i = 0; i < set.size(); ++i)
    set[i] = hash64(std::string_view(folded).substr(starts[i], starts[i + length] - starts[i]));
  return sorted_set(std::move(set));
}

ShingleSet shingles(std::string_view text, ShingleKind kind) {
  return kind.unit == ShingleKind::Unit::word ? word_shingles(word_hashes(text), kind.size)
                                              : character_shingles(text, kind.size);
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
