#include "base/dtype.h"

namespace ds {

std::string_view dtype_name(DType type) {
  static constexpr std::string_view names[] = {"f32", "f16", "bf16", "i64", "i32", "i16", "i8", "u8", "bool", "f64", "f8_e4m3", "q4", "q8"};
  return names[static_cast<int>(type)];
}

float f16_to_f32(uint16_t h) {
  const uint32_t sign = uint32_t{h} >> 15 << 31, exponent = h >> 10 & 31, mantissa = h & 1023;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000 | mantissa << 13);
  if (exponent != 0) return std::bit_cast<float>(sign | (exponent + 112) << 23 | mantissa << 13);
  const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;  // zero and subnormals
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(magnitude));
}

uint16_t f32_to_f16(float f) {
  const uint32_t u = std::bit_cast<uint32_t>(f), magnitude = u & 0x7fffffff;
  const uint16_t sign = static_cast<uint16_t>(u >> 16 & 0x8000);
  if (magnitude > 0x7f800000) return sign | 0x7e00;    // NaN
  if (magnitude >= 0x477ff000) return sign | 0x7c00;   // rounds to infinity
  if (magnitude < 0x38800000) {                        // subnormal: adding 0.5 aligns the mantissa and rounds to even
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(shifted) - 0x3f000000));
  }
  const uint32_t rounded = magnitude + 0xfff + (magnitude >> 13 & 1);
  return static_cast<uint16_t>(sign | (rounded - 0x38000000) >> 13);
}

}  // namespace ds
