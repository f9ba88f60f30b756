// Signals: what a text says about itself, as numbers. Filters, rules, annotations, --explain and histograms all read
// them by these names; here they are listed, once.
#pragma once
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ds {

// Signals that are measured together, since they share their work. A set of groups is the OR of its members.
enum class SignalGroup : uint32_t {
  length = 1 << 0,      // characters, lines
  words = 1 << 1,       // words as words.h defines them
  tokens = 1 << 2,      // of a tokenizer.json
  repetition = 1 << 3,  // word 5-grams that occurred before
  gopher_repetition =
      1 << 4,               // Rae et al., "Scaling Language Models: Methods, Analysis & Insights from Training Gopher"
  gopher_quality = 1 << 5,  // (2021), table A1 and appendix A1.1
  c4 = 1 << 6,              // Raffel et al., "Exploring the Limits of Transfer Learning ..." (2020), section 2.2
  fineweb = 1 << 7,         // Penedo et al., "The FineWeb Datasets" (2024), section 3.6
  ratios = 1 << 8,          // kinds of characters
  language = 1 << 9,
  pii = 1 << 10,
  toxicity = 1 << 11,        // by lexicon
  toxicity_model = 1 << 12,  // by classifier
  quality_model = 1 << 13,
  url = 1 << 14,
  answer = 1 << 15,  // of question and answer pairs
  contamination = 1 << 16,
};
constexpr uint32_t operator|(SignalGroup a, SignalGroup b) {
  return static_cast<uint32_t>(a) | static_cast<uint32_t>(b);
}
constexpr uint32_t operator|(uint32_t a, SignalGroup b) { return a | static_cast<uint32_t>(b); }
constexpr bool has_group(uint32_t groups, SignalGroup group) { return (groups & static_cast<uint32_t>(group)) != 0; }

// name, group, kind, meaning. Kind: `share` lies in [0, 1]; `count` is a whole number from 0; `ratio` is from 0.
#define DS_CLEAN_SIGNALS(X)                                                                                            \
  X(characters, length, count, "characters")                                                                           \
  X(lines, length, count, "lines")                                                                                     \
  X(words, words, count, "words: runs of letters, digits and _; each CJK character")                                   \
  X(tokens, tokens, count, "tokens of the tokenizer")                                                                  \
  X(repetition, repetition, share, "share of the word 5-grams that occurred before in the text")                       \
  X(duplicate_lines, gopher_repetition, share, "share of the lines that occurred before")                              \
  X(duplicate_paragraphs, gopher_repetition, share, "share of the paragraphs that occurred before")                    \
  X(duplicate_line_characters, gopher_repetition, share, "share of the characters that stand in such lines")           \
  X(duplicate_paragraph_characters, gopher_repetition, share, "share of the characters that stand in such paragraphs") \
  X(top_2_gram, gopher_repetition, ratio, "share of the characters that the most frequent 2-gram covers")              \
  X(top_3_gram, gopher_repetition, ratio, "share of the characters that the most frequent 3-gram covers")              \
  X(top_4_gram, gopher_repetition, ratio, "share of the characters that the most frequent 4-gram covers")              \
  X(duplicate_5_grams, gopher_repetition, share, "share of the characters in 5-grams that occurred before")            \
  X(duplicate_6_grams, gopher_repetition, share, "share of the characters in 6-grams that occurred before")            \
  X(duplicate_7_grams, gopher_repetition, share, "share of the characters in 7-grams that occurred before")            \
  X(duplicate_8_grams, gopher_repetition, share, "share of the characters in 8-grams that occurred before")            \
  X(duplicate_9_grams, gopher_repetition, share, "share of the characters in 9-grams that occurred before")            \
  X(duplicate_10_grams, gopher_repetition, share, "share of the characters in 10-grams that occurred before")          \
  X(gopher_words, gopher_quality, count, "words that are not all punctuation")                                         \
  X(mean_word_length, gopher_quality, ratio, "characters of such a word, on average")                                  \
  X(hashes_per_word, gopher_quality, ratio, "# signs a word")                                                          \
  X(ellipses_per_word, gopher_quality, ratio, "ellipses a word")                                                       \
  X(bullet_lines, gopher_quality, share, "share of the lines that begin with a bullet")                                \
  X(ellipsis_lines, gopher_quality, share, "share of the lines that end in an ellipsis")                               \
  X(alphabetic_words, gopher_quality, share, "share of the words with a letter in them")                               \
  X(stopwords, gopher_quality, count, "how many of the, be, to, of, and, that, have, with occur")                      \
  X(c4_sentences, c4, count, "sentences of the lines that C4 keeps")                                                   \
  X(c4_kept_lines, c4, share, "share of the lines that C4 keeps")                                                      \
  X(c4_lorem_ipsum, c4, count, "1 where a kept line says lorem ipsum")                                                 \
  X(c4_curly_brackets, c4, count, "1 where a kept line has a {")                                                       \
  X(punctuated_lines, fineweb, share, "share of the lines that end in terminal punctuation")                           \
  X(short_lines, fineweb, share, "share of the lines of at most 30 characters")                                        \
  X(duplicate_characters, fineweb, share, "share of the characters in lines that occurred before")                     \
  X(newlines_per_word, fineweb, ratio, "line ends a word")                                                             \
  X(symbol_ratio, ratios, share, "share of the characters that are symbols (S*)")                                      \
  X(digit_ratio, ratios, share, "share of the characters that are numbers (N*)")                                       \
  X(punctuation_ratio, ratios, share, "share of the characters that are punctuation (P*)")                             \
  X(uppercase_ratio, ratios, share, "share of the letters that are upper case")                                        \
  X(space_ratio, ratios, share, "share of the characters that are white space")                                        \
  X(stopword_ratio, ratios, share, "share of the words that are English stop words")                                   \
  X(lang_score, language, share, "how sure the language is")                                                           \
  X(pii_email, pii, count, "e-mail addresses")                                                                         \
  X(pii_phone, pii, count, "telephone numbers")                                                                        \
  X(pii_ip, pii, count, "IP addresses")                                                                                \
  X(pii_iban, pii, count, "bank account numbers (IBAN)")                                                               \
  X(pii_card, pii, count, "payment card numbers")                                                                      \
  X(pii_key, pii, count, "keys, tokens and passwords of services")                                                     \
  X(toxicity, toxicity, share, "share of the words that stand in the lexicon; a CJK character is one")                 \
  X(toxicity_score, toxicity_model, share, "probability of the toxic label")                                           \
  X(quality_score, quality_model, share, "probability of the quality label")                                           \
  X(url_listed, url, count, "1 where the record's address is on a list")                                               \
  X(answer_words, answer, count, "words of the answer")                                                                \
  X(answer_echo, answer, share, "share of the answer's word 3-grams that stand in the question")                       \
  X(answer_refusal, answer, count, "1 where the answer refuses")                                                       \
  X(answer_unfinished, answer, count, "1 where the answer breaks off")                                                 \
  X(answer_foreign, answer, count, "1 where question and answer are in different languages")                           \
  X(answer_ratio, answer, ratio, "words of the answer / words of the question")                                        \
  X(contamination, contamination, share, "largest share of a benchmark item that stands in the text")                  \
  X(contamination_run, contamination, count, "words in a row of a benchmark item, 13 or more, or a whole shorter one")

enum class Signal : uint8_t {
#define X(name, group, kind, meaning) name,
  DS_CLEAN_SIGNALS(X)
#undef X
};
enum class SignalKind : uint8_t { share, count, ratio };

struct SignalInfo {
  const char* name;
  SignalGroup group;
  SignalKind kind;
  const char* meaning;
};
inline constexpr SignalInfo signal_table[] = {
#define X(name, group, kind, meaning) {#name, SignalGroup::group, SignalKind::kind, meaning},
    DS_CLEAN_SIGNALS(X)
#undef X
};
inline constexpr size_t signal_count = std::size(signal_table);

constexpr const SignalInfo& info(Signal signal) { return signal_table[static_cast<size_t>(signal)]; }
// The signal of that name, where there is one.
std::optional<Signal> find_signal(std::string_view name);

// What is known of one record: NaN where a signal was not measured or is not defined.
struct Signals {
  std::array<double, signal_count> values;
  std::string lang;  // ISO 639 code, "un" where unknown; empty where not measured

  Signals() { values.fill(std::nan("")); }
  double& operator[](Signal signal) { return values[static_cast<size_t>(signal)]; }
  double operator[](Signal signal) const { return values[static_cast<size_t>(signal)]; }
  bool has(Signal signal) const { return !std::isnan((*this)[signal]); }
};

}  // namespace ds
