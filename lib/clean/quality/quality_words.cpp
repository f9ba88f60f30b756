#include "clean/quality/quality_words.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "clean/quality/quality_characters.h"
#include "clean/quality/web_address.h"
#include "clean/quality/word_exceptions.h"

namespace ds {

namespace {

// What the scan for the end of a piece needs to know of a byte.
enum ByteKind : uint8_t { byte_letter = 0, byte_other = 1, byte_wide = 2, byte_blank = 4 };
constexpr auto byte_kinds = [] {
  std::array<uint8_t, 256> kinds{};
  for (unsigned b = 0; b < 256; ++b) {
    const bool letter = (b >= 'a' && b <= 'z') || (b >= 'A' && b <= 'Z');
    const bool blank = b == ' ' || (b >= '\t' && b <= '\r') || (b >= 0x1C && b <= 0x1F);
    kinds[b] = b >= 0x80 ? byte_wide : blank ? byte_blank : letter ? byte_letter : byte_other;
  }
  return kinds;
}();

// ASCII letters at text[at]; the last few of the text may be left out.
size_t letters_at(std::string_view text, size_t at) {
  static_assert(std::endian::native == std::endian::little);
  constexpr uint64_t ones = 0x0101010101010101, tops = 0x80 * ones;
  const size_t begin = at;
  for (uint64_t bytes; at + sizeof bytes <= text.size(); at += sizeof bytes) {
    std::memcpy(&bytes, text.data() + at, sizeof bytes);
    const uint64_t lower = (bytes & ~tops) | 0x20 * ones;
    const uint64_t from_a = lower + (0x80 - 'a') * ones, behind_z = lower + (0x80 - 'z' - 1) * ones;
    const uint64_t others = ~(from_a & ~behind_z & ~bytes) & tops;
    if (others != 0) return at - begin + static_cast<size_t>(std::countr_zero(others)) / 8;
  }
  return at - begin;
}

struct Character {
  char32_t code = 0;
  uint32_t kinds = 0;
  size_t size = 0;  // bytes; 0: there is none
  bool is(uint32_t any) const { return (kinds & any) != 0; }
};
Character character_at(std::string_view text, size_t at) {
  if (at >= text.size()) return {};
  const size_t begin = at;
  const char32_t code = decode_character(text, at);
  return {code, character_kinds(code), at - begin};
}
Character character_before(std::string_view text, size_t at) {
  if (at == 0) return {};
  do --at;
  while (at > 0 && (text[at] & 0xC0) == 0x80);
  return character_at(text, at);
}

size_t dots_at(std::string_view text, size_t at) { return std::min(text.find_first_not_of('.', at), text.size()) - at; }

// Bytes that split off the front; 0: none.
size_t prefix_size(std::string_view text) {
  const Character first = character_at(text, 0);
  if (first.is(kind_opening)) return first.size;
  if (first.code == '+') return character_at(text, 1).is(kind_digit) ? 0 : 1;
  if (first.code == '.') {
    const size_t dots = dots_at(text, 0);
    return dots > 1 ? dots : 0;
  }
  return text.starts_with("US$") ? 3 : text.starts_with("C$") || text.starts_with("A$") ? 2 : 0;
}

// Measures behind a number, and the currencies of more than one character.
bool is_unit(std::string_view text) {
  constexpr std::string_view units =
      " km km\u00B2 km\u00B3 m m\u00B2 m\u00B3 dm dm\u00B2 dm\u00B3 cm cm\u00B2 cm\u00B3 mm mm\u00B2 mm\u00B3 ha "
      "\u00B5m nm yd in "
      "ft kg g mg \u00B5g t lb oz m/s km/h kmh mph hPa Pa mbar mb MB kb KB gb GB tb TB T G M K % US$ C$ A$ ";
  for (size_t at = 0; (at = units.find(text, at)) != std::string_view::npos; ++at)
    if (units[at - 1] == ' ' && units[at + text.size()] == ' ') return true;
  return false;
}

// A unit at the end, behind a digit.
size_t unit_size(std::string_view text) {
  constexpr size_t longest = 4;                            // bytes: km/h; km and a small raised figure
  if (text.back() >= '0' && text.back() <= '9') return 0;  // most numbers
  for (size_t size = 1; size <= longest && size < text.size(); ++size) {
    const char before = text[text.size() - size - 1];
    if (before >= '0' && before <= '9') {
      const auto unit = text.substr(text.size() - size);
      const Character first = character_at(unit, 0);
      return (first.is(kind_currency) && first.size == size) || is_unit(unit) ? size : 0;
    }
  }
  return 0;
}

size_t full_stop_size(std::string_view text) {  // of a text that ends with one
  size_t dots = 1;
  while (dots < text.size() && text[text.size() - dots - 1] == '.') ++dots;
  if (dots > 1) return dots;
  const size_t at = text.size() - 1;
  const Character before = character_before(text, at);
  if (before.is(kind_before_dot)) return 1;
  if (!before.is(kind_upper)) return 0;
  const Character second = character_before(text, at - before.size);
  return second.is(kind_upper) ||
         (second.code == 0xB0 && (before.code == 'F' || before.code == 'C' || before.code == 'K'));
}

// Bytes that split off the end; 0: none.
size_t suffix_size(std::string_view text) {
  const Character last = character_before(text, text.size());
  if (last.size == 0) return 0;
  const auto rest = text.substr(0, text.size() - last.size);
  if (last.code == '.') return full_stop_size(text);
  if (last.is(kind_closing)) return last.code == 0x2026 && rest.ends_with("\u2026") ? 2 * last.size : last.size;
  if (last.code == 's' || last.code == 'S') {
    const Character before = character_before(rest, rest.size());
    return before.code == '\'' || before.code == 0x2019 ? last.size + before.size : 0;
  }
  if (last.code == '+') return character_before(rest, rest.size()).is(kind_digit) ? 1 : 0;
  return unit_size(text);
}

constexpr uint32_t split_letter = kind_lower | kind_upper;

// Bytes of what splits a word at text[at], with `before` in front of it; 0: none.
size_t infix_size(std::string_view text, size_t at, const Character& before, const Character& here) {
  if (here.is(kind_icon) || here.code == 0x2026) return here.size;
  const auto next = [&](size_t size) { return character_at(text, at + size); };
  const bool follows_word = before.is(split_letter | kind_digit);
  switch (here.code) {
    case '.': {
      const size_t dots = dots_at(text, at);
      if (dots > 1) return dots;
      return before.is(kind_lower | kind_quote) && next(1).is(kind_upper | kind_quote) ? 1 : 0;
    }
    case ',':
      return before.is(split_letter) && next(1).is(split_letter) ? 1 : 0;
    case ':':
    case '<':
    case '>':
    case '=':
    case '/':
      return follows_word && next(1).is(split_letter) ? 1 : 0;
    case '+':
    case '*':
    case '^':
      return before.is(kind_digit) && (next(1).is(kind_digit) || next(1).code == '-') ? 1 : 0;
    case '-':
      if (before.is(kind_digit) && (next(1).is(kind_digit) || next(1).code == '-')) return 1;
      [[fallthrough]];
    case '~':
    case 0x2013:
    case 0x2014: {
      if (!follows_word) return 0;
      // One dash, two or three hyphens, or two em dashes.
      const size_t most = here.code == '-' ? 3 : here.code == 0x2014 ? 2 : 1;
      for (size_t count = 1, size = here.size; count <= most; ++count, size += here.size) {
        const Character after = next(size);
        if (after.is(split_letter)) return size;
        if (after.code != here.code) return 0;
      }
      return 0;
    }
    default:
      return 0;
  }
}

struct Infix {
  size_t at = 0, size = 0;  // size 0: there is none
};
// The first infix at or behind text[from], not at the begin of the text.
Infix find_infix(std::string_view text, size_t from) {
  Character before = character_before(text, from);
  for (size_t at = from; at < text.size();) {
    const Character here = character_at(text, at);
    if (at > 0 && !here.is(split_letter | kind_digit))
      if (const size_t size = infix_size(text, at, before, here); size > 0) return {at, size};
    before = here;
    at += here.size;
  }
  return {};
}

// Exceptions that the rules would split: only they can have been split.
bool rules_split(std::string_view text) {
  return prefix_size(text) > 0 || suffix_size(text) > 0 || find_infix(text, 0).size > 0;
}
// The size of the longest such exception that begins with a byte.
const std::array<uint8_t, 256>& longest_joins() {
  static const auto longest = [] {
    std::array<uint8_t, 256> sizes{};
    for (const auto& exception : word_exceptions()) {
      auto& size = sizes[static_cast<unsigned char>(exception.text[0])];
      if (rules_split(exception.text)) size = std::max(size, static_cast<uint8_t>(exception.text.size()));
    }
    return sizes;
  }();
  return longest;
}

// ASCII signs that go off the end of a word whatever stands before them.
bool only_splits_off_the_end(char c) {
  return static_cast<unsigned char>(c) < 0x80 && c != '.' && (ascii_kinds[static_cast<size_t>(c)] & kind_closing);
}

class Splitter {
 public:
  Splitter(std::string_view text, std::vector<QualityWord>& words) : text_(text), words_(words) {}

