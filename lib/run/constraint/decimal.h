// Numbers of JSON as they are written, and sets of them: bounds and multiples, without rounding.
#pragma once
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ds::constrain {

// digits * 10^exponent; digits have no zero at either end, and are "" for 0.
struct Decimal {
  bool negative = false;
  std::string digits;
  int64_t exponent = 0;

  // Of a JSON number. Exponents beyond 10^15 are taken as that.
  static Decimal parse(std::string_view json);
  int64_t magnitude() const { return static_cast<int64_t>(digits.size()) + exponent; }  // below 10^magnitude
  std::string text() const;  // equal for equal values
  friend std::strong_ordering operator<=>(const Decimal& a, const Decimal& b);
  friend bool operator==(const Decimal& a, const Decimal& b) { return (a <=> b) == 0; }
};

// value * 10^exponent, more than 0.
struct Modulus {
  uint64_t value;
  int64_t exponent;
  bool divides(const Decimal& x) const;
  auto operator<=>(const Modulus&) const = default;
};

struct NumberSet {
  std::optional<Decimal> low, high;
  bool low_open = false, high_open = false;
  std::vector<Modulus> multiples, others;  // of all of the first, of none of the second

  bool is_all() const { return !low && !high && multiples.empty() && others.empty(); }
  bool is_integer() const;                 // all in it are
  bool contains(const Decimal& x) const;
  bool is_empty() const;
  // Error where multiples have none in common that fits 18 digits.
  void intersect(const NumberSet& other);
  // Whether the plain (without exponent) spelling of a number in the set begins so. `text` begins a JSON number.
  bool has_prefix(std::string_view text) const;
  auto operator<=>(const NumberSet&) const = default;
};

}  // namespace ds::constrain
