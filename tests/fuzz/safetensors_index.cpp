// The files of an accepted index are names in its folder.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/error.h"
#include "io/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    for (const auto& [name, file] : ds::parse_safetensors_index({reinterpret_cast<const char*>(data), size}, "fuzz"))
      if (file.empty() || file == ".." || file.find_first_of(std::string_view("/\0", 2)) != std::string::npos) std::abort();
  } catch (const ds::Error&) {
  }
  return 0;
}
