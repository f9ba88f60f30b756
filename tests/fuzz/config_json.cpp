// Fuzz target: any bytes as a config.json are a Config, which written and read again is the same, or an Error.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string_view>

#include "base/error.h"
#include "model/config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::optional<ds::Config> config;
  try {
    config = ds::parse_config(ds::parse_json({reinterpret_cast<const char*>(data), size}, "fuzz"), "fuzz");
  } catch (const ds::Error&) {
    return 0;
  }
  try {
    const std::string written = ds::config_json(*config, ds::DType::f32);
    const ds::Config again = ds::parse_config(ds::parse_json(written, "written"), "written");
    if (ds::config_json(again, ds::DType::f32) == written) return 0;
    std::fprintf(stderr, "another Config after %s\n", written.c_str());
  } catch (const ds::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
  }
  std::abort();
}
