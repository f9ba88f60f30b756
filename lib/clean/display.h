// Text of strangers on a terminal: nothing in it can move the cursor, change colours or reorder what is read.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace ds {

// The text as one line: letters, marks, numbers, punctuation, symbols, spaces and the two zero-width joiners as they
// are, a tab as four spaces, everything else (controls, line ends, direction and other format characters, private and
// unassigned ones) as <U+001B>; bytes that are not UTF-8 as U+FFFD.
std::string safe_line(std::string_view text);

// How many columns safe text takes: 2 for wide characters (CJK, Hangul, emoji), 0 for marks and joiners.
size_t columns(std::string_view safe);

// Safe text cut to at most that many columns (at least 1), the last of them "…" where something was cut.
std::string cut(std::string_view safe, size_t most);

// Safe text in lines of at most `width` columns, `indent` spaces before each, a line feed after each. Lines are broken
// at spaces, and before any character where a word is too long or the script has no spaces. width > indent + 1.
std::string wrapped(std::string_view safe, size_t indent, size_t width);

// 1234567 -> "1,234,567".
std::string grouped(uint64_t number);

}  // namespace ds
