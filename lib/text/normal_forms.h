// Unicode normalization forms as Hugging Face tokenizers has them: those of its older version of Unicode.
#pragma once
#include <string>
#include <string_view>

namespace ds {

enum class NormalForm { nfc, nfd, nfkc, nfkd };

// Valid UTF-8 in a form. Returns `text` where it is in the form already, else views `scratch`, which must not hold
// `text`.
std::string_view normalize(std::string_view text, NormalForm form, std::string& scratch);

// Whether the forms order a character among its neighbours (its combining class is not 0).
bool is_ordered(char32_t c);

}  // namespace ds
