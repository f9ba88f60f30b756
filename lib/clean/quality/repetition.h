// How much a text repeats itself: the share of its word 5-grams that occurred before in it.
#pragma once
#include <cstdint>
#include <span>

namespace ds {

constexpr size_t repetition_words = 5;
// 1 - distinct 5-grams / all of them; 0 for texts of fewer than 6 words. Words are hashes (words.h).
double repetition_ratio(std::span<const uint64_t> words);

}  // namespace ds
