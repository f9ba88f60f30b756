#include "clean/filters.h"

#include <algorithm>
#include <charconv>

#include "base/error.h"

namespace ds {

static constexpr const char* lengths = "Length";
static constexpr const char* repeats = "Repetition within a text";
static constexpr const char* gopher = "Quality: Gopher (Rae et al. 2021)";
static constexpr const char* c4 = "Quality: C4 (Raffel et al. 2020)";
static constexpr const char* fineweb = "Quality: FineWeb (Penedo et al. 2024)";
static constexpr const char* kinds = "Kinds of characters and words";
static constexpr const char* judged = "Judged by word lists and models";
static constexpr const char* answers = "Question and answer pairs";

// The thresholds of the Gopher family are those of its table A1 and appendix A1.1, those of C4 and FineWeb as
// published.
static constexpr Filter filter_rows[] = {
    {"--repetition", Signal::repetition, false, nullptr, nullptr, repeats},
    {"--min-words", Signal::words, true, nullptr, nullptr, lengths},
    {"--max-words", Signal::words, false, nullptr, nullptr, lengths},
    {"--min-characters", Signal::characters, true, nullptr, nullptr, lengths},
    {"--max-characters", Signal::characters, false, nullptr, nullptr, lengths},
    {"--min-tokens", Signal::tokens, true, nullptr, nullptr, lengths},
    {"--max-tokens", Signal::tokens, false, nullptr, nullptr, lengths},

    {"--max-duplicate-paragraphs", Signal::duplicate_paragraphs, false, "gopher-repetition", "0.3", repeats},
    {"--max-duplicate-paragraph-characters", Signal::duplicate_paragraph_characters, false, "gopher-repetition", "0.2",
     repeats},
    {"--max-duplicate-lines", Signal::duplicate_lines, false, "gopher-repetition", "0.3", repeats},
    {"--max-duplicate-line-characters", Signal::duplicate_line_characters, false, "gopher-repetition", "0.2", repeats},
    {"--max-top-2-gram", Signal::top_2_gram, false, "gopher-repetition", "0.2", repeats},
    {"--max-top-3-gram", Signal::top_3_gram, false, "gopher-repetition", "0.18", repeats},
    {"--max-top-4-gram", Signal::top_4_gram, false, "gopher-repetition", "0.16", repeats},
    {"--max-duplicate-5-grams", Signal::duplicate_5_grams, false, "gopher-repetition", "0.15", repeats},
    {"--max-duplicate-6-grams", Signal::duplicate_6_grams, false, "gopher-repetition", "0.14", repeats},
    {"--max-duplicate-7-grams", Signal::duplicate_7_grams, false, "gopher-repetition", "0.13", repeats},
    {"--max-duplicate-8-grams", Signal::duplicate_8_grams, false, "gopher-repetition", "0.12", repeats},
    {"--max-duplicate-9-grams", Signal::duplicate_9_grams, false, "gopher-repetition", "0.11", repeats},
    {"--max-duplicate-10-grams", Signal::duplicate_10_grams, false, "gopher-repetition", "0.1", repeats},

    {"--min-gopher-words", Signal::gopher_words, true, "gopher-quality", "50", gopher},
    {"--max-gopher-words", Signal::gopher_words, false, "gopher-quality", "100000", gopher},
    {"--min-mean-word-length", Signal::mean_word_length, true, "gopher-quality", "3", gopher},
    {"--max-mean-word-length", Signal::mean_word_length, false, "gopher-quality", "10", gopher},
    {"--max-hashes-per-word", Signal::hashes_per_word, false, "gopher-quality", "0.1", gopher},
    {"--max-ellipses-per-word", Signal::ellipses_per_word, false, "gopher-quality", "0.1", gopher},
    {"--max-bullet-lines", Signal::bullet_lines, false, "gopher-quality", "0.9", gopher},
    {"--max-ellipsis-lines", Signal::ellipsis_lines, false, "gopher-quality", "0.3", gopher},
    {"--min-alphabetic-words", Signal::alphabetic_words, true, "gopher-quality", "0.8", gopher},
    {"--min-stopwords", Signal::stopwords, true, "gopher-quality", "2", gopher},

    {"--max-c4-lorem-ipsum", Signal::c4_lorem_ipsum, false, "c4", "0", c4},
    {"--max-c4-curly-brackets", Signal::c4_curly_brackets, false, "c4", "0", c4},
    {"--min-c4-sentences", Signal::c4_sentences, true, "c4", "5", c4},
    {"--min-c4-kept-lines", Signal::c4_kept_lines, true, nullptr, nullptr, c4},

    {"--min-punctuated-lines", Signal::punctuated_lines, true, "fineweb", "0.12", fineweb},
    {"--max-short-lines", Signal::short_lines, false, "fineweb", "0.67", fineweb},
    {"--max-duplicate-characters", Signal::duplicate_characters, false, "fineweb", "0.01", fineweb},
    {"--max-newlines-per-word", Signal::newlines_per_word, false, "fineweb", "0.3", fineweb},

    {"--max-symbol-ratio", Signal::symbol_ratio, false, nullptr, nullptr, kinds},
    {"--max-digit-ratio", Signal::digit_ratio, false, nullptr, nullptr, kinds},
    {"--max-punctuation-ratio", Signal::punctuation_ratio, false, nullptr, nullptr, kinds},
    {"--max-uppercase-ratio", Signal::uppercase_ratio, false, nullptr, nullptr, kinds},
    {"--max-space-ratio", Signal::space_ratio, false, nullptr, nullptr, kinds},
    {"--min-stopword-ratio", Signal::stopword_ratio, true, nullptr, nullptr, kinds},

    {"--toxicity", Signal::toxicity, false, nullptr, nullptr, judged},
    {"--max-toxicity-score", Signal::toxicity_score, false, nullptr, nullptr, judged},
    {"--min-quality-score", Signal::quality_score, true, nullptr, nullptr, judged},

    {"--min-answer-words", Signal::answer_words, true, "answers", "1", answers},
    {"--max-answer-echo", Signal::answer_echo, false, "answers", "0.95", answers},
    {"--max-answer-refusal", Signal::answer_refusal, false, "answers", "0", answers},
    {"--max-answer-unfinished", Signal::answer_unfinished, false, "answers", "0", answers},
    {"--max-answer-foreign", Signal::answer_foreign, false, "answers", "0", answers},
    {"--min-answer-ratio", Signal::answer_ratio, true, nullptr, nullptr, answers},
    {"--max-answer-ratio", Signal::answer_ratio, false, nullptr, nullptr, answers},
};

const std::span<const Filter> filter_table(filter_rows);

// Presets that are no family: option and threshold.
struct Recipe {
  const char* preset;
  const char* option;
  const char* threshold;
};
static constexpr Recipe recipes[] = {
    {"pretrain", "--repetition", "0.8"}, {"pretrain", "--min-words", "50"},   {"instruct", "--repetition", "0.8"},
    {"instruct", "--min-tokens", "50"},  {"instruct", "--max-tokens", "512"},
};

std::vector<std::string> clean_presets() {
  std::vector<std::string> names;
  const auto add = [&](const char* name) {
    if (name && std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  };
  for (const Recipe& recipe : recipes) add(recipe.preset);
  for (const Filter& filter : filter_table) add(filter.family);
  return names;
}

static double parse_threshold(const Filter& filter, const std::string& typed) {
  const bool share = info(filter.signal).kind == SignalKind::share;
  double value{};
  const char* end = typed.data() + typed.size();
  const auto [stop, error] = std::from_chars(typed.data(), end, value);
  const double highest = share ? 1 : 1e12;
  // The negated comparison refuses NaN too.
  if (error != std::errc() || stop != end || !(value >= 0 && value <= highest))
    throw UsageError(
        cat(filter.option, " must be a number from 0 ", share ? "to 1" : "up", " or off, not '", typed, "'"));
  if (info(filter.signal).kind == SignalKind::count && value != static_cast<double>(static_cast<uint64_t>(value)))
    throw UsageError(cat(filter.option, " must be a whole number or off, not '", typed, "'"));
  return value;
}

// A window without any value in it is a mistake.
static void check_windows(const std::vector<Limit>& found) {
  for (const Limit& low : found)
    for (const Limit& high : found)
      if (low.filter->below && !high.filter->below && low.filter->signal == high.filter->signal &&
          low.value > high.value)
        throw UsageError(
            cat(low.filter->option, " ", low.value, " and ", high.filter->option, " ", high.value, " leave no text"));
}

std::vector<Limit> limits(const std::vector<std::string>& typed, const std::vector<std::string>& presets) {
  const auto names = clean_presets();
  for (const std::string& preset : presets) {
    if (std::find(names.begin(), names.end(), preset) != names.end()) continue;
    std::string list;
    for (const std::string& name : names) list += (list.empty() ? "" : ", ") + name;
    throw UsageError(cat("--preset must be of ", list, ", not '", preset, "'"));
  }
  const auto asked = [&](const char* preset) {
    return preset && std::find(presets.begin(), presets.end(), preset) != presets.end();
  };
  std::vector<Limit> found;
  for (size_t i = 0; i < filter_table.size(); ++i) {
    const Filter& filter = filter_table[i];
    std::string value = i < typed.size() ? typed[i] : "";
    if (value.empty() && asked(filter.family)) value = filter.threshold;
    for (const Recipe& recipe : recipes)
      if (value.empty() && asked(recipe.preset) && std::string_view(recipe.option) == filter.option)
        value = recipe.threshold;
    if (!value.empty() && value != "off") found.push_back({&filter, parse_threshold(filter, value)});
  }
  check_windows(found);
  return found;
}

uint32_t groups_of(const std::vector<Limit>& limits) {
  uint32_t groups = 0;
  for (const Limit& limit : limits) groups = groups | info(limit.filter->signal).group;
  return groups;
}

const Limit* first_failed(const std::vector<Limit>& limits, const Signals& signals) {
  for (const Limit& limit : limits) {
    const double value = signals[limit.filter->signal];
    if (limit.filter->below ? value < limit.value : value > limit.value) return &limit;
  }
  return nullptr;
}

}  // namespace ds
