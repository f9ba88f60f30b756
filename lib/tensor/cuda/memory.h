// Memory of the CUDA device.
#pragma once
#include <cstddef>

#include "tensor/tensor.h"

namespace ds::cuda {

// True where a device can be used; false without a driver or device.
bool available();

void* allocate(size_t bytes);
void release(void* data) noexcept;
void zero(void* data, size_t bytes);
void copy(Device from_device, const void* from, Device to_device, void* to, size_t bytes);

// Waits until everything that was launched is done; an error of a kernel becomes an Error here.
void synchronize();

}  // namespace ds::cuda
