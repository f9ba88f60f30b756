#include "text/splits.h"

#include "base/error.h"
#include "text/byte_level.h"
#include "text/unicode.h"
#include "text/unicode_versions.h"

namespace ds {
namespace {

// A part of a piece: what was found, or what lies between.
struct Part {
  size_t begin, end;
  bool match;
};

void append_merged(const std::vector<Part>& parts, SplitBehavior behavior, std::vector<TextRange>& out) {
  const size_t first = out.size();
  bool previous = false;
  switch (behavior) {
    case SplitBehavior::isolated:
      for (const Part& p : parts) out.push_back({p.begin, p.end});
      break;
    case SplitBehavior::removed:
      for (const Part& p : parts)
        if (!p.match) out.push_back({p.begin, p.end});
      break;
    case SplitBehavior::merged_with_previous:
      for (const Part& p : parts) {
        if (p.match && !previous && out.size() > first)
          out.back().end = p.end;
        else
          out.push_back({p.begin, p.end});
        previous = p.match;
      }
      break;
    case SplitBehavior::merged_with_next:
      for (size_t i = parts.size(); i-- > 0; previous = parts[i].match) {
        if (parts[i].match && !previous && out.size() > first)
          out.back().begin = parts[i].begin;
        else
          out.push_back({parts[i].begin, parts[i].end});
      }
      for (size_t i = first, j = out.size(); i + 1 < j; ++i) std::swap(out[i], out[--j]);
      break;
    case SplitBehavior::contiguous:
      for (const Part& p : parts) {
        if (p.match == previous && out.size() > first)
          out.back().end = p.end;
        else
          out.push_back({p.begin, p.end});
        previous = p.match;
      }
      break;
  }
}

template <class Visit>
void visit_matches(const Finder& finder, std::string_view text, MatchSteps& steps, Visit&& visit) {
  size_t from = 0, begin, end, last_end = std::string_view::npos;
  while (from <= text.size() && finder.find(text, from, steps, begin, end)) {
    const bool empty = begin == end;
    if (!empty || begin != last_end) {
      visit(begin, end);
      last_end = end;
    }
    from = end;
    if (!empty) continue;
    if (from >= text.size()) break;
    from += utf8_length(text[from]);
  }
}

}  // namespace

SplitBehavior parse_split_behavior(const std::string& name, const std::string& where) {
  if (name == "Isolated") return SplitBehavior::isolated;
  if (name == "Removed") return SplitBehavior::removed;
  if (name == "MergedWithPrevious") return SplitBehavior::merged_with_previous;
  if (name == "MergedWithNext") return SplitBehavior::merged_with_next;
  if (name == "Contiguous") return SplitBehavior::contiguous;
  fail(where, ": the behavior ", name, " is not supported");
}

std::string_view Finder::prepare(std::string_view text, std::string& scratch) const {
  return pattern_ ? as_unicode14(text, scratch) : text;
}

bool Finder::find(std::string_view text, size_t from, MatchSteps& steps, size_t& begin, size_t& end) const {
  if (pattern_) return pattern_->find(text, from, steps, begin, end);
  if (!character_) {
    begin = text.find(literal_, from);
    end = begin + literal_.size();
    return begin != std::string_view::npos;
  }
  for (end = from; end < text.size();) {
    begin = end;
    if (character_(decode_utf8(text, end))) return true;
  }
  return false;
}

void GrowthLimit::check(size_t bytes) const {
  require(bytes <= limit, "the tokenizer's ", part, " makes more than ", growth, " bytes of each byte of a text");
}

void for_each_match(const Finder& finder, std::string_view prepared, MatchSteps& steps,
                    const std::function<void(size_t, size_t)>& visit) {
  visit_matches(finder, prepared, steps, visit);
}

void apply_split(const Split& split, std::string_view text, MatchSteps& steps, std::vector<TextRange>& ranges) {
  std::string scratch;
  text = split.finder.prepare(text, scratch);
  std::vector<TextRange> out;
  std::vector<Part> parts;
  for (const TextRange& range : ranges) {
    parts.clear();
    size_t done = range.begin;
    const std::string_view piece = text.substr(range.begin, range.end - range.begin);
    visit_matches(split.finder, piece, steps, [&](size_t begin, size_t end) {
      begin += range.begin, end += range.begin;
      if (done < begin) parts.push_back({done, begin, split.invert});
      parts.push_back({begin, end, !split.invert});
      done = end;
    });
    if (done < range.end) parts.push_back({done, range.end, split.invert});
    append_merged(parts, split.behavior, out);
  }
  std::erase_if(out, [](const TextRange& range) { return range.begin == range.end; });
  ranges.swap(out);
}

}  // namespace ds
