// The stand-in itself: what it executes is right, and what it is there to catch it catches.
#include "cuda_host.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "base/error.h"
#include "tensor/cuda/runtime.cuh"

namespace ds::cuda {
namespace {

// Device memory for a test.
template <class T>
struct Buffer {
  T* data = nullptr;
  size_t count;
  explicit Buffer(size_t count) : count(count) { cudaMalloc(reinterpret_cast<void**>(&data), count * sizeof(T)); }
  explicit Buffer(const std::vector<T>& values) : Buffer(values.size()) {
    cudaMemcpy(data, values.data(), count * sizeof(T), cudaMemcpyHostToDevice);
  }
  ~Buffer() { cudaFree(data); }
  std::vector<T> host() const {
    std::vector<T> out(count);
    cudaMemcpy(out.data(), data, count * sizeof(T), cudaMemcpyDeviceToHost);
    return out;
  }
};

struct Order {
  explicit Order(unsigned order) { cuda_host::set_order(order); }
  ~Order() { cuda_host::set_order(0); }
};

// Reverses 64 numbers through shared memory; without the barrier a thread reads what another has not written yet.
__global__ void reverse_kernel(int* x, int with_barrier) {
  DS_SHARED(int, shared);
  shared[threadIdx.x] = x[threadIdx.x];
  if (with_barrier) __syncthreads();
  x[threadIdx.x] = shared[blockDim.x - 1 - threadIdx.x];
}

std::vector<int> reversed_by_kernel(int with_barrier) {
  std::vector<int> x(64);
  std::iota(x.begin(), x.end(), 0);
  const Buffer<int> buffer(x);
  launch("reverse", reverse_kernel, dim3(1), dim3(64), 64 * sizeof(int), buffer.data, with_barrier);
  return buffer.host();
}

TEST(CudaHost, ABarrierMakesEveryOrderRight) {
  for (const unsigned order : {0u, 1u, 2u, 77u}) {
    const Order set(order);
    const auto x = reversed_by_kernel(1);
    for (int i = 0; i < 64; ++i) EXPECT_EQ(x[i], 63 - i) << "order " << order;
  }
}

TEST(CudaHost, AMissingBarrierGivesWrongResults) {
  for (const unsigned order : {0u, 1u, 77u}) {
    const Order set(order);
    const auto x = reversed_by_kernel(0);
    int wrong = 0;
    for (int i = 0; i < 64; ++i) wrong += x[i] != 63 - i;
    EXPECT_GT(wrong, 0) << "order " << order;
  }
}

__global__ void divergent_kernel(int* x) {
  if (threadIdx.x < 16) __syncthreads();
  else x[threadIdx.x] = __shfl_xor_sync(0xffffffffu, 1, 1);
}
__global__ void early_return_kernel(int* x) {
  if (threadIdx.x == 3) return;
  x[threadIdx.x] = 1;
  __syncthreads();
}
__global__ void overrun_kernel(float* x) {
  DS_SHARED(float, shared);
  shared[threadIdx.x + 1] = x[threadIdx.x];
}
__global__ void past_the_end_kernel(float* x) { x[threadIdx.x + 1] = 1; }
__global__ void write_kernel(float* x) { x[0] = 1; }

TEST(CudaHostDeathTest, ADivergentBarrierIsFound) {
  const Buffer<int> x(64);
  EXPECT_DEATH(launch("divergent", divergent_kernel, dim3(1), dim3(32), 0, x.data), "divergent.*deadlock");
}
TEST(CudaHostDeathTest, AThreadThatLeavesBeforeABarrierIsFound) {
  const Buffer<int> x(64);
  EXPECT_DEATH(launch("early", early_return_kernel, dim3(1), dim3(32), 0, x.data), "__syncthreads after some threads");
}
TEST(CudaHostDeathTest, ASharedMemoryOverrunIsFound) {
  const Buffer<float> x(std::vector<float>(32, 1.0f));
  EXPECT_DEATH(launch("overrun", overrun_kernel, dim3(1), dim3(32), 32 * sizeof(float), x.data), "past the shared memory");
}
TEST(CudaHostDeathTest, AWritePastAnAllocationIsFound) {
  EXPECT_DEATH(
      {
        const Buffer<float> x(32);
        launch("past", past_the_end_kernel, dim3(1), dim3(32), 0, x.data);
      },
      "outside a device allocation");
}
TEST(CudaHostDeathTest, AHostPointerIsFound) {
  float host = 0;
  EXPECT_DEATH(launch("write", write_kernel, dim3(1), dim3(1), 0, &host), "does not point into device memory");
}

__global__ void uninitialised_kernel(float* x) {
  DS_SHARED(float, shared);
  x[blockIdx.x] = shared[0];
  shared[0] = 5;
}
TEST(CudaHost, SharedMemoryBeginsAsNanInEveryBlock) {
  const Buffer<float> x(3);
  launch("uninitialised", uninitialised_kernel, dim3(3), dim3(1), sizeof(float), x.data);
  for (const float v : x.host()) EXPECT_TRUE(std::isnan(v));
}

__global__ void warp_kernel(int* out) {
  const int lane = threadIdx.x % 32;
  out[threadIdx.x * 4 + 0] = __shfl_xor_sync(0xffffffffu, lane, 5);
  out[threadIdx.x * 4 + 1] = __shfl_down_sync(0xffffffffu, lane, 3, 16);
  out[threadIdx.x * 4 + 2] = __shfl_sync(0xffffffffu, lane, 9, 8);
  out[threadIdx.x * 4 + 3] = static_cast<int>(__ballot_sync(0xffffffffu, lane % 3 == 0));
}
TEST(CudaHost, WarpOperationsMeanWhatTheySay) {
  for (const unsigned order : {0u, 1u, 9u}) {
    const Order set(order);
    const Buffer<int> out(64 * 4);
    launch("warp", warp_kernel, dim3(1), dim3(64), 0, out.data);
    const auto v = out.host();
    unsigned ballot = 0;
    for (int lane = 0; lane < 32; lane += 3) ballot |= 1u << lane;
    for (int i = 0; i < 64; ++i) {
      const int lane = i % 32;
      EXPECT_EQ(v[i * 4 + 0], lane ^ 5);
      EXPECT_EQ(v[i * 4 + 1], lane % 16 + 3 < 16 ? lane + 3 : lane);
      EXPECT_EQ(v[i * 4 + 2], lane / 8 * 8 + 1);
      EXPECT_EQ(v[i * 4 + 3], static_cast<int>(ballot));
    }
  }
}

__global__ void histogram_kernel(int* bins, int n) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < n) atomicAdd(&bins[i % 7], 1);
}
TEST(CudaHost, GridsCoverEveryIndexOnce) {
  const Buffer<int> bins(std::vector<int>(7, 0));
  launch("histogram", histogram_kernel, dim3(5), dim3(48), 0, bins.data, 230);
  int sum = 0;
  for (const int n : bins.host()) sum += n;
  EXPECT_EQ(sum, 230);
}

