#include "run/constraint/pattern_scanner.h"

#include <algorithm>

#include "base/error.h"

namespace ds::constrain {

void PatternScanner::wrong(std::string_view what) const {
  const std::string_view before = text_.substr(0, at_);
  const auto line = 1 + std::count(before.begin(), before.end(), '\n');
  fail(name_, ":", line, ":", at_ - (before.rfind('\n') + 1) + 1, ": ", what);
}

bool PatternScanner::take(std::string_view what) {
  if (!text_.substr(std::min(at_, text_.size())).starts_with(what)) return false;
  at_ += what.size();
  return true;
}

std::optional<uint32_t> PatternScanner::digits() {
  if (peek() < '0' || peek() > '9') return std::nullopt;
  uint32_t value = 0;
  for (; peek() >= '0' && peek() <= '9'; ++at_) value = std::min(value * 10 + static_cast<uint32_t>(peek() - '0'), 99999u);
  return value;
}

char32_t PatternScanner::hex(size_t least, size_t most) {
  char32_t value = 0;
  size_t count = 0;
  for (; count < most; ++count, ++at_) {
    const char c = peek();
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
    if (digit < 0) break;
    value = value * 16 + static_cast<char32_t>(digit);
  }
  if (count < least) wrong("an escape without its hexadecimal digits");
  return value;
}

char32_t PatternScanner::checked(char32_t c) const {
  if (c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF)) wrong("an escape of what is no character");
  return c;
}

Tree PatternScanner::one(CharacterSet set) {
  Tree out;
  out.type = Tree::Type::characters;
  out.characters = std::move(set);
  return out;
}

}  // namespace ds::constrain
