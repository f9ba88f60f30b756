// Memory, and the operations that only move or add elements.
#include "tensor/cuda/memory.h"

#include "base/dtype.h"
#include "tensor/cuda/runtime.cuh"
#include "tensor/ops.h"

namespace ds::cuda {

bool available() {
#ifdef __CUDACC__
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess && count > 0;
#else
  return true;
#endif
}

void* allocate(size_t bytes) {
  void* data = nullptr;
  check(cudaMalloc(&data, bytes), cat("allocating ", bytes, " bytes"));
  return data;
}
void release(void* data) noexcept { cudaFree(data); }
void zero(void* data, size_t bytes) { check(cudaMemset(data, 0, bytes), "zero"); }

void copy(Device from_device, const void* from, Device to_device, void* to, size_t bytes) {
  const bool from_cuda = from_device == Device::cuda, to_cuda = to_device == Device::cuda;
  const cudaMemcpyKind kind = from_cuda ? (to_cuda ? cudaMemcpyDeviceToDevice : cudaMemcpyDeviceToHost)
                                        : (to_cuda ? cudaMemcpyHostToDevice : cudaMemcpyHostToHost);
  check(cudaMemcpy(to, from, bytes, kind), "copy");
}

void synchronize() {
  check(cudaDeviceSynchronize(), "synchronize");
  check(cudaGetLastError(), "a kernel");
}

// ---- Elementwise ----

// Element (i / cols, i % cols) of tensors with row strides.
struct Grid2d {
  int64_t rows, cols;
};

static Grid2d grid_of(const Tensor& t) {
  if (t.rank == 2) return {t.shape[0], t.shape[1]};
  return {1, t.elements()};
}
static int64_t stride_of(const Tensor& t) { return t.rank == 2 ? t.row_stride : t.elements(); }

static void same_shape(const Tensor& a, const Tensor& b, const char* op) {
  require(a.elements() == b.elements() && grid_of(a).cols == grid_of(b).cols, op, ": ", describe(a), " and ", describe(b),
          " have different shapes");
}

__global__ void fill_kernel(float* x, int64_t stride, Grid2d g, float value) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < g.rows * g.cols) x[i / g.cols * stride + i % g.cols] = value;
}
void fill(const Tensor& x, float value) {
  if (x.elements() == 0) return;
  launch("fill", fill_kernel, blocks_for(x.elements()), dim3(kBlock), 0, x.f32(), stride_of(x), grid_of(x), value);
}

__global__ void add_kernel(const float* x, int64_t x_stride, float* y, int64_t y_stride, Grid2d g) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < g.rows * g.cols) y[i / g.cols * y_stride + i % g.cols] += x[i / g.cols * x_stride + i % g.cols];
}
void add(const Tensor& x, const Tensor& y) {
  same_shape(x, y, "add");
  if (x.elements() == 0) return;
  launch("add", add_kernel, blocks_for(x.elements()), dim3(kBlock), 0, x.f32(), stride_of(x), y.f32(), stride_of(y), grid_of(x));
}

__global__ void scale_kernel(float* x, int64_t stride, Grid2d g, float factor) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < g.rows * g.cols) x[i / g.cols * stride + i % g.cols] *= factor;
}
void scale(const Tensor& x, float factor) {
  if (x.elements() == 0) return;
  launch("scale", scale_kernel, blocks_for(x.elements()), dim3(kBlock), 0, x.f32(), stride_of(x), grid_of(x), factor);
}

// ---- Conversion, in integers, so that both backends give the same bits ----

DS_DEVICE uint32_t float_bits(float f) {
  union {
    float f;
    uint32_t u;
  } bits = {f};
  return bits.u;
}
DS_DEVICE float bits_float(uint32_t u) {
  union {
    uint32_t u;
    float f;
  } bits = {u};
  return bits.f;
}
DS_DEVICE uint16_t to_bf16(float f) {
  const uint32_t u = float_bits(f);
  if ((u & 0x7fffffff) > 0x7f800000) return static_cast<uint16_t>(u >> 16 | 0x40);
  return static_cast<uint16_t>((u + 0x7fff + (u >> 16 & 1)) >> 16);
}
DS_DEVICE float from_f16(uint16_t h) {
  const uint32_t sign = static_cast<uint32_t>(h >> 15) << 31, exponent = h >> 10 & 31, mantissa = h & 1023;
  if (exponent == 31) return bits_float(sign | 0x7f800000 | mantissa << 13);
  if (exponent != 0) return bits_float(sign | (exponent + 112) << 23 | mantissa << 13);
  return bits_float(sign | float_bits(static_cast<float>(mantissa) * 5.9604644775390625e-8f));
}
DS_DEVICE uint16_t to_f16(float f) {
  const uint32_t u = float_bits(f), magnitude = u & 0x7fffffff;
  const uint16_t sign = static_cast<uint16_t>(u >> 16 & 0x8000);
  if (magnitude > 0x7f800000) return static_cast<uint16_t>(sign | 0x7e00);
  if (magnitude >= 0x477ff000) return static_cast<uint16_t>(sign | 0x7c00);
  if (magnitude < 0x38800000) return static_cast<uint16_t>(sign | (float_bits(bits_float(magnitude) + 0.5f) - 0x3f000000));
  const uint32_t rounded = magnitude + 0xfff + (magnitude >> 13 & 1);
  return static_cast<uint16_t>(sign | (rounded - 0x38000000) >> 13);
}
DS_DEVICE float load(const void* data, DType dtype, int64_t i) {
  if (dtype == DType::f32) return static_cast<const float*>(data)[i];
  const uint16_t bits = static_cast<const uint16_t*>(data)[i];
  return dtype == DType::bf16 ? bits_float(static_cast<uint32_t>(bits) << 16) : from_f16(bits);
}

__global__ void convert_kernel(const void* x, DType x_type, int64_t x_stride, void* y, DType y_type, int64_t y_stride, Grid2d g) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= g.rows * g.cols) return;
  const float value = load(x, x_type, i / g.cols * x_stride + i % g.cols);
  const int64_t to = i / g.cols * y_stride + i % g.cols;
  if (y_type == DType::f32)
    static_cast<float*>(y)[to] = value;
  else
    static_cast<uint16_t*>(y)[to] = y_type == DType::bf16 ? to_bf16(value) : to_f16(value);
}
void convert(const Tensor& x, const Tensor& y) {
  same_shape(x, y, "convert");
  for (const Tensor& t : {x, y})
    require(t.dtype == DType::f32 || t.dtype == DType::f16 || t.dtype == DType::bf16, "convert: ", describe(t), " is not f32, f16 or bf16");
  if (x.elements() == 0) return;
  launch("convert", convert_kernel, blocks_for(x.elements()), dim3(kBlock), 0, static_cast<const void*>(x.data), x.dtype, stride_of(x),
         y.data, y.dtype, stride_of(y), grid_of(x));
}

}  // namespace ds::cuda
