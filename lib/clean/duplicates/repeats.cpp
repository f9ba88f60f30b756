#include "clean/duplicates/repeats.h"

#include <algorithm>
#include <cstring>

#include "base/hash.h"
#include "clean/duplicates/borders.h"

namespace ds {

static constexpr size_t segments = 256;

RepeatedUnits::RepeatedUnits(RepeatUnit unit, size_t min_characters)
    : unit_(unit), min_characters_(min_characters), seen_(segments) {}

// Whether a text has at least so many characters; counts only where its bytes leave it open.
static bool has_characters(std::string_view text, size_t least) {
  if (text.size() < least || text.size() / 4 >= least || least <= 1) return text.size() >= least;
  return static_cast<size_t>(std::ranges::count_if(text, [](char c) { return (c & 0xC0) != 0x80; })) >= least;
}

static uint64_t usable(uint64_t hash) { return hash <= RepeatParts::left_alone ? hash + 2 : hash; }

RepeatParts RepeatedUnits::prepare(std::string_view text) const {
  RepeatParts result{text.size(), {}};
  const bool paragraphs = unit_ == RepeatUnit::paragraph;
  bool open = false;  // the last part is a paragraph that may go on
  for (size_t begin = 0, next; begin < text.size(); begin = next) {
    const void* feed = std::memchr(text.data() + begin, '\n', text.size() - begin);
    size_t end = feed ? static_cast<size_t>(static_cast<const char*>(feed) - text.data()) : text.size();
    next = end + (feed != nullptr);
    if (feed && end > begin && text[end - 1] == '\r') --end;
    const std::string_view line = trimmed(text.substr(begin, end - begin));
    if (line.empty()) {
      open = false;
      if (!paragraphs) result.parts.push_back({begin, end, RepeatParts::blank});
    } else if (!paragraphs) {
      const bool counts = has_characters(line, min_characters_);
      result.parts.push_back({begin, end, counts ? usable(hash64(line)) : RepeatParts::left_alone});
    } else if (open) {
      result.parts.back().end = end;
      result.parts.back().hash = hash64(line, result.parts.back().hash);
    } else {
      result.parts.push_back({begin, end, hash64(line)});
      open = true;
    }
  }
  if (paragraphs)
    for (auto& [begin, end, hash] : result.parts)
      hash = has_characters(trimmed(text.substr(begin, end - begin)), min_characters_) ? usable(hash)
                                                                                       : RepeatParts::left_alone;
  return result;
}

bool RepeatedUnits::is_new(uint64_t hash) {
  const size_t segment = hash % segments;
  bool found = false;
  seen_.find(segment, hash, [&](uint64_t) { found = true; });
  if (!found) seen_.insert(segment, hash);
  return !found;
}

TextRemoval RepeatedUnits::settle(const RepeatParts& prepared) {
  const auto& parts = prepared.parts;
  TextRemoval removal;
  bool something_left = false;
  size_t first = parts.size();  // of the run of parts to take out, if one is open
  const auto take_out = [&](size_t begin, size_t end) {
    removal.edits.push_back({begin, end, {}});
    removal.bytes += end - begin;
  };
  constexpr size_t ahead = 8;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (i + ahead < parts.size()) seen_.prefetch(parts[i + ahead].hash % segments, parts[i + ahead].hash);
    const uint64_t hash = parts[i].hash;
    if (hash > RepeatParts::left_alone && !is_new(hash)) {
      first = std::min(first, i);
      continue;
    }
    something_left |= hash != RepeatParts::blank;
    if (first < i) take_out(parts[first].begin, parts[i].begin);
    first = parts.size();
  }
  if (first < parts.size()) {
    if (first == 0)
      take_out(0, prepared.text_size);
    else
      take_out(parts[first - 1].end, parts.back().end);
  }
  removal.nothing_left = !removal.edits.empty() && !something_left;
  return removal;
}

}  // namespace ds
