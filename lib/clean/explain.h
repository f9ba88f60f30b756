// What is known of one record, to read: ds-clean --explain.
#pragma once
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "clean/signals.h"
#include "io/record.h"

namespace ds {

// What a filter says of a signal: {Signal::words, "min-words 50 drops it"}.
using SignalNotes = std::vector<std::pair<Signal, std::string>>;

// FILE:LINE, then a line for each signal that was measured or has a note, in the order of signals.h, in aligned
// columns: name, value (the shortest decimal that reads back as the same; - where not measured), notes (where there are
// any, several joined with ", "), meaning. Lines end in \n and have no trailing spaces.
//   corpus.jsonl:12
//   signal      value               note                   meaning
//   words       31                  min-words 50 drops it  words: lower-case runs of letters, digits and _
//   repetition  0.8333333333333334                         share of the word 5-grams that occurred before in the text
std::string explain_table(const Record& record, const Signals& signals, const SignalNotes& notes = {});

}  // namespace ds
