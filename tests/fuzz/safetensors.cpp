// The tensors of an accepted file lie inside it, fill it, and are as large as their shapes say.
#include <cstdint>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/sizes.h"
#include "io/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  std::vector<ds::StoredTensor> tensors;
  std::map<std::string, std::string> metadata;
  try {
    ds::parse_safetensors(bytes, "fuzz", tensors, metadata);
  } catch (const ds::Error&) {
    return 0;
  }
  uint64_t header = 0, total = 0, sum = 0;
  for (int i = 7; i >= 0; --i) header = header << 8 | data[i];
  for (const ds::StoredTensor& tensor : tensors) {
    const uint64_t elements = static_cast<uint64_t>(ds::checked_elements(tensor.shape, "shape"));
    if (elements * static_cast<uint64_t>(ds::dtype_bits(tensor.dtype)) != tensor.data.size() * 8) std::abort();
    for (const char c : tensor.data) sum += static_cast<unsigned char>(c);
    total += tensor.data.size();
  }
  if (8 + header + total != size || sum > 255 * total) std::abort();
  return 0;
}
