#include "io/json_scan.h"

#include <hwy/highway.h>
#include <simdjson.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/error.h"

namespace ds {

std::string describe(const JsonFault& fault, std::string_view bytes, std::string_view where) {
  const size_t offset = std::min(fault.offset, bytes.size());
  const std::string_view before = bytes.substr(0, offset);
  const size_t newline = before.rfind('\n');
  if (newline == std::string_view::npos) return cat(where, ": ", fault.what, " at byte ", offset + 1);
  return cat(where, ": ", fault.what, " at line ", std::count(before.begin(), before.end(), '\n') + 1, ", byte ",
             offset - newline);
}

bool valid_utf8(std::string_view bytes) { return simdjson::validate_utf8(bytes.data(), bytes.size()); }

namespace hn = hwy::HWY_NAMESPACE;
// The baseline's vectors are enough: what is found here are bytes, the same for any width.
static constexpr hn::ScalableTag<uint8_t> kBytes;
using Bytes = hn::Vec<decltype(kBytes)>;

static Bytes load(const char* p) { return hn::LoadU(kBytes, reinterpret_cast<const uint8_t*>(p)); }
static Bytes all(char c) { return hn::Set(kBytes, static_cast<uint8_t>(c)); }

// The first byte from `p` on that ends or interrupts a string's plain text: a quote, a backslash or a control.
static const char* plain_end(const char* p, const char* end) {
  const size_t width = hn::Lanes(kBytes);
  for (; static_cast<size_t>(end - p) >= width; p += width) {
    const Bytes x = load(p);
    const auto found = hn::Or(hn::Or(hn::Eq(x, all('"')), hn::Eq(x, all('\\'))), hn::Eq(hn::Min(x, all(0x1f)), x));
    const intptr_t first = hn::FindFirstTrue(kBytes, found);
    if (first >= 0) return p + first;
  }
  // Eight bytes at a time: a byte b of x is below n where (x - n..n) borrows into its top bit and b's own is clear; the
  // lowest such bit is exact, since a borrow into a higher byte can only come from a byte that was found itself.
  static_assert(std::endian::native == std::endian::little);
  constexpr uint64_t ones = 0x0101010101010101, tops = 0x8080808080808080;
  for (; end - p >= 8; p += 8) {
    uint64_t x;
    std::memcpy(&x, p, 8);
    const uint64_t quote = x ^ ones * '"', slash = x ^ ones * '\\';
    const uint64_t found = (((quote - ones) & ~quote) | ((slash - ones) & ~slash) | ((x - ones * 0x20) & ~x)) & tops;
    if (found) return p + (std::countr_zero(found) >> 3);
  }
  while (p != end && *p != '"' && *p != '\\' && static_cast<unsigned char>(*p) >= 0x20) ++p;
  return p;
}

JsonText JsonScanner::string() {
  const char* first = ++at_;
  bool escaped = false;
  for (;;) {
    at_ = plain_end(at_, end_);
    if (at_ == end_) fault("a string without its closing quote");
    if (*at_ == '"') break;
    if (*at_ != '\\') fault("a control character in a string");
    escaped = true;
    escape();
  }
  return {{first, static_cast<size_t>(at_++ - first)}, escaped};
}

void JsonScanner::escape() {
  ++at_;
  if (at_ == end_) fault("a string without its closing quote");
  switch (*at_) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
      ++at_;
      return;
    case 'u':
      break;
    default:
      fault("an unknown escape in a string");
  }
  ++at_;
  const uint32_t unit = hex4();
  if (unit < 0xd800 || unit > 0xdfff) return;
  if (unit > 0xdbff || end_ - at_ < 2 || at_[0] != '\\' || at_[1] != 'u') fault("a lone surrogate escape");
  at_ += 2;
  const uint32_t low = hex4();
  if (low < 0xdc00 || low > 0xdfff) fault("a lone surrogate escape");
}

static int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

