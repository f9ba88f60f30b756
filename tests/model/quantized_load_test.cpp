// Quantized checkpoints in safetensors: made here bit by bit as their formats say, and read back by the formula.
#include <functional>
#include <numeric>

#include "model/checkpoint.h"
#include "tensor/cpu/gemm.h"

namespace ds {
namespace {

// A matrix in some format: the tensors of the file, and the numbers that they stand for.
struct Made {
  std::vector<Stored> tensors;
  std::vector<float> want;
};
using Maker = std::function<Made(const std::string& module, int64_t n, int64_t k, const Rng& rng)>;

template <class T>
std::string raw(const std::vector<T>& v) {
  return std::string(reinterpret_cast<const char*>(v.data()), v.size() * sizeof(T));
}
struct Draw {  // numbers of one stream, one after the other
  Rng rng;
  uint64_t at = 0;
  int below(int n) { return static_cast<int>(rng.below(at++, static_cast<uint64_t>(n))); }
  float scale() { return 0.01f + 0.02f * static_cast<float>(rng.uniform(at++)); }
};

std::string write_scales(const std::vector<float>& values, DType dtype) {
  std::vector<uint16_t> half;
  for (const float v : values) half.push_back(dtype == DType::bf16 ? f32_to_bf16(v) : f32_to_f16(v));
  return dtype == DType::f32 ? raw(values) : raw(half);
}
float rounded(float v, DType dtype) {
  return dtype == DType::f32 ? v : dtype == DType::bf16 ? bf16_to_f32(f32_to_bf16(v)) : f16_to_f32(f32_to_f16(v));
}

// GPTQ: qweight [K / per, N], qzeros [G, N / per] less one in the first version, scales [G, N], g_idx [K].
Maker gptq(int bits, int64_t group_size, bool first_version, bool symmetric, bool reordered) {
  return [=](const std::string& module, int64_t n, int64_t k, const Rng& rng) {
    Draw draw{rng};
    const int64_t group = group_size == -1 ? k : group_size, groups = k / group, per = 32 / bits;
    std::vector<int32_t> g_idx(k);
    for (int64_t i = 0; i < k; ++i) g_idx[i] = static_cast<int32_t>((reordered ? (i * 5 + 3) % k : i) / group);  // 5 and k have no factor in common
    std::vector<uint32_t> qweight(k / per * n), qzeros(groups * n / per);
    std::vector<float> scales(groups * n);
    std::vector<int> zeros(groups * n);
    for (float& s : scales) s = rounded(draw.scale(), DType::f16);
    for (int64_t g = 0; g < groups; ++g)
      for (int64_t j = 0; j < n; ++j) {
        const int zero = symmetric ? 1 << (bits - 1) : first_version + draw.below((1 << bits) - 1);
        zeros[g * n + j] = zero;
        qzeros[g * (n / per) + j / per] |= static_cast<uint32_t>(zero - first_version) << (bits * (j % per));
      }
    Made made;
    for (int64_t j = 0; j < n; ++j)
      for (int64_t i = 0; i < k; ++i) {
        const int q = draw.below(1 << bits);
        qweight[i / per * n + j] |= static_cast<uint32_t>(q) << (bits * (i % per));
        made.want.push_back(static_cast<float>(q - zeros[g_idx[i] * n + j]) * scales[g_idx[i] * n + j]);
      }
    made.tensors = {{module + ".qweight", DType::i32, {k / per, n}, raw(qweight)},
                    {module + ".qzeros", DType::i32, {groups, n / per}, raw(qzeros)},
                    {module + ".scales", DType::f16, {groups, n}, write_scales(scales, DType::f16)},
                    {module + ".g_idx", DType::i32, {k}, raw(g_idx)}};
    return made;
  };
}

// compressed-tensors, pack-quantized: weight_packed [N, ceil(K / per)], weight_scale [N, G], weight_zero_point packed
// along N, all values offset by half their range.
Maker packed(int bits, int64_t group_size, DType scale_dtype, bool symmetric, bool reordered) {
  return [=](const std::string& module, int64_t n, int64_t k, const Rng& rng) {
    Draw draw{rng};
    const int64_t group = group_size == -1 ? k : group_size, groups = k / group, per = 32 / bits, words = (k + per - 1) / per;
    const int half = 1 << (bits - 1);
    std::vector<int32_t> g_idx(k);
    for (int64_t i = 0; i < k; ++i) g_idx[i] = static_cast<int32_t>((reordered ? (i * 5 + 3) % k : i) / group);
    std::vector<uint32_t> values(n * words), zero_points((n + per - 1) / per * groups);
    std::vector<float> scales(n * groups);
    std::vector<int> zeros(n * groups);
    for (float& s : scales) s = rounded(draw.scale(), scale_dtype);
    if (!symmetric)
      for (int64_t j = 0; j < n; ++j)
        for (int64_t g = 0; g < groups; ++g) {
          zeros[j * groups + g] = draw.below(2 * half) - half;
          zero_points[j / per * groups + g] |= static_cast<uint32_t>(zeros[j * groups + g] + half) << (bits * (j % per));
        }
    Made made;
    for (int64_t j = 0; j < n; ++j)
      for (int64_t i = 0; i < k; ++i) {
        const int q = draw.below(2 * half) - half;
        values[j * words + i / per] |= static_cast<uint32_t>(q + half) << (bits * (i % per));
        const size_t g = j * groups + g_idx[i];
        made.want.push_back(static_cast<float>(q - zeros[g]) * scales[g]);
      }
    made.tensors = {{module + ".weight_packed", DType::i32, {n, words}, raw(values)},
                    {module + ".weight_scale", scale_dtype, {n, groups}, write_scales(scales, scale_dtype)},
                    {module + ".weight_shape", DType::i64, {2}, raw(std::vector<int64_t>{n, k})}};
    if (!symmetric) made.tensors.push_back({module + ".weight_zero_point", DType::i32, {(n + per - 1) / per, groups}, raw(zero_points)});
    if (reordered) made.tensors.push_back({module + ".weight_g_idx", DType::i32, {k}, raw(g_idx)});
    return made;
  };
}

// compressed-tensors, int-quantized: weight int8 [N, K], weight_scale [N, 1] or [1].
Maker int8(DType scale_dtype, bool whole_tensor, bool symmetric) {
  return [=](const std::string& module, int64_t n, int64_t k, const Rng& rng) {
    Draw draw{rng};
    std::vector<int8_t> values(n * k), zeros(n);
    std::vector<float> scales(whole_tensor ? 1 : n);
    for (float& s : scales) s = rounded(draw.scale(), scale_dtype);
    if (!symmetric)
      for (int8_t& z : zeros) z = static_cast<int8_t>(draw.below(256) - 128);
    Made made;
    for (int64_t j = 0; j < n; ++j)
      for (int64_t i = 0; i < k; ++i) {
        values[j * k + i] = static_cast<int8_t>(draw.below(256) - 128);
        made.want.push_back(static_cast<float>(values[j * k + i] - zeros[j]) * scales[whole_tensor ? 0 : j]);
      }
    made.tensors = {{module + ".weight", DType::i8, {n, k}, raw(values)},
                    {module + ".weight_scale", scale_dtype, whole_tensor ? std::vector<int64_t>{1} : std::vector<int64_t>{n, 1}, write_scales(scales, scale_dtype)}};
    if (!symmetric) made.tensors.push_back({module + ".weight_zero_point", DType::i8, {n, 1}, raw(zeros)});
    return made;
  };
}

// E4M3 by its definition: sign, exponent with bias 7, 3 bits of mantissa.
float e4m3(int bits) {
  const int exponent = bits >> 3 & 15, mantissa = bits & 7;
  const double magnitude = exponent ? std::ldexp(1 + mantissa / 8.0, exponent - 7) : std::ldexp(mantissa / 8.0, -6);
  return static_cast<float>(bits & 128 ? -magnitude : magnitude);
}
// Weights in E4M3 and a scale for each block of rows x cols (-1: all).
Maker f8(int64_t rows, int64_t cols, const std::string& scale_name, DType scale_dtype) {
  return [=](const std::string& module, int64_t n, int64_t k, const Rng& rng) {
    Draw draw{rng};
    const int64_t height = rows == -1 ? n : rows, width = cols == -1 ? k : cols, down = (n + height - 1) / height, across = (k + width - 1) / width;
    std::vector<float> scales(down * across);
    for (float& s : scales) s = rounded(draw.scale(), scale_dtype);
    std::vector<uint8_t> values;
    Made made;
    for (int64_t j = 0; j < n; ++j)
      for (int64_t i = 0; i < k; ++i) {
        int bits = draw.below(256);
        if ((bits & 127) == 127) bits ^= 1;
        values.push_back(static_cast<uint8_t>(bits));
        made.want.push_back(e4m3(bits) * scales[j / height * across + i / width]);
      }
    const std::vector<int64_t> shape = rows == -1 ? std::vector<int64_t>{} : std::vector<int64_t>{down, across};
    made.tensors = {{module + ".weight", DType::f8_e4m3, {n, k}, raw(values)},
                    {module + scale_name, scale_dtype, shape, write_scales(scales, scale_dtype)}};
    return made;
  };
}

std::string compressed(const std::string& format, const std::string& weights, const std::string& more = "") {
  return R"({"quant_method": "compressed-tensors", "format": ")" + format + R"(", "quantization_status": "compressed",
    "config_groups": {"group_0": {"targets": ["Linear"], "weights": {)" + weights + "}" + more + R"(}}, "ignore": ["lm_head"]})";
}

