// Inside the room: matrices of quantized checkpoints (model/quantization.h) as plain integers, scales and zero points.
#pragma once
#include <string>

#include "model/binder.h"
#include "model/weight_source.h"

namespace ds {

// Reads the matrix `name` ("model.layers.0.mlp.up_proj.weight") into `out`, whose n and k are set. False where the file
// has it as ordinary numbers, or not at all. Shapes and dtypes that do not fit are an Error.
bool read_quantized(Binder& binder, const Quantization& quantization, const std::string& name, StoredMatrix& out);

}  // namespace ds
