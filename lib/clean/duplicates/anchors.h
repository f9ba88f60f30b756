// Anchors: places of a text that its content alone picks, so that equal stretches of two texts have equal anchors.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace ds {

// In ascending order, the positions that are, in some stretch of `stretch` bytes of the text, the start of the `length`
// bytes with the smallest hash, the last among equals; bytes of a period of 1 to 4, as in a line of dashes, come after
// all others. None for a text shorter than a stretch. 8 <= length <= stretch.
// Time: linear in the text; a rolling hash and a running minimum.
std::vector<size_t> anchor_positions(std::string_view text, size_t length, size_t stretch);

// What anchor_positions compares, of the bytes given; a plain form of it, for tests.
uint32_t anchor_order(std::string_view bytes);

}  // namespace ds
