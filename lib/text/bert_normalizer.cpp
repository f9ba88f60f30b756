#include "text/bert_normalizer.h"

#include <optional>

#include "text/normal_forms.h"
#include "text/unicode.h"
#include "text/unicode_versions.h"

namespace ds {
namespace {

constexpr uint8_t gone = 0xff;

// Nothing for what clean_text drops.
std::optional<char32_t> cleaned(char32_t c) {
  if (c == '\t' || c == '\n' || c == '\r' || c == ' ') return U' ';
  if (c >= 0x21 && c < 0x7f) return c;
  if (c == 0 || c == 0xfffd || is_other8(c)) return std::nullopt;
  return is_space(c) ? U' ' : c;
}

bool is_ideograph(char32_t c) {
  return (c >= 0x4e00 && c <= 0x9fff) || (c >= 0x3400 && c <= 0x4dbf) || (c >= 0xf900 && c <= 0xfaff) ||
         (c >= 0x20000 && c <= 0x2a6df) || (c >= 0x2a700 && c <= 0x2b81f) || (c >= 0x2b920 && c <= 0x2ceaf) ||
         (c >= 0x2f800 && c <= 0x2fa1f);
}

}  // namespace

BertNormalizer::BertNormalizer(const BertNormalizerOptions& options) : options_(options) {
  for (char32_t c = 0; c < 0x10000; ++c) entries_.push_back(c >= 0xd800 && c < 0xe000 ? Entry{} : entry_of(c));
  for (uint32_t c = 0; c < 128; ++c) {
    const Entry& entry = entries_[c];
    ascii_[c] = entry.kind == Entry::same ? static_cast<uint8_t>(c)
                : entry.size == 0         ? gone
                                          : static_cast<uint8_t>(pool_[entry.begin]);
  }
}

// The steps of one character are those of its text, unless Form D may order what is left of it among its neighbours.
BertNormalizer::Entry BertNormalizer::entry_of(char32_t c) {
  std::string text, scratch, out;
  append_utf8(text, c);
  if (options_.strip_accents) {
    const std::string_view form = normalize(text, NormalForm::nfd, scratch);
    for (size_t at = 0; at < form.size();)
      if (const char32_t part = next_character(form, at); is_ordered(part) && !is_nonspacing8(part)) return {};
  }
  bool beheaded = false;
  append_steps(text, out, beheaded);
  if (out == text) return {Entry::same, static_cast<uint8_t>(text.size()), 0};
  const Entry entry{Entry::pooled, static_cast<uint8_t>(out.size()), static_cast<uint32_t>(pool_.size())};
  pool_ += out;
  return entry;
}

void BertNormalizer::append_steps(std::string_view text, std::string& out, bool& beheaded) const {
  std::string clean, scratch;
  for (size_t at = 0; at < text.size();) {
    const bool first = at == 0;
    const char32_t written = next_character(text, at);
    const std::optional<char32_t> c = options_.clean_text ? cleaned(written) : written;
    beheaded = beheaded || (first && !c);
    if (!c) continue;
    const bool apart = options_.handle_chinese_chars && is_ideograph(*c);
    if (apart) clean += ' ';
    append_utf8(clean, *c);
    if (apart) clean += ' ';
  }
  const std::string_view form = options_.strip_accents ? normalize(clean, NormalForm::nfd, scratch) : clean;
  for (size_t at = 0; at < form.size();) {
    const bool first = at == 0;
    const char32_t c = next_character(form, at);
    if (options_.strip_accents && is_nonspacing8(c))
      beheaded = beheaded || first;
    else if (options_.lowercase)
      append_lower17(out, c);
    else
      append_utf8(out, c);
  }
}

// Where the characters end that take the steps together with the one at `begin`: before one of which something is left,
// whatever stands beside it.
size_t BertNormalizer::run_end(std::string_view text, size_t begin) const {
  for (size_t at = begin, end = begin;; end = at) {
    if (end >= text.size()) return end;
    const char32_t c = next_character(text, at);
    if (end > begin && c < 0x10000 && entries_[c].kind != Entry::steps && entries_[c].size > 0) return end;
  }
}

std::string_view BertNormalizer::apply(std::string_view text, std::string& scratch, bool& beheaded) const {
  scratch.clear();
  scratch.reserve(text.size() + text.size() / 4);
  if (text.empty()) return scratch;
  append_steps(text.substr(0, run_end(text, 0)), scratch, beheaded);
  scratch.clear();
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    while (at < text.size() && static_cast<uint8_t>(text[at]) < 0x80) ++at;
    const size_t kept = scratch.size();
    scratch.resize(kept + at - begin);
    char* out = scratch.data() + kept;
    for (const char c : text.substr(begin, at - begin)) {
      const uint8_t becomes = ascii_[static_cast<uint8_t>(c)];
      *out = static_cast<char>(becomes);
      out += becomes != gone;
    }
    scratch.resize(static_cast<size_t>(out - scratch.data()));
    while (at < text.size() && static_cast<uint8_t>(text[at]) >= 0x80) {
      const size_t from = at;
      const char32_t c = next_character(text, at);
      const Entry entry = c < 0x10000 ? entries_[c] : Entry{};
      if (entry.kind == Entry::same) {
        scratch.append(text, from, at - from);
      } else if (entry.kind == Entry::pooled) {
        scratch.append(pool_, entry.begin, entry.size);
      } else {
        bool ignored = false;
        at = run_end(text, from);
        append_steps(text.substr(from, at - from), scratch, ignored);
      }
    }
  }
  return scratch;
}

}  // namespace ds