__global__ void block_sum_kernel(float* out) {
  DS_SHARED(float, partial);
  const float total = block_sum(static_cast<float>(threadIdx.x), partial);
  const float largest = block_max(static_cast<float>(threadIdx.x % 100), partial);
  out[threadIdx.x * 2] = total;
  out[threadIdx.x * 2 + 1] = largest;
}
TEST(CudaHost, BlockReductionsReachEveryThread) {
  const Buffer<float> out(2 * kBlock);
  launch("block_sum", block_sum_kernel, dim3(1), dim3(kBlock), kBlock / kWarp * sizeof(float), out.data);
  const auto v = out.host();
  for (int i = 0; i < kBlock; ++i) {
    EXPECT_EQ(v[2 * i], kBlock * (kBlock - 1) / 2);
    EXPECT_EQ(v[2 * i + 1], 99);
  }
}

TEST(CudaHost, CopiesCheckTheirDirection) {
  const Buffer<float> x(4);
  float host[4] = {};
  EXPECT_NE(cudaMemcpy(host, host, sizeof host, cudaMemcpyHostToDevice), cudaSuccess);
  EXPECT_NE(cudaMemcpy(host, x.data, sizeof host, cudaMemcpyHostToHost), cudaSuccess);
  EXPECT_EQ(cudaMemcpy(host, x.data, sizeof host, cudaMemcpyDeviceToHost), cudaSuccess);
  EXPECT_NE(cudaMemcpy(host, x.data, 5 * sizeof(float), cudaMemcpyDeviceToHost), cudaSuccess);
}

}  // namespace
}  // namespace ds::cuda
