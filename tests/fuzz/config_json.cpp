// Fuzz target: any bytes as a config.json are a Config, which written and read again gives the same bytes, or an Error.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "base/error.h"
#include "model/config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string written;
  try {
    const ds::Json json = ds::parse_json({reinterpret_cast<const char*>(data), size}, "fuzz");
    written = ds::config_json(ds::parse_config(json, "fuzz"), ds::DType::f32);
  } catch (const ds::Error&) {
    return 0;  // no Config, or one of weights that are only read
  }
  try {
    const ds::Config again = ds::parse_config(ds::parse_json(written, "written"), "written");
    if (ds::config_json(again, ds::DType::f32) == written) return 0;
    std::fprintf(stderr, "another Config after %s\n", written.c_str());
  } catch (const ds::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
  }
  std::abort();
}
