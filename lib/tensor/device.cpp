#include "tensor/device.h"

#include <sys/mman.h>

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
  // Large memory in pages of 2 MiB, where the system has them: weights are read from end to end for each token.
  constexpr size_t kHugePage = size_t{2} << 20;
  const size_t alignment = bytes >= kHugePage ? kHugePage : 64;
  void* const data = std::aligned_alloc(alignment, round_up(bytes, alignment));
  require(data != nullptr, "out of memory: ", format_bytes(bytes), " were asked for");
#ifdef MADV_HUGEPAGE
  if (alignment == kHugePage) madvise(data, round_up(bytes, alignment), MADV_HUGEPAGE);  // a wish, which may not be granted
#endif
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
