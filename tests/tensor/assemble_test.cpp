// Latent attention's keys and values, against the definition element by element.
#include <gtest/gtest.h>

#include "tensor/gemm_data.h"

namespace ds {
namespace {

constexpr int kHeads = 3;
constexpr int64_t kRows = 11, kNope = 5, kRope = 4, kV = 6, kLora = 7;

TEST(AssembleKv, TakesEachColumnFromItsPlace) {
  auto kv_b_values = random_values(kRows * kHeads * (kNope + kV), 1), kv_a_values = random_values(kRows * (kLora + kRope), 2);
  std::vector<float> k_values(kRows * kHeads * (kNope + kRope)), v_values(kRows * kHeads * kV);
  const Tensor kv_b = view(kv_b_values, kRows, kHeads * (kNope + kV)), kv_a = view(kv_a_values, kRows, kLora + kRope);
  const Tensor k = view(k_values, kRows, kHeads * (kNope + kRope)), v = view(v_values, kRows, kHeads * kV);
  assemble_kv(kv_b, columns(kv_a, kLora, kRope), kHeads, k, v);
  for (int64_t t = 0; t < kRows; ++t)
    for (int64_t h = 0; h < kHeads; ++h) {
      for (int64_t i = 0; i < kNope + kRope; ++i) {
        const float want = i < kNope ? kv_b_values[(t * kHeads + h) * (kNope + kV) + i] : kv_a_values[t * (kLora + kRope) + kLora + i - kNope];
        EXPECT_EQ(k_values[(t * kHeads + h) * (kNope + kRope) + i], want);
      }
      for (int64_t i = 0; i < kV; ++i)
        EXPECT_EQ(v_values[(t * kHeads + h) * kV + i], kv_b_values[(t * kHeads + h) * (kNope + kV) + kNope + i]);
    }
}

// The operation is linear, so backward is its transpose: <dk, k> + <dv, v> = <dkv_b, kv_b> + <dk_rope, k_rope>.
TEST(AssembleKv, BackwardIsTheTranspose) {
  auto kv_b_values = random_values(kRows * kHeads * (kNope + kV), 3), rope_values = random_values(kRows * kRope, 4);
  auto dk_values = random_values(kRows * kHeads * (kNope + kRope), 5), dv_values = random_values(kRows * kHeads * kV, 6);
  std::vector<float> k_values(dk_values.size()), v_values(dv_values.size()), dkv_b_values(kv_b_values.size());
  std::vector<float> dkv_a_values(kRows * (kLora + kRope), 8.0f);
  const Tensor dkv_a = view(dkv_a_values, kRows, kLora + kRope);
  assemble_kv(view(kv_b_values, kRows, kHeads * (kNope + kV)), view(rope_values, kRows, kRope), kHeads,
              view(k_values, kRows, kHeads * (kNope + kRope)), view(v_values, kRows, kHeads * kV));
  assemble_kv_backward(view(dk_values, kRows, kHeads * (kNope + kRope)), view(dv_values, kRows, kHeads * kV), kHeads,
                       view(dkv_b_values, kRows, kHeads * (kNope + kV)), columns(dkv_a, kLora, kRope));
  double forward = 0, backward = 0;
  for (size_t i = 0; i < k_values.size(); ++i) forward += static_cast<double>(k_values[i]) * dk_values[i];
  for (size_t i = 0; i < v_values.size(); ++i) forward += static_cast<double>(v_values[i]) * dv_values[i];
  for (size_t i = 0; i < kv_b_values.size(); ++i) backward += static_cast<double>(kv_b_values[i]) * dkv_b_values[i];
  for (int64_t t = 0; t < kRows; ++t) {
    for (int64_t i = 0; i < kRope; ++i)
      backward += static_cast<double>(rope_values[t * kRope + i]) * dkv_a_values[t * (kLora + kRope) + kLora + i];
    for (int64_t i = 0; i < kLora; ++i) EXPECT_EQ(dkv_a_values[t * (kLora + kRope) + i], 8.0f) << "a column of another's";
  }
  EXPECT_NEAR(forward, backward, 1e-5);  // sums of 3 heads in f32
}

TEST(AssembleKv, RefusesShapesThatDoNotFit) {
  std::vector<float> values(1000);
  const Tensor k = view(values, 2, 3 * 9), v = view(values, 2, 3 * 6), rope = view(values, 2, 4);
  EXPECT_THROW(assemble_kv(view(values, 2, 3 * 12), rope, 3, k, v), Error);
  EXPECT_THROW(assemble_kv(view(values, 3, 3 * 11), rope, 3, k, v), Error);
  EXPECT_NO_THROW(assemble_kv(view(values, 2, 3 * 11), rope, 3, k, v));
}

}  // namespace
}  // namespace ds
