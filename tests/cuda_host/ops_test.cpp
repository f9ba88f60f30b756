// Every operation that both backends have: CUDA against CPU, on the same numbers. Compiled twice: against cuda_host.h
// (no device needed), where each case also runs with the threads in other orders and must give the same bits; and by
// nvcc's toolkit for a real device (ctest -L gpu).
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <vector>

#include "base/rng.h"
#include "tensor/cuda/memory.h"
#include "tensor/device.h"
#include "tensor/ops.h"
#ifdef DS_CUDA_HOST
#include "cuda_host.h"
#endif

namespace ds {
namespace {

// Numbers on the CPU, and the same on the device.
struct Pair {
  std::vector<unsigned char> bytes;
  Tensor cpu, cuda;
};

class CudaOps : public testing::Test {
 protected:
  void SetUp() override {
    if (!cuda::available()) GTEST_SKIP() << "no CUDA device";
  }

  Pair make(DType dtype, std::initializer_list<int64_t> shape) {
    Pair p;
    p.cpu = make_tensor(nullptr, dtype, shape);
    p.bytes.resize(static_cast<size_t>(p.cpu.elements()) * dtype_bits(dtype) / 8);
    p.cpu.data = p.bytes.data();
    p.cuda = arena_.make(dtype, shape);
    return p;
  }
  Pair random(std::initializer_list<int64_t> shape, double scale = 1) {
    Pair p = make(DType::f32, shape);
    for (int64_t i = 0; i < p.cpu.elements(); ++i) p.cpu.f32()[i] = static_cast<float>(Rng{5, stream_}.normal(static_cast<uint64_t>(i)) * scale);
    ++stream_;
    copy(p.cpu, p.cuda);
    return p;
  }
  Pair indices(std::initializer_list<int64_t> shape, uint64_t bound, bool with_none = false) {
    Pair p = make(DType::i32, shape);
    for (int64_t i = 0; i < p.cpu.elements(); ++i)
      p.cpu.i32()[i] = with_none && i % 5 == 3 ? -1 : static_cast<int32_t>(Rng{6, stream_}.below(static_cast<uint64_t>(i), bound));
    ++stream_;
    copy(p.cpu, p.cuda);
    return p;
  }
  static std::vector<unsigned char> fetch(const Tensor& t) {
    std::vector<unsigned char> out(static_cast<size_t>(t.elements()) * dtype_bits(t.dtype) / 8);
    Tensor host = t;
    host.device = Device::cpu;
    host.data = out.data();
    copy(t, host);
    return out;
  }

  // Runs `op` on the CPU's side of the pairs and, in several thread orders, on the device's; compares `outputs`.
  void compare(const std::function<void(bool)>& op, std::vector<Pair*> outputs, float tolerance) {
    std::vector<std::vector<unsigned char>> before, first;
    for (const Pair* const p : outputs) before.push_back(fetch(p->cuda));
    op(false);
    for (const unsigned order : {0u, 1u, 12345u}) {
#ifdef DS_CUDA_HOST
      cuda_host::set_order(order);
#endif
      for (size_t i = 0; i < outputs.size(); ++i) {
        Tensor host = outputs[i]->cuda;
        host.device = Device::cpu;
        host.data = before[i].data();
        copy(host, outputs[i]->cuda);
      }
      op(true);
      cuda::synchronize();
      for (size_t i = 0; i < outputs.size(); ++i) {
        const auto got = fetch(outputs[i]->cuda);
        if (order == 0)
          first.push_back(got);
        else
          EXPECT_EQ(got, first[i]) << "output " << i << " depends on the order of threads " << order;
      }
    }
#ifdef DS_CUDA_HOST
    cuda_host::set_order(0);
#endif
    for (size_t i = 0; i < outputs.size(); ++i) {
      const Pair& p = *outputs[i];
      if (p.cpu.dtype != DType::f32) {
        EXPECT_EQ(first[i], p.bytes) << "output " << i;
        continue;
      }
      const auto* const got = reinterpret_cast<const float*>(first[i].data());
      for (int64_t j = 0; j < p.cpu.elements(); ++j)
        ASSERT_NEAR(got[j], p.cpu.f32()[j], tolerance * (1 + std::fabs(p.cpu.f32()[j]))) << "output " << i << " element " << j;
    }
  }

