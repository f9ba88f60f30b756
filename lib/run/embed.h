// Texts as vectors: a model's final hidden states, pooled as sentence-transformers does.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "run/engine.h"

namespace ds {

struct Pooling {
  enum class Kind : uint8_t { mean, last, cls } kind = Kind::mean;  // over all tokens; of the last; of the first
  bool normalize = false;                                           // to length 1
  int64_t max_length = 0;                                           // tokens a text is cut to; 0: the model's positions
};
// As the folder's modules.json, 1_Pooling/config.json and sentence_bert_config.json say; the mean, not normalised, where it
// has none. A module or way of pooling that is not supported is an Error that names it.
Pooling read_pooling(const std::string& model);

// The ids of a text with special tokens, of the text itself as many as fit into `max_length` with them; `cut` tells whether
// some did not.
std::vector<int32_t> encode_cut(const Engine& engine, std::string_view text, int64_t max_length, bool& cut);

// A vector of hidden_size for each sequence of at least one token. `adapters` as in run_sequences.
std::vector<std::vector<float>> embed(Engine& engine, std::span<const std::vector<int32_t>> sequences, const Pooling& pooling,
                                      std::span<const int32_t> adapters = {});

}  // namespace ds
