// Fuzz target: any bytes as a config.json are a Config, which written and read again is the same, or an Error.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/error.h"
#include "model/config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const ds::Json json = ds::parse_json({reinterpret_cast<const char*>(data), size}, "fuzz");
    const ds::Config config = ds::parse_config(json, "fuzz");
    const std::string written = ds::config_json(config, ds::DType::f32);
    const ds::Config again = ds::parse_config(ds::parse_json(written, "written"), "written");
    if (ds::config_json(again, ds::DType::f32) != written) std::abort();
  } catch (const ds::Error&) {
  }
  return 0;
}
