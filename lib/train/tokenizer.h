// ds-train tokenizer: a byte-level BPE tokenizer learned from records.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "io/report.h"

namespace ds {

struct TokenizerOptions {
  std::vector<std::string> inputs = {"-"};
  std::string output = "-";
  std::string text_field = "text";
  int64_t vocab_size = 8192;
  std::string pretokenizer = "llama3";   // gpt2, llama3, qwen2 or deepseek3
  std::vector<std::string> special_tokens = {"<|bos|>", "<|eos|>", "<|pad|>"};
  bool add_bos = false;                  // the tokenizer itself puts BOS before each text
  int64_t min_frequency = 0;             // a pair seen less often is not merged
  size_t max_words_memory = size_t{4} << 30;  // BpeTrainerOptions
  size_t max_record_bytes = size_t{64} << 20;
};

// A record without the text field that has "messages" gives the text of each message. Writes tokenizer.json to the output and, where its name ends in "tokenizer.json", what names the special tokens
// beside it: NAME.tokenizer.json has NAME.tokenizer_config.json.
void train_tokenizer(const TokenizerOptions& options, Report& report);

// The name of that companion of a tokenizer.json; "" where the name does not end so.
std::string tokenizer_config_path(const std::string& tokenizer_json);

}  // namespace ds
