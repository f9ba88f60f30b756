#include "text/overlap.h"

#include <algorithm>
#include <bit>
#include <tuple>

#include "base/error.h"
#include "text/unicode.h"

namespace ds {
namespace {

constexpr uint32_t last_place = 1u << 31, only_place = 1u << 31;  // marks of a place in places_, of one in the table
constexpr uint32_t hint_words = 32;
constexpr size_t most_letters = 7;  // of a word

uint64_t gram_hash(const uint64_t* words) {
  return words[0] * 0x9e3779b97f4a7c15u + words[1] * 0xc2b2ae3d27d4eb4fu + words[2] * 0xd6e8feb86659fd93u;
}

// Of words that stand in a row, from the last to the first, so that one walk gives the hashes of all that end at a
// word.
struct RunHash {
  uint64_t sum = 0;
  uint64_t add(uint64_t word) {
    sum = sum * 0xd6e8feb86659fd93u + word;
    const uint64_t mixed = (sum ^ sum >> 32) * 0x9e3779b97f4a7c15u;
    return mixed ^ mixed >> 32;
  }
};

uint64_t run_hash(const uint64_t* words, size_t n) {
  RunHash hash;
  uint64_t value = 0;
  for (size_t i = n; i-- > 0;) value = hash.add(words[i]);
  return value;
}

uint32_t letters_of(uint64_t word) { return word & 7; }

uint32_t letters_of(const uint64_t* words, size_t n) {
  uint32_t letters = 0;
  for (size_t i = 0; i < n; ++i) letters += letters_of(words[i]);
  return letters;
}

}  // namespace

// A gram of the items and where it stands, for sorting.
struct OverlapIndex::Place {
  uint64_t hash;
  uint32_t from;
  bool operator<(const Place& other) const { return hash != other.hash ? hash < other.hash : from < other.from; }
};

// What is known of one record while it is looked at.
struct OverlapIndex::Work {
  std::vector<Vote> votes;
  std::vector<Run> runs;
  std::vector<Run> shorts;  // texts of fewer than n words
  std::vector<Run> faint;   // of little evidence: they count where they are lines of their own
  std::vector<Vote> by_text;
  std::vector<uint32_t> covered;  // how many votes of the window cover each word of a text
};

// Calls visit(places) for each range of equal hashes.
template <class Place, class Visit>
static void for_each_hash(const std::vector<Place>& places, Visit&& visit) {
  for (size_t begin = 0, end; begin < places.size(); begin = end) {
    for (end = begin; end < places.size() && places[end].hash == places[begin].hash;) ++end;
    visit(std::span<const Place>(places).subspan(begin, end - begin));
  }
}

void OverlapIndex::Bits::reserve(size_t count) {
  const auto bits = std::bit_ceil(std::max<uint64_t>(count * 8, 64));
  words.assign(bits / 64, 0);
  shift = 64 - std::countr_zero(bits);
}

void OverlapIndex::Table::reserve(size_t count) { slots.assign(count + count / 2 + 2, Slot{0, absent}); }

void OverlapIndex::Table::insert(uint64_t hash, uint32_t value) {
  size_t at = static_cast<size_t>(home(hash) - slots.data());
  while (slots[at].value != absent)
    if (++at == slots.size()) at = 0;
  slots[at] = {static_cast<uint32_t>(hash), value};
}

uint32_t OverlapIndex::Table::find(uint64_t hash) const {
  for (size_t at = static_cast<size_t>(home(hash) - slots.data()); slots[at].value != absent;) {
    if (slots[at].tag == static_cast<uint32_t>(hash)) return slots[at].value;
    if (++at == slots.size()) at = 0;
  }
  return absent;
}

OverlapIndex::OverlapIndex(size_t n, double threshold) : n_(n), threshold_(threshold) {
  if (n < 5 || n > 100) throw UsageError(cat("the n-grams of an overlap are of 5 to 100 words, not ", n));
  if (!(threshold > 0 && threshold <= 1))
    throw UsageError(cat("the threshold of an overlap is above 0 and at most 1, not ", threshold));
}

void OverlapIndex::add(uint32_t item, std::span<const uint64_t> words) {
  require(pending_.size() + words.size() < last_place, "the benchmark files have more than 2^31 words");
  if (words.size() < overlap_gram) return;
  const auto begin = static_cast<uint32_t>(pending_.size());
  pending_.insert(pending_.end(), words.begin(), words.end());
  const auto end = static_cast<uint32_t>(pending_.size());
  if (groups_.empty() || groups_.back().item != item)
    groups_.push_back({static_cast<uint32_t>(texts_.size()), 0, item, 0});
  texts_.push_back({begin, end, 0});
  groups_.back().end = static_cast<uint32_t>(texts_.size());
}

void OverlapIndex::freeze() {
  weights_.assign(pending_.size(), 0);
  for (uint32_t g = 0; g < groups_.size(); ++g) {
    group_ends_.push_back(texts_[groups_[g].end - 1].end);
    while (group_hint_.size() * hint_words < group_ends_[g]) group_hint_.push_back(g);
  }
  build_grams();
  build_runs();
  for (Group& group : groups_)
    for (uint32_t t = group.begin; t < group.end; ++t) {
      Text& text = texts_[t];
      text.coverable = static_cast<uint32_t>(
          std::count_if(weights_.begin() + text.begin, weights_.begin() + text.end, [](uint8_t w) { return w > 0; }));
      group.coverable += text.coverable;
    }
  pending_ = {};
}

uint32_t OverlapIndex::group_of(uint32_t word) const {
  uint32_t group = group_hint_[word / hint_words];
  while (group_ends_[group] <= word) ++group;
  return group;
}

bool OverlapIndex::is_evidence(std::span<const Place> places) const {
  size_t items = 0;
  for (uint32_t i = 0, before = ~0u; i < places.size() && items <= overlap_common_items; ++i) {
    const uint32_t group = group_of(places[i].from);
    items += group != before;
    before = group;
  }
  return items <= overlap_common_items;
}

void OverlapIndex::build_grams() {
  std::vector<Place> places;
  places.reserve(pending_.size());
  for (const Text& text : texts_)
    for (uint32_t at = text.begin; at + overlap_gram <= text.end; ++at)
      places.push_back({gram_hash(&pending_[at]), at});
  std::sort(places.begin(), places.end());
  gram_bits_.reserve(places.size());
  std::vector<std::span<const Place>> evidence;
  for_each_hash(places, [&](std::span<const Place> same) {
    gram_bits_.add(same[0].hash);
    if (is_evidence(same)) evidence.push_back(same);
  });
  grams_.reserve(evidence.size());
  for (const auto same : evidence) {
    for (const Place& place : same)
      for (size_t i = 0; i < overlap_gram; ++i)
        weights_[place.from + i] = static_cast<uint8_t>(letters_of(pending_[place.from + i]));
    if (same.size() == 1) {
      grams_.insert(same[0].hash, same[0].from | only_place);
      continue;
    }
    grams_.insert(same[0].hash, static_cast<uint32_t>(places_.size()));
    for (const Place& place : same) places_.push_back(place.from);
    places_.back() |= last_place;
  }
}

void OverlapIndex::build_runs() {
  std::vector<Place> places;
  for (const Text& text : texts_) {
    const uint32_t length = run_length(text);
    for (uint32_t at = text.begin; at + length <= text.end; ++at)
      if (letters_of(&pending_[at], length) >= (length < n_ ? overlap_line_evidence : overlap_least_evidence))
        places.push_back({run_hash(&pending_[at], length), at});
  }
  std::sort(places.begin(), places.end());
  std::vector<Place> evidence;
  for_each_hash(places, [&](std::span<const Place> same) {
    if (is_evidence(same)) evidence.push_back(same[0]);
  });
  runs_.reserve(evidence.size());
  for (const Place& place : evidence) runs_.insert(place.hash, place.from);
  short_bits_.reserve(static_cast<size_t>(
      std::count_if(texts_.begin(), texts_.end(), [&](const Text& text) { return run_length(text) < n_; })));
  for (const Text& text : texts_)
    if (run_length(text) < n_) short_bits_.add(run_hash(&pending_[text.begin], run_length(text)));
}

// The votes of a record in order of group and place in the record, and its runs. Memory is what takes time here: so a
// block of grams is asked for first and looked at afterwards.
void OverlapIndex::vote(std::span<const uint64_t> words, Work& work) const {
  constexpr size_t block = 128;
  uint64_t hashes[block];
  uint32_t passing[block];
  const size_t grams = words.size() - overlap_gram + 1;
  size_t in_row = 0, before = 0;  // grams up to here, one after the other, that the items have
  for (size_t base = 0; base < grams; base += block) {
    const size_t count = std::min(block, grams - base);
    for (size_t i = 0; i < count; ++i) {
      hashes[i] = gram_hash(&words[base + i]);
      __builtin_prefetch(gram_bits_.word(hashes[i]));
    }
    size_t passed = 0;
    for (size_t i = 0; i < count; ++i) {
      passing[passed] = static_cast<uint32_t>(i);
      passed += gram_bits_.has(hashes[i]);
    }
    for (size_t i = 0; i < passed; ++i) __builtin_prefetch(grams_.home(hashes[passing[i]]));
    for (size_t i = 0; i < passed; ++i) {
      const size_t at = base + passing[i];
      take_places(grams_.find(hashes[passing[i]]), static_cast<uint32_t>(at), work);
      in_row = in_row > 0 && at == before + 1 ? in_row + 1 : 1;
      before = at;
      take_runs(words, at + overlap_gram, in_row + overlap_gram - 1, work);
    }
  }
}

void OverlapIndex::take_places(uint32_t place, uint32_t at, Work& work) const {
  if (place == Table::absent) return;
  if (place & only_place) {
    const uint32_t from = place & ~only_place;
    work.votes.push_back({group_of(from), at, from});
    return;
  }
  do {
    const uint32_t from = places_[place] & ~last_place;
    work.votes.push_back({group_of(from), at, from});
  } while (!(places_[place++] & last_place));
}

// The n-gram, and the texts of fewer words, that end before word `end` of the record; `in_row` words up to there are
// such that all grams in them stand in the items.
void OverlapIndex::take_runs(std::span<const uint64_t> words, size_t end, size_t in_row, Work& work) const {
  RunHash hash;
  for (size_t length = 1; length <= std::min(in_row, n_); ++length) {
    const uint64_t value = hash.add(words[end - length]);
    if (length < n_ && !short_bits_.has(value)) continue;
    const uint32_t from = runs_.find(value);
    if (from == Table::absent) continue;
    const Run run{group_of(from), static_cast<uint32_t>(end - length), static_cast<uint32_t>(length)};
    if (length < n_) {
      const bool faint = length < overlap_least_words || letters_of(&words[run.begin], length) < overlap_least_evidence;
      (faint ? work.faint : work.shorts).push_back(run);
      continue;
    }
    Run* last = work.runs.empty() ? nullptr : &work.runs.back();
    if (last && last->group == run.group && last->begin + last->length + 1 == end)
      ++last->length;
    else
      work.runs.push_back(run);
  }
}

// By group; of the votes only those whose group may have two.
void OverlapIndex::put_in_order(Work& work) const {
  constexpr size_t counters = 4096;
  uint8_t counts[counters] = {};
  for (const Vote& vote : work.votes) {
    uint8_t& count = counts[vote.group % counters];
    count = std::min(count + 1, 2);
  }
  std::erase_if(work.votes, [&](const Vote& vote) { return counts[vote.group % counters] < 2; });
  std::sort(work.votes.begin(), work.votes.end(), [](const Vote& a, const Vote& b) {
    return (uint64_t{a.group} << 32 | a.at) < (uint64_t{b.group} << 32 | b.at);
  });
  work.runs.insert(work.runs.end(), work.shorts.begin(), work.shorts.end());
  std::sort(work.runs.begin(), work.runs.end(), [](const Run& a, const Run& b) {
    return std::tuple(a.group, ~a.length, a.begin) < std::tuple(b.group, ~b.length, b.begin);
  });
}

// The best window of words [begin, end) of the items: a text, or all texts of an item. The votes are those inside.
void OverlapIndex::score_window(std::span<const Vote> votes, std::span<const uint64_t> record, uint32_t begin,
                                uint32_t end, uint32_t coverable, Work& work, OverlapHit& hit) const {
  const size_t width = 2 * size_t{end - begin};
  if (work.covered.size() < end - begin) work.covered.resize(end - begin);
  uint32_t covered = 0, letters_there = 0, letters_here = 0;  // words and letters of the items; letters of the record
  const auto change = [&](uint32_t from, bool add) {
    for (uint32_t word = from; word < from + overlap_gram; ++word) {
      uint32_t& times = work.covered[word - begin];
      if (add ? times++ != 0 : --times != 0) continue;
      covered += add ? 1 : -1;
      letters_there += add ? weights_[word] : -weights_[word];
    }
  };
  size_t first = 0, end_before = 0;
  for (size_t last = 0; last < votes.size(); ++last) {
    const size_t end_here = votes[last].at + overlap_gram;
    change(votes[last].from, true);
    for (size_t word = std::max<size_t>(end_before, votes[last].at); word < end_here; ++word)
      letters_here += letters_of(record[word]);
    end_before = end_here;
    for (; votes[first].at + width < end_here; ++first) {
      change(votes[first].from, false);
      // What the next vote covers too stays.
      for (size_t word = votes[first].at; word < std::min<size_t>(votes[first].at + overlap_gram, votes[first + 1].at);
           ++word)
        letters_here -= letters_of(record[word]);
    }
    const double share = static_cast<double>(covered) / static_cast<double>(coverable);
    if (share > hit.share && covered >= overlap_least_words &&
        std::min(letters_there, letters_here) * share >= overlap_least_evidence) {
      hit.share = share;
      hit.begin = votes[first].at;
      hit.end = end_here;
    }
  }
  for (; first < votes.size(); ++first) change(votes[first].from, false);  // all zeros again
}

// A record of fewer than n words, the other way round: its own words that an item covers.
void OverlapIndex::score_record(std::span<const Vote> votes, std::span<const uint64_t> record, OverlapHit& hit) const {
  size_t covered = 0, end = 0;
  uint32_t letters = 0;
  for (const Vote& vote : votes)
    for (end = std::max<size_t>(end, vote.at); end < vote.at + overlap_gram; ++end) {
      ++covered;
      letters += letters_of(record[end]);
    }
  const double share = static_cast<double>(covered) / static_cast<double>(record.size());
  if (share > hit.share && covered >= overlap_least_words && letters * share >= overlap_least_evidence) {
    hit.share = share;
    hit.begin = votes.front().at;
    hit.end = end;
  }
}

// The text that holds the gram of a vote.
uint32_t OverlapIndex::text_of(const Group& group, const Vote& vote) const {
  const auto after = std::upper_bound(texts_.begin() + group.begin, texts_.begin() + group.end, vote.from,
                                      [](uint32_t word, const Text& text) { return word < text.begin; });
  return static_cast<uint32_t>(after - texts_.begin()) - 1;
}

OverlapHit OverlapIndex::score_group(uint32_t group, std::span<const Vote> votes, std::span<const Run> runs,
                                     std::span<const uint64_t> record, Work& work) const {
  const Group& texts = groups_[group];
  OverlapHit hit{texts.item, 0, 0, 0, 0};
  const auto enough = [](std::span<const Vote> some) {
    return some.size() * overlap_gram * most_letters >= overlap_least_evidence;
  };
  if (enough(votes)) {
    const uint32_t begin = texts_[texts.begin].begin, end = texts_[texts.end - 1].end;
    score_window(votes, record, begin, end, texts.coverable, work, hit);
    if (texts.end - texts.begin > 1) {
      // Text by text: those of a text one after the other, still in the order of the record.
      work.by_text.assign(votes.begin(), votes.end());
      std::stable_sort(work.by_text.begin(), work.by_text.end(),
                       [&](const Vote& a, const Vote& b) { return text_of(texts, a) < text_of(texts, b); });
      for (std::span<const Vote> left = work.by_text; !left.empty();) {
        const uint32_t t = text_of(texts, left[0]);
        size_t count = 1;
        while (count < left.size() && text_of(texts, left[count]) == t) ++count;
        if (enough(left.first(count)))
          score_window(left.first(count), record, texts_[t].begin, texts_[t].end, texts_[t].coverable, work, hit);
        left = left.subspan(count);
      }
    }
    if (record.size() < n_) score_record(votes, record, hit);
  }
  if (!runs.empty()) {
    hit.run = runs[0].length;
    if (hit.run < n_) hit.share = 1;  // a whole text
    if (hit.share < threshold_ || hit.run < n_) {
      hit.begin = runs[0].begin;
      hit.end = runs[0].begin + runs[0].length;
    }
  }
  return hit;
}

// Adds those of the faint runs that fill lines of the text, in their order.
void OverlapIndex::take_lines(std::string_view text, Work& work) const {
  const auto is_filler = [](char c) { return c > 0 && !is_word(static_cast<char32_t>(c)); };
  std::vector<size_t> words;
  for (const Run& run : work.faint) words.insert(words.end(), {run.begin, run.begin + run.length - size_t{1}});
  const auto places = overlap_places(text, words);
  for (size_t i = 0; i < work.faint.size(); ++i) {
    size_t begin = places[2 * i].begin, end = places[2 * i + 1].end;
    while (begin > 0 && text[begin - 1] != '\n' && is_filler(text[begin - 1])) --begin;
    while (end < text.size() && text[end] != '\n' && is_filler(text[end])) ++end;
    if ((begin == 0 || text[begin - 1] == '\n') && (end == text.size() || text[end] == '\n'))
      work.shorts.push_back(work.faint[i]);
  }
}

Overlap OverlapIndex::find(std::string_view text) const {
  Overlap found;
  const std::vector<uint64_t> words = overlap_words(text);
  if (words.size() < overlap_gram || groups_.empty()) return found;
  require(words.size() < last_place, "a text has more than 2^31 words");
  thread_local Work work;  // to keep its memory from record to record
  work.votes.clear();
  work.runs.clear();
  work.shorts.clear();
  work.faint.clear();
  vote(words, work);
  if (!work.faint.empty()) take_lines(text, work);
  put_in_order(work);
  std::span<const Vote> votes = work.votes;
  std::span<const Run> runs = work.runs;
  std::vector<size_t> ends;
  while (!votes.empty() || !runs.empty()) {
    const uint32_t group = std::min(votes.empty() ? ~0u : votes[0].group, runs.empty() ? ~0u : runs[0].group);
    size_t v = 0, r = 0;
    while (v < votes.size() && votes[v].group == group) ++v;
    while (r < runs.size() && runs[r].group == group) ++r;
    const OverlapHit hit = score_group(group, votes.first(v), runs.first(r), words, work);
    votes = votes.subspan(v);
    runs = runs.subspan(r);
    found.share = std::max(found.share, hit.share);
    found.run = std::max(found.run, hit.run);
    if (hit.run > 0 || hit.share >= threshold_) found.hits.push_back(hit);
  }
  std::stable_sort(found.hits.begin(), found.hits.end(), [](const OverlapHit& a, const OverlapHit& b) {
    return a.share != b.share ? a.share > b.share : a.run > b.run;
  });
  for (const OverlapHit& hit : found.hits) ends.insert(ends.end(), {hit.begin, hit.end - 1});
  if (ends.empty()) return found;
  const auto places = overlap_places(text, ends);
  for (size_t i = 0; i < found.hits.size(); ++i) {
    found.hits[i].begin = places[2 * i].begin;
    found.hits[i].end = places[2 * i + 1].end;
  }
  return found;
}

size_t OverlapIndex::memory() const {
  const auto bytes = [](const auto& vector) { return vector.capacity() * sizeof(vector[0]); };
  return bytes(weights_) + bytes(texts_) + bytes(groups_) + bytes(group_hint_) + bytes(group_ends_) +
         bytes(gram_bits_.words) + bytes(short_bits_.words) + bytes(grams_.slots) + bytes(runs_.slots) + bytes(places_);
}

}  // namespace ds
