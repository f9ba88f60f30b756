#include "text/scanners.h"

#include <cstdint>
#include <string>

#include "text/character_classes.h"

namespace ds {
namespace {

using Classes = CharacterClasses;

// A place in valid UTF-8, with what the table says of the character there.
struct Cursor {
  const Classes& table;
  const char* at;
  const char* end;

  bool done() const { return at >= end; }
  // Class of the character at p (p < end), and its length.
  uint8_t look(const char* p, size_t& length) const {
    const auto lead = static_cast<uint8_t>(*p);
    if (lead < 0x80) {
      length = 1;
      return table.ascii(lead);
    }
    const auto more = [&](int i) { return static_cast<char32_t>(static_cast<uint8_t>(p[i]) & 0x3f); };
    if (lead < 0xe0) {
      length = 2;
      return table.of((lead & 0x1fu) << 6 | more(1));
    }
    if (lead < 0xf0) {
      length = 3;
      return table.of((lead & 0x0fu) << 12 | more(1) << 6 | more(2));
    }
    length = 4;
    return table.of((lead & 0x07u) << 18 | more(1) << 12 | more(2) << 6 | more(3));
  }
  // Class of what stands at p; 0 at the end, where unassigned characters are 0 too: ask for what is wanted, not for
  // what is not.
  uint8_t class_at(const char* p) const {
    size_t length;
    return p < end ? look(p, length) : 0;
  }
  // The end of the run of characters that have one of `wanted`.
  const char* run(const char* p, uint8_t wanted) const {
    size_t length;
    while (p < end && (look(p, length) & wanted)) p += length;
    return p;
  }
  // The end of the run of characters that have none of `unwanted`.
  const char* run_without(const char* p, uint8_t unwanted) const {
    size_t length;
    while (p < end && !(look(p, length) & unwanted)) p += length;
    return p;
  }
};

Cursor cursor_of(std::string_view text, TextRange range) {
  return {Classes::table(), text.data() + range.begin, text.data() + range.end};
}

TextRange between(std::string_view text, const char* from, const char* to) {
  return {static_cast<size_t>(from - text.data()), static_cast<size_t>(to - text.data())};
}

// 's 't 'm 'd 're 've 'll after an apostrophe at p; 0 or the bytes of the contraction. `folded` ignores case as Unicode
// does: the long s is an s.
size_t contraction(const char* p, const char* end, bool folded) {
  const auto letter = [&](int i) -> char {
    if (p + i >= end) return 0;
    const char c = p[i];
    return folded && c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  };
  switch (letter(1)) {
    case 's':
    case 't':
    case 'm':
    case 'd':
      return 2;
    case 'r':
    case 'v':
      return letter(2) == 'e' ? 3 : 0;
    case 'l':
      return letter(2) == 'l' ? 3 : 0;
    case '\xc5':
      return folded && letter(2) == '\xbf' ? 3 : 0;
    default:
      return 0;
  }
}

// The end of \s*[\r\n]+|\s+(?!\S)|\s+ (newlines), or of \s+(?!\S)|\s+ alone, at white space.
const char* white_space(const Cursor& c, bool newlines) {
  const char *last = c.at, *after_newline = nullptr, *p = c.at;
  size_t length;
  while (p < c.end) {
    const uint8_t kind = c.look(p, length);
    if (!(kind & Classes::space)) break;
    last = p;
    p += length;
    if (kind & Classes::newline) after_newline = p;
  }
  if (newlines && after_newline) return after_newline;
  return p == c.end || last == c.at ? p : last;  // the last one goes with what follows
}

void scan_gpt2(std::string_view text, TextRange range, std::vector<TextRange>& pieces) {
  Cursor c = cursor_of(text, range);
  const auto emit = [&](const char* to) {
    pieces.push_back(between(text, c.at, to));
    c.at = to;
  };
  constexpr uint8_t known = Classes::letter | Classes::number | Classes::space;
  while (!c.done()) {
    size_t length;
    uint8_t kind = c.look(c.at, length);
    if (*c.at == '\'')
      if (const size_t size = contraction(c.at, c.end, false)) {
        emit(c.at + size);
        continue;
      }
    const char* from = c.at;
    if (*from == ' ' && from + 1 < c.end) {
      size_t next;
      const uint8_t after = c.look(from + 1, next);
      if (!(after & Classes::space)) kind = after, ++from, length = next;
    }
    from += length;
    if (kind & Classes::letter)
      emit(c.run(from, Classes::letter));
    else if (kind & Classes::number)
      emit(c.run(from, Classes::number));
    else if (kind & Classes::space)
      emit(white_space(c, false));
    else
      emit(c.run_without(from, known));
  }
}

// Llama 3 and Qwen 2 differ in how many digits make a piece.
template <int digits>
void scan_llama3(std::string_view text, TextRange range, std::vector<TextRange>& pieces) {
  Cursor c = cursor_of(text, range);
  const auto emit = [&](const char* to) {
    pieces.push_back(between(text, c.at, to));
    c.at = to;
  };
  constexpr uint8_t known = Classes::letter | Classes::number | Classes::space;
  while (!c.done()) {
    size_t length;
    const uint8_t kind = c.look(c.at, length);
    const char* from = c.at + length;
    if (kind & Classes::letter) {
      emit(c.run(from, Classes::letter));
      continue;
    }
    if (kind & Classes::number) {
      size_t next;
      for (int i = 1; i < digits && from < c.end && (c.look(from, next) & Classes::number); ++i) from += next;
      emit(from);
      continue;
    }
    if (*c.at == '\'')
      if (const size_t size = contraction(c.at, c.end, true)) {
        emit(c.at + size);
        continue;
      }
    size_t next = 0;
    const uint8_t after = from < c.end ? c.look(from, next) : uint8_t{0};
    if ((after & Classes::letter) && !(kind & Classes::newline)) {
      emit(c.run(from + next, Classes::letter));
    } else if (!(kind & Classes::space) || (*c.at == ' ' && from < c.end && !(after & known))) {
      from = c.run_without(from, known);
      while (from < c.end && (*from == '\r' || *from == '\n')) ++from;
      emit(from);
    } else {
      emit(white_space(c, true));
    }
  }
}

}  // namespace

void scan_bert(std::string_view text, TextRange range, std::vector<TextRange>& pieces) {
  const Cursor c = cursor_of(text, range);
  constexpr uint8_t apart = Classes::space | Classes::bert_mark;
  for (const char* p = c.at; p < c.end;) {
    const char* const from = p;
    size_t length;
    const uint8_t kind = c.look(p, length);
    p += length;
    if (kind & Classes::space) continue;
    if (!(kind & apart)) p = c.run_without(p, apart);
    pieces.push_back(between(text, from, p));
  }
}

namespace {

bool ascii_letter(char c) { return static_cast<uint8_t>((c | 32) - 'a') < 26; }

// Where a match of DeepSeek's third pattern that begins at c.at ends; null where none does.
const char* deepseek3_match(const Cursor& c) {
  size_t length;
  const uint8_t kind = c.look(c.at, length);
  const char* from = c.at + length;
  constexpr uint8_t word = Classes::letter | Classes::mark;
  if (kind & word) return c.run(from, word);
  if (kind & Classes::punctuation) {
    if (length == 1 && from < c.end && ascii_letter(*from)) {
      while (from < c.end && ascii_letter(*from)) ++from;
      return from;
    }
  } else {
    size_t next;
    const uint8_t after = from < c.end ? c.look(from, next) : uint8_t{0};
    if ((after & word) && !(kind & Classes::newline)) return c.run(from + next, word);
    if (*c.at != ' ' || !(after & Classes::punctuation)) return kind & Classes::space ? white_space(c, true) : nullptr;
  }
  from = c.run(from, Classes::punctuation);
  while (from < c.end && (*from == '\r' || *from == '\n')) ++from;
  return from;
}

// What no match takes (controls, unassigned) is a piece up to the next match.
void scan_deepseek3_rest(std::string_view text, TextRange range, std::vector<TextRange>& pieces) {
  Cursor c = cursor_of(text, range);
  const char* done = c.at;
  const auto emit = [&](const char* to) {
    if (to != done) pieces.push_back(between(text, done, to));
    done = to;
  };
  while (!c.done()) {
    const char* end = deepseek3_match(c);
    if (!end) {
      size_t length;
      c.look(c.at, length);
      c.at += length;
      continue;
    }
    emit(c.at);
    emit(end);
    c.at = end;
  }
  emit(c.end);
}

}  // namespace

void scan_deepseek3(std::string_view text, TextRange range, std::vector<TextRange>& pieces) {
  const Cursor c = cursor_of(text, range);
  constexpr uint8_t apart = Classes::number | Classes::ideograph;
  for (const char* p = c.at; p < c.end;) {
    const char* const from = p;
    size_t length;
    const uint8_t kind = c.look(p, length);
    if (kind & Classes::number) {
      for (int i = 0; i < 3 && p < c.end && (c.look(p, length) & Classes::number); ++i) p += length;
      pieces.push_back(between(text, from, p));
      continue;
    }
    p = kind & Classes::ideograph ? c.run(p, Classes::ideograph) : c.run_without(p, apart);
    scan_deepseek3_rest(text, between(text, from, p), pieces);
  }
}

bool same_pattern(std::string_view one, std::string_view two) {
  const auto spelled = [](std::string_view pattern) {
    std::string out;
    for (const char c : pattern) c == '\r' ? out += "\\r" : c == '\n' ? out += "\\n" : out += c;
    return out;
  };
  return spelled(one) == spelled(two);
}

Scanner scanner_of(std::string_view pattern) {
  if (same_pattern(pattern, gpt2_pattern)) return scan_gpt2;
  if (same_pattern(pattern, llama3_pattern)) return scan_llama3<3>;
  if (same_pattern(pattern, qwen2_pattern)) return scan_llama3<1>;
  if (same_pattern(pattern, deepseek3_patterns[2])) return scan_deepseek3_rest;
  return nullptr;
}

}  // namespace ds
