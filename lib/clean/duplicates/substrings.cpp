#include "clean/duplicates/substrings.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "base/hash.h"
#include "clean/duplicates/anchors.h"
#include "clean/duplicates/borders.h"

namespace ds {
namespace {

constexpr size_t segments = 4096;
constexpr int place_bits = 40;
constexpr uint64_t place_mask = (uint64_t{1} << place_bits) - 1;
constexpr size_t places_kept = 8;  // of an anchor's bytes
constexpr size_t character = 3;    // how far a character's border can be inside it
constexpr char text_end = '\xFF';

size_t segment_of(uint64_t hash) { return hash >> 52; }
uint64_t key_of(uint64_t hash) { return (hash >> 28) << place_bits; }

size_t common_prefix(const char* a, const char* b, size_t size) {
  size_t i = 0;
  for (; i + 8 <= size && std::memcmp(a + i, b + i, 8) == 0;) i += 8;
  while (i < size && a[i] == b[i]) ++i;
  return i;
}

// Of the bytes before a and before b.
size_t common_suffix(const char* a, const char* b, size_t size) {
  size_t i = 0;
  for (; i + 8 <= size && std::memcmp(a - i - 8, b - i - 8, 8) == 0;) i += 8;
  while (i < size && a[-1 - static_cast<ptrdiff_t>(i)] == b[-1 - static_cast<ptrdiff_t>(i)]) ++i;
  return i;
}

bool inside_character(std::string_view text, size_t at) { return at < text.size() && (text[at] & 0xC0) == 0x80; }

// Without the parts of characters at both ends.
TextRange whole_characters(std::string_view text, TextRange range) {
  while (range.begin < range.end && inside_character(text, range.begin)) ++range.begin;
  while (range.begin < range.end && inside_character(text, range.end)) --range.end;
  return range;
}

}  // namespace

// The search for the repeats of one text.
struct RepeatedSubstrings::Search {
  RepeatedSubstrings& index;
  std::string_view text;
  uint64_t base;                 // where the text will stand in the spill file
  std::vector<TextRange> found;  // passages of whole characters, as they were found
  TextRange furthest;            // the passage that ends last, all its bytes
  // A passage is known by how far apart its two places are. Of those found too short: where they end.
  struct Short {
    uint64_t distance;
    size_t end;
  };
  std::vector<Short> too_short;
  std::string bytes, more;

