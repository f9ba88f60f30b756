// The tensors of an accepted file lie inside it one after the other, and are as large as their shapes say; every block
// can be read.
#include <cstdint>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/sizes.h"
#include "io/gguf.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  std::vector<ds::GgufTensor> tensors;
  std::map<std::string, ds::GgufValue, std::less<>> metadata;
  try {
    ds::parse_gguf(bytes, "fuzz", tensors, metadata);
  } catch (const ds::Error&) {
    return 0;
  }
  const char* at = bytes.data();
  for (const ds::GgufTensor& tensor : tensors) {
    const int64_t elements = ds::checked_elements(tensor.shape, "shape");
    if (elements / ds::gguf_block_values(tensor.type) * ds::gguf_block_bytes(tensor.type) != static_cast<int64_t>(tensor.data.size()))
      std::abort();
    if (tensor.data.data() < at) std::abort();
    at = tensor.data.data() + tensor.data.size();
    std::vector<float> values(static_cast<size_t>(elements));
    ds::dequantize_gguf(tensor, 0, elements, values.data());
  }
  if (at > bytes.data() + bytes.size()) std::abort();
  size_t text = 0;
  for (const auto& [key, value] : metadata) {
    text += value.string.size();
    for (const std::string_view s : value.strings) text += s.size();
  }
  if (text > size) std::abort();
  return 0;
}