struct Case {
  std::string name, quantization;
  Maker make;
  DType dtype;
  bool same_order = true;   // of the inputs
  bool int8_activations = false;
  friend void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }
};
const char* const kDynamic8 = R"(, "input_activations": {"num_bits": 8, "type": "int", "symmetric": true, "strategy": "token", "dynamic": true})";
std::vector<Case> cases() {
  return {
      {"gptq", R"({"quant_method": "gptq", "bits": 4, "group_size": 16, "desc_act": false, "sym": true, "damp_percent": 0.01})", gptq(4, 16, true, true, false), DType::q4},
      {"gptq_asym_ordered", R"({"quant_method": "gptq", "bits": 4, "group_size": 16, "desc_act": true, "sym": false, "checkpoint_format": "gptq"})", gptq(4, 16, true, false, true), DType::q4, false},
      {"gptq_v2", R"({"quant_method": "gptq", "bits": 4, "group_size": -1, "sym": false, "checkpoint_format": "gptq_v2"})", gptq(4, -1, false, false, false), DType::q4},
      {"gptq_8", R"({"quant_method": "gptq", "bits": 8, "group_size": 16, "sym": true})", gptq(8, 16, true, true, false), DType::q8},
      {"gptq_8_asym", R"({"quant_method": "gptq", "bits": 8, "group_size": 16, "sym": false})", gptq(8, 16, true, false, false), DType::q8},
      {"w4a16", compressed("pack-quantized", R"("num_bits": 4, "type": "int", "symmetric": true, "strategy": "group", "group_size": 16)"), packed(4, 16, DType::bf16, true, false), DType::q4},
      {"w4a16_asym", compressed("pack-quantized", R"("num_bits": 4, "type": "int", "symmetric": false, "strategy": "group", "group_size": 16)"), packed(4, 16, DType::f16, false, false), DType::q4},
      {"w4a16_ordered", compressed("pack-quantized", R"("num_bits": 4, "symmetric": true, "strategy": "group", "group_size": 16, "actorder": "group")"), packed(4, 16, DType::f32, true, true), DType::q4, false},
      {"w8a16", compressed("pack-quantized", R"("num_bits": 8, "symmetric": true, "strategy": "channel")"), packed(8, -1, DType::bf16, true, false), DType::q8},
      {"w8a16_asym", compressed("pack-quantized", R"("num_bits": 8, "symmetric": false, "strategy": "group", "group_size": 16)"), packed(8, 16, DType::f16, false, false), DType::q8},
      {"w8a8", compressed("int-quantized", R"("num_bits": 8, "type": "int", "symmetric": true, "strategy": "channel", "dynamic": false)", kDynamic8), int8(DType::bf16, false, true), DType::q8, true, true},
      {"int8_f32", compressed("int-quantized", R"("num_bits": 8, "symmetric": true, "strategy": "channel")"), int8(DType::f32, false, true), DType::q8},
      {"int8_tensor", compressed("int-quantized", R"("num_bits": 8, "symmetric": true, "strategy": "tensor")"), int8(DType::f16, true, true), DType::q8},
      {"int8_asym", compressed("int-quantized", R"("num_bits": 8, "symmetric": false, "strategy": "channel")"), int8(DType::f16, false, false), DType::q8},
      {"f8_blocks", R"({"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": [12, 12]})", f8(12, 12, ".weight_scale_inv", DType::f32), DType::f8_e4m3},
      {"f8_tensor", R"({"quant_method": "fp8", "activation_scheme": "dynamic"})", f8(-1, -1, ".weight_scale", DType::f32), DType::f8_e4m3},
      {"f8_channel", compressed("float-quantized", R"("num_bits": 8, "type": "float", "symmetric": true, "strategy": "channel")"), f8(1, -1, ".weight_scale", DType::bf16), DType::f8_e4m3},
  };
}

