// The linear operations of ops.h: their shapes checked, and put as products.
#include <vector>

#include "base/parallel.h"
#include "tensor/cpu/arguments.h"
#include "tensor/cpu/gemm.h"
#include "tensor/cpu/int8_gemm.h"
#include "tensor/ops.h"

namespace ds::cpu {

using Form = Product::Form;

static void check_activation(const char* op, const char* name, const Tensor& t, int64_t rows, int64_t cols) {
  require(t.dtype == DType::f32 && t.layout == Layout::rows && t.device == Device::cpu && t.rank == 2 &&
              t.shape[0] == rows && t.shape[1] == cols,
          op, ": ", name, " must be f32[", rows, ", ", cols, "] on the CPU, not ", describe(t));
}

static void check_weight(const char* op, const Tensor& w, int rank) {
  require(w.rank == rank && w.device == Device::cpu, op, ": the weight must have ", rank, " dimensions on the CPU, not ",
          describe(w));
  const bool known = w.dtype == DType::f32 || w.dtype == DType::f16 || w.dtype == DType::bf16;
  require(known || quantized(w.dtype), op, ": a weight is f32, f16, bf16, q4, q8 or f8_e4m3, not ", describe(w));
  require(known || (w.layout == Layout::panels && w.scales && w.group_size > 0), op, ": ", describe(w),
          " was not made by make_quantized");
  require(!w.int8_activations || w.dtype == DType::q4 || w.dtype == DType::q8, op, ": 8-bit activations are for q4 and q8, not ",
          describe(w));
}

static void check_f32_rows(const char* op, const Tensor& w, int rank) {
  check_weight(op, w, rank);
  require(w.dtype == DType::f32 && w.layout == Layout::rows, op, ": backward takes f32 weights as rows, not ",
          describe(w));
}

// A weight whose columns are summed over: rows in f32, f16 or bf16.
static void check_rows(const char* op, const Tensor& w, int rank) {
  check_weight(op, w, rank);
  require(!quantized(w.dtype) && w.layout == Layout::rows, op, ": backward takes weights as rows of f32, f16 or bf16, not ",
          describe(w));
}
// The same in f32, in memory of `widened` where it is not already.
static Tensor in_f32(const Tensor& w, std::vector<float>& widened) {
  if (w.dtype == DType::f32) return w;
  widened.resize(static_cast<size_t>(w.elements()));
  Tensor wide = w;
  wide.dtype = DType::f32, wide.data = widened.data();
  cpu::convert(w, wide);
  return wide;
}

// offsets rise from 0 to the number of rows.
static void check_offsets(const char* op, const Tensor& offsets, int64_t experts, int64_t rows) {
  require(offsets.dtype == DType::i32 && offsets.device == Device::cpu && offsets.rank == 1 &&
              offsets.shape[0] == experts + 1,
          op, ": offsets must be i32[", experts + 1, "] on the host, not ", describe(offsets));
  const int32_t* const at = offsets.i32();
  bool rising = at[0] == 0 && at[experts] == rows;
  for (int64_t e = 0; e < experts; ++e) rising = rising && at[e] <= at[e + 1];
  require(rising, op, ": offsets must rise from 0 to the ", rows, " rows");
}

static Product forward(const Tensor& x, const Tensor& w, const Tensor& y, bool accumulate) {
  return {.m = x.shape[0], .n = w.shape[0], .k = w.shape[1], .a = x.f32(), .a_row = x.row_stride, .b = w, .c = y.f32(),
          .c_row = y.row_stride, .accumulate = accumulate};
}

// The columns of x, which are w's inputs, in the order of w's columns, in memory of `gathered`. (GPTQ's desc_act)
static Tensor in_order_of(const Tensor& w, const Tensor& x, std::vector<float>& gathered) {
  if (!w.k_order) return x;
  const int64_t k = w.cols();
  for (int64_t i = 0; i < k; ++i)
    require(w.k_order[i] >= 0 && w.k_order[i] < k, "the order of inputs of ", describe(w), " has ", w.k_order[i], " at ", i);
  gathered.resize(static_cast<size_t>(x.rows() * k));
  parallel_for(static_cast<size_t>(x.rows()), row_grain(static_cast<size_t>(k)), [&](size_t begin, size_t end) {
    for (auto t = static_cast<int64_t>(begin); t < static_cast<int64_t>(end); ++t)
      for (int64_t i = 0; i < k; ++i) gathered[static_cast<size_t>(t * k + i)] = x.f32()[t * x.row_stride + w.k_order[i]];
  });
  return make_tensor(gathered.data(), DType::f32, {x.rows(), k});
}

static Product backward_input(const Tensor& dy, const Tensor& w, const Tensor& dx, bool accumulate) {
  return {.m = dy.shape[0], .n = w.shape[1], .k = w.shape[0], .a = dy.f32(), .a_row = dy.row_stride,
          .form = Form::steps, .b = w, .c = dx.f32(), .c_row = dx.row_stride, .accumulate = accumulate};
}

static Product backward_weight(const Tensor& dy, const Tensor& x, const Tensor& dw) {
  return {.m = dy.shape[1], .n = x.shape[1], .k = dy.shape[0], .a = dy.f32(), .a_row = 1, .a_step = dy.row_stride,
          .form = Form::steps, .b = x, .c = dw.f32(), .c_row = dw.row_stride, .accumulate = true};
}

// Products that are computed together, and what they read.
struct Products {
  std::vector<Product> exact, rounded;           // rounded: with activations of 8 bits
  std::vector<std::vector<float>> gathered;      // inputs in the order of columns; moved, they stay where they are

