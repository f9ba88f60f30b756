// Weights in memory into a folder.
#include <filesystem>

#include "base/error.h"
#include "io/output.h"
#include "io/safetensors.h"
#include "model/decoder.h"

namespace ds {

void save_model(const Config& config, Weights& weights, const std::string& folder, DType dtype,
                const std::map<std::string, std::string>& metadata, bool durable) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  require(!error, folder, " cannot be made: ", error.message());

  // What is written is neither quantized nor has layers for multi-token prediction, whatever it was read from.
  Config written = config;
  written.quantization = {};
  written.num_nextn_predict_layers = 0;

  Arena buffer;
  std::vector<TensorToWrite> tensors;
  for_each_weight(config, weights, [&](const WeightInfo& info, Tensor& t) {
    require(t && t.dtype == DType::f32 && t.layout == Layout::rows, info.name, " is not f32 rows, and cannot be written");
    const DType stored = info.trained ? dtype : DType::f32;
    const int64_t experts = info.shape.size() == 3 ? info.shape[0] : 1;
    const std::vector<int64_t> shape(info.shape.end() - (info.shape.size() == 1 ? 1 : 2), info.shape.end());
    for (int64_t e = 0; e < experts; ++e) {
      const Tensor from = info.shape.size() == 3 ? item(t, e) : t;
      tensors.push_back({expert_name(info, e), stored, shape, [&buffer, from, stored]() -> std::string_view {
        const size_t bytes = static_cast<size_t>(from.elements()) * dtype_bits(stored) / 8;
        if (stored == DType::f32) return {from.as<char>(), bytes};
        buffer.reset();
        Tensor to = from;
        to.dtype = stored;
        to.data = buffer.allocate(bytes);
        convert(from, to);
        return {to.as<char>(), bytes};
      }});
    }
  });
  const std::filesystem::path path(folder);
  write_file((path / "config.json").string(), config_json(written, dtype), durable);
  write_safetensors((path / "model.safetensors").string(), tensors, metadata, durable);
}

}  // namespace ds
