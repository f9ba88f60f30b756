// From what was typed to what will be done.
#include <charconv>
#include <cmath>

#include "base/error.h"
#include "clean/clean.h"

namespace ds {

template <class Number>
static std::optional<Number> value_of(const std::string& option, const std::string& typed, std::optional<Number> preset,
                                      Number highest) {
  if (typed.empty()) return preset;
  if (typed == "off") return std::nullopt;
  Number value{};
  const char* end = typed.data() + typed.size();
  const auto [stop, error] = std::from_chars(typed.data(), end, value);
  // The negated comparison refuses NaN too.
  if (error != std::errc() || stop != end || !(value >= 0 && value <= highest))
    throw UsageError(cat(option, " must be a number from 0 to ", highest, " or off, not '", typed, "'"));
  return value;
}

std::vector<std::string> clean_presets() { return {"pretrain"}; }

CleanRules clean_rules(const CleanOptions& options) {
  CleanRules preset;
  if (options.preset == "pretrain") {
    preset.exact = true;
    preset.near = 0.8;
    preset.repetition = 0.8;
    preset.min_words = 50;
  } else if (!options.preset.empty()) {
    throw UsageError(cat("--preset must be pretrain, not '", options.preset, "'"));
  }
  constexpr uint64_t most_words = uint64_t{1} << 40;
  CleanRules rules;
  rules.exact = options.exact || preset.exact;
  rules.near = value_of<double>("--near", options.near, preset.near, 1);
  if (rules.near == 0.0) throw UsageError("--near must be above 0 and at most 1, or off");
  rules.shingle = parse_shingle_kind(options.shingle);
  rules.repetition = value_of<double>("--repetition", options.repetition, preset.repetition, 1);
  rules.min_words = value_of<uint64_t>("--min-words", options.min_words, preset.min_words, most_words);
  rules.max_words = value_of<uint64_t>("--max-words", options.max_words, preset.max_words, most_words);
  if (rules.min_words && rules.max_words && *rules.min_words > *rules.max_words)
    throw UsageError(cat("--min-words ", *rules.min_words, " and --max-words ", *rules.max_words, " leave no text"));
  rules.toxicity = value_of<double>("--toxicity", options.toxicity, preset.toxicity, 1);
  if (!options.lexicon.empty() && !rules.toxicity) throw UsageError("--lexicon has no use without --toxicity");
  return rules;
}

}  // namespace ds