  // All that the shortest passages through an anchor can touch. Longer ones have other anchors.
  TextRange around(size_t anchor) const {
    const size_t left = index.min_length_ - index.anchor_length_ + character;
    return {anchor - std::min(anchor, left), std::min(anchor + index.min_length_ + character, text.size())};
  }
  void compare(size_t anchor, uint64_t place);
  void extend(TextRange& passage, uint64_t distance, bool same_text);
  bool known_short(size_t anchor, uint64_t distance);
};

bool RepeatedSubstrings::Search::known_short(size_t anchor, uint64_t distance) {
  std::erase_if(too_short, [&](const Short& known) { return known.end <= anchor; });
  return std::ranges::any_of(too_short, [&](const Short& known) { return known.distance == distance; });
}

// Compares the text around an anchor with the bytes around an earlier place. Takes time in proportion to min_length,
// and to how much further than any before a passage reaches: so the whole is linear whatever the text.
void RepeatedSubstrings::Search::compare(size_t anchor, uint64_t place) {
  const uint64_t distance = base + anchor - place;
  const bool same_text = place >= base;
  if ((same_text && distance < index.min_length_) || known_short(anchor, distance)) return;
  ++index.work_.compared;
  const TextRange near = around(anchor);
  const size_t left = std::min<uint64_t>(anchor - near.begin, same_text ? place - base : place);
  size_t right = near.end - anchor;
  const char* earlier;  // the bytes at the place
  if (same_text) {
    earlier = text.data() + (place - base);
  } else {
    right = std::min<uint64_t>(right, base - place);
    index.texts_.read(place - left, left + right, bytes);
    earlier = bytes.data() + left;
  }
  const char* mine = text.data() + anchor;
  const size_t same = common_prefix(mine, earlier, right);
  if (same < index.anchor_length_) return;  // another anchor of the same hash
  TextRange passage{anchor - common_suffix(mine, earlier, left), anchor + same};
  index.work_.bytes += passage.size();
  if (passage.end == near.end && passage.end > furthest.end) extend(passage, distance, same_text);
  index.work_.bytes += passage.end - (anchor + same);
  const TextRange whole = whole_characters(text, passage);
  if (whole.size() < index.min_length_) {
    too_short.push_back({distance, passage.end});
    return;
  }
  found.push_back(whole);
  if (passage.end > furthest.end) furthest = passage;
}

void RepeatedSubstrings::Search::extend(TextRange& passage, uint64_t distance, bool same_text) {
  if (same_text) {
    const char* mine = text.data() + passage.end;
    passage.end += common_prefix(mine, mine - distance, text.size() - passage.end);
    return;
  }
  for (size_t chunk = 4096; passage.end < text.size(); chunk = std::min<size_t>(chunk * 4, 1 << 20)) {
    const uint64_t place = base + passage.end - distance;
    const size_t size = std::min<uint64_t>(std::min(chunk, text.size() - passage.end), base - place);
    index.texts_.read(place, size, more);
    const size_t same = common_prefix(text.data() + passage.end, more.data(), size);
    passage.end += same;
    if (same < size || size == 0) return;
  }
}

RepeatedSubstrings::RepeatedSubstrings(size_t min_length, bool whole_sentences, Spill texts)
    : min_length_(min_length),
      anchor_length_(std::max<size_t>(min_length / 4, 12)),
      whole_sentences_(whole_sentences),
      texts_(std::move(texts)),
      places_(segments) {
  if (min_length < shortest || min_length > longest)
    throw UsageError(
        cat("the length of repeated passages is ", min_length, " bytes, expected ", shortest, " to ", longest));
}

std::vector<TextAnchor> RepeatedSubstrings::prepare(std::string_view text) const {
  const size_t broken = text.find(text_end);
  require(broken == text.npos, "the text is not UTF-8: the byte FF at byte ", broken);
  std::vector<TextAnchor> anchors;
  const auto positions = anchor_positions(text, anchor_length_, min_length_);
  anchors.reserve(positions.size());
  for (const size_t position : positions) anchors.push_back({position, hash64(text.substr(position, anchor_length_))});
  return anchors;
}

// Compares an anchor with the places of a hash. Whether there is room for one more.
bool RepeatedSubstrings::look_up(Search& search, size_t position, uint64_t hash) {
  of_hash_.clear();
  places_.find(segment_of(hash), key_of(hash), [&](uint64_t slot) { of_hash_.push_back((slot & place_mask) - 1); });
  for (const uint64_t place : of_hash_) search.compare(position, place);
  return of_hash_.size() < places_kept;
}

// Adds an anchor to the places of a hash, unless it has just been found in a passage that can be found elsewhere.
bool RepeatedSubstrings::remember(const Search& search, TextRange around, size_t position, uint64_t hash) {
  if (search.furthest.contains(around)) return false;
  places_.insert(segment_of(hash), key_of(hash) | (search.base + position + 1));
  return true;
}

TextRemoval RepeatedSubstrings::settle(std::string_view text, const std::vector<TextAnchor>& anchors) {
  TextRemoval removal;
  if (anchors.empty()) return removal;
  Search search{*this, text, texts_.size()};
  require(search.base + text.size() < place_mask, "the search for repeated passages is limited to 1 TiB of text");
  bool is_new = false;
  constexpr size_t ahead = 6;
  for (size_t i = 0; i < anchors.size(); ++i) {
    if (i + ahead < anchors.size())
      places_.prefetch(segment_of(anchors[i + ahead].hash), key_of(anchors[i + ahead].hash));
    const auto& [position, hash] = anchors[i];
    const TextRange around = search.around(position);
    if (search.furthest.contains(around)) continue;  // all of it stands elsewhere, and can be found there
    ++work_.looked_up;
    if (look_up(search, position, hash)) {
      is_new |= remember(search, around, position, hash);
      continue;
    }
    ++work_.common;  // told apart by what stands on its left and on its right. A passage of min_length bytes has the
                     // half
    // of what it has beside the anchor on one of its sides.
    const size_t half = (min_length_ - anchor_length_ + 1) / 2;
    if (position >= half) {
      const uint64_t left = hash64(text.substr(position - half, half + anchor_length_), 1);
      if (look_up(search, position, left)) is_new |= remember(search, around, position, left);
    }
    if (position + anchor_length_ + half <= text.size()) {
      const uint64_t right = hash64(text.substr(position, anchor_length_ + half), 2);
      if (look_up(search, position, right)) is_new |= remember(search, around, position, right);
    }
  }
  if (is_new) {
    texts_.append(text);
    texts_.append({&text_end, 1});
  }

  merge(search.found);
  size_t left_from = 0;
  bool something_left = false;
  for (TextRange range : search.found) {
    if (whole_sentences_) range = whole_sentences(text, range);
    if (range.size() < min_length_) continue;
    something_left = something_left || !trimmed(text.substr(left_from, range.begin - left_from)).empty();
    removal.edits.push_back({range.begin, range.end, {}});
    removal.bytes += range.size();
    left_from = range.end;
  }
  removal.nothing_left = !removal.edits.empty() && !something_left && trimmed(text.substr(left_from)).empty();
  return removal;
}

}  // namespace ds
