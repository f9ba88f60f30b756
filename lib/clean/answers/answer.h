// Question and answer pairs of low quality: empty, echoing, refusing and broken-off answers.
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "clean/signals.h"
#include "io/record.h"

namespace ds {

struct QuestionAnswer {
  std::string question, answer;
};

// The pair of a record, by the first layout that fits:
//   {"messages": [{"role", "content"}, ...]}      the last turn of the assistant, and the last of the user before it;
//                                                 content is a string or a list of {"type": "text", "text"}
//   {"conversations": [{"from", "value"}, ...]}   the same of ShareGPT: from is human or user, and gpt, chatgpt,
//                                                 assistant, model, bing or bard
//   {"instruction", "input", "output"}            Alpaca: the question is instruction, a line end and input, where
//   there
//                                                 is one
//   {"prompt", "completion"}, {"question", "answer"}
// A field name that is not empty says where the question or answer stands instead. Nothing where a part is missing or
// is no text.
std::optional<QuestionAnswer> question_answer(const Record& record, std::string_view question_field = {},
                                              std::string_view answer_field = {});

// Sets the signals of group `answer` but answer_foreign. Words are those of text/words.h, and each Chinese character,
// kana and Hangul syllable is one by itself.
// - answer_words, and answer_ratio = words of the answer / words of the question (not set for a question without
// words).
// - answer_echo: the share of the answer's word 3-grams that stand in the question. Of an answer of fewer than 3 words:
// 1
//   where they are the question's words, else 0.
// - answer_refusal and answer_unfinished: 1 where refuses() and breaks_off(), else 0.
void measure_answer(std::string_view question, std::string_view answer, Signals& signals);

// Whether an answer refuses in its first 40 words (English) or 60 characters (Chinese): at the start of a clause stands
// a phrase of a list of ours, such as "I'm sorry, but I can't", "As an AI language model" or "I am unable to assist".
// Contractions, apostrophes and case make no difference.
bool refuses(std::string_view answer);

// Whether an answer ends in the middle. It does where
// - a code fence is open at its end, or a bracket or quotation mark that its last line opened;
// - it ends in a comma, colon, hyphen, dash or opening bracket, or in a word that no sentence ends in (and, the,
// because);
// - no mark of an ended sentence stands at its end, though sentences before it have one, or though its last sentence
// has
//   more than 40 words, and its last line is prose.
// Not prose are code, formulas, tables, items of lists, addresses, lines that end in a number and sentences of fewer
// than 4 words; an answer of one word is whole, and so is an empty one (answer_words says so).
bool breaks_off(std::string_view answer);

}  // namespace ds