uint32_t JsonScanner::hex4() {
  uint32_t unit = 0;
  for (int i = 0; i < 4; ++i) {
    const int digit = at_ == end_ ? -1 : hex_digit(*at_);
    if (digit < 0) fault("expected four hexadecimal digits after \\u");
    unit = unit << 4 | static_cast<uint32_t>(digit);
    ++at_;
  }
  return unit;
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

std::string_view JsonScanner::number() {
  const char* first = at_;
  const auto digits = [&] {
    if (at_ == end_ || !is_digit(*at_)) fault("expected a digit in a number");
    while (at_ != end_ && is_digit(*at_)) ++at_;
  };
  if (*at_ == '-') ++at_;
  if (at_ != end_ && *at_ == '0') {
    ++at_;
    if (at_ != end_ && is_digit(*at_)) fault("a number with a leading zero");
  } else {
    digits();
  }
  if (at_ != end_ && *at_ == '.') {
    ++at_;
    digits();
  }
  if (at_ != end_ && (*at_ == 'e' || *at_ == 'E')) {
    ++at_;
    if (at_ != end_ && (*at_ == '+' || *at_ == '-')) ++at_;
    digits();
  }
  return {first, static_cast<size_t>(at_ - first)};
}

void JsonScanner::literal(std::string_view word) {
  if (static_cast<size_t>(end_ - at_) < word.size() || std::string_view(at_, word.size()) != word)
    fault("expected a value");
  at_ += word.size();
}

void JsonScanner::expect_end() {
  peek();
  if (at_ != end_) fault("something after the end of the value");
}

void JsonScanner::value(size_t depth) {
  const size_t outer = depth;
  std::bitset<kMaxJsonDepth + 1> object;  // by depth: whether that container is an object
  const auto key = [&] {
    if (peek() != '"') fault("expected a key in double quotes");
    string();
    expect(':', "expected ':' after the key");
  };
  for (;;) {
    const char c = peek();
    bool opened = false;
    switch (c) {
      case '{':
      case '[':
        if (depth >= kMaxJsonDepth) fault("nesting deeper than 512");
        object[++depth] = c == '{';
        ++at_;
        if (peek() != (c == '{' ? '}' : ']')) {
          if (c == '{') key();
          opened = true;
        }
        break;
      case '"':
        string();
        break;
      case 't':
        literal("true");
        break;
      case 'f':
        literal("false");
        break;
      case 'n':
        literal("null");
        break;
      default:
        if (c != '-' && !is_digit(c)) fault("expected a value");
        number();
    }
    if (opened) continue;
    for (;; --depth, ++at_) {  // after a value: close what ends here, until a comma or the outermost value is done
      if (depth == outer) return;
      const char next = peek();
      if (next == ',') break;
      if (next != (object[depth] ? '}' : ']')) fault(object[depth] ? "expected ',' or '}'" : "expected ',' or ']'");
    }
    ++at_;
    if (object[depth]) key();
  }
}

// What the checked escape at the beginning of `escape` stands for, in UTF-8; a pair of surrogates is one character.
struct Unescaped {
  char bytes[4];
  unsigned char size;         // of `bytes`
  unsigned char escape_size;  // of the escape: 2, 6 or 12
};

static Unescaped unescape_one(const char* escape) {
  const auto unit = [&](size_t i) {  // the four digits from i on
    uint32_t u = 0;
    for (size_t k = i; k < i + 4; ++k) u = u << 4 | static_cast<uint32_t>(hex_digit(escape[k]));
    return u;
  };
  switch (escape[1]) {
    case 'b':
      return {{'\b'}, 1, 2};
    case 'f':
      return {{'\f'}, 1, 2};
    case 'n':
      return {{'\n'}, 1, 2};
    case 'r':
      return {{'\r'}, 1, 2};
    case 't':
      return {{'\t'}, 1, 2};
    case 'u':
      break;
    default:
      return {{escape[1]}, 1, 2};
  }
  const auto byte = [](uint32_t b) { return static_cast<char>(b); };
  uint32_t c = unit(2);
  const bool pair = c >= 0xd800 && c <= 0xdbff;
  if (pair) c = 0x10000 + ((c - 0xd800) << 10) + (unit(8) - 0xdc00);
  if (c < 0x80) return {{byte(c)}, 1, 6};
  if (c < 0x800) return {{byte(0xc0 | c >> 6), byte(0x80 | (c & 0x3f))}, 2, 6};
  if (!pair) return {{byte(0xe0 | c >> 12), byte(0x80 | (c >> 6 & 0x3f)), byte(0x80 | (c & 0x3f))}, 3, 6};
  return {{byte(0xf0 | c >> 18), byte(0x80 | (c >> 12 & 0x3f)), byte(0x80 | (c >> 6 & 0x3f)), byte(0x80 | (c & 0x3f))},
          4,
          12};
}

// Unescapes into `out`, which has room for content.size() bytes; returns the end.
static char* unescape(std::string_view content, char* out) {
  const size_t width = hn::Lanes(kBytes);
  const char* p = content.data();
  const char* const end = p + content.size();
  for (;;) {
    // What is written is never longer than what was read, so a whole vector has room where one was there to read.
    while (static_cast<size_t>(end - p) >= width) {
      const Bytes x = load(p);
      hn::StoreU(x, kBytes, reinterpret_cast<uint8_t*>(out));
      const intptr_t slash = hn::FindFirstTrue(kBytes, hn::Eq(x, all('\\')));
      const size_t plain = slash < 0 ? width : static_cast<size_t>(slash);
      p += plain;
      out += plain;
      if (slash >= 0) break;
    }
    while (p != end && *p != '\\') *out++ = *p++;
    if (p == end) return out;
    const Unescaped c = unescape_one(p);
    std::memcpy(out, c.bytes, c.size);
    p += c.escape_size;
    out += c.size;
  }
}

std::string JsonText::unescaped() const {
  if (!escaped) return std::string(content);
  std::string out(content.size(), '\0');
  out.resize(static_cast<size_t>(unescape(content, out.data()) - out.data()));
  return out;
}

std::string_view JsonText::unescaped(std::string& scratch) const {
  if (!escaped) return content;
  if (scratch.size() < content.size()) scratch.resize(std::max(content.size(), scratch.size() * 2));
  return {scratch.data(), static_cast<size_t>(unescape(content, scratch.data()) - scratch.data())};
}

bool JsonPlace::move_to(size_t text) {
  while (text > text_at_) {
    const size_t plain = std::min(slash_, content_.size()) - content_at_;
    const size_t step = std::min(plain, text - text_at_);
    content_at_ += step;
    text_at_ += step;
    if (text == text_at_) break;
    if (content_at_ == content_.size()) return false;
    const Unescaped c = unescape_one(content_.data() + content_at_);
    if (c.size > text - text_at_) return false;
    content_at_ += c.escape_size;
    text_at_ += c.size;
    slash_ = content_.find('\\', content_at_);
  }
  return text == text_at_ && (content_at_ == content_.size() || (content_[content_at_] & 0xc0) != 0x80);
}

}  // namespace ds
