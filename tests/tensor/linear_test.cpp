// The linear operations: weight formats, experts, strided operands and refused shapes.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "base/parallel.h"
#include "tensor/cpu/dispatch.h"
#include "tensor/gemm_data.h"

namespace ds {
namespace {

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// The weight as f32 rows.
Tensor dequantized(Arena& arena, const Tensor& w) {
  const Tensor out = arena.make(DType::f32, {w.shape[0], w.shape[1]});
  for (int64_t i = 0; i < w.shape[0]; ++i) cpu::dequantize_row(w, i, out.f32() + i * w.cols());
  return out;
}

// A row's sum as gemm.h has it: 16 lanes, then lanes l and l + 8, l + 4, l + 2, l + 1.
float lane_sum(const float* x, int64_t count) {
  float lanes[16] = {};
  for (int64_t i = 0; i < count; ++i) lanes[i % 16] += x[i];
  for (int step = 8; step > 0; step /= 2)
    for (int l = 0; l < step; ++l) lanes[l] += lanes[l + step];
  return lanes[0];
}

// One number of a product with a quantized weight, as gemm.h defines it.
float quantized_dot(const float* x, const Tensor& w, int64_t n, float total, bool accumulate) {
  Tensor plain = w;  // its values alone
  const std::vector<float> ones(static_cast<size_t>(cpu::panel_rows(w.rows()) * cpu::groups_of(w)), 1.0f);
  plain.scales = ones.data(), plain.scale_dtype = DType::f32, plain.zeros = nullptr, plain.mins = nullptr;
  std::vector<float> values(static_cast<size_t>(w.cols()));
  cpu::dequantize_row(plain, n, values.data());
  const float middle = w.dtype == DType::q4 ? 8 : 0;
  for (int64_t k = 0; k < w.cols();) {
    const int64_t group = k / w.group_size, begin = k;
    const int64_t end = std::min({w.cols(), (group + 1) * w.group_size, (k / cpu::kKBlock + 1) * cpu::kKBlock});
    const int64_t at = (n / 16 * cpu::groups_of(w) + group) * 16 + n % 16;
    const float scale = w.scale_dtype == DType::f16 ? f16_to_f32(static_cast<const uint16_t*>(w.scales)[at])
                                                    : static_cast<const float*>(w.scales)[at];
    float chain = 0;
    for (; k < end; ++k) chain = std::fma(x[k], values[static_cast<size_t>(k)] - middle, chain);
    total = accumulate || begin > 0 ? std::fma(chain, scale, total) : chain * scale;
    if (w.mins) total = std::fma(lane_sum(x + begin, end - begin), std::fma(middle, scale, -w.mins[at]), total);
    if (w.zeros) total = std::fma(lane_sum(x + begin, end - begin), (middle - static_cast<const uint8_t*>(w.zeros)[at]) * scale, total);
  }
  return total;
}

// What a product is to be, bit for bit: of a 16-bit weight that with its values in f32, of a quantized one its definition.
void reference(Arena& arena, const Tensor& x, const Tensor& w, const Tensor& y, bool accumulate) {
  if (!cpu::quantized(w.dtype)) return linear(x, dequantized(arena, w), y, accumulate);
  for (int64_t m = 0; m < x.rows(); ++m)
    for (int64_t n = 0; n < w.rows(); ++n) {
      float& to = y.f32()[m * y.row_stride + n];
      to = quantized_dot(x.f32() + m * x.row_stride, w, n, to, accumulate);
    }
}

struct Format {
  DType dtype;
  Layout layout = Layout::panels;
  QuantizedFormat quantized = {};
};

Tensor random_weight(Arena& arena, const Format& f, int64_t experts, int64_t n, int64_t k, uint64_t stream) {
  return cpu::quantized(f.dtype) ? random_weight(arena, f.quantized, experts, n, k, stream)
                                 : random_weight(arena, f.dtype, f.layout, experts, n, k, stream);
}

class WeightFormat : public testing::TestWithParam<Format> {};

// Bit for bit, for panels and rows, at any width.
TEST_P(WeightFormat, ProductIsTheDefinition) {
  for (const char* const width : {"", "avx2"}) {
#if defined(__x86_64__)
    cpu::set_simd(width);
#endif
    for (const int64_t m : {0, 1, 2, 3, 17, 40}) {
      for (const auto& [n, k] : {std::pair<int64_t, int64_t>{16, 32}, {37, 290}, {81, 640}, {5, 3}, {100, 93}}) {
        Arena arena;
        const Tensor w = random_weight(arena, GetParam(), 0, n, k, 9);
        auto x = random_values(m * k, 1), y = random_values(m * n, 2), expected = y;
        const Tensor tx = make_tensor(x.data(), DType::f32, {m, k});
        linear(tx, w, make_tensor(y.data(), DType::f32, {m, n}), m % 2);
        reference(arena, tx, w, make_tensor(expected.data(), DType::f32, {m, n}), m % 2);
        EXPECT_TRUE(same_bits(y, expected)) << m << "x" << n << "x" << k << " " << width;
      }
    }
  }
  cpu::set_simd("");
}

// Nor do the other rows of a batch matter, or the threads, for any number of rows that some kernel has a form for.
TEST_P(WeightFormat, ARowIsTheSameInAnyBatch) {
  const int64_t most = 33, n = 150, k = 300;
  for (const char* const width : {"", "avx2"}) {
#if defined(__x86_64__)
    cpu::set_simd(width);
#endif
    Arena arena;
    const Tensor w = random_weight(arena, GetParam(), 0, n, k, 9);
    auto x = random_values(most * k, 1), y = random_values(most * n, 2), expected = y;
    reference(arena, view(x, most, k), w, view(expected, most, n), false);
    for (int64_t m = 1; m <= most; ++m) {
      set_threads(m % 2 ? 3 : 1);
      const int64_t first = (most - m) / 2;
      linear(rows(view(x, most, k), first, m), w, view(y, m, n));
      EXPECT_EQ(std::memcmp(y.data(), expected.data() + first * n, static_cast<size_t>(m * n) * sizeof(float)), 0)
          << m << " rows " << width;
    }
  }
  set_threads(0);
  cpu::set_simd("");
}

TEST_P(WeightFormat, ExpertsAreProductsOfTheirRows) {
  const int64_t experts = 7, n = 40, k = 64;
  std::vector<int32_t> offsets = {0, 0, 3, 4, 4, 40, 53, 53};  // empty ones at both ends and within
  const int64_t rows_total = offsets.back();
  Arena arena;
  const Tensor w = random_weight(arena, GetParam(), experts, n, k, 4);
  auto x = random_values(rows_total * k, 1);
  std::vector<float> y(static_cast<size_t>(rows_total * n)), expected = y;
  const Tensor tx = view(x, rows_total, k), ty = view(y, rows_total, n), te = view(expected, rows_total, n);
  grouped_linear(tx, make_tensor(offsets.data(), DType::i32, {experts + 1}), w, ty);
  for (int64_t e = 0; e < experts; ++e)
    linear(rows(tx, offsets[e], offsets[e + 1] - offsets[e]), item(w, e), rows(te, offsets[e], offsets[e + 1] - offsets[e]));
  EXPECT_TRUE(same_bits(y, expected));
}

// And it is near the product with the numbers that the weight stands for.
TEST_P(WeightFormat, ProductIsNearThatOfTheWeight) {
  const int64_t m = 5, n = 37, k = 1000;
  Arena arena;
  const Tensor w = random_weight(arena, GetParam(), 0, n, k, 9), plain = dequantized(arena, w);
  auto x = random_values(m * k, 1);
  std::vector<float> y(static_cast<size_t>(m * n));
  for (float& one : x) one += 1;  // so that offsets matter
  linear(view(x, m, k), w, view(y, m, n));
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < n; ++j) {
      double exact = 0, size = 0;
      for (int64_t q = 0; q < k; ++q) {
        const double product = static_cast<double>(x[i * k + q]) * plain.f32()[j * k + q];
        exact += product, size += std::fabs(product);
      }
      EXPECT_NEAR(y[i * n + j], exact, 1e-6 * size) << i << ", " << j;
    }
}

Format quantized(DType dtype, int64_t group, DType scales, bool zeros, bool mins) {
  return {dtype, Layout::panels, {dtype, group, scales, zeros, mins}};
}

INSTANTIATE_TEST_SUITE_P(
    Formats, WeightFormat,
    testing::Values(Format{DType::f32, Layout::rows}, Format{DType::f32}, Format{DType::f16, Layout::rows}, Format{DType::f16},
                    Format{DType::bf16, Layout::rows}, Format{DType::bf16}, quantized(DType::q4, 128, DType::f16, true, false),
                    quantized(DType::q4, 24, DType::f32, true, false), quantized(DType::q4, 32, DType::f32, false, true),
                    quantized(DType::q4, 8, DType::f16, false, true), quantized(DType::q8, 1 << 20, DType::f32, false, false),
                    quantized(DType::q8, 12, DType::f16, false, false), quantized(DType::q8, 16, DType::f32, false, true),
                    quantized(DType::f8_e4m3, 128, DType::f32, false, false)),
    [](const auto& info) {
      const Format& f = info.param;
      if (!cpu::quantized(f.dtype)) return cat(dtype_name(f.dtype), f.layout == Layout::rows ? "Rows" : "Panels");
      const QuantizedFormat& q = f.quantized;
      return cat(dtype_name(q.dtype), "Groups", q.group_size, dtype_name(q.scale_dtype), q.zeros ? "Zeros" : q.mins ? "Mins" : "");
    });

struct Experts {
  std::vector<int32_t> offsets = {0, 0, 13, 14, 14, 90, 100};
  int64_t count = 6, rows = 100, n = 35, k = 52;
  Tensor tensor() { return make_tensor(offsets.data(), DType::i32, {count + 1}); }
};

TEST(GroupedLinear, BackwardInputIsThatOfEachExpert) {
  Experts g;
  Arena arena;
  const Tensor w = random_weight(arena, DType::f32, Layout::rows, g.count, g.n, g.k, 4);
  auto dy = random_values(g.rows * g.n, 1), dx = random_values(g.rows * g.k, 2), expected = dx;
  const Tensor tdy = view(dy, g.rows, g.n), tdx = view(dx, g.rows, g.k), te = view(expected, g.rows, g.k);
  for (const bool accumulate : {false, true}) {
    grouped_linear_backward_input(tdy, g.tensor(), w, tdx, accumulate);
    for (int64_t e = 0; e < g.count; ++e) {
      const int64_t begin = g.offsets[e], rows_of = g.offsets[e + 1] - begin;
      linear_backward_input(rows(tdy, begin, rows_of), item(w, e), rows(te, begin, rows_of), accumulate);
    }
    EXPECT_TRUE(same_bits(dx, expected));
  }
}

TEST(GroupedLinear, BackwardWeightIsThatOfEachExpertAndNothingWithoutRows) {
  Experts g;
  auto dy = random_values(g.rows * g.n, 1), x = random_values(g.rows * g.k, 2);
  auto dw = random_values(g.count * g.n * g.k, 3), expected = dw;
  const auto before = dw;
  const Tensor tdy = view(dy, g.rows, g.n), tx = view(x, g.rows, g.k);
  const Tensor tdw = make_tensor(dw.data(), DType::f32, {g.count, g.n, g.k});
  const Tensor te = make_tensor(expected.data(), DType::f32, {g.count, g.n, g.k});
  grouped_linear_backward_weight(tdy, g.tensor(), tx, tdw);
  for (int64_t e = 0; e < g.count; ++e) {
    const int64_t begin = g.offsets[e], rows_of = g.offsets[e + 1] - begin, size = g.n * g.k;
    linear_backward_weight(rows(tdy, begin, rows_of), rows(tx, begin, rows_of), item(te, e));
    EXPECT_EQ(std::memcmp(dw.data() + e * size, before.data() + e * size, size * sizeof(float)) == 0, rows_of == 0);
  }
  EXPECT_TRUE(same_bits(dw, expected));
}

// A range of columns is an operand like any other, and what lies between its rows is left alone.
TEST(Linear, RowsMayLieApart) {
  const int64_t m = 21, n = 37, k = 45, wide = 200;
  auto x = random_values(m * wide, 1), y = random_values(m * wide, 2), w = random_values(n * wide, 3);
  const auto before = y;
  const Tensor tx = columns(view(x, m, wide), 100, k), ty = columns(view(y, m, wide), 3, n), tw = columns(view(w, n, wide), 7, k);
  std::vector<float> px, pw, py(static_cast<size_t>(m * n));
  for (int64_t i = 0; i < m; ++i) px.insert(px.end(), tx.f32() + i * wide, tx.f32() + i * wide + k);
  for (int64_t i = 0; i < n; ++i) pw.insert(pw.end(), tw.f32() + i * wide, tw.f32() + i * wide + k);
  linear(tx, tw, ty);
  linear(view(px, m, k), view(pw, n, k), view(py, m, n));
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < wide; ++j)
      EXPECT_EQ(y[i * wide + j], j >= 3 && j < 3 + n ? py[i * n + j - 3] : before[i * wide + j]);
}

