// Products with 8-bit activations against the arithmetic that int8_gemm.h states, bit by bit, on every path.
#include "tensor/cpu/int8_gemm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "tensor/check.h"
#include "tensor/gemm_data.h"

namespace ds {
namespace {

// Runs body on every path: each vector width, with and without VNNI, 1 to 3 threads.
template <class Body>
void on_each_path(const Body& body) {
  for (const size_t count : {1, 2, 3}) {
    set_threads(count);
    on_each_target([&] {
      for (const bool vnni : {true, false}) {
        if (vnni && !cpu::use_vnni(true)) continue;
        cpu::use_vnni(vnni);
        SCOPED_TRACE(cat(count, " threads, ", vnni ? "VNNI" : "no VNNI"));
        body();
        cpu::use_vnni(true);
      }
    });
  }
  set_threads(0);
}

// The integer that x * (127 / a) rounds to, by comparison only.
int rounded(float x, float inverse) {
  const float scaled = x * inverse;
  int best = 0;
  double distance = 1e9;
  for (int q = -127; q <= 127; ++q) {
    const double d = std::abs(static_cast<double>(scaled) - q);
    if (d < distance || (d == distance && q % 2 == 0)) best = q, distance = d;
  }
  return best;
}

struct Row {
  float scale = 0;
  std::vector<int64_t> q;
};
Row round_row(const float* x, int64_t k) {
  float a = 0;
  bool finite = true;
  for (int64_t i = 0; i < k; ++i) {
    a = std::max(a, std::abs(x[i]));
    finite = finite && std::isfinite(x[i]);
  }
  Row row{0, std::vector<int64_t>(static_cast<size_t>(k))};
  if (!finite) {
    row.scale = std::numeric_limits<float>::quiet_NaN();
  } else if (a >= std::ldexp(1.0, -100)) {
    row.scale = a / 127.0f;
    for (int64_t i = 0; i < k; ++i) row.q[static_cast<size_t>(i)] = rounded(x[i], 127.0f / a);
  }
  return row;
}

// y[m, n] = x[m, k] w^T, or experts' rows of x, by the definition.
std::vector<float> product(const QuantizedFormat& f, const QuantizedArrays& w, const std::vector<float>& x, int64_t m,
                           int64_t n, int64_t k) {
  const int64_t groups = (k + f.group_size - 1) / f.group_size;
  std::vector<float> y;
  for (int64_t i = 0; i < m; ++i) {
    const Row row = round_row(x.data() + i * k, k);
    for (int64_t j = 0; j < n; ++j) {
      float acc = 0;
      for (int64_t g = 0; g < groups; ++g) {
        int64_t d = 0, sum = 0;
        for (int64_t c = g * f.group_size; c < std::min(k, (g + 1) * f.group_size); ++c) {
          const uint8_t bits = w.values[static_cast<size_t>(j * k + c)];
          const int64_t value = f.dtype == DType::q8 ? static_cast<int8_t>(bits) : bits;
          const int64_t zero = f.zeros ? w.zeros[static_cast<size_t>(j * groups + g)] : 0;
          d += (value - zero) * row.q[static_cast<size_t>(c)], sum += row.q[static_cast<size_t>(c)];
        }
        acc = std::fma(static_cast<float>(d), w.scales[static_cast<size_t>(j * groups + g)], acc);
        if (f.mins) acc = std::fma(-static_cast<float>(sum), w.mins[static_cast<size_t>(j * groups + g)], acc);
      }
      y.push_back(acc * row.scale);
    }
  }
  return y;
}

void expect_bits(const std::vector<float>& got, const std::vector<float>& want) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < want.size(); ++i) {
    if (std::isnan(want[i])) {
      ASSERT_TRUE(std::isnan(got[i])) << i;
    } else {
      ASSERT_EQ(std::bit_cast<uint32_t>(got[i]), std::bit_cast<uint32_t>(want[i]))
          << i << ": " << got[i] << ", not " << want[i];
    }
  }
}

Tensor weight_of(Arena& arena, const QuantizedFormat& f, const QuantizedArrays& arrays, int64_t n, int64_t k) {
  Tensor w = make_quantized(arena, 0, n, k, f);
  set_quantized(w, arrays.rows());
  w.int8_activations = true;
  return w;
}

void check(const QuantizedFormat& f, const QuantizedArrays& arrays, std::vector<float> x, int64_t m, int64_t n,
           int64_t k) {
  SCOPED_TRACE(cat(m, "x", n, "x", k, " ", dtype_name(f.dtype), " groups of ", f.group_size,
                   f.zeros  ? " zeros"
                   : f.mins ? " mins"
                            : "",
                   f.scale_dtype == DType::f16 ? " f16" : " f32"));
  Arena arena;
  const Tensor w = weight_of(arena, f, arrays, n, k);
  const std::vector<float> want = product(f, arrays, x, m, n, k);
  on_each_path([&] {
    std::vector<float> y(static_cast<size_t>(m * n), 7.0f);
    linear(view(x, m, k), w, view(y, m, n));
    expect_bits(y, want);
  });
}

