#include "text/words.h"

#include <hwy/highway.h>

#include <array>
#include <bit>
#include <cstring>

#include "base/hash.h"
#include "text/unicode.h"

namespace ds {

// The lower case of an ASCII character of a word; 0 for all others.
static constexpr std::array<char, 128> ascii_word = [] {
  std::array<char, 128> table{};
  for (int c = 0; c < 128; ++c) {
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_') table[c] = static_cast<char>(c);
    if (c >= 'A' && c <= 'Z') table[c] = static_cast<char>(c - 'A' + 'a');
  }
  return table;
}();

// The same for the characters below 0x10000, made when a text first needs it: 0 no part of a word, else its lower case.
static const std::vector<uint16_t>& basic_plane() {
  static const std::vector<uint16_t> table = [] {
    std::vector<uint16_t> made(0x10000);
    for (char32_t c = 0x80; c < 0x10000; ++c) {
      const char32_t lower = to_lower(c);
      if (is_word(c)) made[c] = static_cast<uint16_t>(lower < 0x10000 ? lower : c);
    }
    return made;
  }();
  return table;
}

namespace hn = hwy::HWY_NAMESPACE;
// The baseline's vectors are enough: what is made here are bytes, the same for any width.
static constexpr hn::ScalableTag<uint8_t> byte_lanes;
using Bytes = hn::Vec<decltype(byte_lanes)>;

static Bytes all(unsigned char c) { return hn::Set(byte_lanes, c); }

// ascii_word of each byte; all are ASCII.
static Bytes fold_ascii(Bytes x) {
  const Bytes lower = hn::Or(x, all(0x20)), from_a = hn::Sub(lower, all('a')), from_zero = hn::Sub(x, all('0'));
  const auto letter = hn::Eq(hn::Min(from_a, all(25)), from_a);
  const auto other = hn::Or(hn::Eq(hn::Min(from_zero, all(9)), from_zero), hn::Eq(x, all('_')));
  return hn::Or(hn::IfThenElseZero(letter, lower), hn::IfThenElseZero(other, x));
}

namespace {

constexpr size_t block = 64;    // bytes of the folded text that are looked at together
constexpr size_t tail = block;  // zero bytes behind it

// Where the folded text is written. A lower case can be longer than what it stands for, by half at most.
struct Folder {
  std::string& out;
  size_t used = 0;