  explicit Products(size_t count) { exact.reserve(count); }
  void add(const Tensor& x, const Tensor& w, const Tensor& y, bool accumulate) {
    std::vector<float> memory;
    const Tensor in = in_order_of(w, x, memory);
    (w.int8_activations ? rounded : exact).push_back(forward(in, w, y, accumulate));
    if (w.k_order) gathered.push_back(std::move(memory));
  }
  void compute() const {
    if (!exact.empty()) multiply(exact);
    if (!rounded.empty()) multiply_int8(rounded);
  }
};

static void add_linear(Products& products, const Tensor& x, const Tensor& w, const Tensor& y, bool accumulate) {
  check_weight("linear", w, 2);
  check_activation("linear", "x", x, x.shape[0], w.shape[1]);
  check_activation("linear", "y", y, x.shape[0], w.shape[0]);
  products.add(x, w, y, accumulate);
}

// One product for each expert with rows.
static void add_grouped(Products& products, const Tensor& x, const Tensor& offsets, const Tensor& w, const Tensor& y) {
  const char* const op = "grouped_linear";
  check_weight(op, w, 3);
  check_activation(op, "x", x, x.shape[0], w.shape[2]);
  check_activation(op, "y", y, x.shape[0], w.shape[1]);
  check_offsets(op, offsets, w.shape[0], x.shape[0]);
  for (int64_t e = 0; e < w.shape[0]; ++e) {
    const int64_t begin = offsets.i32()[e], count = offsets.i32()[e + 1] - begin;
    if (count > 0) products.add(rows(x, begin, count), item(w, e), rows(y, begin, count), false);
  }
}

void linear(const Tensor& x, const Tensor& w, const Tensor& y, bool accumulate) {
  Products products(1);
  add_linear(products, x, w, y, accumulate);
  products.compute();
}

void grouped_linear(const Tensor& x, const Tensor& offsets, const Tensor& w, const Tensor& y) {
  Products products(static_cast<size_t>(std::min(x.shape[0], w.shape[0])));
  add_grouped(products, x, offsets, w, y);
  products.compute();
}

void linear_all(std::span<const LinearCall> calls) {
  size_t count = 0;
  for (const LinearCall& c : calls) count += c.offsets ? static_cast<size_t>(std::min(c.x.shape[0], c.w.shape[0])) : 1;
  Products products(count);
  for (const LinearCall& c : calls) {
    if (c.offsets) add_grouped(products, c.x, c.offsets, c.w, c.y);
    else add_linear(products, c.x, c.w, c.y, false);
  }
  products.compute();
}

void linear_backward_input(const Tensor& dy, const Tensor& w, const Tensor& dx, bool accumulate) {
  const char* const op = "linear_backward_input";
  check_rows(op, w, 2);
  check_activation(op, "dy", dy, dy.shape[0], w.shape[0]);
  check_activation(op, "dx", dx, dy.shape[0], w.shape[1]);
  std::vector<float> widened;
  const Product product = backward_input(dy, in_f32(w, widened), dx, accumulate);
  multiply({&product, 1});
}

void linear_backward_weight(const Tensor& dy, const Tensor& x, const Tensor& dw) {
  const char* const op = "linear_backward_weight";
  check_f32_rows(op, dw, 2);
  check_activation(op, "dy", dy, dy.shape[0], dw.shape[0]);
  check_activation(op, "x", x, dy.shape[0], dw.shape[1]);
  const Product product = backward_weight(dy, x, dw);
  multiply({&product, 1});
}

// One product for each expert with rows.
template <class Make>
static void grouped(const Tensor& offsets, int64_t experts, const Make& make) {
  std::vector<Product> products;
  products.reserve(static_cast<size_t>(experts));
  for (int64_t e = 0; e < experts; ++e) {
    const int64_t begin = offsets.i32()[e], count = offsets.i32()[e + 1] - begin;
    if (count > 0) products.push_back(make(e, begin, count));
  }
  multiply(products);
}

void grouped_linear_backward_input(const Tensor& dy, const Tensor& offsets, const Tensor& w, const Tensor& dx,
                                   bool accumulate) {
  const char* const op = "grouped_linear_backward_input";
  check_rows(op, w, 3);
  check_activation(op, "dy", dy, dy.shape[0], w.shape[1]);
  check_activation(op, "dx", dx, dy.shape[0], w.shape[2]);
  check_offsets(op, offsets, w.shape[0], dy.shape[0]);
  std::vector<float> widened;
  const Tensor wide = in_f32(w, widened);
  grouped(offsets, w.shape[0], [&](int64_t e, int64_t begin, int64_t count) {
    return backward_input(rows(dy, begin, count), item(wide, e), rows(dx, begin, count), accumulate);
  });
}

void grouped_linear_backward_weight(const Tensor& dy, const Tensor& offsets, const Tensor& x, const Tensor& dw) {
  const char* const op = "grouped_linear_backward_weight";
  check_f32_rows(op, dw, 3);
  check_activation(op, "dy", dy, dy.shape[0], dw.shape[1]);
  check_activation(op, "x", x, dy.shape[0], dw.shape[2]);
  check_offsets(op, offsets, dw.shape[0], dy.shape[0]);
  grouped(offsets, dw.shape[0], [&](int64_t e, int64_t begin, int64_t count) {
    return backward_weight(rows(dy, begin, count), rows(x, begin, count), item(dw, e));
  });
}

}  // namespace ds::cpu