std::vector<QuantizedFormat> formats(int64_t k) {
  return {{DType::q8, k, DType::f32, false, false},  {DType::q8, 32, DType::f16, false, false},
          {DType::q8, 4, DType::f32, false, true},   {DType::q8, 60, DType::f32, false, true},
          {DType::q4, 128, DType::f16, true, false}, {DType::q4, 8, DType::f32, true, false},
          {DType::q4, 32, DType::f32, false, true},  {DType::q4, k, DType::f16, true, false}};
}

TEST(Int8Gemm, IsTheStatedArithmetic) {
  const int64_t sizes[][3] = {{1, 1, 1},     {1, 16, 8},   {2, 17, 7},    {3, 40, 33},    {5, 33, 130},
                              {7, 100, 257}, {13, 65, 64}, {30, 20, 301}, {1, 150, 1030}, {2, 70, 96}};
  for (const auto& [m, n, k] : sizes)
    for (const QuantizedFormat& f : formats(k))
      check(f, random_quantized(n, k, f, 3), random_values(m * k, 9), m, n, k);
}

// More parts, tiles and threads than one.
TEST(Int8Gemm, IsTheStatedArithmeticInParts) {
  const int64_t m = 521, n = 300, k = 72;
  for (const QuantizedFormat& f : formats(k)) check(f, random_quantized(n, k, f, 3), random_values(m * k, 9), m, n, k);
}

// Every activation +-127, every weight at an end: the largest sums there are.
TEST(Int8Gemm, NothingSaturates) {
  for (const int64_t k : {64, 20000}) {
    const int64_t m = 5, n = 24;
    for (const QuantizedFormat& f : {QuantizedFormat{DType::q8, k, DType::f32, false, false},
                                     QuantizedFormat{DType::q8, 128, DType::f32, false, true},
                                     QuantizedFormat{DType::q4, k, DType::f16, true, false},
                                     QuantizedFormat{DType::q4, 128, DType::f32, true, false}}) {
      QuantizedArrays arrays = random_quantized(n, k, f, 3);
      for (int64_t j = 0; j < n; ++j) {
        for (int64_t c = 0; c < k; ++c) {
          const bool low = j % 4 == 0 || (j % 4 == 1 && c % 2) || (j % 4 == 2 && c % 3);
          arrays.values[static_cast<size_t>(j * k + c)] =
              f.dtype == DType::q4 ? (low ? 0 : 15) : static_cast<uint8_t>(low ? -128 : 127);
        }
      }
      for (size_t i = 0; i < arrays.zeros.size(); ++i) arrays.zeros[i] = i % 3 ? (i % 3 == 1 ? 0 : 16) : 15;
      std::vector<float> x(static_cast<size_t>(m * k), -3.0f);  // row 0
      for (int64_t c = 0; c < k; ++c) {
        x[static_cast<size_t>(k + c)] = 3.0f;
        x[static_cast<size_t>(2 * k + c)] = c % 2 ? 3.0f : -3.0f;
        x[static_cast<size_t>(3 * k + c)] = c % 3 ? 3.0f : -3.0f;
      }
      check(f, arrays, x, m, n, k);
    }
  }
  const int64_t k = cpu::kLongestGroup;
  const QuantizedFormat f{DType::q8, k, DType::f32, false, false};
  QuantizedArrays arrays = random_quantized(1, k, f, 3);
  for (const int value : {-128, 127}) {
    arrays.values.assign(static_cast<size_t>(k), static_cast<uint8_t>(value));
    for (const float x : {-1.0f, 1.0f}) check(f, arrays, std::vector<float>(static_cast<size_t>(k), x), 1, 1, k);
  }
}

TEST(Int8Gemm, RowsOfZerosTiesAndWhatIsNoNumber) {
  const int64_t m = 9, n = 20, k = 50;
  const float infinity = std::numeric_limits<float>::infinity();
  std::vector<float> x = random_values(m * k, 9);
  const auto row = [&](int64_t i) { return x.data() + i * k; };
  std::fill_n(row(0), k, 0.0f);
  std::fill_n(row(1), k, -0.0f);
  for (int64_t c = 0; c < k; ++c) row(2)[c] = c == 7 ? 127.0f : static_cast<float>(c) - 25.5f;  // ties
  row(3)[49] = infinity;
  row(4)[17] = std::numeric_limits<float>::quiet_NaN();
  for (int64_t c = 0; c < k; ++c) row(5)[c] *= 1e-30f, row(6)[c] *= 1e-39f, row(7)[c] = c % 2 ? 3.4e38f : -1e38f;
  for (const QuantizedFormat& f : formats(k)) check(f, random_quantized(n, k, f, 3), x, m, n, k);
}

