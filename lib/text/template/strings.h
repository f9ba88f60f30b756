// Python's methods of str that templates use, on UTF-8. Positions and lengths count characters.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ds::jinja {

size_t count_characters(std::string_view text);
// Python's white space: White_Space and the separators U+001C to U+001F.
bool is_python_space(char32_t character);
bool is_identifier(std::string_view text);

// text[start:stop:step] with what is absent as Python fills it in; step is not 0.
std::string slice(std::string_view text, std::optional<int64_t> start, std::optional<int64_t> stop, int64_t step);
// The places that a slice of `size` elements takes, in its order.
std::vector<size_t> slice_places(size_t size, std::optional<int64_t> start, std::optional<int64_t> stop, int64_t step);
// The byte where a character begins (text.size() where there are not so many).
size_t byte_of(std::string_view text, size_t character);

// The first (last) place of `needle` at or after `from` (that ends by text.size()), in bytes; npos where there is none.
// In time linear in both.
size_t find_first(std::string_view text, std::string_view needle, size_t from = 0);
size_t find_last(std::string_view text, std::string_view needle);
size_t count_of(std::string_view text, std::string_view needle);

// Without the characters of `chars` (white space where absent) at its ends.
std::string_view strip(std::string_view text, std::optional<std::string_view> chars, bool left, bool right);
// Parts between `separator` (runs of white space where absent), at most `limit` cuts where limit >= 0.
std::vector<std::string_view> split(std::string_view text, std::optional<std::string_view> separator, int64_t limit);
std::vector<std::string_view> split_from_right(std::string_view text, std::optional<std::string_view> separator,
                                               int64_t limit);
std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends);

// Full case mappings (SpecialCasing.txt): "ß" becomes "SS".
std::string upper(std::string_view text);
std::string lower(std::string_view text);
std::string title(std::string_view text);
std::string capitalize(std::string_view text);
std::string swap_case(std::string_view text);

// The predicates: true where every character is so, and there is one.
bool is_alpha(std::string_view text), is_digit(std::string_view text), is_alnum(std::string_view text);
bool is_decimal(std::string_view text), is_blank(std::string_view text);
// True where no cased character is of the other case, and there is one.
bool is_lower(std::string_view text), is_upper(std::string_view text);

// 'text' as Python writes it in a list.
std::string quoted_repr(std::string_view text);
// & < > ' " as HTML entities.
std::string escape_html(std::string_view text);

}  // namespace ds::jinja
