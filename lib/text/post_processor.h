// The "post_processor" of a tokenizer.json, as far as one text goes: the ids that are put around it.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace ds {

struct Json;

struct PostProcessor {
  std::vector<int32_t> before, after;
};

// Supported: null, BertProcessing, ByteLevel (which only trims offsets), RobertaProcessing, Sequence,
// TemplateProcessing. Others are an Error that names them. `where` begins messages.
PostProcessor read_post_processor(const Json* json, const std::string& where);

}  // namespace ds
