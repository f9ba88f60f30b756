// Number formats of tensors in memory and in files.
#pragma once
#include <bit>
#include <cstdint>
#include <string_view>

namespace ds {

// q4, q8: unsigned 4-bit and signed 8-bit integers with a scale for each group of inputs; their tensors carry the scales
// (tensor/tensor.h). f8_e4m3 weights have scales as well.
enum class DType : uint8_t { f32, f16, bf16, i64, i32, i16, i8, u8, boolean, f64, f8_e4m3, q4, q8 };

// Bits of one element.
constexpr int dtype_bits(DType type) {
  switch (type) {
    case DType::i64: case DType::f64: return 64;
    case DType::f32: case DType::i32: return 32;
    case DType::f16: case DType::bf16: case DType::i16: return 16;
    case DType::q4: return 4;
    default: return 8;
  }
}

// The spelling of --dtype and of messages: "f32", "bf16".
std::string_view dtype_name(DType type);

// Conversions in integers, so that every processor gives the same bits; to 16 bits they round to nearest even.
inline float bf16_to_f32(uint16_t h) { return std::bit_cast<float>(uint32_t{h} << 16); }
inline uint16_t f32_to_bf16(float f) {
  const uint32_t u = std::bit_cast<uint32_t>(f);
  if ((u & 0x7fffffff) > 0x7f800000) return static_cast<uint16_t>(u >> 16 | 0x40);  // NaN stays NaN
  return static_cast<uint16_t>((u + 0x7fff + (u >> 16 & 1)) >> 16);
}
float f16_to_f32(uint16_t h);
uint16_t f32_to_f16(float f);

}  // namespace ds
