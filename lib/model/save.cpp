// Weights in memory into a folder.
#include <filesystem>
#include <map>

#include "base/error.h"
#include "io/output.h"
#include "io/safetensors.h"
#include "model/architecture.h"
#include "model/decoder.h"

namespace ds {

// The bytes of f32 rows as `dtype`; in the buffer, where they are converted.
static std::string_view bytes_as(const Tensor& from, DType dtype, Arena& buffer) {
  const size_t bytes = static_cast<size_t>(from.elements()) * dtype_bits(dtype) / 8;
  if (dtype == DType::f32) return {from.as<char>(), bytes};
  buffer.reset();
  Tensor to = from;
  to.dtype = dtype;
  to.data = buffer.allocate(bytes);
  convert(from, to);
  return {to.as<char>(), bytes};
}

// Matrices below each other and then transposed, [inputs, outputs of all]; or vectors in a row.
static Tensor join(const std::vector<Tensor>& parts, Arena& buffer) {
  const int64_t count = static_cast<int64_t>(parts.size()), n = parts[0].shape[0], k = parts[0].elements() / n;
  buffer.reset();
  const Tensor all = parts[0].rank == 1 ? buffer.make_uninitialized(DType::f32, {count * n}) : buffer.make_uninitialized(DType::f32, {k, count * n});
  for (int64_t p = 0; p < count; ++p)
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < k; ++j) all.f32()[j * count * n + p * n + i] = parts[static_cast<size_t>(p)].f32()[i * k + j];
  return all;
}

void save_model(const Config& config, Weights& weights, const std::string& folder, DType dtype,
                const std::map<std::string, std::string>& metadata, bool durable) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  require(!error, folder, " cannot be made: ", error.message());

  // What is written is neither quantized nor has layers for multi-token prediction, whatever it was read from.
  Config written = config;
  written.quantization = {};
  written.num_nextn_predict_layers = 0;

  const Architecture& row = architecture_of(config);
  Arena buffer, joined;
  std::map<std::string, std::vector<Tensor>> waiting;  // parts of a tensor of the file, until the last one comes
  std::vector<TensorToWrite> tensors;
  for_each_weight(config, weights, [&](const WeightInfo& info, Tensor& t) {
    require(t && t.dtype == DType::f32 && t.layout == Layout::rows, info.name, " is not f32 rows, and cannot be written");
    const DType stored = info.trained ? dtype : DType::f32;
    const StoredPlace place = stored_place(row, info.name);
    if (place.transposed || place.count > 1) {
      std::vector<Tensor>& parts = waiting[place.name];
      parts.push_back(t);
      if (parts.size() < place.count) return;
      const int64_t n = static_cast<int64_t>(place.count) * info.shape[0];
      const std::vector<int64_t> shape = place.transposed ? std::vector<int64_t>{info.shape[1], n} : std::vector<int64_t>{n};
      tensors.push_back({place.name, stored, shape, [&buffer, &joined, &parts, stored] { return bytes_as(join(parts, joined), stored, buffer); }});
      return;
    }
    const int64_t experts = info.shape.size() == 3 ? info.shape[0] : 1;
    const std::vector<int64_t> shape(info.shape.end() - (info.shape.size() == 1 ? 1 : 2), info.shape.end());
    for (int64_t e = 0; e < experts; ++e) {
      const Tensor from = info.shape.size() == 3 ? item(t, e) : t;
      const std::string name = info.shape.size() == 3 ? expert_name(info, e) : place.name;
      tensors.push_back({name, stored, shape, [&buffer, from, stored] { return bytes_as(from, stored, buffer); }});
    }
  });
  const std::filesystem::path path(folder);
  write_file((path / "config.json").string(), config_json(written, dtype), durable);
  write_safetensors((path / "model.safetensors").string(), tensors, metadata, durable);
}

}  // namespace ds
