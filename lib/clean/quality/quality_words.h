// Words and sentences as the published text filters count them: the tokens of spaCy's rules for English (Honnibal et
// al., "spaCy", without a model) in a table of modest size of our own. A text is split at white space; punctuation
// peels off the front and the end of each piece; contractions, hyphens and the like split what is left; abbreviations,
// addresses and emoticons stay whole.
// Known differences: the ideographic punctuation of U+3000 to U+303F and the digits of Persian are no letters here, one
// emoticon of box drawing is left out, and marks on both sides of white space never keep an emoticon from being seen.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace ds {

enum QualityWordKind : uint8_t {
  word_alphabetic = 1,     // a letter (L*) stands in it
  word_substantial = 2,    // a character that is not common punctuation stands in it
  word_punctuation = 4,    // all P*
  word_sentence_end = 8,   // one character that ends a sentence
  word_after_spaces = 16,  // white space other than one blank between two words stands before it
};
struct QualityWord {
  uint32_t begin, size;  // bytes of the text
  uint32_t characters;
  uint8_t kinds;  // OR of QualityWordKind
};

// Replaces `words` by those of the text, valid UTF-8 of at most 4 GiB. They never hold white space, and leave out
// nothing else.
void split_quality_words(std::string_view text, std::vector<QualityWord>& words);

// Sentences of the words: a new one begins behind `.`, `!`, `?` and their like, and the punctuation that follows them.
// 0 for no words.
size_t count_sentences(std::span<const QualityWord> words);

}  // namespace ds
