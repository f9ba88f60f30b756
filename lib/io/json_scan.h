// The strict JSON walker behind parse_json, Record and the safetensors header; for .cpp files of this room only.
// It visits every byte, keeps its place in an explicit stack, and makes no values: callers take views.
#pragma once
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace ds {

constexpr size_t kMaxJsonDepth = 512;

// What is wrong, and at which byte (from 0). Callers turn it into an Error that names their file.
struct JsonFault {
  const char* what;
  size_t offset;
};

// "file:7: what is wrong at byte 12" or, where the text has several lines, "... at line 3, byte 12"; both from 1.
std::string describe(const JsonFault& fault, std::string_view bytes, std::string_view where);

bool valid_utf8(std::string_view bytes);

// A string's content between its quotes, as checked by JsonScanner::string.
struct JsonText {
  std::string_view content;
  bool escaped = false;
  std::string unescaped() const;
  // Without a copy where nothing is escaped, else in `scratch`, which only grows (its size says nothing).
  std::string_view unescaped(std::string& scratch) const;
};

// A place in a string's content, and the same place in its unescaped text.
class JsonPlace {
 public:
  explicit JsonPlace(std::string_view content) : content_(content), slash_(content.find('\\')) {}
  // Moves on to byte `text` of the unescaped text; false where that is past its end or inside a character. Never back.
  bool move_to(size_t text);
  size_t content() const { return content_at_; }

 private:
  std::string_view content_;
  size_t content_at_ = 0, text_at_ = 0;
  size_t slash_;  // of the next escape at or after content_at_; npos where there is none
};

// Walks `bytes`, which must outlive it. Every function throws JsonFault on what RFC 8259 does not allow. UTF-8 is not
// looked at here: check the whole text with valid_utf8 first.
class JsonScanner {
 public:
  explicit JsonScanner(std::string_view bytes) : begin_(bytes.data()), at_(begin_), end_(begin_ + bytes.size()) {}

  size_t offset() const { return static_cast<size_t>(at_ - begin_); }
  std::string_view from(size_t offset) const { return {begin_ + offset, static_cast<size_t>(at_ - begin_) - offset}; }
  // The next byte that is not white space; 0 at the end.
  char peek() {
    while (at_ != end_ && (*at_ == ' ' || *at_ == '\t' || *at_ == '\n' || *at_ == '\r')) ++at_;
    return at_ == end_ ? '\0' : *at_;
  }
  void advance() { ++at_; }  // over a byte that peek() gave
  void expect(char c, const char* what) {
    if (at_ == end_ || peek() != c) fault(what);
    ++at_;
  }
  void expect_end();                    // nothing but white space is left
  JsonText string();                    // peek() gave '"'
  std::string_view number();            // peek() gave a digit or '-'
  void literal(std::string_view word);  // peek() gave its first letter
  void value(size_t depth);             // one value with all that is in it; it stands inside `depth` containers
  [[noreturn]] void fault(const char* what) const { throw JsonFault{what, offset()}; }

 private:
  void escape();
  uint32_t hex4();
  const char* begin_;
  const char* at_;
  const char* end_;
};

// Walks an object that peek() finds next: take(key, begin, end) gets each member's key and the bytes of its value.
template <class Take>
void walk_object(JsonScanner& scan, size_t depth, Take&& take) {
  scan.expect('{', "expected an object");
  if (scan.peek() == '}') return scan.advance();
  for (;;) {
    if (scan.peek() != '"') scan.fault("expected a key in double quotes");
    const JsonText key = scan.string();
    scan.expect(':', "expected ':' after the key");
    scan.peek();
    const size_t begin = scan.offset();
    scan.value(depth + 1);
    take(key, begin, scan.offset());
    const char c = scan.peek();
    if (c != ',' && c != '}') scan.fault("expected ',' or '}'");
    scan.advance();
    if (c == '}') return;
  }
}

}  // namespace ds