const char* const kSizes = R"(, "hidden_size": 32, "head_dim": 8, "intermediate_size": 48, "num_attention_heads": 4, "num_key_value_heads": 2)";
std::string quantized_json(const std::string& quantization) { return tiny_llama(kSizes + std::string(R"(, "quantization_config": )") + quantization); }

// Writes a folder whose linear layers are quantized; returns the numbers of each.
std::map<std::string, std::vector<float>> write_quantized(const std::string& at, const std::string& json, const Maker& make) {
  Tiny m(tiny_llama(kSizes));
  save_model(m.config, m.weights, at, DType::f16, {});
  write_file(at + "/config.json", json);
  std::map<std::string, std::vector<float>> want;
  std::vector<Stored> out;
  uint64_t stream = 0;
  for (const Stored& t : read_all(at)) {
    if (!contains(t.name, "_proj.weight")) {
      out.push_back(t);
      continue;
    }
    Made made = make(t.name.substr(0, t.name.size() - 7), t.shape[0], t.shape[1], Rng{11, ++stream});
    want[t.name] = std::move(made.want);
    out.insert(out.end(), made.tensors.begin(), made.tensors.end());
  }
  write_all(at, out);
  return want;
}

class Quantized : public testing::TestWithParam<Case> {};

TEST_P(Quantized, ReadsAsTheFormulaSays) {
  const Case& c = GetParam();
  Scratch folder;
  const auto want = write_quantized(folder / "m", quantized_json(c.quantization), c.make);
  Model rows = load_model(folder / "m"), panels = load_model(folder / "m", {Device::cpu, true});
  size_t seen = 0;
  for_each_weight(rows.config, rows.weights, [&](const WeightInfo& info, Tensor& t) {
    if (!info.linear) return;
    ++seen;
    const std::vector<float>& w = want.at(info.name);
    ASSERT_EQ(static_cast<int64_t>(w.size()), t.elements());
    for (size_t i = 0; i < w.size(); ++i) ASSERT_EQ(t.f32()[i], w[i]) << info.name << " " << i;
  });
  EXPECT_EQ(seen, want.size());
  for_each_weight(panels.config, panels.weights, [&](const WeightInfo& info, Tensor& t) {
    if (!info.linear) return;
    EXPECT_EQ(t.dtype, c.dtype);
    EXPECT_EQ(t.k_order == nullptr, c.same_order);
    EXPECT_EQ(t.int8_activations, c.int8_activations);
    const std::vector<float>& w = want.at(info.name);
    std::vector<float> row(t.cols());
    for (int64_t n = 0; n < t.rows(); ++n) {
      cpu::dequantize_row(t, n, row.data());
      for (int64_t k = 0; k < t.cols(); ++k) ASSERT_EQ(row[k], w[n * t.cols() + (t.k_order ? t.k_order[k] : k)]) << info.name << " " << n << " " << k;
    }
  });
}

