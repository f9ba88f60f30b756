// What the tests of kernels share: random tensors, comparison with references in double, gradients by finite
// differences, and equal bytes for every vector width and thread count.
#pragma once
#include <gtest/gtest.h>
#include <hwy/highway.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "base/parallel.h"
#include "base/rng.h"
#include "tensor/cpu/dispatch.h"
#include "tensor/ops.h"

namespace ds {

// Runs body on every vector width that this processor and this build have.
template <class Body>
void on_each_target(const Body& body) {
  cpu::apply_simd_environment();  // before the targets are mocked: it resets them
  const uint32_t all = hwy::SupportedTargets() & HWY_TARGETS;
  for (uint32_t left = all; left != 0; left &= left - 1) {
    hwy::SetSupportedTargetsForTest(left & -left);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    SCOPED_TRACE(hwy::TargetName(left & -left));
    body();
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

// An f32 tensor of normal numbers.
inline Tensor random_tensor(Arena& arena, std::initializer_list<int64_t> shape, uint64_t stream, double scale = 1) {
  const Tensor t = arena.make(DType::f32, shape);
  const Rng rng{5, stream};
  for (int64_t i = 0; i < t.elements(); ++i) t.f32()[i] = static_cast<float>(rng.normal(static_cast<uint64_t>(i)) * scale);
  return t;
}

inline Tensor int_tensor(Arena& arena, const std::vector<int32_t>& values) {
  const Tensor t = arena.make(DType::i32, {static_cast<int64_t>(values.size())});
  if (!values.empty()) std::memcpy(t.data, values.data(), values.size() * sizeof(int32_t));
  return t;
}

// The numbers of an f32 tensor in row-major order.
inline std::vector<double> doubles(const Tensor& t) {
  if (t.contiguous()) return {t.f32(), t.f32() + t.elements()};
  std::vector<double> values;
  for (int64_t r = 0; r < t.shape[0]; ++r)
    for (int64_t c = 0; c < t.shape[1]; ++c) values.push_back(t.f32()[r * t.row_stride + c]);
  return values;
}

// Each number within tolerance * (its size + the mean size).
inline void expect_close(const Tensor& got, const std::vector<double>& want, double tolerance, const std::string& what = "") {
  const std::vector<double> values = doubles(got);
  ASSERT_EQ(values.size(), want.size()) << what;
  double mean = 0;
  for (const double w : want) mean += std::fabs(w) / static_cast<double>(want.size());
  for (size_t i = 0; i < want.size(); ++i)
    ASSERT_LE(std::fabs(values[i] - want[i]), tolerance * (mean + std::fabs(want[i]))) << what << " [" << i << "]: " << values[i]
                                                                                       << ", not " << want[i];
}

// d f / d x by central differences of a function in double; exact to about 1e-9 of f's scale.
inline std::vector<double> numeric_gradient(const std::function<double(const std::vector<double>&)>& f, std::vector<double> x) {
  std::vector<double> gradient(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    const double at = x[i], h = 1e-5;
    x[i] = at + h;
    const double above = f(x);
    x[i] = at - h;
    gradient[i] = (above - f(x)) / (2 * h);
    x[i] = at;
  }
  return gradient;
}

inline double dot(const std::vector<double>& a, const std::vector<double>& b) {
  EXPECT_EQ(a.size(), b.size());
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

inline std::string bytes(const Tensor& t) {
  EXPECT_TRUE(t.contiguous());
  return {t.as<char>(), static_cast<size_t>(t.elements() * dtype_bits(t.dtype) / 8)};
}

// run(arena) computes from scratch and returns its outputs: equal bytes for 1 and 2 threads and for each vector width.
inline void expect_same_bytes(const std::function<std::vector<Tensor>(Arena&)>& run) {
  std::vector<std::string> first;
  for (const size_t count : {1, 2, 3}) {
    set_threads(count);
    on_each_target([&] {
      Arena arena;
      std::vector<std::string> outputs;
      for (const Tensor& t : run(arena)) outputs.push_back(bytes(t));
      if (first.empty()) first = outputs;
      ASSERT_EQ(outputs.size(), first.size());
      for (size_t i = 0; i < first.size(); ++i) EXPECT_TRUE(outputs[i] == first[i]) << "output " << i << ", " << count << " threads";
    });
  }
  set_threads(0);
}

// A tensor's view whose rows lie further apart than they are long, with the same numbers.
inline Tensor strided(Arena& arena, const Tensor& t) {
  const Tensor wide = columns(arena.make(DType::f32, {t.shape[0], t.shape[1] + 5}), 3, t.shape[1]);
  for (int64_t r = 0; r < t.shape[0]; ++r)
    std::memcpy(wide.f32() + r * wide.row_stride, t.f32() + r * t.row_stride, static_cast<size_t>(t.shape[1]) * sizeof(float));
  return wide;
}

}  // namespace ds
