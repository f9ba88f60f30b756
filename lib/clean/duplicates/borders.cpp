#include "clean/duplicates/borders.h"

#include <algorithm>
#include <array>

#include "text/unicode.h"

namespace ds {

void merge(std::vector<TextRange>& ranges) {
  std::ranges::sort(ranges, {}, &TextRange::begin);
  size_t kept = 0;
  for (const TextRange& range : ranges)
    if (kept > 0 && range.begin <= ranges[kept - 1].end)
      ranges[kept - 1].end = std::max(ranges[kept - 1].end, range.end);
    else
      ranges[kept++] = range;
  ranges.resize(kept);
}

static bool is_ascii(char c) { return static_cast<unsigned char>(c) < 0x80; }
static bool is_continuation(char c) { return (c & 0xC0) == 0x80; }
static bool is_ascii_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

std::string_view trimmed(std::string_view text) {
  while (!text.empty()) {
    size_t after = 1;
    if (is_ascii(text.front())) {
      if (!is_ascii_space(text.front())) break;
    } else {
      after = 0;
      if (!is_space(decode_utf8(text, after))) break;
    }
    text.remove_prefix(after);
  }
  while (!text.empty()) {
    size_t start = text.size() - 1;
    if (is_ascii(text.back())) {
      if (!is_ascii_space(text.back())) break;
    } else {
      while (start > 0 && text.size() - start < 4 && is_continuation(text[start])) --start;
      size_t after = start;
      if (!is_space(decode_utf8(text, after)) || after != text.size()) break;
    }
    text = text.substr(0, start);
  }
  return text;
}

namespace {

constexpr std::array<bool, 256> make_dull() {
  std::array<bool, 256> dull{};
  for (int c = 0; c < 0x80; ++c)
    dull[c] = std::string_view("\n\r.!?\"')]}").find(static_cast<char>(c)) == std::string_view::npos;
  return dull;
}
// Of which one inside a sentence says nothing: no border stands before it, and the next is inside the sentence too.
constexpr std::array<bool, 256> dull = make_dull();

bool closes(char32_t c) {
  return std::u32string_view(U"\"')]}»’”›）】〕》〉」』").find(c) != std::u32string_view::npos;
}

// Reads a text character by character, and knows of each place whether it is the border of a sentence.
struct Sentences {
  enum class State : uint8_t {
    inside,     // of a sentence
    stop,       // after . ! ? and what closes
    wide_stop,  // after 。 ！ ？ and what closes
    between,    // in white space after the end of a sentence
  } state = State::inside;

  bool after_return = false;

  bool border_before(char32_t next) const {
    if (after_return && next == '\n') return false;
    if (next == '\n' || next == '\r' || state == State::between) return true;
    return state == State::stop ? is_space(next) : state == State::wide_stop && !closes(next);
  }
  void read(char32_t c) {
    after_return = c == '\r';
    if (c == '\n' || c == '\r')
      state = State::between;
    else if (is_space(c))
      state = state == State::inside ? State::inside : State::between;
    else if (c == U'。' || c == U'！' || c == U'？')
      state = State::wide_stop;
    else if (c == '.' || c == '!' || c == '?')
      state = State::stop;
    else if (!closes(c) || state == State::between)
      state = State::inside;
  }
};

}  // namespace

TextRange whole_sentences(std::string_view text, TextRange range) {
  size_t at = range.begin - std::min<size_t>(range.begin, 256);
  while (at < range.begin && is_continuation(text[at])) ++at;
  Sentences sentences{at == 0 ? Sentences::State::between : Sentences::State::inside};
  while (at < range.begin) sentences.read(decode_utf8(text, at));
  TextRange whole{range.end, range.end};
  bool begun = false;
  for (;;) {
    if (sentences.state == Sentences::State::inside)
      while (at < range.end && dull[static_cast<unsigned char>(text[at])]) ++at, sentences.after_return = false;
    const size_t place = at;
    if (place > range.end) break;
    const bool last = place == text.size();
    const char32_t next = last ? U'\n' : decode_utf8(text, at);
    if (last || sentences.border_before(next)) {
      if (!begun) whole.begin = place;
      begun = true;
      whole.end = place;
    }
    if (place >= range.end) break;
    sentences.read(next);
  }
  return whole;
}

}  // namespace ds
