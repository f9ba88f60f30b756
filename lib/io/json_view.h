// Looks inside JSON text that was checked before (the fields of a Record) without making values of it: a value is the
// bytes it is written in, and "" where there is none. Views live as long as the text.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace ds {

// The value of that key, of equal keys the last; "" where `object` is not an object.
std::string_view json_member(std::string_view object, std::string_view key);
// The item at that place from 0, or from -1 for the last backwards; "" where `array` is not an array.
std::string_view json_item(std::string_view array, int64_t place);
// The number of items or members; nothing for what is neither an array nor an object.
std::optional<size_t> json_length(std::string_view value);
// Whether `holds` is true for an item of the array, in order, up to the first that it is true for.
bool any_json_item(std::string_view array, const std::function<bool(std::string_view)>& holds);
// Calls take(content) for every string in a value, however deep, but for the keys of objects; content is what stands
// between its quotes.
void each_json_string(std::string_view value, const std::function<void(std::string_view content)>& take);
// A string's text from what stands between its quotes.
std::string json_unescaped(std::string_view content);

}  // namespace ds
