#include "clean/duplicates/anchors.h"

#include <algorithm>
#include <array>

#include "clean/duplicates/borders.h"

namespace ds {
namespace {

// The hash of bytes b[0..n) is the sum of values[b[i]] * factor^(n-1-i), mod 2^64.
constexpr uint64_t factor = 0x9E3779B97F4A7C15;

constexpr std::array<uint64_t, 256> make_values() {
  std::array<uint64_t, 256> values{};
  for (uint64_t i = 0; i < 256; ++i) {
    uint64_t x = i + 1;
    for (int round = 0; round < 3; ++round) x = (x ^ (x >> 32)) * 0xD6E8FEB86659FD93;
    values[i] = x ^ (x >> 32);
  }
  return values;
}
constexpr std::array<uint64_t, 256> values = make_values();

uint64_t value(char byte) { return values[static_cast<unsigned char>(byte)]; }

// What is compared: 32 bits that depend on the whole sum, whose low bits alone are poor.
uint32_t order(uint64_t hash) { return static_cast<uint32_t>(((hash ^ (hash >> 32)) * factor) >> 32); }

uint64_t hash_of(std::string_view bytes) {
  uint64_t hash = 0;
  for (const char byte : bytes) hash = hash * factor + value(byte);
  return hash;
}

// Hands out the orders of the stretches of `length` bytes of a text, from left to right.
class Roller {
 public:
  Roller(std::string_view text, size_t length) : text_(text), length_(length), hash_(hash_of(text.substr(0, length))) {
    uint64_t power = 1;
    for (size_t i = 0; i < length; ++i) power *= factor;
    for (size_t i = 0; i < leaving_.size(); ++i) leaving_[i] = values[i] * power;
  }
  void next(uint32_t* orders, size_t count) {
    const char* out = text_.data() + at_;
    const char* in = out + length_;
    const size_t rolled = std::min(count, text_.size() - length_ - at_);
    uint64_t hash = hash_;
    for (size_t i = 0; i < rolled; ++i) {
      orders[i] = order(hash);
      hash = hash * factor + (value(in[i]) - leaving_[static_cast<unsigned char>(out[i])]);
    }
    if (rolled < count) orders[rolled] = order(hash);  // the last of the text: no byte comes after it
    hash_ = hash;
    at_ += count;
  }

 private:
  std::string_view text_;
  size_t length_, at_ = 0;
  uint64_t hash_;
  std::array<uint64_t, 256> leaving_;
};

// Bytes of a period of 1 to 4 (lines of dashes, white space) stand everywhere, and in a run of them each place looks
// like the next. They come last, so that an anchor is among them only where there is nothing else.
constexpr size_t periods = 4;

// The positions, as ranges in ascending order, at which `length` bytes have such a period. In such a run length - 4
// bytes in a row equal those a period before; so it is enough to look for one at every so many bytes.
std::vector<TextRange> periodic_positions(std::string_view text, size_t length) {
  std::vector<TextRange> ranges;
  std::array<size_t, periods + 1> seen{};  // by period: up to where
  for (size_t at = length - periods; at < text.size(); at += length - periods)
    for (size_t period = 1; period <= periods; ++period) {
      if (at < seen[period] || text[at] != text[at - period]) continue;
      size_t begin = at, end = at + 1;
      while (begin > period && text[begin - 1] == text[begin - 1 - period]) --begin;
      while (end < text.size() && text[end] == text[end - period]) ++end;
      seen[period] = end;
      if (end - begin + period >= length) ranges.push_back({begin - period, end - length + 1});
    }
  merge(ranges);
  return ranges;
}

// Gives those of the positions from `first` on that lie in the ranges the highest order.
void put_last(const std::vector<TextRange>& ranges, uint32_t* orders, size_t first, size_t count) {
  auto range = std::ranges::upper_bound(ranges, first, {}, &TextRange::end);
  for (; range != ranges.end() && range->begin < first + count; ++range)
    std::fill(orders + (std::max(range->begin, first) - first), orders + (std::min(range->end, first + count) - first),
              UINT32_MAX);
}

// The last position of the smallest value.
size_t last_smallest(const uint32_t* values, size_t count) {
  uint32_t smallest = UINT32_MAX;
  for (size_t i = 0; i < count; ++i) smallest = std::min(smallest, values[i]);
  size_t at = count - 1;
  while (values[at] != smallest) --at;
  return at;
}

}  // namespace

uint32_t anchor_order(std::string_view bytes) {
  for (size_t period = 1; period <= periods; ++period)
    if (bytes.substr(period) == bytes.substr(0, bytes.size() - period)) return UINT32_MAX;
  return order(hash_of(bytes));
}

std::vector<size_t> anchor_positions(std::string_view text, size_t length, size_t stretch) {
  std::vector<size_t> anchors;
  if (text.size() < stretch) return anchors;
  const size_t window = stretch - length + 1;  // how many places for an anchor a stretch has
  const size_t count = text.size() - length + 1;
  constexpr size_t chunk = 8192;
  std::vector<uint32_t> orders(std::min(count, window + chunk));
  Roller roller(text, length);
  const auto periodic = periodic_positions(text, length);

  size_t first = 0, filled = 0;  // orders[0..filled) are those of the positions from `first` on
  size_t smallest = 0;           // place in `orders` of the smallest of the window that ends at hand
  for (size_t at = 0; first + at < count; ++at) {
    if (at == filled) {  // keep the last window, and roll on
      const size_t kept = std::min(filled, window);
      std::copy(orders.begin() + static_cast<ptrdiff_t>(filled - kept), orders.begin() + static_cast<ptrdiff_t>(filled),
                orders.begin());
      const size_t moved = filled - kept, more = std::min(orders.size() - kept, count - first - filled);
      roller.next(orders.data() + kept, more);
      first += moved;
      at -= moved;
      smallest -= std::min(smallest, moved);
      put_last(periodic, orders.data() + kept, first + kept, more);
      filled = kept + more;
    }
    if (first + at + 1 < window) continue;
    const size_t begin = at + 1 - window;
    if (anchors.empty() || first + begin > anchors.back())
      smallest = begin + last_smallest(orders.data() + begin, window);
    else if (orders[at] <= orders[smallest])
      smallest = at;
    else
      continue;
    anchors.push_back(first + smallest);
  }
  return anchors;
}

}  // namespace ds
