#include "tensor/check.h"
#include "tensor/gemm_data.h"

namespace ds {

TEST(Embedding, reads_the_rows_of_every_format) {
  Arena arena;
  const Tensor w = random_tensor(arena, {10, 37}, 1), y = strided(arena, random_tensor(arena, {4, 37}, 2));
  const Tensor tokens = int_tensor(arena, {3, 0, 9, 3});
  for (const DType type : {DType::f32, DType::f16, DType::bf16}) {
    const Tensor stored = arena.make(type, {10, 37}), exact = arena.make(DType::f32, {10, 37});
    convert(w, stored);
    convert(stored, exact);
    embedding(stored, tokens, y);
    std::vector<double> want;
    for (const int token : {3, 0, 9, 3})
      for (int i = 0; i < 37; ++i) want.push_back(exact.f32()[token * 37 + i]);
    EXPECT_EQ(doubles(y), want);
  }
  EXPECT_THROW(embedding(w, int_tensor(arena, {0, 0, 0, 10}), y), Error);
  EXPECT_THROW(embedding(w, int_tensor(arena, {0, 0, 0, -1}), y), Error);
  EXPECT_THROW(embedding(w, int_tensor(arena, {0, 0}), y), Error);
}

// A tied head's panels serve the lookup too.
TEST(Embedding, reads_panels_of_every_format) {
  Arena arena;
  const Tensor y = arena.make(DType::f32, {3, 40}), want = arena.make(DType::f32, {3, 40}), tokens = int_tensor(arena, {20, 3, 16});
  for (const DType type : {DType::f32, DType::f16, DType::bf16}) {
    embedding(random_weight(arena, type, Layout::rows, 0, 21, 40, 5), tokens, want);
    embedding(random_weight(arena, type, Layout::panels, 0, 21, 40, 5), tokens, y);
    EXPECT_EQ(doubles(y), doubles(want));
  }
  const QuantizedFormat q8{DType::q8, 8, DType::f32, false, false};
  const QuantizedArrays arrays = random_quantized(21, 40, q8, 6);
  embedding(random_weight(arena, q8, 0, 21, 40, 6), tokens, y);
  for (int t = 0; t < 3; ++t)
    for (int i = 0; i < 40; ++i) {
      const int at = tokens.i32()[t] * 40 + i;
      EXPECT_EQ(y.f32()[t * 40 + i], static_cast<float>(static_cast<int8_t>(arrays.values[at])) * arrays.scales[at / 8]);
    }
}

TEST(Embedding, backward_adds_each_row_to_that_of_its_token) {
  Arena arena;
  const Tensor dy = random_tensor(arena, {50, 70}, 1), dw = random_tensor(arena, {6, 70}, 2);
  std::vector<double> want = doubles(dw);
  std::vector<int32_t> tokens;
  for (int t = 0; t < 50; ++t) {
    tokens.push_back(t * 7 % 5);
    for (int i = 0; i < 70; ++i) want[tokens.back() * 70 + i] += dy.f32()[t * 70 + i];
  }
  embedding_backward(dy, int_tensor(arena, tokens), dw);
  expect_close(dw, want, 1e-6);
  tokens[7] = 6;
  EXPECT_THROW(embedding_backward(dy, int_tensor(arena, tokens), dw), Error);
}

TEST(Embedding, same_bytes) {
  expect_same_bytes([](Arena& arena) {
    const Tensor w = random_tensor(arena, {20, 300}, 1), y = arena.make(DType::f32, {200, 300}), dw = arena.make(DType::f32, {20, 300});
    std::vector<int32_t> tokens;
    for (int t = 0; t < 200; ++t) tokens.push_back(t * t % 20);
    embedding(w, int_tensor(arena, tokens), y);
    embedding_backward(y, int_tensor(arena, tokens), dw);
    return std::vector<Tensor>{y, dw};
  });
}

}  // namespace ds