// A weight whose columns are permuted, and said to be, is the weight.
TEST(Linear, TheOrderOfInputsIsFollowed) {
  const int64_t m = 5, n = 20, k = 48, experts = 2;
  std::vector<int32_t> order, offsets = {0, 2, m};
  for (int64_t e = 0; e < experts; ++e)
    for (int64_t i = 0; i < k; ++i) order.push_back(static_cast<int32_t>((i * (5 + 2 * e) + e) % k));
  Arena arena;
  Tensor w = random_weight(arena, {DType::q4, 16, DType::f16, true, false}, experts, n, k, 3);
  auto x = random_values(m * k, 1), y = random_values(m * n, 2), expected = y, gathered = x;
  const Tensor tx = view(x, m, k), ty = view(y, m, n), te = view(expected, m, n), at = make_tensor(offsets.data(), DType::i32, {3});
  for (int64_t t = 0; t < m; ++t)
    for (int64_t i = 0; i < k; ++i) gathered[t * k + i] = x[t * k + order[(t < 2 ? 0 : k) + i]];
  grouped_linear(view(gathered, m, k), at, w, te);
  w.k_order = order.data();
  grouped_linear(tx, at, w, ty);
  EXPECT_TRUE(same_bits(y, expected));
  std::fill(y.begin(), y.end(), 0.0f);
  for (int64_t e = 0; e < experts; ++e)
    linear(rows(tx, offsets[e], offsets[e + 1] - offsets[e]), item(w, e), rows(ty, offsets[e], offsets[e + 1] - offsets[e]));
  EXPECT_TRUE(same_bits(y, expected));
  order[7] = static_cast<int32_t>(k);
  EXPECT_THROW(linear(tx, item(w, 0), ty), Error);
}

