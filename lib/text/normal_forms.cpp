#include "text/normal_forms.h"

#include <utf8proc.h>

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

#include "base/error.h"
#include "text/unicode.h"
#include "text/unicode_versions.h"

namespace ds {
namespace {

int options_of(NormalForm form) {
  const bool composed = form == NormalForm::nfc || form == NormalForm::nfkc;
  const bool compatible = form == NormalForm::nfkc || form == NormalForm::nfkd;
  return UTF8PROC_STABLE | (composed ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE) | (compatible ? UTF8PROC_COMPAT : 0);
}

void append_normalized(std::string& out, std::string_view text, NormalForm form) {
  utf8proc_uint8_t* bytes = nullptr;
  const auto size =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), static_cast<utf8proc_ssize_t>(text.size()),
                   &bytes, static_cast<utf8proc_option_t>(options_of(form)));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(bytes, &std::free);
  require(size >= 0, "Unicode normalisation failed: ", utf8proc_errmsg(size));
  out.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(size));
}

// Whether normalization leaves a character alone whatever stands beside it, a bit for each form, and whether it is
// inert.
class Stability {
 public:
  static const Stability& table() {
    static const Stability stability;
    return stability;
  }
  bool stable(char32_t c, NormalForm form) const { return bits_[c] >> static_cast<int>(form) & 1; }
  bool inert(char32_t c) const { return bits_[c] >> 4 & 1; }

 private:
  Stability() : bits_(0x110000) {
    for (char32_t c = 0; c < bits_.size(); ++c) bits_[c] = bits_of(c);
  }
  static uint8_t bits_of(char32_t c) {
    if (is_inert9(c)) return 0x1f;
    const utf8proc_property_t* p = utf8proc_get_property(static_cast<utf8proc_int32_t>(c));
    if (p->combining_class) return 0;
    const bool hangul = c >= 0xac00 && c <= 0xd7a3;
    const bool decomposes = p->decomp_seqindex != UINT16_MAX,
               canonically = hangul || (decomposes && p->decomp_type == 0);
    const bool second = (p->comb_index != UINT16_MAX && p->comb_index >= 0x8000) || (c >= 0x1161 && c <= 0x1175) ||
                        (c >= 0x11a8 && c <= 0x11c2);
    const auto composes = [&](NormalForm form) {
      if (second) return false;
      if (hangul || (!canonically && (form == NormalForm::nfc || !decomposes))) return true;
      std::string text, form_of_it;
      append_utf8(text, c);
      append_normalized(form_of_it, text, form);
      return form_of_it == text;
    };
    return static_cast<uint8_t>(composes(NormalForm::nfc) << 0 | !canonically << 1 | composes(NormalForm::nfkc) << 2 |
                                !(hangul || decomposes) << 3);
  }
  std::vector<uint8_t> bits_;
};

}  // namespace

std::string_view normalize(std::string_view text, NormalForm form, std::string& scratch) {
  const Stability& table = Stability::table();
  const uint8_t ascii_like = form == NormalForm::nfc ? 0xcc : 0x80;  // below U+0300 all is NFC
  bool changed = false;
  size_t done = 0, before = 0;  // what is in scratch; where the run would begin: at the character before, unless inert
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    if (static_cast<uint8_t>(text[at]) < ascii_like) {
      before = at++;
      if (static_cast<uint8_t>(text[begin]) >= 0x80) ++at;
      continue;
    }
    char32_t c = decode_utf8(text, at);
    if (table.stable(c, form)) {
      before = table.inert(c) ? at : begin;
      continue;
    }
    size_t end = at;
    while (at < text.size()) {
      c = decode_utf8(text, at);
      if (table.stable(c, form)) break;
      end = at;
    }
    if (!changed) scratch.clear();
    changed = true;
    scratch.append(text, done, before - done);
    append_normalized(scratch, text.substr(before, end - before), form);
    done = before = at = end;
  }
  if (!changed) return text;
  scratch.append(text, done);
  return scratch;
}

bool is_ordered(char32_t c) {
  return !is_inert9(c) && utf8proc_get_property(static_cast<utf8proc_int32_t>(c))->combining_class != 0;
}

}  // namespace ds