  bool may_be_exception(std::string_view text) const { return ds::may_be_exception(sizes_, text); }

  void push_letters(size_t begin, size_t size) {
    words_.push_back({static_cast<uint32_t>(begin), static_cast<uint32_t>(size), static_cast<uint32_t>(size),
                      word_alphabetic | word_substantial});
  }

  // A piece between white space that begins with so many ASCII letters. There are more characters, or it may be an
  // exception.
  void split(size_t begin, size_t end, size_t letters) {
    const size_t first = words_.size();
    if (letters > 0 && begin + letters + 1 == end && only_splits_off_the_end(text_[end - 1]) &&
        !may_be_exception(piece(begin, end)) && !may_be_exception(piece(begin, end - 1))) {
      push_letters(begin, letters);  // most pieces: a word with a comma behind it
      push(end - 1, end);
      return join(first);
    }
    if (const auto* exception = find(text_.substr(begin, end - begin))) {
      push(begin, *exception);
    } else {
      peel(begin, end);
      split_core(begin, end);
      for (; !suffixes_.empty(); suffixes_.pop_back()) push(suffixes_.back().first, suffixes_.back().second);
      if (words_.size() > first + 1) join(first);
    }
  }

 private:
  const WordException* find(std::string_view text) const {
    return may_be_exception(text) ? find_exception(text) : nullptr;
  }
  std::string_view piece(size_t begin, size_t end) const { return text_.substr(begin, end - begin); }

