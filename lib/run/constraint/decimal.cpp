#include "run/constraint/decimal.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"

namespace ds::constrain {
namespace {

constexpr int64_t kLargestExponent = 1'000'000'000'000'000;

uint64_t multiply_mod(uint64_t a, uint64_t b, uint64_t m) { return static_cast<uint64_t>(static_cast<unsigned __int128>(a) * b % m); }

uint64_t power_of_ten_mod(int64_t n, uint64_t m) {
  uint64_t out = 1 % m, base = 10 % m;
  for (; n > 0; n >>= 1, base = multiply_mod(base, base, m))
    if (n & 1) out = multiply_mod(out, base, m);
  return out;
}

uint64_t mod(std::string_view digits, uint64_t m) {
  unsigned __int128 r = 0;
  for (const char c : digits) r = (r * 10 + static_cast<uint64_t>(c - '0')) % m;
  return static_cast<uint64_t>(r);
}

// digits + n, as digits.
std::string add(std::string digits, uint64_t n) {
  for (size_t i = digits.size(); n > 0; ) {
    if (i == 0) {
      digits.insert(0, 1, '0');
      i = 1;
    }
    --i;
    n += static_cast<uint64_t>(digits[i] - '0');
    digits[i] = static_cast<char>('0' + n % 10);
    n /= 10;
  }
  return digits;
}

Decimal normal(bool negative, std::string_view digits, int64_t exponent) {
  const size_t first = std::min(digits.find_first_not_of('0'), digits.size());
  digits.remove_prefix(first);
  while (!digits.empty() && digits.back() == '0') digits.remove_suffix(1), ++exponent;
  if (digits.empty()) return {};
  return {negative, std::string(digits), exponent};
}

std::strong_ordering compare_size(const Decimal& a, const Decimal& b) {
  if (a.digits.empty() || b.digits.empty()) return a.digits.size() <=> b.digits.size();
  if (a.magnitude() != b.magnitude()) return a.magnitude() <=> b.magnitude();
  return a.digits.compare(b.digits) <=> 0;
}

Decimal negated(Decimal x) {
  if (!x.digits.empty()) x.negative = !x.negative;
  return x;
}

uint64_t scaled(const Modulus& m, int64_t exponent) {
  uint64_t value = m.value;
  for (int64_t n = m.exponent; n > exponent; --n) {
    require(value <= 100'000'000'000'000'000u, "multipleOf: the multiples are too far apart in size");
    value *= 10;
  }
  return value;
}

Modulus least_common_multiple(const std::vector<Modulus>& all) {
  Modulus out = all[0];
  for (const Modulus& m : all) {
    const int64_t exponent = std::min(out.exponent, m.exponent);
    const uint64_t a = scaled(out, exponent), b = scaled(m, exponent);
    const unsigned __int128 product = static_cast<unsigned __int128>(a / std::gcd(a, b)) * b;
    require(product < 1'000'000'000'000'000'000u, "multipleOf: the least common multiple has more than 18 digits");
    out = {static_cast<uint64_t>(product), exponent};
  }
  return out;
}

}  // namespace

Decimal Decimal::parse(std::string_view json) {
  bool negative = false, fraction = false, exponent_negative = false;
  std::string digits;
  int64_t exponent = 0, scale = 0;
  size_t i = 0;
  if (i < json.size() && json[i] == '-') negative = true, ++i;
  for (; i < json.size() && json[i] != 'e' && json[i] != 'E'; ++i) {
    if (json[i] == '.') {
      fraction = true;
      continue;
    }
    digits += json[i];
    scale -= fraction;
  }
  for (++i; i < json.size(); ++i) {
    if (json[i] == '-') exponent_negative = true;
    if (json[i] >= '0' && json[i] <= '9') exponent = std::min(exponent * 10 + (json[i] - '0'), kLargestExponent);
  }
  return normal(negative, digits, scale + (exponent_negative ? -exponent : exponent));
}

std::string Decimal::text() const { return cat(negative ? "-" : "", digits, "e", exponent); }

std::strong_ordering operator<=>(const Decimal& a, const Decimal& b) {
  if (a.negative != b.negative) return a.negative ? std::strong_ordering::less : std::strong_ordering::greater;
  return a.negative ? compare_size(b, a) : compare_size(a, b);
}

bool Modulus::divides(const Decimal& x) const {
  if (x.digits.empty()) return true;
  // As x has no zero at its end, no power of ten below the modulus divides it.
  const int64_t n = x.exponent - exponent;
  return n >= 0 && multiply_mod(mod(x.digits, value), power_of_ten_mod(n, value), value) == 0;
}

bool NumberSet::is_integer() const {
  return std::any_of(multiples.begin(), multiples.end(), [](const Modulus& m) { return m.exponent >= 0; });
}

bool NumberSet::contains(const Decimal& x) const {
  if (low && (low_open ? x <= *low : x < *low)) return false;
  if (high && (high_open ? x >= *high : x > *high)) return false;
  return std::all_of(multiples.begin(), multiples.end(), [&](const Modulus& m) { return m.divides(x); }) &&
         std::none_of(others.begin(), others.end(), [&](const Modulus& m) { return m.divides(x); });
}

void NumberSet::intersect(const NumberSet& other) {
  if (other.low && (!low || *other.low >= *low)) {
    low_open = low && *low == *other.low ? low_open || other.low_open : other.low_open;
    low = other.low;
  }
  if (other.high && (!high || *other.high <= *high)) {
    high_open = high && *high == *other.high ? high_open || other.high_open : other.high_open;
    high = other.high;
  }
  const auto join = [](std::vector<Modulus>& to, const std::vector<Modulus>& from) {
    to.insert(to.end(), from.begin(), from.end());
    std::sort(to.begin(), to.end());
    to.erase(std::unique(to.begin(), to.end()), to.end());
  };
  join(multiples, other.multiples);
  join(others, other.others);
}

namespace {

// Whether a set of numbers from 0 on has one at least.
bool has_any(const NumberSet& set) {
  const Decimal low = set.low.value_or(Decimal{});
  const bool low_open = set.low && set.low_open;
  if (set.high) {
    if (low > *set.high) return false;
    if (low == *set.high) return !low_open && !set.high_open && set.contains(low);
  }
  if (set.multiples.empty()) return true;  // between two numbers there are always some that are no multiples
  const Modulus m = least_common_multiple(set.multiples);
  // The first multiple that is not below low, in units of 10^m.exponent.
  std::string units = "0";
  bool is_exact = true;
  if (!low.digits.empty()) {
    const int64_t n = low.exponent - m.exponent;
    if (n >= 0)
      units = low.digits + std::string(static_cast<size_t>(n), '0');
    else if (low.magnitude() > m.exponent)
      units = low.digits.substr(0, static_cast<size_t>(low.magnitude() - m.exponent)), is_exact = false;
    else
      is_exact = false;
  }
  if (!is_exact || low_open) units = add(units, 1);
  const uint64_t rest = mod(units, m.value);
  if (rest) units = add(units, m.value - rest);
  for (int tries = 0; tries < 4096; ++tries, units = add(units, m.value)) {
    const Decimal x = normal(false, units, m.exponent);
    if (set.contains(x)) return true;
    if (set.high && x > *set.high) return false;
  }
  return false;
}

NumberSet mirrored(NumberSet set) {
  std::swap(set.low, set.high);
  std::swap(set.low_open, set.high_open);
  if (set.low) set.low = negated(*set.low);
  if (set.high) set.high = negated(*set.high);
  return set;
}

NumberSet between(NumberSet set, const std::optional<Decimal>& low, const std::optional<Decimal>& high) {
  NumberSet bounds;
  bounds.low = low, bounds.high = high, bounds.high_open = true;
  set.intersect(bounds);
  return set;
}

}  // namespace

bool NumberSet::is_empty() const {
  return !has_any(between(*this, Decimal{}, std::nullopt)) && !has_any(between(mirrored(*this), Decimal{}, std::nullopt));
}

bool NumberSet::has_prefix(std::string_view text) const {
  const bool negative = text.starts_with('-');
  const NumberSet set = negative ? mirrored(*this) : *this;
  if (negative) text.remove_prefix(1);
  const size_t point = std::min(text.find('.'), text.size());
  if (point < text.size() && is_integer()) return false;  // 100, not 100.0
  if (text.empty()) return has_any(between(set, Decimal{}, std::nullopt));
  std::string digits(text.substr(0, point));
  if (point < text.size()) digits += text.substr(point + 1);
  // Nor do decimals, where the number may end before this one.
  if (text.size() > point + 20 && set.contains(Decimal::parse(text.substr(0, text.size() - 1)))) return false;
  const int64_t fraction = point < text.size() ? static_cast<int64_t>(text.size() - point - 1) : 0;
  // The numbers from digits to digits + 1, at this scale.
  const auto at_scale = [&](int64_t exponent) {
    return has_any(between(set, normal(false, digits, exponent), normal(false, add(digits, 1), exponent)));
  };
  if (point < text.size() || text == "0") return at_scale(-fraction);
  // More digits may follow before a point, up to those that the set's numbers need: an answer does not go on for ever.
  int64_t most = 20;
  for (const auto* bound : {&set.low, &set.high})
    if (*bound) most = std::max(most, (*bound)->magnitude() + 1);
  for (const Modulus& m : set.multiples) most = std::max(most, m.exponent + 20);
  for (int64_t exponent = 0; exponent <= most - static_cast<int64_t>(digits.size()); ++exponent)
    if (at_scale(exponent)) return true;
  return false;
}

}  // namespace ds::constrain
