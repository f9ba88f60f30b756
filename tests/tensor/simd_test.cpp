#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/simd_test.cpp"
#include <hwy/foreach_target.h>
#include "tensor/cpu/simd.h"

HWY_BEFORE_NAMESPACE();
namespace ds::cpu::HWY_NAMESPACE {

// y[function] = function(x), 16 lanes at a time; count is a multiple of 16.
void functions(const float* x, size_t count, float* const* y) {
  for (size_t i = 0; i < count; i += kLanes) {
    const F32x16 v = load(x + i);
    store(exp(v), y[0] + i);
    store(log(v), y[1] + i);
    store(tanh(v), y[2] + i);
    store(sigmoid(v), y[3] + i);
  }
}

void partial(const float* from, float* to, size_t n) { store_partial(load_partial(from, n) + 1.0f, to, n); }

float sum(const float* x) { return reduce_add(load(x)); }
float greatest(const float* x) { return reduce_max(load(x)); }
size_t first_equal(const float* x, float value) { return find_first(load(x) == F32x16(value)); }
void widen(const uint16_t* h, float* f16, float* bf16) {
  store(load_f16(h), f16);
  store(load_bf16(h), bf16);
}
void narrow(const float* x, uint16_t* bf16) { store_bf16(load(x), bf16); }
size_t width() { return kWidth; }

}  // namespace ds::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmath>
#include <set>
#include <vector>

#include "base/dtype.h"
#include "base/error.h"
#include "base/rng.h"
#include "tensor/check.h"

