#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <vector>

#include "base/hash.h"
#include "clean/quality/hash_set.h"
#include "clean/quality/quality_characters.h"
#include "clean/quality/text_signals.h"

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

uint64_t mix(uint64_t a, uint64_t b) {
  a = (a ^ std::rotl(b, 29)) * 0x9fb21c651e98df25u;
  return (a ^ a >> 32) * 0x9e3779b97f4a7c15u + b;
}

// Of a word that is not empty; eight bytes can be read at its begin.
uint64_t word_hash(std::string_view word) {
  uint64_t bytes = 0;
  if (word.size() > 2 * sizeof bytes) return hash64(word);
  std::memcpy(&bytes, word.data(), sizeof bytes);
  if (word.size() > sizeof bytes) {
    uint64_t last;
    std::memcpy(&last, word.data() + word.size() - sizeof last, sizeof last);
    return mix(mix(bytes, last), word.size());
  }
  return mix(bytes & ~uint64_t{0} >> 8 * (sizeof bytes - word.size()), word.size());
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
      hashes[i] = word_hash({out, word.size});
      out += word.size;
      ends[i + 1] = ends[i] + word.size;
      characters[i + 1] = characters[i] + word.characters;
    }
  }
};

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
    candidates_.clear();
    for (size_t i = 0; i < count; ++i) {
      keys_[i] = mix(keys_[i], words.hashes[i + n_ - 1]);
      if (repeated_[i] & repeated_[i + 1]) candidates_.push_back(static_cast<uint32_t>(i));
      repeated_[i] = 0;
    }
    slots_.assign(std::bit_ceil(2 * candidates_.size() + 2), 0);
    counts_.resize(words.size());
    const int shift = 64 - std::countr_zero(slots_.size());
    size_t at = 0, most = 1;  // where no n-gram occurs twice, the first one counts
    for (const uint32_t candidate : candidates_) {
      const uint32_t first = find_first(candidate, shift);
      if (first == candidate) {
        counts_[first] = 1;
        continue;
      }
      repeated_[candidate] = repeated_[first] = 1;
      const uint32_t times = ++counts_[first];
      if (times > most || (times == most && first < at)) most = times, at = first;
    }
    return (words.characters[at + n_] - words.characters[at] + n_ - 1) * most;
  }

 private:
  // The first candidate with the same n-gram.
  uint32_t find_first(uint32_t candidate, int shift) {
    const uint64_t key = keys_[candidate];
    for (size_t slot = key >> shift;; slot = (slot + 1) & (slots_.size() - 1)) {
      if (slots_[slot] == 0) {
        slots_[slot] = candidate + 1;
        return candidate;
      }
      if (keys_[slots_[slot] - 1] == key) return slots_[slot] - 1;
    }
  }

  size_t n_ = 0;
  std::vector<uint64_t> keys_;        // of the n-gram at each word
  std::vector<uint8_t> repeated_;     // whether that n-gram occurs twice
  std::vector<uint32_t> candidates_;  // words whose n-gram may do so
  std::vector<uint32_t> counts_;      // of the n-gram that is first at a word
  std::vector<uint32_t> slots_;       // 1 + such a word; 0: a free slot
};

// The n-grams for n >= 5, which are equal where their words joined are.
class RepeatedGrams {
 public:
  // Finds the words at which `window` bytes begin that begin at another word too. An n-gram of as many bytes that
  // begins elsewhere occurs once: this spares most texts most of the work.
  void find_candidates(const JoinedWords& words) {
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
    candidates_.clear();
    constexpr size_t least = 5;
    for (size_t i = 0; i + least <= count; ++i)
      if (repeated_[i] | (words.ends[i + least] - words.ends[i] < JoinedWords::window))
        candidates_.push_back(static_cast<uint32_t>(i));
  }

  // Characters of the n-grams that occurred before, from left to right; behind such a one the search goes on at the
  // next word that it does not cover.
  size_t characters(const JoinedWords& words, size_t n) {
    seen_.reset(candidates_.size());
    size_t characters = 0, next = 0;
    for (const size_t i : candidates_) {
      if (i < next) continue;
      if (i + n > words.size()) break;
      if (seen_.insert(hash64(words.n_gram(i, n)))) continue;
      characters += words.characters[i + n] - words.characters[i];
      next = i + n;
    }
    return characters;
  }

 private:
  std::vector<uint8_t> repeated_;     // whether the window at a word is one of at least two
  std::vector<uint32_t> candidates_;  // the words at which an n-gram may begin that occurs twice
  std::vector<uint32_t> firsts_;      // 1 + the word at which a window first begins; 0: a free slot
  HashSet seen_;
};

struct Grams {
  JoinedWords joined;
  TopGrams top;
  RepeatedGrams repeated;
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

  thread_local Grams kept;  // its memory
  Grams& grams = kept;
  grams.joined.assign(text, words);
  signals[Signal::top_2_gram] = share(grams.top.first(grams.joined), characters);
  signals[Signal::top_3_gram] = share(grams.top.next(grams.joined), characters);
  signals[Signal::top_4_gram] = share(grams.top.next(grams.joined), characters);
  grams.repeated.find_candidates(grams.joined);
  constexpr Signal by_size[] = {Signal::duplicate_5_grams, Signal::duplicate_6_grams, Signal::duplicate_7_grams,
                                Signal::duplicate_8_grams, Signal::duplicate_9_grams, Signal::duplicate_10_grams};
  for (size_t n = 5; n <= 10; ++n)
    signals[by_size[n - 5]] = share(grams.repeated.characters(grams.joined, n), characters);
}

// The stop words of the paper, each in a slot of its own as a number: four bytes, and the size above them. The bit of
// slot i is 1 << i.
struct StopwordSlots {
  std::array<uint64_t, 16> words{};

  static constexpr size_t slot(uint64_t bytes) { return static_cast<uint32_t>(bytes) * 0x9E377C3Bu >> 28; }
  constexpr StopwordSlots() {
    for (const std::string_view word : {"the", "be", "to", "of", "and", "that", "have", "with"}) {
      uint64_t number = uint64_t{word.size()} << 32;
      for (size_t i = 0; i < word.size(); ++i) number |= uint64_t{static_cast<unsigned char>(word[i])} << 8 * i;
      if (words[slot(number)] != 0) throw "two stop words share a slot";
      words[slot(number)] = number;
    }
  }
};
constexpr StopwordSlots stopword_slots;

// The bit of the stop word at text[begin]; 0 for other words.
static unsigned stopword_bit(std::string_view text, size_t begin, size_t size) {
  static_assert(std::endian::native == std::endian::little);
  uint32_t bytes = 0;
  if (size > sizeof bytes) return 0;
  if (begin + sizeof bytes <= text.size())
    std::memcpy(&bytes, text.data() + begin, sizeof bytes);
  else
    std::memcpy(&bytes, text.data() + begin, size);
  bytes &= ~uint32_t{0} >> 8 * (sizeof bytes - size);
  const size_t slot = StopwordSlots::slot(bytes);
  return static_cast<unsigned>(stopword_slots.words[slot] == (bytes | uint64_t{size} << 32)) << slot;
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
    stopwords |= stopword_bit(text, word.begin, word.size);
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
