#include "model/weight_source.h"

#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/parallel.h"
#include "model/architecture.h"
#include "model/binder.h"
#include "model/load_quantized.h"

namespace ds {

float stored_number(const char* data, DType dtype, int64_t i) {
  if (dtype == DType::f32) {
    float value;
    std::memcpy(&value, data + i * 4, 4);
    return value;
  }
  uint16_t half;
  std::memcpy(&half, data + i * 2, 2);
  return dtype == DType::bf16 ? bf16_to_f32(half) : f16_to_f32(half);
}

static void widen_quantized_row(const StoredMatrix& m, int64_t row, float* out) {
  const int64_t groups = m.groups();
  for (int64_t k = 0; k < m.k; ++k) {
    const uint8_t value = m.values[static_cast<size_t>(row * m.k + k)];
    const size_t g = static_cast<size_t>(row * groups + k / m.format.group_size);
    float x = m.dtype == DType::f8_e4m3 ? f8_e4m3_to_f32(value) : m.dtype == DType::q8 ? static_cast<float>(static_cast<int8_t>(value)) : static_cast<float>(value);
    if (m.format.zeros) x -= static_cast<float>(m.zeros[g]);
    // One fused operation where there is a minimum, as the products have it.
    x = m.format.mins ? std::fma(x, m.scales[g], -m.mins[g]) : x * m.scales[g];
    out[m.k_order.empty() ? k : m.k_order[static_cast<size_t>(k)]] = x;
  }
}

void widen_rows(const StoredMatrix& m, float* out) {
  if (m.dtype == DType::f32) {
    std::memcpy(out, m.data, static_cast<size_t>(m.n * m.k) * 4);
    return;
  }
  parallel_for(static_cast<size_t>(m.n), 16, [&](size_t begin, size_t end) {
    for (auto row = static_cast<int64_t>(begin); row < static_cast<int64_t>(end); ++row) {
      if (m.quantized()) {
        widen_quantized_row(m, row, out + row * m.k);
      } else {
        for (int64_t k = 0; k < m.k; ++k) out[row * m.k + k] = stored_number(m.data, m.dtype, row * m.k + k);
      }
    }
  });
}

void check_scales(const StoredMatrix& m) {
  for (const std::vector<float>* all : {&m.scales, &m.mins})
    for (const float x : *all) require(std::isfinite(x), m.name, ": a scale is not finite: ", x);
}

namespace {

class SafetensorsSource : public WeightSource {
 public:
  SafetensorsSource(const std::string& folder, const Config& config)
      : config_(config), row_(architecture_of(config)), binder_(folder, config) {
    require(row_.tensors.empty() || !config.quantization.bits, folder, ": quantized files of a ", row_.name, " are not supported");
  }

  void read_vector(const WeightInfo& info, float* out) override {
    const StoredPlace place = stored_place(row_, info.name);
    const int64_t n = info.shape[0], first = static_cast<int64_t>(place.index) * n;
    const StoredTensor& t = binder_.need_float(place.name, {static_cast<int64_t>(place.count) * n});
    for (int64_t i = 0; i < n; ++i) out[i] = stored_number(t, first + i);
  }

  void read_matrix(const WeightInfo& info, int64_t expert, StoredMatrix& out) override {
    const std::string name = expert_name(info, expert);
    out.n = info.shape[info.shape.size() - 2], out.k = info.shape.back();
    out.name = cat(binder_.folder(), ": ", name);
    if (config_.quantization.bits && read_quantized(binder_, config_.quantization, name, out)) return;
    if (info.shape.size() == 3 && !binder_.has(name) && read_joined(info, expert, out)) return;
    const StoredPlace place = stored_place(row_, name);
    if (place.transposed) return read_transposed(place, out);
    const StoredTensor& t = binder_.need_float(place.name, {out.n, out.k});
    out.dtype = t.dtype;
    out.stored = t.data;
    out.data = t.data.data();
  }

  void check_left_over() const override { binder_.check_left_over(); }
  std::map<std::string, std::string> metadata() const override { return binder_.metadata(); }

 private:
  // Out of one tensor of all experts, in which gate and up are joined (transformers 5 in memory).
  bool read_joined(const WeightInfo& info, int64_t expert, StoredMatrix& out) {
    const ExpertNames& names = row_.names;
    const std::string prefix = info.name.substr(0, info.name.find("{}"));
    const bool down = info.name == cat(prefix, "{}.", names.down, ".weight");
    const bool up = info.name == cat(prefix, "{}.", names.up, ".weight");
    const std::string joined = prefix + (down ? "down_proj" : "gate_up_proj");
    if (!binder_.has(joined)) return false;
    const StoredTensor& t = binder_.need_float(joined, {info.shape[0], down ? out.n : 2 * out.n, out.k});
    out.dtype = t.dtype;
    const auto bytes = static_cast<size_t>(out.n * out.k) * dtype_bits(t.dtype) / 8;
    out.stored = t.data.substr(static_cast<size_t>(down ? expert : 2 * expert + up) * bytes, bytes);
    out.data = out.stored.data();
    return true;
  }

  // Columns of a tensor [inputs, outputs of all parts].
  void read_transposed(const StoredPlace& place, StoredMatrix& out) {
    const int64_t columns = static_cast<int64_t>(place.count) * out.n, first = static_cast<int64_t>(place.index) * out.n;
    const StoredTensor& t = binder_.need_float(place.name, {out.k, columns});
    const int64_t size = dtype_bits(t.dtype) / 8;
    out.dtype = t.dtype;
    out.stored = t.data;
    out.memory.resize(static_cast<size_t>(out.n * out.k * size));
    parallel_for(static_cast<size_t>(out.n), 16, [&](size_t begin, size_t end) {
      for (auto n = static_cast<int64_t>(begin); n < static_cast<int64_t>(end); ++n)
        for (int64_t k = 0; k < out.k; ++k)
          std::memcpy(out.memory.data() + (n * out.k + k) * size, t.data.data() + (k * columns + first + n) * size, static_cast<size_t>(size));
    });
    out.data = out.memory.data();
  }

  const Config& config_;
  const Architecture& row_;
  Binder binder_;
};

}  // namespace

std::unique_ptr<WeightSource> open_safetensors(const std::string& folder, const Config& config) {
  return std::make_unique<SafetensorsSource>(folder, config);
}

}  // namespace ds
