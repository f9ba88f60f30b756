// Words for the overlap index. ASCII goes eight bytes at a time; the rest character by character.
#include <algorithm>
#include <bit>
#include <cstring>
#include <string>

#include "text/overlap.h"
#include "text/unicode.h"

namespace ds {
namespace {

constexpr uint64_t ones = 0x0101010101010101u, high_bits = 0x8080808080808080u;
constexpr uint64_t ideograph_letters = 3;

// Which bytes of eight ASCII bytes are part of a word: 0x80 in each that is.
inline uint64_t word_bytes(uint64_t bytes, uint64_t& letters) {
  const uint64_t folded = bytes | ones * 0x20;
  letters = (folded + ones * (0x80 - 'a')) & ~(folded + ones * (0x7F - 'z')) & high_bits;
  const uint64_t digits = (bytes + ones * (0x80 - '0')) & ~(bytes + ones * (0x7F - '9')) & high_bits;
  const uint64_t underscores = ~((bytes ^ ones * '_') + ones * 0x7F) & high_bits;
  return letters | digits | underscores;
}

inline uint64_t mix(uint64_t hash, uint64_t block) {
  hash = (hash ^ block) * 0x9e3779b97f4a7c15u;
  return hash ^ (hash >> 32);
}

// The last step: the letters take the low bits.
inline uint64_t finish(uint64_t hash, size_t bytes, uint64_t letters) {
  hash = (hash + bytes) * 0xc2b2ae3d27d4eb4fu;
  return (hash ^ (hash >> 29)) << 3 | std::min<uint64_t>(letters, 7);
}

uint64_t hash_of(const std::string& word, uint64_t letters) {
  uint64_t hash = 0;
  size_t at = 0;
  for (uint64_t block; at + 8 <= word.size(); at += 8) {
    std::memcpy(&block, word.data() + at, 8);
    hash = mix(hash, block);
  }
  if (at < word.size()) {
    uint64_t block = 0;
    std::memcpy(&block, word.data() + at, word.size() - at);
    hash = mix(hash, block);
  }
  return finish(hash, word.size(), letters);
}

// Han and kana.
bool is_ideograph(char32_t c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3041 && c <= 0x309F) || (c >= 0x30A1 && c <= 0x30FF && c != 0x30FB) ||
         (c >= 0x3400 && c <= 0x4DBF) || (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x20000 && c <= 0x3FFFF) || c == 0x3007;
}

// Calls take(hash, begin, end) for each word, in order; it returns whether to go on.
template <class Take>
class Splitter {
 public:
  Splitter(std::string_view text, Take& take) : text_(text), take_(take) {}

  void run() {
    while (at_ < text_.size())
      if (!(text_.size() - at_ >= 8 ? eight() : one_word())) return;
  }

 private:
  // A word or a gap that begins at at_, which lies at least eight bytes before the end.
  bool eight() {
    const size_t begin = at_;
    uint64_t hash = 0, any_letters = 0;
    for (size_t at = at_; at + 8 <= text_.size(); at += 8) {
      uint64_t bytes, letters;
      std::memcpy(&bytes, text_.data() + at, 8);
      if (bytes & high_bits) return one_word();
      const uint64_t in_word = word_bytes(bytes, letters);
      if (in_word == high_bits) {
        hash = mix(hash, bytes | letters >> 2);
        any_letters |= letters;
        continue;
      }
      const int count = std::countr_zero(~in_word & high_bits) / 8;
      at_ = at + static_cast<size_t>(count);
      if (at_ == begin) {  // a gap
        at_ += in_word == 0 ? 8 : static_cast<size_t>(std::countr_zero(in_word) / 8);
        return true;
      }
      const uint64_t inside = (uint64_t{1} << (8 * count)) - 1;
      if (count > 0) hash = mix(hash, (bytes | letters >> 2) & inside);
      any_letters |= letters & inside;
      return take_(finish(hash, at_ - begin, any_letters ? at_ - begin : 1), begin, at_);
    }
    return one_word();
  }

  // The same for any bytes at all, and near the end.
  bool one_word() {
    word_.clear();
    size_t begin = at_, letters = 0;
    bool number = true;  // no letter in it
    while (at_ < text_.size()) {
      size_t after = at_;
      const char32_t c = decode_utf8(text_, after);
      if (is_ideograph(c)) {
        if (!word_.empty()) break;
        begin = at_;
        word_.assign(text_, at_, after - at_);
        at_ = after;
        return take_(hash_of(word_, ideograph_letters), begin, at_);
      }
      if (c == 0x130) {  // as in words.h: its lower case is "i" and a combining dot, which ends the word
        if (word_.empty()) begin = at_;
        word_ += 'i';
        at_ = after;
        ++letters;
        number = false;
        break;
      }
      if (c < 0x80 ? (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || c == '_' || (c >= 'a' && c <= 'z')
                   : is_word(c)) {
        if (word_.empty()) begin = at_;
        append_lower(word_, c, text_, at_, after);
        ++letters;
        number = number && (is_number(c) || c == U'_');
      } else if (!word_.empty()) {
        break;
      } else if (text_.size() - after >= 8 && c < 0x80) {
        at_ = after;
        return true;
      }
      at_ = after;
    }
    return word_.empty() || take_(hash_of(word_, number ? 1 : letters), begin, at_);
  }

  std::string_view text_;
  Take& take_;
  size_t at_ = 0;
  std::string word_;  // in lower case
};

template <class Take>
void split(std::string_view text, Take&& take) {
  Splitter<std::remove_reference_t<Take>>(text, take).run();
}

}  // namespace

std::vector<uint64_t> overlap_words(std::string_view text) {
  static_assert(std::endian::native == std::endian::little, "blocks are read as they lie");
  std::vector<uint64_t> words;
  words.reserve(text.size() / 6 + 1);
  split(text, [&](uint64_t hash, size_t, size_t) {
    words.push_back(hash);
    return true;
  });
  return words;
}

std::vector<ByteRange> overlap_places(std::string_view text, std::span<const size_t> words) {
  std::vector<size_t> order(words.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return words[a] < words[b]; });
  std::vector<ByteRange> places(words.size(), {text.size(), text.size()});
  size_t word = 0, next = 0;
  split(text, [&](uint64_t, size_t begin, size_t end) {
    for (; next < order.size() && words[order[next]] == word; ++next) places[order[next]] = {begin, end};
    ++word;
    return next < order.size();
  });
  return places;
}

}  // namespace ds
