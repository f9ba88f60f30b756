// What every .cu file includes. nvcc compiles them for the device; the tests compile the same files with the host
// compiler, where cuda_host.h (tests/cuda_host) stands in for the toolkit. Kernels are plain CUDA C++, launched through
// launch(); dynamic shared memory is declared with DS_SHARED, and there is no static __shared__: the host form could not
// tell blocks apart.
#pragma once
#ifdef __CUDACC__
#include <cublas_v2.h>
#include <cuda_runtime.h>
#else
#include "cuda_host.h"
#endif

#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "tensor/tensor.h"

namespace ds::cuda {

#ifdef __CUDACC__
#define DS_SHARED(T, name)                                          \
  extern __shared__ __align__(16) unsigned char ds_shared_memory[]; \
  T* const name = reinterpret_cast<T*>(ds_shared_memory)

// Launches kernel<<<grid, block, shared_bytes>>>(args...) on the default stream; `name` is for messages.
template <class... P, class... A>
void launch(const char* name, void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes, A&&... args) {
  const auto call = [&](P... p) {
    void* pointers[] = {static_cast<void*>(&p)..., nullptr};
    return cudaLaunchKernel(reinterpret_cast<const void*>(kernel), grid, block, pointers, shared_bytes, nullptr);
  };
  const cudaError_t error = call(static_cast<P>(args)...);
  require(error == cudaSuccess, "CUDA kernel ", name, ": ", cudaGetErrorString(error));
}
#endif

inline void check(cudaError_t error, std::string_view what) {
  require(error == cudaSuccess, "CUDA: ", what, ": ", cudaGetErrorString(error));
}

constexpr int kWarp = 32, kBlock = 256;

// Blocks of `block` threads that cover `count` items.
inline dim3 blocks_for(int64_t count, int block = kBlock) { return dim3(static_cast<unsigned>((count + block - 1) / block)); }

#if defined(__CUDACC__)
#define DS_DEVICE __device__ __forceinline__
#else
#define DS_DEVICE static __forceinline__
#endif

// The sum (or maximum) over the lanes of a full warp, in every lane, in one fixed tree.
DS_DEVICE float warp_sum(float v) {
  for (int offset = kWarp / 2; offset > 0; offset /= 2) v += __shfl_xor_sync(0xffffffffu, v, offset);
  return v;
}
DS_DEVICE float warp_max(float v) {
  for (int offset = kWarp / 2; offset > 0; offset /= 2) v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, offset));
  return v;
}

// The same over a block of kBlock threads; `partial` is shared memory for kBlock / kWarp floats. Every thread of the
// block calls it; it may be called again at once.
DS_DEVICE float block_sum(float v, float* partial) {
  v = warp_sum(v);
  if (threadIdx.x % kWarp == 0) partial[threadIdx.x / kWarp] = v;
  __syncthreads();
  float total = 0;
  for (int i = 0; i < kBlock / kWarp; ++i) total += partial[i];
  __syncthreads();
  return total;
}
DS_DEVICE float block_max(float v, float* partial) {
  v = warp_max(v);
  if (threadIdx.x % kWarp == 0) partial[threadIdx.x / kWarp] = v;
  __syncthreads();
  float total = partial[0];
  for (int i = 1; i < kBlock / kWarp; ++i) total = fmaxf(total, partial[i]);
  __syncthreads();
  return total;
}

// A buffer on the device for the duration of an operation.
class Workspace {
 public:
  explicit Workspace(size_t bytes) { check(cudaMalloc(&data_, bytes), "workspace"); }
  ~Workspace() { cudaFree(data_); }
  Workspace(const Workspace&) = delete;
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  void* data_ = nullptr;
};

}  // namespace ds::cuda
