#include "base/math.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <limits>

namespace ds::math {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kRound = 0x1.8p+52;  // x + kRound - kRound is x to the nearest integer, even on ties

constexpr double kLog2E = 0x1.71547652b82fep+0;
constexpr double kLn2High = 0x1.62e42fefp-1, kLn2Low = 0x1.473de6af278ecp-34;  // n * high is exact for |n| < 2^20

double exp(double x) {
  if (x < -708.39) return 0;
  if (!(x <= 709.782712893384)) return x + kInfinity;
  const double n = std::fma(x, kLog2E, kRound) - kRound;
  const double high = std::fma(-n, kLn2High, x), r = std::fma(-n, kLn2Low, high);
  const double lost = (high - r) - n * kLn2Low;  // what the rounding of r left out
  // Taylor: |r| <= ln(2) / 2, so the term left out, r^14 / 14!, is below 2^-57.
  double y = 1.0 / 6227020800;
  for (const double c : {1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880, 1.0 / 40320, 1.0 / 5040, 1.0 / 720,
                         1.0 / 120, 1.0 / 24, 1.0 / 6, 0.5})
    y = std::fma(y, r, c);
  y = 1.0 + (r + (std::fma(r * r, y, lost)));
  // y is in [0.7, 1.42]; 2^n in two steps, since n reaches 1024.
  const auto power = [](int64_t e) { return std::bit_cast<double>(static_cast<uint64_t>(e + 1023) << 52); };
  const int64_t e = static_cast<int64_t>(n), half = e / 2;
  return y * power(half) * power(e - half);
}

double log(double x) {
  if (!(x > 0)) return x == 0 ? -kInfinity : kNaN;
  if (x == kInfinity) return x;
  int64_t e = 0;
  if (x < std::numeric_limits<double>::min()) x *= 0x1p54, e = -54;
  // x = 2^e m with m in [sqrt(1/2), sqrt(2)); log m = 2 atanh(s) = f - s (f - r), s = f / (2 + f), f = m - 1.
  constexpr uint64_t kSqrtHalf = std::bit_cast<uint64_t>(0x1.6a09e667f3bcdp-1), kMantissa = (uint64_t{1} << 52) - 1;
  const uint64_t shifted = std::bit_cast<uint64_t>(x) - kSqrtHalf;
  e += static_cast<int64_t>(shifted) >> 52;
  const double f = std::bit_cast<double>((shifted & kMantissa) + kSqrtHalf) - 1.0;
  const double s = f / (2.0 + f), z = s * s, half = 0.5 * f * f;
  double series = 0;  // |s| <= 0.172: what is left out, z^11 / 23, is below 2^-60
  for (int k = 21; k >= 3; k -= 2) series = std::fma(series, z, 2.0 / k);
  // log(1 + f) = f - (f^2 / 2 - s (f^2 / 2 + z series)): the correction is small beside f.
  const double n = static_cast<double>(e), correction = half - std::fma(s, half + z * series, n * kLn2Low);
  return n * kLn2High + (f - correction);
}

double pow(double x, double y) {
  if (y == 0 || x == 1) return 1;
  return exp(y * log(x));
}

// x - q pi/2 for the nearest integer q, which is returned too.
static double reduce(double x, int64_t& q) {
  constexpr double kTwoOverPi = 0x1.45f306dc9c883p-1;
  constexpr double kPi2[] = {0x1.921fb54442d18p+0, 0x1.1a62633145c06p-54, 0x1.c1cd129024e08p-107};  // pi / 2
  const double n = std::fma(x, kTwoOverPi, kRound) - kRound;
  q = static_cast<int64_t>(n);
  return std::fma(-n, kPi2[2], std::fma(-n, kPi2[1], std::fma(-n, kPi2[0], x)));
}

// Taylor on |r| <= pi/4; the terms left out, r^19 / 19! and r^20 / 20!, are below 2^-60.
static double sin_near_zero(double r) {
  const double z = r * r;
  double y = 1.0 / 355687428096000.0;
  for (const double c : {-1.0 / 1307674368000.0, 1.0 / 6227020800.0, -1.0 / 39916800, 1.0 / 362880, -1.0 / 5040, 1.0 / 120,
                         -1.0 / 6})
    y = std::fma(y, z, c);
  return std::fma(r * z, y, r);
}
static double cos_near_zero(double r) {
  const double z = r * r;
  double y = -1.0 / 6402373705728000.0;
  for (const double c : {1.0 / 20922789888000.0, -1.0 / 87178291200.0, 1.0 / 479001600, -1.0 / 3628800, 1.0 / 40320,
                         -1.0 / 720, 1.0 / 24})
    y = std::fma(y, z, c);
  const double half = 0.5 * z, w = 1.0 - half;
  return w + (((1.0 - w) - half) + z * z * y);
}

static double sin_of_quadrant(double x, int64_t quarter) {
  if (!(std::fabs(x) < 0x1p30)) return kNaN;
  int64_t q;
  const double r = reduce(x, q);
  q += quarter;
  const double y = q & 1 ? cos_near_zero(r) : sin_near_zero(r);
  return q & 2 ? -y : y;
}

double sin(double x) { return sin_of_quadrant(x, 0); }
double cos(double x) { return sin_of_quadrant(x, 1); }

}  // namespace ds::math