namespace ds::cpu {
HWY_EXPORT(functions);
HWY_EXPORT(partial);
HWY_EXPORT(sum);
HWY_EXPORT(greatest);
HWY_EXPORT(first_equal);
HWY_EXPORT(widen);
HWY_EXPORT(narrow);
HWY_EXPORT(width);

TEST(Simd, widths_are_what_they_say) {
  std::set<size_t> widths;
  on_each_target([&] { widths.insert(HWY_DYNAMIC_DISPATCH(width)()); });
  EXPECT_TRUE(widths.count(8) || widths.count(4));
  for (const size_t width : widths) EXPECT_EQ(16 % width, 0u);
}

struct Function {
  const char* name;
  float (*scalar)(float);
  double (*reference)(double);
  double relative, absolute;
};
const Function kFunctions[] = {
    {"exp", math::exp, [](double x) { return std::exp(x); }, 2e-7, 1.2e-38},
    {"log", math::log, [](double x) { return std::log(x); }, 2e-7, 2e-8},
    {"tanh", math::tanh, [](double x) { return std::tanh(x); }, 3e-7, 1e-38},
    {"sigmoid", math::sigmoid, [](double x) { return 1 / (1 + std::exp(-x)); }, 4e-7, 1.2e-38},
};

std::vector<float> sweep() {
  std::vector<float> x = {0.f, -0.f, 1.f, -1.f, INFINITY, -INFINITY, 1e-40f, -1e-40f, 88.7f, 88.8f, -87.3f, -87.4f, 104.f,
                          -1e30f, 1e30f, 3e38f, 1.17549435e-38f, 0.625f, 0.6249999f, 0.70710678f, 1.41421356f, 0.99999994f};
  const Rng rng{1, 2};
  for (uint64_t i = 0; x.size() < 400000; ++i) {
    const double u = rng.uniform(2 * i) * 2 - 1;
    x.push_back(static_cast<float>(i % 3 == 0 ? u * 90 : i % 3 == 1 ? u * 4 : std::ldexp(u, int(rng.below(2 * i + 1, 250)) - 125)));
  }
  while (x.size() % 16 != 0) x.push_back(1);
  return x;
}

TEST(Simd, functions_are_accurate_and_their_lanes_are_the_scalars_bits) {
  const auto x = sweep();
  on_each_target([&] {
    std::vector<std::vector<float>> y(4, std::vector<float>(x.size()));
    float* const out[] = {y[0].data(), y[1].data(), y[2].data(), y[3].data()};
    HWY_DYNAMIC_DISPATCH(functions)(x.data(), x.size(), out);
    for (int f = 0; f < 4; ++f) {
      double worst = 0;
      for (size_t i = 0; i < x.size(); ++i) {
        const float scalar = kFunctions[f].scalar(x[i]);
        if (std::isnan(scalar) && std::isnan(y[f][i])) continue;
        ASSERT_EQ(std::bit_cast<uint32_t>(scalar), std::bit_cast<uint32_t>(y[f][i])) << kFunctions[f].name << "(" << x[i] << ")";
        const double want = kFunctions[f].reference(x[i]);
        if (f == 1 && x[i] != 0 && std::fabs(x[i]) < 1.2e-38f) continue;  // subnormals count as 0
        if (std::isinf(want) || want > 3.4028235677973366e38) {
          ASSERT_EQ(scalar, static_cast<float>(want)) << kFunctions[f].name << "(" << x[i] << ")";
          continue;
        }
        const double error = std::fabs(scalar - want);
        if (error > kFunctions[f].absolute) worst = std::max(worst, error / std::fabs(want));
        ASSERT_LE(error, kFunctions[f].absolute + kFunctions[f].relative * std::fabs(want)) << kFunctions[f].name << "(" << x[i] << ")";
      }
      RecordProperty(kFunctions[f].name, cat(worst));
    }
  });
}

TEST(Simd, functions_of_nan_are_nan) {
  std::vector<float> x(16, NAN);
  on_each_target([&] {
    std::vector<std::vector<float>> y(4, std::vector<float>(16));
    float* const out[] = {y[0].data(), y[1].data(), y[2].data(), y[3].data()};
    HWY_DYNAMIC_DISPATCH(functions)(x.data(), 16, out);
    for (int f = 0; f < 4; ++f) {
      EXPECT_TRUE(std::isnan(y[f][5])) << kFunctions[f].name;
      EXPECT_TRUE(std::isnan(kFunctions[f].scalar(NAN))) << kFunctions[f].name;
    }
  });
}

// The numbers lie at the very end of a page that another, unreadable one follows.
TEST(Simd, a_partial_access_touches_nothing_else) {
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  char* const memory = static_cast<char*>(mmap(nullptr, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(memory, MAP_FAILED);
  ASSERT_EQ(mprotect(memory + page, page, PROT_NONE), 0);
  on_each_target([&] {
    for (size_t n = 0; n < 16; ++n) {
      float* const x = reinterpret_cast<float*>(memory + page) - n;
      x[-1] = 77;
      for (size_t i = 0; i < n; ++i) x[i] = static_cast<float>(i);
      HWY_DYNAMIC_DISPATCH(partial)(x, x, n);
      EXPECT_EQ(x[-1], 77);
      for (size_t i = 0; i < n; ++i) EXPECT_EQ(x[i], static_cast<float>(i) + 1);
    }
  });
  munmap(memory, 2 * page);
}

TEST(Simd, lanes_are_summed_by_the_tree_that_the_header_names) {
  float x[16];
  for (int i = 0; i < 16; ++i) x[i] = static_cast<float>(Rng{3, 4}.uniform(i) * std::pow(10.0, i % 5));
  float tree[16];
  std::copy(x, x + 16, tree);
  for (int half = 8; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) tree[i] = tree[i] + tree[i + half];
  on_each_target([&] {
    EXPECT_EQ(HWY_DYNAMIC_DISPATCH(sum)(x), tree[0]);
    EXPECT_EQ(HWY_DYNAMIC_DISPATCH(greatest)(x), *std::max_element(x, x + 16));
    for (size_t i = 0; i < 16; ++i) EXPECT_EQ(HWY_DYNAMIC_DISPATCH(first_equal)(x, x[i]), i);
    EXPECT_EQ(HWY_DYNAMIC_DISPATCH(first_equal)(x, -1), 16u);
  });
}

TEST(Simd, all_65536_halves_widen_and_narrow_as_the_scalar_conversions) {
  on_each_target([&] {
    for (uint32_t h = 0; h < 65536; h += 16) {
      uint16_t in[16], back[16];
      float f16[16], bf16[16];
      for (uint32_t i = 0; i < 16; ++i) in[i] = static_cast<uint16_t>(h + i);
      HWY_DYNAMIC_DISPATCH(widen)(in, f16, bf16);
      HWY_DYNAMIC_DISPATCH(narrow)(bf16, back);
      for (uint32_t i = 0; i < 16; ++i) {
        if (!std::isnan(f16[i])) {
          ASSERT_EQ(std::bit_cast<uint32_t>(f16[i]), std::bit_cast<uint32_t>(f16_to_f32(in[i])));
        }
        ASSERT_EQ(std::bit_cast<uint32_t>(bf16[i]), std::bit_cast<uint32_t>(bf16_to_f32(in[i])));
        ASSERT_EQ(back[i], f32_to_bf16(bf16[i]));
      }
      for (uint32_t i = 0; i < 16; ++i) bf16[i] = std::bit_cast<float>((h + i) * 65521u + 32767u);
      HWY_DYNAMIC_DISPATCH(narrow)(bf16, back);
      for (uint32_t i = 0; i < 16; ++i) ASSERT_EQ(back[i], f32_to_bf16(bf16[i]));
    }
  });
}

}  // namespace ds::cpu
#endif