  void put(char c) { out[used++] = c; }
  void put(std::string_view bytes) {
    std::memcpy(out.data() + used, bytes.data(), bytes.size());
    used += bytes.size();
  }
  void character(std::string_view text, size_t begin, size_t after, char32_t c);
  void fold(std::string_view text);
};

void Folder::character(std::string_view text, size_t begin, size_t after, char32_t c) {
  constexpr char32_t capital_dotted_i = 0x130, capital_sigma = 0x3A3;
  if (c == capital_dotted_i)
    return put(std::string_view("i\0", 2));  // "i" and a combining dot, which is no part of a word
  if (c >= 0x10000 || c == capital_sigma) {
    if (!is_word(c)) return put('\0');
    std::string lower;
    append_lower(lower, c, text, begin, after);
    return put(lower);
  }
  const char32_t lower = basic_plane()[c];
  if (lower == 0) return put('\0');
  if (lower == c) return put(text.substr(begin, after - begin));
  std::string bytes;
  append_utf8(bytes, lower);
  put(bytes);
}

void Folder::fold(std::string_view text) {
  if (out.size() < text.size() * 2 + tail) out.resize(text.size() * 2 + tail);
  const size_t width = hn::Lanes(byte_lanes);
  for (size_t at = 0; at < text.size();) {
    if (at + width <= text.size()) {
      const Bytes x = hn::LoadU(byte_lanes, reinterpret_cast<const uint8_t*>(text.data() + at));
      if (hn::AllTrue(byte_lanes, hn::Eq(hn::Min(x, all(0x7F)), x))) {
        hn::StoreU(fold_ascii(x), byte_lanes, reinterpret_cast<uint8_t*>(out.data() + used));
        used += width;
        at += width;
        continue;
      }
    }
    uint64_t eight;
    if (at + 8 <= text.size() && (std::memcpy(&eight, text.data() + at, 8), (eight & 0x8080808080808080u) == 0)) {
      for (size_t i = 0; i < 8; ++i) out[used + i] = ascii_word[static_cast<unsigned char>(text[at + i])];
      used += 8;
      at += 8;
      continue;
    }
    if (static_cast<unsigned char>(text[at]) < 0x80) {
      put(ascii_word[static_cast<unsigned char>(text[at++])]);
      continue;
    }
    const size_t begin = at;
    const char32_t c = decode_utf8(text, at);
    character(text, begin, at, c);
  }
  std::memset(out.data() + used, 0, tail);
}

size_t fold(std::string_view text, std::string& out) {
  Folder folder{out};
  folder.fold(text);
  return folder.used;
}

// The next run of bytes that are not zero; false at the end. `at` moves behind it.
inline bool next_word(const char* folded, size_t& at, size_t end, std::string_view& word) {
  uint64_t eight;
  while (true) {  // to the first byte that is not zero
    if (at >= end) return false;
    std::memcpy(&eight, folded + at, 8);
    if (eight != 0) break;
    at += 8;
  }
  if constexpr (std::endian::native == std::endian::little)
    at += static_cast<size_t>(std::countr_zero(eight)) / 8;
  else
    while (folded[at] == 0) ++at;
  const size_t begin = at;
  while (true) {  // to the first that is
    std::memcpy(&eight, folded + at, 8);
    const uint64_t zero = (eight - 0x0101010101010101u) & ~eight & 0x8080808080808080u;
    if (zero != 0) {
      if constexpr (std::endian::native == std::endian::little)
        at += static_cast<size_t>(std::countr_zero(zero)) / 8;
      else
        while (folded[at] != 0) ++at;
      break;
    }
    at += 8;
  }
  word = {folded + begin, at - begin};
  return true;
}

constexpr uint64_t few_key = 0x87275A9B, many_key = 0xC73AB174C5ECD5A2;  // what XXH3's secret makes of them for seed 0

// hash64 of a word of the folded text, where eight bytes can be read: XXH3-64 with seed 0 (xxHash's specification, the
// inputs of 1 to 3 and of 4 to 8 bytes). Both are computed and one is taken, since the lengths of words cannot be
// foretold.
inline uint64_t word_hash(std::string_view word) {
  const size_t size = word.size();
  if (size > 8 || std::endian::native != std::endian::little) return hash64(word);
  uint64_t bytes;
  std::memcpy(&bytes, word.data(), 8);
  bytes &= ~uint64_t{0} >> 8 * (8 - size);
  const uint64_t last = bytes >> 8 * (size - 1), middle = bytes >> 8 * (size >> 1) & 0xFF;
  uint64_t few = ((bytes & 0xFF) << 16 | middle << 24 | (last & 0xFF) | size << 8) ^ few_key;
  few = (few ^ few >> 33) * 0xC2B2AE3D27D4EB4Fu;
  few = (few ^ few >> 29) * 0x165667B19E3779F9u;
  few ^= few >> 32;
  const uint64_t last_four = size < 4 ? 0 : bytes >> 8 * (size - 4);
  uint64_t many = (last_four + (bytes << 32)) ^ many_key;
  many ^= std::rotl(many, 49) ^ std::rotl(many, 24);
  many *= 0x9FB21C651E98DF25u;
  many = (many ^ ((many >> 35) + size)) * 0x9FB21C651E98DF25u;
  many ^= many >> 28;
  return size < 4 ? few : many;
}

// A bit for each byte of a block, the first one lowest: whether it is not zero.
inline uint64_t word_bytes(const char* folded) {
  uint64_t bits = 0;
  const size_t width = hn::Lanes(byte_lanes);
  static_assert(hn::MaxLanes(byte_lanes) <= block && std::endian::native == std::endian::little);
  for (size_t i = 0; i < block; i += width) {
    const Bytes x = hn::LoadU(byte_lanes, reinterpret_cast<const uint8_t*>(folded + i));
    uint8_t some[8] = {};
    hn::StoreMaskBits(byte_lanes, hn::Ne(x, hn::Zero(byte_lanes)), some);
    uint64_t part;
    std::memcpy(&part, some, sizeof part);
    bits |= part << i;
  }
  return bits;
}

// Appends the places of the bits that are set, each plus `base`; eight at a time, so that few branches depend on the
// text. Up to seven places behind the new count are overwritten.
inline size_t put_bits(uint64_t bits, size_t base, size_t* out, size_t count) {
  const size_t after = count + static_cast<size_t>(std::popcount(bits));
  for (; count < after; count += 8)
    for (size_t i = 0; i < 8; ++i, bits &= bits - 1)
      out[count + i] = base + static_cast<size_t>(std::countr_zero(bits));
  return after;
}

}  // namespace

WordReader::WordReader(std::string_view text) { end_ = fold(text, folded_); }

bool WordReader::next(std::string_view& word) { return next_word(folded_.data(), at_, end_, word); }

std::vector<uint64_t> word_hashes(std::string_view text) {
  thread_local std::string folded;
  const size_t end = fold(text, folded);
  std::vector<uint64_t> hashes;
  hashes.reserve(text.size() / 5 + 8);
  // Where words begin and end, for a while of the text: the next word's place then waits for no hash.
  std::array<size_t, 16 * block + block> borders;
  size_t count = 0;
  uint64_t before = 0;  // 1: the last byte was one of a word
  for (size_t at = 0; at <= end; at += block) {
    const uint64_t inside = word_bytes(folded.data() + at);
    count = put_bits(inside ^ (inside << 1 | before), at, borders.data(), count);
    before = inside >> (block - 1);
    if (count < borders.size() - 2 * block && at + block <= end) continue;
    const size_t words = count / 2, first = hashes.size();
    hashes.resize(first + words);
    for (size_t i = 0; i < words; ++i)
      hashes[first + i] = word_hash({folded.data() + borders[2 * i], borders[2 * i + 1] - borders[2 * i]});
    borders[0] = borders[2 * words];  // of a word that goes on
    count -= 2 * words;
  }
  if (folded.capacity() > (size_t{16} << 20)) folded = {};
  return hashes;
}

}  // namespace ds
