#include "text/language.h"

#include <cld2/public/compact_lang_det.h>
#include <cld2/public/encodings.h>

#include <algorithm>
#include <iterator>

#include "text/classifier.h"
#include "text/unicode.h"

namespace ds {

// The first language_bytes of a text; a character that the limit cuts is left out.
static std::string_view beginning(std::string_view text) {
  if (text.size() <= language_bytes) return text;
  size_t end = language_bytes;
  while (end > language_bytes - 4 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return text.substr(0, end);
}

// CLD2 wants UTF-8 without control characters and noncharacters, and gives up at the first.
static std::string interchange_valid(std::string_view text) {
  std::string valid;
  valid.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const auto byte = static_cast<unsigned char>(text[at]);
    if (byte < 0x80) {
      valid += byte < 0x20 || byte == 0x7F ? ' ' : text[at];
      ++at;
      continue;
    }
    const size_t begin = at;
    const char32_t c = decode_utf8(text, at);
    const bool noncharacter = (c & 0xFFFE) == 0xFFFE || (c >= 0xFDD0 && c <= 0xFDEF);
    if (c < 0xA0 || noncharacter || c == replacement_character)
      valid += ' ';
    else
      valid.append(text, begin, at - begin);
  }
  return valid;
}

// CLD2's code without script or country, withdrawn codes renewed, and its pseudo-languages (a mere script, xx-Runr;
// jokes, zzp) unknown.
static std::string iso_code(std::string_view code) {
  code = code.substr(0, code.find('-'));
  if (code == "iw") return "he";
  if (code == "jw") return "jv";
  if (code.starts_with("xx") || code.starts_with("zz")) return "un";
  return std::string(code);
}

bool is_language_code(std::string_view code) {
  if (code.empty()) return false;  // CLD2 has languages without a code
  for (int i = 0; i < CLD2::NUM_LANGUAGES; ++i)
    if (iso_code(CLD2::LanguageCode(static_cast<CLD2::Language>(i))) == code) return true;
  return false;
}

Language detect_language(std::string_view text) {
  const std::string valid = interchange_valid(beginning(text));
  const CLD2::CLDHints no_hints{nullptr, nullptr, CLD2::UNKNOWN_ENCODING, CLD2::UNKNOWN_LANGUAGE};
  constexpr bool plain_text = true;
  CLD2::Language languages[3];
  int percent[3], text_bytes = 0;
  double scores[3];
  bool reliable = false;
  const CLD2::Language found =
      CLD2::ExtDetectLanguageSummary(valid.data(), static_cast<int>(valid.size()), plain_text, &no_hints, 0, languages,
                                     percent, scores, nullptr, &text_bytes, &reliable);
  const std::string code = iso_code(CLD2::LanguageCode(found));
  if (!reliable || code == "un") return {"un", 0};
  const auto place = std::find(std::begin(languages), std::end(languages), found) - std::begin(languages);
  return {code, place < 3 ? percent[place] / 100.0 : 0};
}

Language detect_language(std::string_view text, const Classifier& model) {
  const auto [label, probability] = model.best(beginning(text));
  if (probability == 0) return {"un", 0};
  return {model.labels()[label], probability};
}

}  // namespace ds
