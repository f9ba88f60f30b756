// Arithmetic on sizes that come from outside: checked before it is used.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace ds {

// a * b and a + b; `what` names the quantity in the Error thrown on overflow.
inline size_t checked_mul(size_t a, size_t b, std::string_view what);
inline size_t checked_add(size_t a, size_t b, std::string_view what);

// The product of the dimensions of a shape; a negative dimension or an overflow is an Error.
int64_t checked_elements(std::span<const int64_t> shape, std::string_view what);

// "512", "64K", "2.5G", "1GiB" (powers of 1024) in bytes; anything else is a UsageError.
uint64_t parse_bytes(std::string_view text);

// 1536 -> "1.5 KiB".
std::string format_bytes(uint64_t bytes);

[[noreturn]] void overflow(std::string_view what);

inline size_t checked_mul(size_t a, size_t b, std::string_view what) {
  size_t product;
  if (__builtin_mul_overflow(a, b, &product)) overflow(what);
  return product;
}
inline size_t checked_add(size_t a, size_t b, std::string_view what) {
  size_t sum;
  if (__builtin_add_overflow(a, b, &sum)) overflow(what);
  return sum;
}
constexpr size_t round_up(size_t value, size_t multiple) { return (value + multiple - 1) / multiple * multiple; }

}  // namespace ds