TEST(Int8Gemm, ARowIsTheSameAloneAndAmongOthersAndIsAdded) {
  const int64_t m = 27, n = 90, k = 200;
  for (const QuantizedFormat& f : formats(k)) {
    Arena arena;
    const Tensor w = weight_of(arena, f, random_quantized(n, k, f, 3), n, k);
    std::vector<float> x = random_values(m * k, 9), all(static_cast<size_t>(m * n)), one = all;
    on_each_path([&] {
      linear(view(x, m, k), w, view(all, m, n));
      for (int64_t i = 0; i < m; ++i) linear(rows(view(x, m, k), i, 1), w, rows(view(one, m, n), i, 1));
      expect_bits(one, all);
      // Columns of wider matrices, added to.
      std::vector<float> sum = random_values(m * n, 4), want = sum;
      for (size_t i = 0; i < want.size(); ++i) want[i] += all[i];
      const Tensor wide_x = strided(arena, view(x, m, k)), wide_y = strided(arena, view(sum, m, n));
      linear(wide_x, w, wide_y, true);
      for (int64_t i = 0; i < m; ++i)
        std::memcpy(sum.data() + i * n, wide_y.f32() + i * wide_y.row_stride, static_cast<size_t>(n) * 4);
      expect_bits(sum, want);
    });
  }
}

TEST(Int8Gemm, ExpertsAreTheirProducts) {
  const int64_t experts = 5, n = 40, k = 72;
  const std::vector<int32_t> offsets = {0, 3, 3, 17, 18, 24};
  for (const QuantizedFormat& f : formats(k)) {
    Arena arena;
    Tensor w = random_weight(arena, f, experts, n, k, 5);
    w.int8_activations = true;
    std::vector<float> x = random_values(24 * k, 9), want;
    for (int64_t e = 0; e < experts; ++e) {
      const std::vector<float> part(x.begin() + offsets[e] * k, x.begin() + offsets[e + 1] * k);
      const auto y =
          product(f, random_quantized(n, k, f, 5 + static_cast<uint64_t>(e)), part, offsets[e + 1] - offsets[e], n, k);
      want.insert(want.end(), y.begin(), y.end());
    }
    on_each_path([&] {
      std::vector<float> y(want.size());
      grouped_linear(view(x, 24, k), int_tensor(arena, offsets), w, view(y, 24, n));
      expect_bits(y, want);
    });
  }
}

// GPTQ's desc_act: column k of the weight is input k_order[k].
TEST(Int8Gemm, InputsInAnotherOrder) {
  const int64_t m = 3, n = 20, k = 64;
  const QuantizedFormat f{DType::q4, 16, DType::f32, true, false};
  Arena arena;
  const QuantizedArrays arrays = random_quantized(n, k, f, 3);
  Tensor w = weight_of(arena, f, arrays, n, k);
  std::vector<int32_t> order(k);
  for (int32_t i = 0; i < k; ++i) order[static_cast<size_t>(i)] = i * 27 % 64;
  w.k_order = order.data();
  std::vector<float> x = random_values(m * k, 9), gathered = x, y(m * n);
  for (int64_t i = 0; i < m; ++i)
    for (int64_t c = 0; c < k; ++c)
      gathered[static_cast<size_t>(i * k + c)] = x[static_cast<size_t>(i * k + order[static_cast<size_t>(c)])];
  linear(view(x, m, k), w, view(y, m, n));
  expect_bits(y, product(f, arrays, gathered, m, n, k));
}

TEST(Int8Gemm, TheErrorIsThatOfEightBits) {
  const int64_t m = 8, n = 64, k = 1024;
  const QuantizedFormat f{DType::q8, 128, DType::f32, false, false};
  Arena arena;
  Tensor w = random_weight(arena, f, 0, n, k, 3);
  std::vector<float> x = random_values(m * k, 9), exact(m * n), y(m * n);
  linear(view(x, m, k), w, view(exact, m, n));
  w.int8_activations = true;
  linear(view(x, m, k), w, view(y, m, n));
  double error = 0, size = 0;
  for (size_t i = 0; i < y.size(); ++i) error += std::pow(y[i] - exact[i], 2), size += std::pow(exact[i], 2);
  // A step is max / 127, max of 1024 normal numbers is about 3.3: an error of 3.3 / 127 / sqrt(12) of the deviation.
  EXPECT_NEAR(std::sqrt(error / size), 3.3 / 127 / std::sqrt(12), 0.002);
}

TEST(Int8Gemm, WhatItCannotTakeIsAnError) {
  Arena arena;
  std::vector<float> x(200000), y(16);
  Tensor w = make_quantized(arena, 0, 1, 200000, {DType::q8, 200000, DType::f32, false, false});
  w.int8_activations = true;
  EXPECT_THROW(linear(view(x, 1, 200000), w, view(y, 1, 1)), Error);
  w = make_quantized(arena, 0, 1, 200000, {DType::f8_e4m3, 128, DType::f32, false, false});
  w.int8_activations = true;
  EXPECT_THROW(linear(view(x, 1, 200000), w, view(y, 1, 1)), Error);
}

}  // namespace
}  // namespace ds