// Products in one go, of all formats, with 8-bit activations and without, are those one by one.
TEST(LinearAll, IsEachOfItsProducts) {
  const int64_t k = 96, experts = 3;
  const QuantizedFormat q4{DType::q4, 32, DType::f16, true, false}, q8{DType::q8, k, DType::f32, false, false};
  std::vector<int32_t> offsets, order;
  for (int64_t i = 0; i < k; ++i) order.push_back(static_cast<int32_t>(i * 5 % k));
  Arena arena;
  std::vector<Tensor> weights;
  for (const int64_t e : {int64_t{0}, experts})
    for (const int64_t n : {40, 7}) {
      for (const DType dtype : {DType::f32, DType::f16}) weights.push_back(random_weight(arena, dtype, Layout::panels, e, n, k, 3));
      for (const QuantizedFormat& format : {q4, q8})
        for (const bool rounded : {false, true, true}) {  // twice: the second one finds x rounded
          weights.push_back(random_weight(arena, format, e, n, k, weights.size()));
          weights.back().int8_activations = rounded;
        }
    }
  weights.push_back(random_weight(arena, q4, 0, 40, k, 50));
  weights.back().k_order = order.data();
  for (const size_t count : {1, 3}) {
    set_threads(count);
    for (const int32_t m : {1, 2, 30}) {
      auto x = random_values(m * k, 1), other = random_values(m * k, 2);
      offsets = {0, 0, (m + 1) / 2, m};
      std::vector<std::vector<float>> y(weights.size()), expected(weights.size());
      std::vector<LinearCall> calls;
      for (size_t i = 0; i < weights.size(); ++i) {
        const Tensor& w = weights[i];
        const int64_t n = w.shape[w.rank - 2];
        y[i].resize(static_cast<size_t>(m * n));
        expected[i].resize(y[i].size());
        const Tensor from = view(i % 5 == 4 ? other : x, m, k), at = make_tensor(offsets.data(), DType::i32, {experts + 1});
        calls.push_back({from, w, view(y[i], m, n), w.rank == 3 ? at : Tensor{}});
        if (w.rank == 3) grouped_linear(from, at, w, view(expected[i], m, n));
        else linear(from, w, view(expected[i], m, n));
      }
      linear_all(calls);
      for (size_t i = 0; i < weights.size(); ++i) EXPECT_TRUE(same_bits(y[i], expected[i])) << i << " of " << m << " rows, " << count << " threads";
    }
  }
  set_threads(0);
}

