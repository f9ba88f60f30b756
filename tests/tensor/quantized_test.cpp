// Quantized weights are what their plain arrays say, in panels as tensor/quantized.h describes them.
#include "tensor/quantized.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tensor/gemm_data.h"

namespace ds {
namespace {

double value_of(const QuantizedFormat& f, uint8_t bits) {
  if (f.dtype == DType::q4) return bits;
  if (f.dtype == DType::q8) return static_cast<int8_t>(bits);
  const int exponent = bits >> 3 & 15, mantissa = bits & 7;
  const double magnitude = exponent ? std::ldexp(1 + mantissa / 8.0, exponent - 7) : std::ldexp(mantissa / 8.0, -6);
  return bits >> 7 ? -magnitude : magnitude;
}

std::vector<QuantizedFormat> formats() {
  std::vector<QuantizedFormat> all;
  for (const DType scales : {DType::f16, DType::f32})
    for (const int64_t group : {8, 16, 40, 128, 1000}) {
      all.push_back({DType::q4, group, scales, true, false});
      all.push_back({DType::q4, group, scales, false, true});
      all.push_back({DType::q8, group, scales, false, false});
      all.push_back({DType::q8, group / 4 * 2, scales, false, true});
      all.push_back({DType::f8_e4m3, group, scales, false, false});
    }
  for (auto& f : all)
    if (f.dtype == DType::q8 && f.mins) f.group_size = f.group_size >= 300 ? f.group_size : (f.group_size + 3) / 4 * 4;
  return all;
}

// A product of at most 8 + 24 bits and a sum fit a double, so the double rounded once is the weight.
TEST(Quantized, ValuesAreTheDefinition) {
  const int64_t experts = 2, n = 19, k = 299;
  for (const QuantizedFormat& f : formats()) {
    Arena arena;
    const Tensor w = make_quantized(arena, experts, n, k, f);
    const int64_t groups = (k + f.group_size - 1) / f.group_size;
    std::vector<float> row(k);
    for (int64_t e = experts - 1; e >= 0; --e) set_quantized(item(w, e), random_quantized(n, k, f, 4 + e).rows());
    for (int64_t e = 0; e < experts; ++e) {
      const QuantizedArrays q = random_quantized(n, k, f, 4 + e);
      for (int64_t i = 0; i < n; ++i) {
        cpu::dequantize_row(item(w, e), i, row.data());
        for (int64_t j = 0; j < k; ++j) {
          const int64_t g = i * groups + j / f.group_size;
          const double value = value_of(f, q.values[i * k + j]), scale = q.scales[g];
          const float want = f.mins    ? std::fma(static_cast<float>(value), q.scales[g], -q.mins[g])
                             : f.zeros ? static_cast<float>((value - q.zeros[g]) * scale)
                                       : static_cast<float>(value * scale);
          ASSERT_EQ(row[j], want) << dtype_name(f.dtype) << " groups of " << f.group_size << ": " << e << ", " << i << ", " << j;
        }
      }
    }
  }
}

TEST(Quantized, PanelsLieAsTheHeaderSays) {
  Arena arena;
  const int64_t n = 20, k = 21;
  std::vector<uint8_t> values(n * k), zeros(n * 3);
  std::vector<float> scales(n * 3);
  for (int64_t i = 0; i < n * k; ++i) values[i] = static_cast<uint8_t>((i * 7 + i / k) % 16);
  for (int64_t i = 0; i < n * 3; ++i) zeros[i] = static_cast<uint8_t>(i % 17), scales[i] = static_cast<float>(i) / 64;
  const Tensor w4 = make_quantized(arena, 0, n, k, {DType::q4, 8, DType::f16, true, false});
  const Tensor w8 = make_quantized(arena, 0, n, k, {DType::q8, 8, DType::f32, false, false});
  set_quantized(w4, {values, scales, zeros, {}});
  set_quantized(w8, {values, scales, {}, {}});
  EXPECT_EQ(reinterpret_cast<uintptr_t>(w4.data) % 64, 0u);
  for (int64_t row = 0; row < 32; ++row) {
    const auto value = [&](int64_t i) { return row < n && i < k ? values[row * k + i] : 0; };
    for (int64_t i = 0; i < 24; i += 8)
      for (int64_t j = 0; j < 4; ++j)
        EXPECT_EQ(w4.as<uint8_t>()[(row / 16 * 24 + i) * 8 + row % 16 * 4 + j], value(i + j) | value(i + 4 + j) << 4);
    for (int64_t i = 0; i < 24; i += 4)
      for (int64_t j = 0; j < 4; ++j) EXPECT_EQ(w8.as<uint8_t>()[(row / 16 * 24 + i) * 16 + row % 16 * 4 + j], value(i + j));
    for (int64_t g = 0; g < 3; ++g) {
      const int64_t at = (row / 16 * 3 + g) * 16 + row % 16;
      EXPECT_EQ(static_cast<const uint8_t*>(w4.zeros)[at], row < n ? zeros[row * 3 + g] : 0);
      EXPECT_EQ(f16_to_f32(static_cast<const uint16_t*>(w4.scales)[at]), row < n ? scales[row * 3 + g] : 0);
      EXPECT_EQ(static_cast<const float*>(w8.scales)[at], row < n ? scales[row * 3 + g] : 0);
    }
  }
}

TEST(Quantized, F8IsTheFormatOfTheSpecification) {
  EXPECT_EQ(f8_e4m3_to_f32(0x7e), 448);      // the largest
  EXPECT_EQ(f8_e4m3_to_f32(0xfe), -448);
  EXPECT_EQ(f8_e4m3_to_f32(0x38), 1);
  EXPECT_EQ(f8_e4m3_to_f32(0x08), 0x1p-6f);  // the least normal number
  EXPECT_EQ(f8_e4m3_to_f32(0x01), 0x1p-9f);  // the least of all
  EXPECT_EQ(f8_e4m3_to_f32(0x00), 0);
  EXPECT_TRUE(std::signbit(f8_e4m3_to_f32(0x80)));
  EXPECT_TRUE(std::isnan(f8_e4m3_to_f32(0x7f)) && std::isnan(f8_e4m3_to_f32(0xff)));
  const QuantizedFormat f8{DType::f8_e4m3};
  for (int bits = 0; bits < 256; ++bits) {
    if (bits % 128 == 127) continue;
    EXPECT_EQ(f8_e4m3_to_f32(static_cast<uint8_t>(bits)), value_of(f8, static_cast<uint8_t>(bits)));
  }
}

TEST(Quantized, RefusesFormatsThatThereAreNot) {
  Arena arena;
  const auto make = [&](const QuantizedFormat& f, int64_t n = 16, int64_t k = 64) { return make_quantized(arena, 0, n, k, f); };
  EXPECT_NO_THROW(make({DType::q4, 64, DType::f16, true, false}, 16, 61));
  EXPECT_THROW(make({DType::q4, 12, DType::f16, true, false}), Error);
  EXPECT_THROW(make({DType::q4, 0, DType::f16, true, false}), Error);
  EXPECT_THROW(make({DType::q4, 61, DType::f16, true, false}, 16, 62), Error);
  EXPECT_THROW(make({DType::q4, 32, DType::f16, true, true}), Error);
  EXPECT_THROW(make({DType::q4, 32, DType::f16, false, false}), Error);
  EXPECT_THROW(make({DType::q4, 32, DType::bf16, true, false}), Error);
  EXPECT_THROW(make({DType::q8, 30, DType::f16, false, false}), Error);
  EXPECT_THROW(make({DType::q8, 32, DType::f16, true, false}), Error);
  EXPECT_THROW(make({DType::f8_e4m3, 32, DType::f16, false, true}), Error);
  EXPECT_THROW(make({DType::f16, 32, DType::f16, false, false}), Error);
  EXPECT_THROW(make({DType::q4, 32, DType::f16, true, false}, 0), Error);
  EXPECT_THROW(make({DType::q8, 32, DType::f16, false, false}, int64_t{1} << 40, int64_t{1} << 30), Error);
}

TEST(Quantized, RefusesArraysThatDoNotFit) {
  Arena arena;
  const Tensor w4 = make_quantized(arena, 0, 2, 32, {DType::q4, 16, DType::f16, true, false});
  const Tensor min = make_quantized(arena, 0, 2, 32, {DType::q4, 16, DType::f32, false, true});
  const Tensor f8 = make_quantized(arena, 0, 2, 32, {DType::f8_e4m3, 16, DType::f32, false, false});
  const auto with = [&](const Tensor& w, size_t at, int value, float scale = 1, int zero = 16, float least = 0, size_t count = 64) {
    std::vector<uint8_t> values(count, 0), zeros(w.zeros ? 4 : 0, static_cast<uint8_t>(zero));
    std::vector<float> scales(4, scale), mins(w.mins ? 4 : 0, least);
    values[at] = static_cast<uint8_t>(value);
    set_quantized(w, {values, scales, zeros, mins});
  };
  EXPECT_NO_THROW(with(w4, 63, 15));
  EXPECT_THROW(with(w4, 63, 16), Error);
  EXPECT_THROW(with(w4, 60, 0xf0), Error);
  EXPECT_THROW(with(w4, 0, 0, 1, 17), Error);
  EXPECT_THROW(with(w4, 0, 0, 0.1f), Error);   // no f16
  EXPECT_THROW(with(w4, 0, 0, 1e6f), Error);
  EXPECT_THROW(with(w4, 0, 0, 1, 16, 0, 63), Error);
  EXPECT_NO_THROW(with(min, 63, 15, 0.1f, 0, 0.3f));
  EXPECT_THROW(with(min, 0, 0, std::numeric_limits<float>::infinity()), Error);
  EXPECT_THROW(with(min, 0, 0, 0x1p101f), Error);
  EXPECT_THROW(with(min, 0, 0, 1, 0, std::numeric_limits<float>::quiet_NaN()), Error);
  EXPECT_NO_THROW(with(f8, 62, 0xfe));
  EXPECT_THROW(with(f8, 62, 0xff), Error);
  EXPECT_THROW(with(f8, 61, 0x7f), Error);
  EXPECT_THROW(set_quantized(w4, {{}, {}, {}, {}}), Error);
  EXPECT_THROW(set_quantized(arena.make(DType::f32, {2, 32}), {}), Error);
}

}  // namespace
}  // namespace ds