  Arena arena_{Device::cuda};
  uint64_t stream_ = 1;
};

const Tensor& on(const Pair& p, bool cuda) { return cuda ? p.cuda : p.cpu; }

TEST_F(CudaOps, FillAddScale) {
  Pair x = random({7, 33}), y = random({7, 33});
  compare([&](bool c) { add(on(x, c), on(y, c)); }, {&y}, 0);
  compare([&](bool c) { scale(on(y, c), 0.37f); }, {&y}, 0);
  compare([&](bool c) { fill(columns(on(y, c), 3, 9), 2.5f); }, {&y}, 0);
}

TEST_F(CudaOps, ConvertIsBitExact) {
  Pair x = random({5, 130}, 100);
  for (const DType dtype : {DType::f16, DType::bf16}) {
    x.cpu.f32()[0] = INFINITY, x.cpu.f32()[1] = 1e-7f, x.cpu.f32()[2] = 65519.9f, x.cpu.f32()[3] = -0.0f, x.cpu.f32()[4] = 70000.0f;
    copy(x.cpu, x.cuda);
    Pair y = make(dtype, {5, 130}), back = make(DType::f32, {5, 130});
    compare([&](bool c) { convert(on(x, c), on(y, c)); }, {&y}, 0);
    copy(y.cpu, y.cuda);
    compare([&](bool c) { convert(on(y, c), on(back, c)); }, {}, 0);
    EXPECT_EQ(fetch(back.cuda), back.bytes);
  }
}

TEST_F(CudaOps, Linear) {
  Pair x = random({19, 70}), w = random({45, 70}), y = random({19, 45}), dy = random({19, 45}), dx = random({19, 70}), dw = random({45, 70});
  for (const bool accumulate : {false, true}) {
    compare([&](bool c) { linear(on(x, c), on(w, c), on(y, c), accumulate); }, {&y}, 1e-5f);
    compare([&](bool c) { linear_backward_input(on(dy, c), on(w, c), on(dx, c), accumulate); }, {&dx}, 1e-5f);
  }
  compare([&](bool c) { linear_backward_weight(on(dy, c), on(x, c), on(dw, c)); }, {&dw}, 1e-5f);
}

TEST_F(CudaOps, LinearOfColumnsAndBf16Weights) {
  Pair wide = random({11, 96}), w = random({24, 32}), y = random({11, 60}), w16 = make(DType::bf16, {24, 32});
  convert(w.cpu, w16.cpu);
  copy(w16.cpu, w16.cuda);
  compare([&](bool c) { linear(columns(on(wide, c), 40, 32), on(w16, c), columns(on(y, c), 5, 24), false); }, {&y}, 1e-5f);
}

TEST_F(CudaOps, RmsNorm) {
  for (const bool plus_one : {false, true}) {
    Pair x = random({9, 3 * 40}), w = random({40}), y = random({9, 3 * 40});
    compare([&](bool c) { rms_norm(on(x, c), on(w, c), 1e-6f, plus_one, on(y, c)); }, {&y}, 1e-5f);
    Pair dy = random({9, 3 * 40}), dx = random({9, 3 * 40}), dw = random({40});
    for (const bool accumulate : {false, true})
      compare([&](bool c) { rms_norm_backward(on(dy, c), on(x, c), on(w, c), 1e-6f, plus_one, on(dx, c), on(dw, c), accumulate); }, {&dx, &dw}, 2e-5f);
  }
}

TEST_F(CudaOps, RmsNormOfWideRows) {
  Pair x = random({3, 1000}), w = random({1000}), y = random({3, 1000});
  compare([&](bool c) { rms_norm(on(x, c), on(w, c), 1e-6f, false, on(y, c)); }, {&y}, 1e-5f);
}

TEST_F(CudaOps, Rope) {
  Pair cos = random({50, 8}), sin = random({50, 8}), positions = indices({13}, 50);
  for (const bool interleaved : {false, true})
    for (const bool inverse : {false, true}) {
      Pair x = random({13, 4 * 24});
      const RopeSpec spec{.head_dim = 24, .offset = 6, .interleaved = interleaved, .inverse = inverse};
      compare([&](bool c) { rope(on(x, c), on(positions, c), on(cos, c), on(sin, c), spec); }, {&x}, 1e-6f);
    }
}

TEST_F(CudaOps, CrossEntropy) {
  Pair logits = random({12, 700}, 4), targets = indices({12}, 700, true), loss = random({12}), weights = random({12}), d = random({12, 700});
  compare([&](bool c) { cross_entropy(on(logits, c), on(targets, c), on(loss, c)); }, {&loss}, 1e-5f);
  compare([&](bool c) { cross_entropy_backward(on(logits, c), on(targets, c), on(weights, c), on(d, c)); }, {&d}, 1e-5f);
  compare([&](bool c) { cross_entropy_backward(on(logits, c), on(targets, c), on(weights, c), on(logits, c)); }, {&logits}, 1e-5f);
}

TEST_F(CudaOps, AdamW) {
  Pair p = random({1003}), g = random({1003}), m = random({1003}, 0.1), v = random({1003}, 0.1);
  for (int64_t i = 0; i < 1003; ++i) v.cpu.f32()[i] = std::fabs(v.cpu.f32()[i]);
  copy(v.cpu, v.cuda);
  const AdamWSpec spec{.learning_rate = 3e-3f, .step = 7, .grad_scale = 0.5f};
  compare([&](bool c) { adamw(on(p, c), on(g, c), on(m, c), on(v, c), spec); }, {&p, &m, &v}, 1e-5f);
}

TEST_F(CudaOps, SumOfSquares) {
  Pair x = random({40000});
  double cpu = 1, cuda = 1;
  sum_of_squares(x.cpu, &cpu);
  sum_of_squares(x.cuda, &cuda);
  EXPECT_NEAR(cuda / cpu, 1, 1e-6);
}

TEST_F(CudaOps, ShapesThatDoNotFitAreErrors) {
  Pair x = random({4, 8}), w = random({5, 9}), y = random({4, 5});
  EXPECT_THROW(linear(x.cuda, w.cuda, y.cuda), Error);
  EXPECT_THROW(rms_norm(x.cuda, w.cuda, 1e-6f, false, x.cuda), Error);
}

TEST_F(CudaOps, WhatCudaLacksIsAClearError) {
  Pair logits = random({2, 8}), best = indices({2}, 8);
  try {
    argmax(logits.cuda, best.cuda);
    FAIL() << "argmax on CUDA tensors should have failed";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("argmax"), std::string::npos);
  }
}

}  // namespace
}  // namespace ds
