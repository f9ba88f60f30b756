// LoRA adapters in PEFT's files: low-rank products that are added to those of a model's matrices, row by row at run time
// or to the weights once. (arXiv 2106.09685; rsLoRA: arXiv 2312.03732; the files: huggingface/peft)
#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "model/decoder.h"
#include "model/weight_source.h"

namespace ds {

// run_time: packed, for forward; an adapter of kv_b_proj (which latent attention does not multiply by as it is) or of
// lm_head is an Error. merge: as rows.
enum class AdapterUse : uint8_t { run_time, merge };

// Reads adapter_config.json and adapter_model.safetensors for a model of this config. Which matrices are adapted is read
// from the names of the tensors (base_model.model.NAME.lora_A.weight [r, K] and .lora_B.weight [N, r] in f32, f16 or bf16,
// one pair for each expert); r, lora_alpha, use_rslora, rank_pattern and alpha_pattern give the scale, alpha / r or
// alpha / sqrt(r), which goes into b. Keys of a pattern are names or ends of names; a regular expression is an Error, and
// so is a setting that would change the result (use_dora, modules_to_save, target_parameters ...), a tensor that belongs
// to nothing, half of a pair, or another shape.
Adapter load_adapter(const std::string& folder, const Config& config, AdapterUse use);

// `base` with b a added to its matrices, in f32, rounded back to the dtype that each has. A quantized matrix with an
// adapter is an Error when it is read.
std::unique_ptr<WeightSource> merge_adapter(std::unique_ptr<WeightSource> base, Adapter adapter, const Config& config);

}  // namespace ds
