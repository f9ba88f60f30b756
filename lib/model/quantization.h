// How the files of a quantized checkpoint are written: config.json's quantization_config, of whatever tool made it.
// Which modules are quantized is not read from its lists (modules_to_not_convert, ignore, targets): the weights say it
// themselves, by their names and dtypes (load_quantized.h).
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "io/json.h"

namespace ds {

struct Quantization {
  enum class Format : uint8_t {
    none,
    awq,            // AutoAWQ's GEMM layout: qweight, qzeros, scales
    gptq,           // GPTQ: qweight, qzeros, scales, g_idx
    packed,         // compressed-tensors pack-quantized: weight_packed, weight_scale, weight_zero_point, weight_g_idx
    int8,           // compressed-tensors int-quantized: weight in 8 bits, weight_scale
    f8_e4m3         // weight in F8_E4M3 with weight_scale_inv (DeepSeek's blocks) or weight_scale
  } format = Format::none;
  std::string method;                               // quant_method as written: "awq"
  int bits = 0;                                     // of a value; 0: not quantized
  int64_t group_size = 0;                           // inputs that share a scale; -1: all of them
  int64_t group_rows = 1;                           // outputs that do (blocks of f8_e4m3); -1: all of them
  bool symmetric = false;                           // no zero points, or all of them in the middle
  bool zeros_less_one = false;                      // gptq: zero points are stored less one (its first version)
  bool reordered = false;                           // groups are of inputs in another order (desc_act, actorder)
  bool int8_activations = false;                    // products round each row of activations to 8 bits
  std::vector<std::string> modules_to_not_convert;  // awq: parts of names
};

// Reads quantization_config, or quant_config.json / quantize_config.json as older tools write them (`method` names the
// tool where the file does not). A method or setting that is not supported is an Error that names it.
Quantization parse_quantization(const Json& json, const std::string& where, const std::string& method = "");
// Writes "quantization_config" as AutoAWQ does; other formats are an Error: they are read only.
void write_quantization(const Quantization& quantization, JsonWriter& json);

}  // namespace ds