// Whether activations are rounded to 8 bits can be chosen against the checkpoint; what has no integer weights cannot.
TEST_P(Quantized, RoundsActivationsAsAskedFor) {
  const Case& c = GetParam();
  Scratch folder;
  write_quantized(folder / "m", quantized_json(c.quantization), c.make);
  const auto rounds = [&](ActivationRounding rounding) {
    Model model = load_model(folder / "m", {.pack = true, .rounding = rounding});
    for_each_weight(model.config, model.weights, [&](const WeightInfo& info, Tensor& t) {
      EXPECT_EQ(t.int8_activations, info.linear && model.int8_activations) << info.name;
    });
    return model.int8_activations;
  };
  EXPECT_EQ(rounds(ActivationRounding::as_stored), c.int8_activations);
  EXPECT_FALSE(rounds(ActivationRounding::none));
  if (c.dtype == DType::f8_e4m3) EXPECT_THROW(rounds(ActivationRounding::int8), Error);
  else EXPECT_TRUE(rounds(ActivationRounding::int8));
}

INSTANTIATE_TEST_SUITE_P(All, Quantized, testing::ValuesIn(cases()), [](const auto& info) { return info.param.name; });

// Older tools write the settings beside config.json.
TEST(QuantizedFolder, SettingsInAFileOfTheirOwn) {
  Scratch folder;
  const std::string at = folder / "m";
  const auto want = write_quantized(at, tiny_llama(kSizes), gptq(4, 16, true, true, true));
  EXPECT_TRUE(contains(load_error(at), "q_proj.weight is missing")) << load_error(at);
  write_file(at + "/quantize_config.json", R"({"bits": 4, "group_size": 16, "desc_act": true, "damp_percent": 0.1, "true_sequential": true})");
  const Model m = load_model(at);
  EXPECT_EQ(m.weights.layers[0].o_proj.f32()[1], want.at("model.layers.0.self_attn.o_proj.weight")[1]);
}

