// Raw memory of a device, and copies between devices.
#pragma once
#include <cstddef>

#include "tensor/tensor.h"

namespace ds {

// Memory aligned to 64 bytes; Error where there is not enough.
void* device_allocate(Device device, size_t bytes);
void device_free(Device device, void* data) noexcept;
void device_zero(Device device, void* data, size_t bytes);

// Copies all elements; shapes and dtypes are equal, both tensors contiguous; devices may differ.
void copy(const Tensor& from, const Tensor& to);

}  // namespace ds
