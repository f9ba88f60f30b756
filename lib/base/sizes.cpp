#include "base/sizes.h"

#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "base/error.h"

namespace ds {

void overflow(std::string_view what) { fail(what, " is too large: the size overflows 64 bits"); }

int64_t checked_elements(std::span<const int64_t> shape, std::string_view what) {
  int64_t product = 1;
  for (int64_t dim : shape) {
    require(dim >= 0, what, " has a negative dimension ", dim);
    if (__builtin_mul_overflow(product, dim, &product)) overflow(what);
  }
  return product;
}

uint64_t parse_bytes(std::string_view text) {
  double value = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  std::string unit(end, text.data() + text.size());
  for (char& c : unit) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  int shift = -1;
  const std::string_view letters = "KMGT";
  if (unit.empty() || unit == "B") {
    shift = 0;
  } else if (const size_t i = letters.find(unit[0]); i != std::string_view::npos) {
    const std::string rest = unit.substr(1);
    if (rest.empty() || rest == "B" || rest == "IB") shift = 10 * static_cast<int>(i + 1);
  }
  const double bytes = std::ldexp(value, shift);
  if (ec != std::errc() || shift < 0 || !(value >= 0) || bytes >= 0x1p63)
    throw UsageError(cat("'", text, "' is not a size: write a number with K, M, G or T, such as 512M"));
  return static_cast<uint64_t>(bytes);
}

std::string format_bytes(uint64_t bytes) {
  static const char* const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  int unit = 0;
  while (value >= 1024 && unit < 4) value /= 1024, ++unit;
  char text[32];
  std::snprintf(text, sizeof text, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
  return text;
}

}  // namespace ds