struct Spoiled {
  const char* name;
  std::function<void(std::vector<Stored>&)> change;
  const char* message;
};
TEST(QuantizedFolder, NamesWhatDoesNotFit) {
  Scratch folder;
  const std::string at = folder / "m", module = "model.layers.1.mlp.up_proj";
  write_quantized(at, quantized_json(R"({"quant_method": "gptq", "bits": 4, "group_size": 16, "desc_act": true})"), gptq(4, 16, true, true, true));
  const std::vector<Stored> good = read_all(at);
  const auto tensor = [&](std::vector<Stored>& all, const std::string& part) -> Stored& {
    return *std::find_if(all.begin(), all.end(), [&](const Stored& t) { return t.name == module + part; });
  };
  const Spoiled all[] = {
      {"shape", [&](auto& t) { tensor(t, ".qzeros").shape = {1, 12}; tensor(t, ".qzeros").bytes.resize(48); }, "qzeros has the shape [1, 12]"},
      {"dtype", [&](auto& t) { tensor(t, ".qweight").dtype = DType::f32; }, "qweight is f32, and has to be i32"},
      {"group", [&](auto& t) { tensor(t, ".g_idx").bytes[0] = 77; }, "g_idx has the group 77"},
      {"count", [&](auto& t) { tensor(t, ".g_idx").bytes[0] ^= 1; }, "g_idx puts"},
      {"nan", [&](auto& t) { tensor(t, ".scales").bytes[1] = 0x7e; }, "up_proj.weight: a scale is not finite"},
      {"missing", [&](auto& t) { t.erase(t.begin() + (&tensor(t, ".g_idx") - t.data())); }, "g_idx is missing"},
      {"bias", [&](auto& t) { t.push_back({module + ".bias", DType::f16, {2}, std::string("\0\0\0\1", 4)}); }, "up_proj.bias does not belong"},
  };
  for (const Spoiled& s : all) {
    std::vector<Stored> bad = good;
    s.change(bad);
    write_all(at, bad);
    EXPECT_TRUE(contains(load_error(at), s.message)) << s.name << ": " << load_error(at);
  }
  std::vector<Stored> zero_bias = good;
  zero_bias.push_back({module + ".bias", DType::f16, {2}, std::string(4, '\0')});
  write_all(at, zero_bias);
  EXPECT_EQ(load_error(at), "no error");
}