TEST(Linear, NoInputsGiveZeros) {
  std::vector<float> y(6, 5.0f);
  const Tensor x = make_tensor(y.data(), DType::f32, {2, 0}), w = make_tensor(y.data(), DType::f32, {3, 0});
  linear(x, w, view(y, 2, 3), true);
  EXPECT_EQ(y, std::vector<float>(6, 5.0f));
  linear(x, w, view(y, 2, 3));
  EXPECT_EQ(y, std::vector<float>(6, 0.0f));
}

TEST(Linear, ShapesThatDoNotFitAreErrors) {
  std::vector<float> memory(4096);
  std::vector<int32_t> offsets = {0, 2, 4};
  const auto f32 = [&](int64_t rows_of, int64_t cols) { return make_tensor(memory.data(), DType::f32, {rows_of, cols}); };
  const Tensor w3 = make_tensor(memory.data(), DType::f32, {2, 8, 16});
  const auto at = [&](int64_t count) { return make_tensor(offsets.data(), DType::i32, {count}); };
  EXPECT_THROW(linear(f32(4, 16), f32(8, 15), f32(4, 8)), Error);
  EXPECT_THROW(linear(f32(4, 16), f32(8, 16), f32(4, 9)), Error);
  EXPECT_THROW(linear(f32(4, 16), f32(8, 16), f32(5, 8)), Error);
  EXPECT_THROW(linear(f32(4, 16), w3, f32(4, 8)), Error);
  EXPECT_THROW(linear_all(std::vector<LinearCall>{{f32(4, 16), f32(8, 16), f32(4, 8), {}}, {f32(4, 16), w3, f32(4, 8), {}}}), Error);
  EXPECT_THROW(linear(f32(4, 16), make_tensor(memory.data(), DType::i32, {8, 16}), f32(4, 8)), Error);
  EXPECT_THROW(linear(f32(4, 16), make_tensor(memory.data(), DType::q4, {8, 16}), f32(4, 8)), Error);
  EXPECT_THROW(linear_backward_input(f32(4, 8), make_tensor(memory.data(), DType::i32, {8, 16}), f32(4, 16)), Error);
  EXPECT_THROW(linear_backward_weight(f32(4, 8), f32(5, 16), f32(8, 16)), Error);
  EXPECT_THROW(linear_backward_weight(f32(4, 8), f32(4, 16), f32(16, 8)), Error);
  EXPECT_NO_THROW(grouped_linear(f32(4, 16), at(3), w3, f32(4, 8)));
  EXPECT_THROW(grouped_linear(f32(4, 16), at(2), w3, f32(4, 8)), Error);
  EXPECT_THROW(grouped_linear(f32(5, 16), at(3), w3, f32(5, 8)), Error);
  offsets = {0, 5, 4};
  EXPECT_THROW(grouped_linear(f32(4, 16), at(3), w3, f32(4, 8)), Error);
  offsets = {-1, 2, 4};
  EXPECT_THROW(grouped_linear(f32(4, 16), at(3), w3, f32(4, 8)), Error);
}

}  // namespace
}  // namespace ds