  void push(size_t begin, size_t end) {
    if (letters_at(text_, begin) >= end - begin) return push_letters(begin, end - begin);
    QualityWord word{static_cast<uint32_t>(begin), static_cast<uint32_t>(end - begin), 0, 0};
    uint32_t any = 0, all = ~0u;
    bool substantial = false;
    for (size_t at = begin; at < end; ++word.characters) {
      const uint32_t kinds = character_kinds(decode_character(text_, at));
      any |= kinds;
      all &= kinds;
      substantial |= !(kinds & kind_plain_sign);
    }
    word.kinds = static_cast<uint8_t>((any & kind_letter ? word_alphabetic : 0) | (substantial ? word_substantial : 0) |
                                      (all & kind_punctuation ? word_punctuation : 0) |
                                      (word.characters == 1 && (any & kind_sentence_end) ? word_sentence_end : 0));
    words_.push_back(word);
  }
  void push(size_t begin, const WordException& exception) {
    for (const uint8_t size : exception.sizes)
      if (size > 0) push(begin, begin + size), begin += size;
  }

  // Takes punctuation off both ends, until nothing more comes off or an exception is left.
  void peel(size_t& begin, size_t& end) {
    while (begin < end) {
      const size_t prefix = prefix_size(piece(begin, end));
      if (prefix > 0 && find(piece(begin + prefix, end))) {
        push(begin, begin + prefix);
        begin += prefix;
        return;
      }
      const size_t suffix = suffix_size(piece(begin + prefix, end));
      const bool is_exception = suffix > 0 && find(piece(begin, end - suffix));
      if (prefix > 0 && !is_exception) {
        push(begin, begin + prefix);
        begin += prefix;
      }
      if (suffix > 0) {
        suffixes_.emplace_back(end - suffix, end);
        end -= suffix;
      }
      if (is_exception || (prefix == 0 && suffix == 0) || find(piece(begin, end))) return;
    }
  }

