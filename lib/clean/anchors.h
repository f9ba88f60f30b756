// Anchors: places of a text that its content alone picks, so that equal stretches of two texts have equal anchors.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace ds {

// In ascending order, the positions that are, in some stretch of `stretch` bytes of the text, the start of the `length`
// bytes with the smallest hash, the last among equals. None for a text shorter than a stretch. 0 < length <= stretch.
// Time: linear in the text; a rolling hash and a running minimum.
std::vector<size_t> anchor_positions(std::string_view text, size_t length, size_t stretch);

// The hash that anchor_positions compares, of all the bytes given; for tests.
uint32_t anchor_order(std::string_view bytes);

}  // namespace ds
