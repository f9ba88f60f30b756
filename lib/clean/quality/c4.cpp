#include <algorithm>
#include <array>
#include <vector>

#include "clean/quality/quality_characters.h"
#include "clean/quality/text_signals.h"

namespace ds {

namespace {

constexpr size_t longest_word = 1000;  // characters
constexpr size_t fewest_words = 3;     // of a line

// The zeros of Unicode's decimal digits (Nd), each followed by its other nine.
constexpr char32_t zeros[] = {0x30,    0x660,   0x6F0,   0x7C0,   0x966,   0x9E6,   0xA66,   0xAE6,   0xB66,   0xBE6,
                              0xC66,   0xCE6,   0xD66,   0xDE6,   0xE50,   0xED0,   0xF20,   0x1040,  0x1090,  0x17E0,
                              0x1810,  0x1946,  0x19D0,  0x1A80,  0x1A90,  0x1B50,  0x1BB0,  0x1C40,  0x1C50,  0xA620,
                              0xA8D0,  0xA900,  0xA9D0,  0xA9F0,  0xAA50,  0xABF0,  0xFF10,  0x104A0, 0x10D30, 0x11066,
                              0x110F0, 0x11136, 0x111D0, 0x112F0, 0x11450, 0x114D0, 0x11650, 0x116C0, 0x11730, 0x118E0,
                              0x11950, 0x11C50, 0x11D50, 0x11DA0, 0x16A60, 0x16AC0, 0x16B50, 0x1D7CE, 0x1D7D8, 0x1D7E2,
                              0x1D7EC, 0x1D7F6, 0x1E140, 0x1E2F0, 0x1E950, 0x1FBF0};
bool is_decimal(char32_t c) {
  const auto* after = std::upper_bound(std::begin(zeros), std::end(zeros), c);
  return after != std::begin(zeros) && c - after[-1] < 10;
}

// Whether a line has enough words between white space, and none that is too long.
bool has_fit_words(std::string_view line) {
  size_t count = 0, characters = 0;  // of the word that is being read
  for (size_t at = 0; at < line.size();) {
    const bool blank = character_kinds(decode_character(line, at)) & kind_blank;
    count += !blank && characters == 0;
    characters = blank ? 0 : characters + 1;
    if (characters > longest_word) return false;
    if (count >= fewest_words && line.size() - at + characters <= longest_word) return true;
  }
  return count >= fewest_words;
}

// Bytes of a citation at text[at], where a [ stands: [12], [], [edit] or [citation needed]; 0: none.
size_t citation_size(std::string_view text, size_t at) {
  const auto rest = text.substr(at);
  for (const std::string_view mark : {"[edit]", "[citation needed]"})
    if (rest.starts_with(mark)) return mark.size();
  for (size_t next = 1; next < rest.size();) {
    if (rest[next] == ']') return next + 1;
    if (!is_decimal(decode_character(rest, next))) return 0;
  }
  return 0;
}

// The line without its citations: the line itself, or `buffer`.
std::string_view without_citations(std::string_view line, std::string& buffer) {
  size_t copied = 0;
  buffer.clear();
  for (size_t at = 0; (at = line.find('[', at)) != std::string_view::npos;) {
    const size_t size = citation_size(line, at);
    if (size > 0) {
      buffer.append(line, copied, at - copied);
      copied = at + size;
    }
    at += std::max<size_t>(size, 1);
  }
  if (copied == 0) return line;
  buffer.append(line, copied);
  return buffer;
}

// The phrases that a line is searched for, in lower case.
enum Phrase : unsigned { lorem_ipsum = 1, javascript = 2, policy = 4 };
struct PhraseInfo {
  std::string_view text;
  Phrase kind;
};
constexpr PhraseInfo phrases[] = {
    {"lorem ipsum", lorem_ipsum}, {"javascript", javascript}, {"terms of use", policy},   {"privacy policy", policy},
    {"cookie policy", policy},    {"uses cookies", policy},   {"use of cookies", policy}, {"use cookies", policy},
};
constexpr unsigned char lower_ascii(char c) {
  return static_cast<unsigned char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}
constexpr size_t pair_slot(unsigned char first, unsigned char second) { return (first * 37u + second) & 255; }
// Which pairs of characters begin a phrase, in any case.
constexpr auto phrase_pairs = [] {
  std::array<bool, 256> pairs{};
  for (const auto& phrase : phrases)
    pairs[pair_slot(lower_ascii(phrase.text[0]) & 0x1F, lower_ascii(phrase.text[1]) & 0x1F)] = true;
  return pairs;
}();

unsigned find_phrases_ascii(std::string_view line) {
  unsigned found = 0;
  for (size_t at = 0; at + 1 < line.size(); ++at) {
    const auto low = [&](size_t i) { return static_cast<unsigned char>(line[i] & 0x1F); };
    if (!phrase_pairs[pair_slot(low(at), low(at + 1))]) continue;
    for (const auto& phrase : phrases) {
      if (phrase.text.size() > line.size() - at) continue;
      size_t i = 0;
      while (i < phrase.text.size() && lower_ascii(line[at + i]) == static_cast<unsigned char>(phrase.text[i])) ++i;
      if (i == phrase.text.size()) found |= phrase.kind;
    }
  }
  return found;
}
unsigned find_phrases(std::string_view line) {
  // U+212A, the Kelvin sign, is the one character beyond ASCII whose lower case is a letter of ASCII.
  constexpr std::string_view kelvin = "\u212A";
  if (line.find(kelvin[0]) == std::string_view::npos || line.find(kelvin) == std::string_view::npos)
    return find_phrases_ascii(line);
  std::string plain(line);
  for (size_t at = 0; (at = plain.find(kelvin, at)) != std::string::npos;) plain.replace(at, kelvin.size(), 1, 'k');
  return find_phrases_ascii(plain);
}

bool ends_a_sentence(std::string_view line) {
  return !line.empty() && std::string_view(".?!\"'").find(line.back()) != std::string_view::npos &&
         !line.ends_with("...");
}

}  // namespace

size_t measure_c4(std::string_view text, Signals& signals, std::string& kept) {
  thread_local std::vector<QualityWord> words;
  thread_local std::string buffer;
  size_t lines = 0, kept_lines = 0, sentences = 0, kept_words = 0;
  bool lorem = false, curly = false;
  kept.clear();
  for (size_t at = 0; at < text.size();) {
    auto line = strip(next_line(text, at));
    ++lines;
    // The number of words is that of the line with its citations.
    const std::string_view whole = line;
    line = without_citations(whole, buffer);
    if (!ends_a_sentence(line)) continue;
    if (!has_fit_words(whole)) continue;
    const unsigned found = find_phrases(line);
    if (found & lorem_ipsum) {
      lorem |= !curly;
      continue;
    }
    if (found & javascript) continue;
    if (line.find('{') != std::string_view::npos) {
      curly |= !lorem;
      continue;
    }
    if (found & policy) continue;
    split_quality_words(line, words);
    sentences += count_sentences(words);
    kept_words += words.size();
    if (kept_lines++ > 0) kept += '\n';
    kept += line;
  }
  // A first line may begin with white space where a citation began it.
  if (const auto stripped = strip(kept); stripped.size() < kept.size()) kept = std::string(stripped);
  signals[Signal::c4_sentences] = static_cast<double>(sentences);
  if (lines > 0) signals[Signal::c4_kept_lines] = static_cast<double>(kept_lines) / static_cast<double>(lines);
  signals[Signal::c4_lorem_ipsum] = lorem;
  signals[Signal::c4_curly_brackets] = curly;
  return kept_words;
}

}  // namespace ds
