#include "tensor/check.h"

namespace ds {

TEST(Rope, rotates_the_pairs_of_both_layouts_and_back) {
  Arena arena;
  const int64_t t = 5, heads = 3;
  for (const int pairs : {16, 20, 3})
    for (const bool interleaved : {false, true}) {
      const int head_dim = 2 * pairs + 7, offset = 4;
      const Tensor angles = random_tensor(arena, {11, pairs}, 1, 2);
      const Tensor c = arena.make(DType::f32, {11, pairs}), s = arena.make(DType::f32, {11, pairs});
      for (int64_t i = 0; i < 11 * pairs; ++i) c.f32()[i] = std::cos(angles.f32()[i]), s.f32()[i] = std::sin(angles.f32()[i]);
      const Tensor positions = int_tensor(arena, {0, 10, 3, 3, 7});
      const Tensor plain = random_tensor(arena, {t, heads * head_dim}, 2), x = strided(arena, plain);
      std::vector<double> want = doubles(plain);
      for (int64_t r = 0; r < t; ++r)
        for (int64_t h = 0; h < heads; ++h)
          for (int p = 0; p < pairs; ++p) {
            const int64_t head = r * heads * head_dim + h * head_dim + offset;
            const int64_t a = head + (interleaved ? 2 * p : p), b = head + (interleaved ? 2 * p + 1 : p + pairs);
            const double angle = angles.f32()[positions.i32()[r] * pairs + p], x0 = want[a], x1 = want[b];
            want[a] = x0 * std::cos(angle) - x1 * std::sin(angle);
            want[b] = x0 * std::sin(angle) + x1 * std::cos(angle);
          }
      RopeSpec spec{.head_dim = head_dim, .offset = offset, .interleaved = interleaved, .inverse = false};
      rope(x, positions, c, s, spec);
      expect_close(x, want, 1e-6);
      spec.inverse = true;
      rope(x, positions, c, s, spec);
      expect_close(x, doubles(plain), 1e-6);
    }
}

TEST(Rope, refuses_a_position_past_the_table_and_heads_that_do_not_fit) {
  Arena arena;
  const Tensor x = random_tensor(arena, {1, 8}, 1), c = random_tensor(arena, {4, 2}, 1);
  EXPECT_THROW(rope(x, int_tensor(arena, {4}), c, c, {.head_dim = 8}), Error);
  EXPECT_THROW(rope(x, int_tensor(arena, {-1}), c, c, {.head_dim = 8}), Error);
  EXPECT_THROW(rope(x, int_tensor(arena, {0}), c, c, {.head_dim = 8, .offset = 5}), Error);
  EXPECT_THROW(rope(x, int_tensor(arena, {0}), c, c, {.head_dim = 3}), Error);
}

TEST(Rope, same_bytes) {
  expect_same_bytes([](Arena& arena) {
    const Tensor x = random_tensor(arena, {300, 4 * 44}, 1), c = random_tensor(arena, {9, 20}, 2), s = random_tensor(arena, {9, 20}, 3);
    std::vector<int32_t> positions(300);
    for (int i = 0; i < 300; ++i) positions[i] = i % 9;
    const Tensor at = int_tensor(arena, positions);
    rope(x, at, c, s, {.head_dim = 44, .offset = 4, .interleaved = true});
    rope(x, at, c, s, {.head_dim = 44, .offset = 1, .interleaved = false});
    return std::vector<Tensor>{x};
  });
}

}  // namespace ds
