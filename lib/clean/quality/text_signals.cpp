#include "clean/quality/text_signals.h"

#include <algorithm>
#include <array>
#include <limits>

#include "base/error.h"
#include "clean/quality/quality_characters.h"

namespace ds {

namespace {

// English function words of at most eight letters, and the pieces of contractions.
constexpr std::string_view stopwords =
    "a about above after again against all also am an and any are as at be because been before being below between "
    "both "
    "but by can cannot could did do does doing down during each either else ever every few for from further had has "
    "have "
    "having he her here hers herself him himself his how however i if in into is it its itself just may me might mine "
    "more "
    "most much must my myself neither no nor not now of off often on once one only or other our ours out over own per "
    "rather same shall she should since so some such than that the their theirs them then there these they this those "
    "though through thus to too toward under until up upon us very was we were what when where whether which while who "
    "whom whose why will with within without would yet you your yours yourself n't 's 'm 're 've 'll 'd";

constexpr size_t longest_stopword = 8;

// At most eight characters in lower case as one number.
constexpr uint64_t pack(std::string_view word) {
  uint64_t packed = 0;
  for (const char c : word) packed = packed << 8 | static_cast<unsigned char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  return packed;
}

struct StopwordTable {
  static constexpr size_t slots = 1024;
  std::array<uint64_t, slots> words{};

  static constexpr size_t home(uint64_t packed) { return static_cast<size_t>(packed * 0x9e3779b97f4a7c15u >> 54); }
  constexpr StopwordTable() {
    for (size_t begin = 0; begin < stopwords.size();) {
      const size_t end = std::min(stopwords.find(' ', begin), stopwords.size());
      const uint64_t packed = pack(stopwords.substr(begin, end - begin));
      size_t slot = home(packed);
      while (words[slot] != 0) slot = (slot + 1) % slots;
      words[slot] = packed;
      begin = end + 1;
    }
  }
  bool contains(std::string_view word) const {
    if (word.size() > longest_stopword) return false;
    const uint64_t packed = pack(word);
    for (size_t slot = home(packed); words[slot] != 0; slot = (slot + 1) % slots)
      if (words[slot] == packed) return true;
    return false;
  }
};
constexpr StopwordTable stopword_table;

struct CharacterCounts {
  size_t all = 0, symbols = 0, numbers = 0, punctuation = 0, spaces = 0, letters = 0, capitals = 0;

  void add(char32_t c, size_t times) {
    const uint32_t kinds = character_kinds(c);
    const bool letter = kinds & kind_letter;
    all += times;
    letters += letter ? times : 0;
    // A letter without case is of both cases.
    capitals += letter && (kinds & kind_upper) && !(kinds & kind_lower) ? times : 0;
    punctuation += kinds & kind_punctuation ? times : 0;
    spaces += is_space(c) ? times : 0;
    if (letter) return;
    symbols += is_symbol(c) ? times : 0;
    numbers += is_number(c) ? times : 0;
  }
};

CharacterCounts count_kinds(std::string_view text) {
  // Four histograms, so that equal neighbours do not wait for each other.
  std::array<std::array<uint32_t, 128>, 4> histograms{};
  CharacterCounts counts;
  for (size_t at = 0; at < text.size();) {
    const auto byte = static_cast<unsigned char>(text[at]);
    if (byte < 0x80)
      ++histograms[at++ % 4][byte];
    else
      counts.add(decode_utf8(text, at), 1);
  }
  for (char32_t c = 0; c < 128; ++c)
    counts.add(c, size_t{histograms[0][c]} + histograms[1][c] + histograms[2][c] + histograms[3][c]);
  return counts;
}

size_t count_lines(std::string_view text) {
  size_t lines = 0;
  for (size_t at = 0; at < text.size(); ++lines) next_line(text, at);
  return lines;
}

}  // namespace

void measure_ratios(std::string_view text, std::span<const QualityWord> words, Signals& signals) {
  const auto set = [&](Signal signal, size_t part, size_t whole) {
    if (whole > 0) signals[signal] = static_cast<double>(part) / static_cast<double>(whole);
  };
  const auto counts = count_kinds(text);
  set(Signal::symbol_ratio, counts.symbols, counts.all);
  set(Signal::digit_ratio, counts.numbers, counts.all);
  set(Signal::punctuation_ratio, counts.punctuation, counts.all);
  set(Signal::uppercase_ratio, counts.capitals, counts.letters);
  set(Signal::space_ratio, counts.spaces, counts.all);
  size_t all = 0, stop = 0;
  for (const auto& word : words) {
    if (!(word.kinds & word_substantial)) continue;
    ++all;
    stop += stopword_table.contains(text.substr(word.begin, word.size));
  }
  set(Signal::stopword_ratio, stop, all);
}

void measure_text(std::string_view text, uint32_t groups, Signals& signals, std::string* c4_text) {
  require(text.size() <= std::numeric_limits<uint32_t>::max(), "a text of ", text.size(),
          " bytes is too long to measure: at most 4294967295 bytes are expected");
  thread_local std::vector<QualityWord> words;
  thread_local std::string kept;
  const auto asked = [&](SignalGroup group) { return has_group(groups, group); };
  const bool fineweb_alone = asked(SignalGroup::fineweb) && !asked(SignalGroup::c4);
  const uint32_t of_words = SignalGroup::gopher_repetition | SignalGroup::gopher_quality | SignalGroup::ratios;
  if ((groups & of_words) || fineweb_alone) split_quality_words(text, words);
  if (asked(SignalGroup::length)) {
    signals[Signal::characters] = static_cast<double>(count_characters(text));
    signals[Signal::lines] = static_cast<double>(count_lines(text));
  }
  if (asked(SignalGroup::gopher_repetition)) measure_gopher_repetition(text, words, signals);
  if (asked(SignalGroup::gopher_quality)) measure_gopher_quality(text, words, signals);
  if (asked(SignalGroup::ratios)) measure_ratios(text, words, signals);
  if (fineweb_alone) measure_fineweb(text, words.size(), signals);
  if (asked(SignalGroup::c4)) {
    const size_t kept_words = measure_c4(text, signals, kept);
    if (asked(SignalGroup::fineweb)) measure_fineweb(kept, kept_words, signals);
    if (c4_text) *c4_text = kept;
  }
}

}  // namespace ds
