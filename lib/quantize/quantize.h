// ds-quantize: a model folder in, a smaller one out.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "io/report.h"

namespace ds {

struct QuantizeOptions {
  std::string model, output;
  std::string method = "awq";               // awq, or rtn: rounding to nearest alone
  std::vector<std::string> calibration;     // JSONL with `text` (awq)
  int64_t calibration_samples = 128;        // rows of calibration_length tokens at most
  int64_t calibration_length = 512;
  int64_t group_size = 128;
  int64_t bits = 4;
  uint64_t seed = 0;                        // which calibration records are taken
};

// Writes `output`, a folder in AutoAWQ's GEMM layout that transformers and vLLM load, whole or not at all. Every matrix
// of the blocks but the router is quantized; the rest is f16. Reports size and output error of each layer.
void quantize(const QuantizeOptions& options, Report& report);

}  // namespace ds
