// Which language a text is in: CLD2 (Compact Language Detector 2, over 80 languages, no model file), or a fastText
// model such as lid.176 (labels __label__en).
#pragma once
#include <cstddef>
#include <string>
#include <string_view>

namespace ds {

class Classifier;

struct Language {
  std::string code;  // ISO 639; "un": unknown
  double score = 0;  // in [0, 1]; 0 where unknown
};

// Only so many bytes of a text are looked at (whole characters): a longer text costs no more than this.
constexpr size_t language_bytes = size_t{64} << 10;

// CLD2's answer; the score is the share of the text (in bytes of letters) that it finds in this language. Unknown where
// it calls itself unreliable, as for most texts of one word. Code: two letters where ISO 639-1 has them, without script
// or country (zh for both ways to write Chinese). The text is any bytes: what is not UTF-8, and control characters,
// separate words.
Language detect_language(std::string_view text);

// Whether that detect_language() can give this code.
bool is_language_code(std::string_view code);

// The most probable label of a language model and its probability, as the file has it; unknown at probability 0.
Language detect_language(std::string_view text, const Classifier& model);

}  // namespace ds
