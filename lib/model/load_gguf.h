// Inside the room: models in a .gguf file. The architecture's metadata become a config.json, and each weight's name and
// order of rows those of the file.
#pragma once
#include <memory>
#include <string>

#include "io/gguf.h"
#include "model/config.h"
#include "model/weight_source.h"

namespace ds {

// The config that the file describes. An architecture or setting that is not supported is an Error that names it.
Config gguf_config(const GgufFile& file);                                  // gguf_config.cpp
std::unique_ptr<WeightSource> open_gguf(const std::string& path, const Config& config);

}  // namespace ds
