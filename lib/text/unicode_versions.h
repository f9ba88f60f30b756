// Properties of characters by version of Unicode. The parts of Hugging Face tokenizers (0.23) follow different
// versions, and the ids of a text depend on them: regular expressions follow Unicode 16 (Oniguruma 6.9.10), Digits and
// Lowercase 17 (Rust's standard library), Punctuation and BertNormalizer 8 (unicode_categories), normalization forms
// and StripAccents 9 or so (unicode-normalization-alignments). utf8proc gives Unicode 14 to 16; the tables of what
// differs were read off that library, code point by code point.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace ds {

// General categories, numbered as in utf8proc.
enum class Category : uint8_t {
  Cn,
  Lu,
  Ll,
  Lt,
  Lm,
  Lo,
  Mn,
  Mc,
  Me,
  Nd,
  Nl,
  No,
  Pc,
  Pd,
  Ps,
  Pe,
  Pi,
  Pf,
  Po,
  Sm,
  Sc,
  Sk,
  So,
  Zs,
  Zl,
  Zp,
  Cc,
  Cf,
  Cs,
  Co
};
inline bool is_letter(Category k) { return k >= Category::Lu && k <= Category::Lo; }
inline bool is_mark(Category k) { return k >= Category::Mn && k <= Category::Me; }
inline bool is_number(Category k) { return k >= Category::Nd && k <= Category::No; }
inline bool is_punctuation(Category k) { return k >= Category::Pc && k <= Category::Po; }
inline bool is_symbol(Category k) { return k >= Category::Sm && k <= Category::So; }

// Unicode 16.
Category category16(char32_t c);
// \w of UTS 18: Alphabetic, M*, Nd, Pc and the two joiners.
bool is_word16(char32_t c);
// A text for a matcher that knows Unicode 14: characters that came later are replaced by older ones of the same
// category and length in UTF-8, so that places stay. Returns `text` where it has none, else views `scratch`.
std::string_view as_unicode14(std::string_view text, std::string& scratch);

// Unicode 17: N*, and the lower case of one character by itself.
bool is_numeric17(char32_t c);
void append_lower17(std::string& out, char32_t c);

// Unicode 8: P* or ASCII punctuation; Mn; Cc, Cf, Co.
bool is_punctuation8(char32_t c);
bool is_nonspacing8(char32_t c);
bool is_other8(char32_t c);

// Unicode 9: M*; and the characters that have a decomposition or combining class in Unicode 14 but had none then.
bool is_combining9(char32_t c);
bool is_inert9(char32_t c);

}  // namespace ds
