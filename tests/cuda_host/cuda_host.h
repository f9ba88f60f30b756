// Runs CUDA C++ on the CPU: the same .cu files, compiled by the host compiler with this header in place of the CUDA
// toolkit. The threads of a block are fibers, so __syncthreads, warp shuffles, shared memory and atomics mean what they
// say; blocks run one after the other. It proves the logic of a kernel, not its speed and not races between blocks.
//
// What it catches, each with a message that names kernel, block and thread, and then abort():
// - a barrier that not all threads of the block reach, or a warp operation whose mask names a lane that never comes;
// - a write past the shared memory of a launch (and, beyond 4 KiB, a fault);
// - shared or device memory read before it was written: both begin as NaN in every block or allocation;
// - a host pointer passed to a kernel, a write past a device allocation (found when it is freed), a leak of one;
// - a missing __syncthreads: set_order() runs the threads in other orders, and results must not change.
#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <tuple>
#include <type_traits>
#include <utility>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __restrict__

using cudaError_t = int;
using cudaStream_t = void*;
constexpr cudaError_t cudaSuccess = 0;
enum cudaMemcpyKind { cudaMemcpyHostToHost, cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice };

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

namespace cuda_host {

// The order in which the threads of a block run between barriers: 0 rising, 1 falling, else shuffled by the number.
void set_order(unsigned order);
// Fiber switches so far, for the benchmark of this header.
uint64_t switches();

uint3 thread_index();
uint3 block_index();
dim3 block_size();
dim3 grid_size();
void* shared_memory();
void block_barrier();

// A warp collective: publishes size <= 32 bytes of the calling lane, waits for all lanes of the mask, and returns a
// function of lane -> that lane's bytes, valid until the lane's next collective.
struct WarpValues {
  const void* slots;
  const void* lane(unsigned index) const;
};
WarpValues warp_exchange(unsigned mask, const void* bytes, size_t size);
unsigned lane_index();

// Runs body once for every thread of the grid.
void run_grid(const char* kernel, dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& body);
// Aborts unless p is null or inside a device allocation.
void check_device_pointer(const char* kernel, const void* p);

// Device allocations that have not been freed.
size_t live_allocations();

template <class T>
T warp_value(unsigned mask, T value, unsigned source) {
  const WarpValues values = warp_exchange(mask, &value, sizeof value);
  T out;
  std::memcpy(&out, values.lane(source), sizeof out);
  return out;
}

}  // namespace cuda_host

#define threadIdx (cuda_host::thread_index())
#define blockIdx (cuda_host::block_index())
#define blockDim (cuda_host::block_size())
#define gridDim (cuda_host::grid_size())

inline void __syncthreads() { cuda_host::block_barrier(); }
inline void __syncwarp(unsigned mask = ~0u) {
  const int nothing = 0;
  cuda_host::warp_exchange(mask, &nothing, sizeof nothing);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int x, int width = 32) {
  const unsigned lane = cuda_host::lane_index(), source = lane ^ static_cast<unsigned>(x);
  const T other = cuda_host::warp_value(mask, value, source & 31);
  return source / width == lane / width ? other : value;
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  const unsigned lane = cuda_host::lane_index();
  const bool inside = lane % width + delta < static_cast<unsigned>(width);
  return cuda_host::warp_value(mask, value, inside ? lane + delta : lane);
}
template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32) {
  const unsigned lane = cuda_host::lane_index(), w = static_cast<unsigned>(width);
  return cuda_host::warp_value(mask, value, (lane & ~(w - 1)) + (static_cast<unsigned>(source) & (w - 1)));
}
inline unsigned __ballot_sync(unsigned mask, int predicate) {
  const cuda_host::WarpValues values = cuda_host::warp_exchange(mask, &predicate, sizeof predicate);
  unsigned bits = 0;
  for (unsigned lane = 0; lane < 32; ++lane)
    if (mask >> lane & 1 && *static_cast<const int*>(values.lane(lane))) bits |= 1u << lane;
  return bits;
}
// Fibers of one operating-system thread never run at once: a plain addition is atomic among them.
template <class T>
T atomicAdd(T* address, T value) {
  const T before = *address;
  *address = before + value;
  return before;
}
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }

cudaError_t cudaMalloc(void** pointer, size_t bytes);
cudaError_t cudaFree(void* pointer);
cudaError_t cudaMemset(void* pointer, int value, size_t bytes);
cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind);
cudaError_t cudaGetLastError();
cudaError_t cudaDeviceSynchronize();
const char* cudaGetErrorString(cudaError_t error);

namespace ds::cuda {

// Dynamic shared memory of the launch as an array of T. (`extern __shared__` has no host form.)
#define DS_SHARED(T, name) T* const name = static_cast<T*>(cuda_host::shared_memory())

template <class... P, class... A>
void launch(const char* name, void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes, A&&... args) {
  const auto call = [&](P... p) {
    const auto check = [&](auto value) {
      if constexpr (std::is_pointer_v<decltype(value)>) cuda_host::check_device_pointer(name, value);
    };
    (check(p), ...);
    cuda_host::run_grid(name, grid, block, shared_bytes, [&] { kernel(p...); });
  };
  call(static_cast<P>(args)...);
}

}  // namespace ds::cuda

// The part of cuBLAS that lib/tensor/cuda uses; column-major, as the library's.
using cublasHandle_t = void*;
using cublasStatus_t = int;
constexpr cublasStatus_t CUBLAS_STATUS_SUCCESS = 0;
enum cublasOperation_t { CUBLAS_OP_N, CUBLAS_OP_T };
enum cublasMath_t { CUBLAS_DEFAULT_MATH, CUBLAS_PEDANTIC_MATH };
cublasStatus_t cublasCreate(cublasHandle_t* handle);
cublasStatus_t cublasDestroy(cublasHandle_t handle);
cublasStatus_t cublasSetMathMode(cublasHandle_t handle, cublasMath_t mode);
// C[m, n] = alpha op(A)[m, k] op(B)[k, n] + beta C, all column-major with leading dimensions.
cublasStatus_t cublasSgemm(cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb, int m, int n, int k,
                           const float* alpha, const float* a, int lda, const float* b, int ldb, const float* beta, float* c,
                           int ldc);