  void split_core(size_t begin, size_t end) {
    if (begin == end) return;
    const auto core = piece(begin, end);
    if (const auto* exception = find(core)) return push(begin, *exception);
    if (letters_at(text_, begin) >= core.size()) return push_letters(begin, core.size());
    size_t start = 0;  // of the word that is being read
    for (Infix infix; (infix = find_infix(core, start)).size > 0; start = infix.at + infix.size) {
      if (start == 0 && is_web_address(core)) break;
      if (infix.at > start) push(begin + start, begin + infix.at);
      push(begin + infix.at, begin + infix.at + infix.size);
    }
    if (start < core.size()) push(begin + start, end);
  }

  // Neighbours among the words from `first` on whose joined spelling is an exception become that exception; the longest
  // first, of equally long ones the first.
  void join(size_t first) {
    struct Match {
      size_t begin, count;
      const WordException* exception;
    };
    std::vector<Match> matches;
    for (size_t i = first; i + 1 < words_.size(); ++i) {
      const size_t longest = longest_joins()[static_cast<unsigned char>(text_[words_[i].begin])];
      for (size_t j = i + 1; j < words_.size(); ++j) {
        const size_t size = words_[j].begin + words_[j].size - words_[i].begin;
        if (size > longest) break;
        const auto* exception = find(text_.substr(words_[i].begin, size));
        if (exception && rules_split(exception->text)) matches.push_back({i, j - i + 1, exception});
      }
    }
    if (matches.empty()) return;
    std::stable_sort(matches.begin(), matches.end(), [](const Match& a, const Match& b) { return a.count > b.count; });
    std::vector<const Match*> starts(words_.size() - first);  // the match that begins at a word
    std::vector<bool> seen(words_.size() - first);
    for (const auto& match : matches) {
      const size_t begin = match.begin - first, last = begin + match.count - 1;
      if (!seen[begin] && !seen[last]) starts[begin] = &match;
      for (size_t i = begin; i <= last; ++i) seen[i] = true;
    }
    const std::vector<QualityWord> old(words_.begin() + static_cast<std::ptrdiff_t>(first), words_.end());
    words_.resize(first);
    for (size_t i = 0; i < old.size();) {
      if (starts[i]) {
        push(old[i].begin, *starts[i]->exception);
        i += starts[i]->count;
      } else {
        words_.push_back(old[i++]);
      }
    }
  }

  std::string_view text_;
  std::vector<QualityWord>& words_;
  const ExceptionSizes& sizes_ = exception_sizes();
  std::vector<std::pair<size_t, size_t>> suffixes_;  // outermost first
};

}  // namespace

void split_quality_words(std::string_view text, std::vector<QualityWord>& words) {
  words.clear();
  Splitter splitter(text, words);
  for (size_t at = 0; at < text.size();) {
    const size_t spaces = at;
    uint8_t kind = 0;
    while (at < text.size() && ((kind = byte_kinds[static_cast<unsigned char>(text[at])]) & (byte_blank | byte_wide))) {
      if (kind == byte_blank) {
        ++at;
        continue;
      }
      const Character c = character_at(text, at);
      if (!c.is(kind_blank)) break;
      at += c.size;
    }
    const bool spaced = spaces == 0 ? at > 0 : at - spaces != 1 || text[spaces] != ' ';
    const size_t begin = at;
    uint8_t seen = 0;
    const size_t letters = letters_at(text, at);
    at += letters;
    for (; at < text.size(); ++at) {
      kind = byte_kinds[static_cast<unsigned char>(text[at])];
      if (kind == byte_blank ||
          (kind == byte_wide && (text[at] & 0xC0) != 0x80 && character_at(text, at).is(kind_blank)))
        break;
      seen |= kind;
    }
    if (at == begin) continue;
    const size_t first = words.size();
    const size_t size = at - begin;
    if (seen == 0 && !splitter.may_be_exception(text.substr(begin, size)))
      splitter.push_letters(begin, size);
    else
      splitter.split(begin, at, letters);
    if (spaced) words[first].kinds |= word_after_spaces;
  }
}

size_t count_sentences(std::span<const QualityWord> words) {
  size_t count = words.empty() ? 0 : 1;
  bool ended = false;
  for (const auto& word : words) {
    const bool end = word.kinds & word_sentence_end;
    // White space of its own is a word without punctuation here: the new sentence begins with it.
    if (ended && ((word.kinds & word_after_spaces) || (!end && !(word.kinds & word_punctuation)))) {
      ++count;
      ended = false;
    }
    if (end) ended = true;
  }
  return count;
}

}  // namespace ds
