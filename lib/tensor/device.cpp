#include "tensor/device.h"

#include <cstdlib>
#include <cstring>

#include "base/sizes.h"
#include "tensor/ops.h"

#ifndef DS_WITH_CUDA
#define DS_WITH_CUDA 0
#endif
#if DS_WITH_CUDA
#include "tensor/cuda/memory.h"
#endif

namespace ds {

void no_cuda(std::string_view op) {
#if DS_WITH_CUDA
  fail(op, " does not run on CUDA yet: use --device cpu");
#else
  fail(op, ": this build has no CUDA: use --device cpu, or build where nvcc is installed");
#endif
}

void* device_allocate(Device device, size_t bytes) {
#if DS_WITH_CUDA
  if (device == Device::cuda) return cuda::allocate(bytes);
#else
  if (device == Device::cuda) no_cuda("memory");
#endif
  void* const data = std::aligned_alloc(64, round_up(bytes, 64));
  require(data != nullptr, "out of memory: ", format_bytes(bytes), " were asked for");
  return data;
}

void device_free(Device device, void* data) noexcept {
#if DS_WITH_CUDA
  if (device == Device::cuda) return cuda::release(data);
#endif
  (void)device;
  std::free(data);
}

void device_zero(Device device, void* data, size_t bytes) {
#if DS_WITH_CUDA
  if (device == Device::cuda) return cuda::zero(data, bytes);
#endif
  (void)device;
  std::memset(data, 0, bytes);
}

void copy(const Tensor& from, const Tensor& to) {
  require(from.dtype == to.dtype && from.elements() == to.elements() && from.contiguous() && to.contiguous(),
          "copy of ", describe(from), " to ", describe(to));
  const size_t bytes = (static_cast<size_t>(from.elements()) * dtype_bits(from.dtype) + 7) / 8;
#if DS_WITH_CUDA
  if (from.device == Device::cuda || to.device == Device::cuda) return cuda::copy(from.device, from.data, to.device, to.data, bytes);
#endif
  std::memcpy(to.data, from.data, bytes);
}

}  // namespace ds
