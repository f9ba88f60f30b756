#include <algorithm>
#include <bit>
#include <cstring>
#include <vector>

#include "base/hash.h"
#include "clean/hash_set.h"
#include "clean/quality_characters.h"
#include "clean/text_signals.h"

namespace ds {

namespace {

double share(size_t part, size_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

// What repeats among the pieces of a text.
struct Duplicates {
  size_t pieces = 0, duplicates = 0, characters = 0;  // characters of the duplicates

  void add(std::string_view piece, HashSet& seen) {
    ++pieces;
    if (seen.insert(hash64(piece))) return;
    ++duplicates;
    characters += count_characters(piece);
  }
};

// The pieces between runs of at least `least` line feeds.
Duplicates duplicates_between_line_feeds(std::string_view text, size_t least) {
  thread_local HashSet seen;
  seen.reset(static_cast<size_t>(std::count(text.begin(), text.end(), '\n')) / least + 1);
  Duplicates found;
  size_t begin = 0;
  for (size_t at = 0; (at = text.find('\n', at)) != std::string_view::npos;) {
    const size_t end = std::min(text.find_first_not_of('\n', at), text.size());
    if (end - at >= least) {
      found.add(text.substr(begin, at - begin), seen);
      begin = end;
    }
    at = end;
  }
  found.add(text.substr(begin), seen);
  return found;
}

// The words of a text joined without anything between them, and what n-grams need to know of them.
struct JoinedWords {
  std::vector<char> bytes;           // `window` more than the words have
  std::vector<uint32_t> ends;        // ends[i]: bytes of the first i words
  std::vector<uint32_t> characters;  // characters[i]: characters of the first i words
  std::vector<uint64_t> hashes;      // of each word

  static constexpr size_t window = 16;

  size_t size() const { return hashes.size(); }
  std::string_view n_gram(size_t i, size_t n) const { return {bytes.data() + ends[i], ends[i + n] - ends[i]}; }

  void assign(std::string_view text, std::span<const QualityWord> words) {
    const size_t count = words.size();
    hashes.resize(count);
    ends.resize(count + 1);
    characters.resize(count + 1);
    bytes.resize(text.size() + 2 * window);
    ends[0] = characters[0] = 0;
    char* out = bytes.data();
    for (size_t i = 0; i < count; ++i) {
      const auto& word = words[i];
      // Whole words of the machine where the text allows it; what is copied too much is overwritten by the next word.
      if (word.size <= window && word.begin + window <= text.size())
        std::memcpy(out, text.data() + word.begin, window);
      else
        std::memcpy(out, text.data() + word.begin, word.size);
      hashes[i] = hash64({out, word.size});
      out += word.size;
      ends[i + 1] = ends[i] + word.size;
      characters[i + 1] = characters[i] + word.characters;
    }
  }
};

uint64_t mix(uint64_t a, uint64_t b) {
  a = (a ^ std::rotl(b, 29)) * 0x9fb21c651e98df25u;
  return (a ^ a >> 32) * 0x9e3779b97f4a7c15u + b;
}

// The most frequent n-grams for n = 2, 3, 4, whose words are compared one by one.
class TopGrams {
 public:
  // Characters that the most frequent 2-gram covers, blanks between words included: of equally frequent ones the first.
  size_t first(const JoinedWords& words) {
    n_ = 1;
    keys_.assign(words.hashes.begin(), words.hashes.end());
    repeated_.assign(words.size(), 1);
    return next(words);
  }
  // The same for n-grams of one word more. Only where both n-grams of which it is made occur twice can it occur twice.
  size_t next(const JoinedWords& words) {
    ++n_;
    if (words.size() < n_) return 0;
    const size_t count = words.size() - n_ + 1;
    size_t candidates = 0;
    for (size_t i = 0; i < count; ++i) candidates += repeated_[i] & repeated_[i + 1];
    slots_.assign(std::bit_ceil(2 * candidates + 2), Slot{});
    const int shift = 64 - std::countr_zero(slots_.size());
    places_.clear();
    for (size_t i = 0; i < count; ++i) {
      keys_[i] = mix(keys_[i], words.hashes[i + n_ - 1]);
      if (repeated_[i] & repeated_[i + 1]) places_.push_back({static_cast<uint32_t>(i), find(keys_[i], shift)});
      repeated_[i] = 0;
    }
    size_t at = 0, most = 1;  // where no n-gram occurs twice, the first one counts
    for (const auto& place : places_) {
      const size_t times = slots_[place.slot].count;
      repeated_[place.position] = times > 1;
      if (times > most) most = times, at = place.position;
    }
    return (words.characters[at + n_] - words.characters[at] + n_ - 1) * most;
  }

 private:
  struct Slot {
    uint64_t key = 0;
    uint32_t count = 0;
  };
  struct Place {
    uint32_t position, slot;
  };
  uint32_t find(uint64_t key, int shift) {
    for (size_t slot = key >> shift;; slot = (slot + 1) & (slots_.size() - 1)) {
      if (slots_[slot].count != 0 && slots_[slot].key != key) continue;
      slots_[slot].key = key;
      ++slots_[slot].count;
      return static_cast<uint32_t>(slot);
    }
  }

  size_t n_ = 0;
  std::vector<uint64_t> keys_;     // of the n-gram at each word
  std::vector<uint8_t> repeated_;  // whether that n-gram occurs twice
  std::vector<Slot> slots_;
  std::vector<Place> places_;
};

// The n-grams for n >= 5, which are equal where their words joined are.
class RepeatedGrams {
 public:
  // Finds the words at which `window` bytes begin that begin at another word too. An n-gram of as many bytes that
  // begins elsewhere occurs once: this spares most texts most of the work.
  void find_windows(const JoinedWords& words) {
    const size_t count = words.size();
    repeated_.assign(count, 0);
    firsts_.assign(std::bit_ceil(2 * count + 2), 0);
    const int shift = 64 - std::countr_zero(firsts_.size());
    for (size_t i = 0; i < count && words.ends[i] + JoinedWords::window <= words.ends[count]; ++i) {
      uint64_t halves[2], others[2];
      std::memcpy(halves, words.bytes.data() + words.ends[i], sizeof halves);
      for (size_t slot = mix(halves[0], halves[1]) >> shift;; slot = (slot + 1) & (firsts_.size() - 1)) {
        if (firsts_[slot] == 0) {
          firsts_[slot] = static_cast<uint32_t>(i + 1);
          break;
        }
        const size_t other = firsts_[slot] - 1;
        std::memcpy(others, words.bytes.data() + words.ends[other], sizeof others);
        if (halves[0] != others[0] || halves[1] != others[1]) continue;
        repeated_[i] = repeated_[other] = 1;
        break;
      }
    }
  }

  // Characters of the n-grams that occurred before, from left to right; behind such a one the search goes on at the
  // next word that it does not cover.
  size_t characters(const JoinedWords& words, size_t n) {
    if (words.size() < n) return 0;
    const size_t count = words.size() - n + 1;
    size_t candidates = 0;
    for (size_t i = 0; i < count; ++i) candidates += is_candidate(words, i, n);
    seen_.reset(candidates);
    size_t characters = 0;
    for (size_t i = 0; i < count;) {
      if (!is_candidate(words, i, n) || seen_.insert(hash64(words.n_gram(i, n)))) {
        ++i;
      } else {
        characters += words.characters[i + n] - words.characters[i];
        i += n;
      }
    }
    return characters;
  }

 private:
  bool is_candidate(const JoinedWords& words, size_t i, size_t n) const {
    return repeated_[i] | (words.ends[i + n] - words.ends[i] < JoinedWords::window);
  }

  std::vector<uint8_t> repeated_;
  std::vector<uint32_t> firsts_;  // 1 + the word at which a window first begins; 0: a free slot
  HashSet seen_;
};

}  // namespace

void measure_gopher_repetition(std::string_view text, std::span<const QualityWord> words, Signals& signals) {
  const size_t characters = count_characters(text);
  const auto paragraphs = duplicates_between_line_feeds(strip(text), 2);
  const auto lines = duplicates_between_line_feeds(text, 1);
  signals[Signal::duplicate_paragraphs] = share(paragraphs.duplicates, paragraphs.pieces);
  signals[Signal::duplicate_paragraph_characters] = share(paragraphs.characters, characters);
  signals[Signal::duplicate_lines] = share(lines.duplicates, lines.pieces);
  signals[Signal::duplicate_line_characters] = share(lines.characters, characters);

  thread_local JoinedWords joined;
  thread_local TopGrams top;
  thread_local RepeatedGrams repeated;
  joined.assign(text, words);
  signals[Signal::top_2_gram] = share(top.first(joined), characters);
  signals[Signal::top_3_gram] = share(top.next(joined), characters);
  signals[Signal::top_4_gram] = share(top.next(joined), characters);
  repeated.find_windows(joined);
  constexpr Signal by_size[] = {Signal::duplicate_5_grams, Signal::duplicate_6_grams, Signal::duplicate_7_grams,
                                Signal::duplicate_8_grams, Signal::duplicate_9_grams, Signal::duplicate_10_grams};
  for (size_t n = 5; n <= 10; ++n) signals[by_size[n - 5]] = share(repeated.characters(joined, n), characters);
}

// A bit for each of the stop words of the paper; 0 for other words.
static unsigned stopword_bit(std::string_view word) {
  const auto one_of = [&](std::string_view a, std::string_view b, std::string_view c, unsigned bit) {
    return word == a ? bit : word == b ? bit << 1 : word == c ? bit << 2 : 0;
  };
  switch (word.size()) {
    case 2:
      return one_of("be", "to", "of", 1);
    case 3:
      return one_of("the", "and", "and", 8);
    case 4:
      return one_of("that", "have", "with", 32);
    default:
      return 0;
  }
}

// Three dots, counted without overlap, and the ellipsis character.
static size_t count_ellipses(std::string_view text) {
  size_t count = 0;
  for (size_t at = 0; (at = text.find('.', at)) != std::string_view::npos;) {
    const size_t end = std::min(text.find_first_not_of('.', at), text.size());
    count += (end - at) / 3;
    at = end;
  }
  for (size_t at = 0; (at = text.find("\u2026", at)) != std::string_view::npos; at += 3) ++count;
  return count;
}

static bool begins_with_bullet(std::string_view line) {
  line = strip_left(line);
  return line.starts_with("\u2022") || line.starts_with('-');
}
static bool ends_with_ellipsis(std::string_view line) {
  line = strip_right(line);
  return line.ends_with("...") || line.ends_with("\u2026");
}

void measure_gopher_quality(std::string_view text, std::span<const QualityWord> words, Signals& signals) {
  size_t substantial = 0, characters = 0, alphabetic = 0;
  unsigned stopwords = 0;  // their bits
  for (const auto& word : words) {
    const bool counts = word.kinds & word_substantial;
    substantial += counts;
    characters += counts ? word.characters : 0;
    alphabetic += (word.kinds & word_alphabetic) != 0;
    stopwords |= stopword_bit(text.substr(word.begin, word.size));
  }
  size_t lines = 0, bullets = 0, ellipses = 0;
  for (size_t at = 0; at < text.size(); ++lines) {
    const auto line = next_line(text, at);
    bullets += begins_with_bullet(line);
    ellipses += ends_with_ellipsis(line);
  }
  const auto hashes = static_cast<double>(std::count(text.begin(), text.end(), '#'));
  const auto set = [&](Signal signal, double part, size_t whole) {
    if (whole > 0) signals[signal] = part / static_cast<double>(whole);
  };
  signals[Signal::gopher_words] = static_cast<double>(substantial);
  signals[Signal::stopwords] = std::popcount(stopwords);
  set(Signal::mean_word_length, static_cast<double>(characters), substantial);
  set(Signal::hashes_per_word, hashes, words.size());
  set(Signal::ellipses_per_word, static_cast<double>(count_ellipses(text)), words.size());
  set(Signal::alphabetic_words, static_cast<double>(alphabetic), words.size());
  set(Signal::bullet_lines, static_cast<double>(bullets), lines);
  set(Signal::ellipsis_lines, static_cast<double>(ellipses), lines);
}

}  // namespace ds
