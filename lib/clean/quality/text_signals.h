// The signals of a text alone: its length, its kinds of characters, and what the filters of Gopher, C4 and FineWeb look
// at. Each is the number that those filters, as the datatrove library (Penedo et al., 2024) has them, compare with
// their thresholds, so that the same thresholds decide the same. Their words and sentences are those of
// quality_words.h.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "clean/quality/quality_words.h"
#include "clean/signals.h"

namespace ds {

// Sets the signals of `groups` (an OR of SignalGroup; groups of other files are ignored) from a text of valid UTF-8;
// one of more than 4 GiB is an Error. Where c4 is among them, c4_text (may be null) becomes the text as C4 leaves it:
// the lines that it keeps, without citations. Where c4 and fineweb are both asked for, FineWeb's signals are those of
// that text; this is the order of FineWeb's own pipeline.
void measure_text(std::string_view text, uint32_t groups, Signals& signals, std::string* c4_text);

// The groups one by one, for measure_text and its tests. `words` are those of the text.

// Table A1 of the Gopher paper. A text with fewer words than an n-gram has share 0, and so has an empty one: it stays.
void measure_gopher_repetition(std::string_view text, std::span<const QualityWord> words, Signals& signals);
// Appendix A1.1. Ratios to words or lines are not defined where there are none; the number of words drops such a text.
void measure_gopher_quality(std::string_view text, std::span<const QualityWord> words, Signals& signals);
// Words of `kept`, which becomes the text as C4 leaves it. The first line that says lorem ipsum or holds a { sets one
// of these two signals, never both, as the first such line decides the reason of a drop.
size_t measure_c4(std::string_view text, Signals& signals, std::string& kept);
// A text without a line that is not blank has no terminal punctuation, so it is dropped by that rule.
void measure_fineweb(std::string_view text, size_t words, Signals& signals);
// Kinds of characters, and English stop words among the words that are not all punctuation. A share of nothing is not
// defined.
void measure_ratios(std::string_view text, std::span<const QualityWord> words, Signals& signals);

}  // namespace ds