TEST(QuantizedFolder, RefusesSettingsByName) {
  const std::pair<std::string, const char*> all[] = {
      {R"({"quant_method": "bitsandbytes", "load_in_4bit": true})", "bitsandbytes"},
      {R"({"quant_method": "hqq"})", "hqq"},
      {R"({"quant_method": "gptq", "bits": 3})", "bits is 3"},
      {R"({"quant_method": "gptq", "bits": 4, "checkpoint_format": "marlin"})", "checkpoint_format"},
      {R"({"quant_method": "gptq", "bits": 4, "dynamic": {"-:x": {}}})", "dynamic"},
      {R"({"quant_method": "awq", "bits": 4, "version": "gemv"})", "gemv"},
      {R"({"quant_method": "awq", "bits": 4, "zero_point": false})", "zero_point"},
      {R"({"quant_method": "fp8", "activation_scheme": "static"})", "activation_scheme"},
      {R"({"quant_method": "fp8", "weight_block_size": [128]})", "weight_block_size"},
      {R"({"quant_method": "fp8", "weight_block_size": [0, 128]})", "weight_block_size"},
      {compressed("marlin-24", R"("num_bits": 4)"), "marlin-24"},
      {compressed("pack-quantized", R"("num_bits": 3)"), "num_bits"},
      {compressed("pack-quantized", R"("num_bits": 4, "strategy": "attn_head")"), "attn_head"},
      {compressed("pack-quantized", R"("num_bits": 4, "strategy": "group", "group_size": 16, "actorder": "sideways")"), "sideways"},
      {compressed("int-quantized", R"("num_bits": 8, "strategy": "channel")", R"(, "input_activations": {"num_bits": 8, "dynamic": false})"), "input_scale"},
      {compressed("int-quantized", R"("num_bits": 8, "strategy": "channel")", R"(, "output_activations": {"num_bits": 8})"), "output_activations"},
      {R"({"quant_method": "compressed-tensors", "format": "int-quantized", "kv_cache_scheme": {"num_bits": 8}, "config_groups": {"group_0": {"targets": ["Linear"], "weights": {"num_bits": 8, "strategy": "channel"}}}})", "kv_cache_scheme"},
      {R"({"quant_method": "compressed-tensors", "format": "int-quantized", "config_groups": {"a": {}, "b": {}}})", "config_groups"},
      {R"({"quant_method": "compressed-tensors", "format": "int-quantized", "sparsity_config": {"format": "sparse-24-bitmask"}, "config_groups": {"group_0": {"targets": ["Linear"], "weights": {"num_bits": 8, "strategy": "channel"}}}})", "sparsity_config"},
  };
  for (const auto& [json, part] : all) {
    std::string message = "no error";
    try {
      tiny(quantized_json(json));
    } catch (const Error& error) {
      message = error.what();
    }
    EXPECT_TRUE(contains(message, part)) << json << " -> " << message;
    EXPECT_TRUE(contains(message, "quantization_config")) << message;
  }
}

}  // namespace
}  // namespace ds
