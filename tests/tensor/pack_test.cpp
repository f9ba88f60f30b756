// The layouts of packed weights are what cpu/gemm.h says.
#include <cstring>

#include <gtest/gtest.h>

#include "tensor/gemm_data.h"

namespace ds {
namespace {

TEST(Pack, PanelsHoldSixteenRowsSideBySide) {
  Arena arena;
  const int64_t experts = 3, n = 21, k = 70;
  const Tensor w = random_weight(arena, DType::f32, Layout::rows, experts, n, k, 1);
  const Tensor panels = pack(w, arena);
  EXPECT_EQ(panels.layout, Layout::panels);
  EXPECT_EQ(panels.shape, w.shape);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(panels.data) % 64, 0u);
  for (int64_t e = 0; e < experts; ++e) {
    const Tensor one = item(panels, e);
    EXPECT_EQ(one.f32(), panels.f32() + e * 32 * k);
    for (int64_t row = 0; row < 32; ++row)
      for (int64_t i = 0; i < k; ++i)
        EXPECT_EQ(one.f32()[(row / 16 * k + i) * 16 + row % 16], row < n ? w.f32()[(e * n + row) * k + i] : 0.0f);
  }
}

TEST(Pack, EveryFormatKeepsItsValues) {
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16}) {
    Arena arena;
    const int64_t experts = 2, n = 35, k = 95;
    const Tensor w = random_weight(arena, dtype, Layout::rows, experts, n, k, 3), panels = pack(w, arena);
    std::vector<float> a(k), b(k);
    for (int64_t e = 0; e < experts; ++e) {
      for (int64_t i = 0; i < n; ++i) {
        cpu::dequantize_row(item(w, e), i, a.data());
        cpu::dequantize_row(item(panels, e), i, b.data());
        EXPECT_EQ(a, b) << dtype_name(dtype);
      }
    }
  }
}

TEST(Pack, RowsMayLieApart) {
  Arena arena;
  const Tensor wide = random_weight(arena, DType::f32, Layout::rows, 0, 18, 50, 1);
  const Tensor panels = pack(columns(wide, 5, 33), arena);
  std::vector<float> row(33);
  for (int64_t i = 0; i < 18; ++i) {
    cpu::dequantize_row(panels, i, row.data());
    for (int64_t j = 0; j < 33; ++j) EXPECT_EQ(row[j], wide.f32()[i * 50 + 5 + j]);
  }
}

// A file's rows need not be aligned; experts are filled one by one.
TEST(Pack, FromUnalignedRows) {
  Arena arena;
  for (const DType type : {DType::f32, DType::bf16}) {
    const Tensor experts = random_weight(arena, type, Layout::rows, 3, 21, 37, 9), want = pack(experts, arena);
    const Tensor got = make_panels(arena, type, 3, 21, 37);
    const size_t bytes = static_cast<size_t>(21 * 37 * dtype_bits(type) / 8);
    for (int64_t e = 0; e < 3; ++e) {
      std::vector<char> file(bytes + 1);
      std::memcpy(file.data() + 1, item(experts, e).data, bytes);
      set_panels(item(got, e), file.data() + 1);
    }
    EXPECT_EQ(std::memcmp(got.data, want.data, static_cast<size_t>(3 * 32 * 37 * dtype_bits(type) / 8)), 0);
  }
  EXPECT_THROW(set_panels(random_weight(arena, DType::f32, Layout::rows, 0, 16, 4, 1), nullptr), Error);
  EXPECT_THROW(make_panels(arena, DType::i32, 0, 4, 4), Error);
}

TEST(Pack, RefusesWhatIsNoWeight) {
  Arena arena;
  const Tensor w = random_weight(arena, DType::f32, Layout::rows, 0, 18, 50, 1), panels = pack(w, arena);
  EXPECT_THROW(pack(panels, arena), Error);
  EXPECT_THROW(pack(arena.make(DType::q4, {4, 4}), arena), Error);
  EXPECT_THROW(pack(arena.make(DType::i32, {4, 4}), arena), Error);
  EXPECT_THROW(pack(arena.make(DType::f32, {4}), arena), Error);
  EXPECT_THROW(rows(panels, 0, 2), Error);
  EXPECT_THROW(item(panels, 0), Error);
}

}  // namespace
}  // namespace ds
