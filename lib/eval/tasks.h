// The tasks that need nothing but held-out text: bits per byte, and a cloze with four choices.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "eval/results.h"
#include "run/score.h"

namespace ds {

struct Document {
  std::string id, text;
};

// -log2 p(text) of each document over its UTF-8 bytes, the text encoded without special tokens after one BOS.
TaskResult bits_per_byte(Engine& engine, const std::vector<Document>& documents);

// One question of the cloze: which of four spans of words continues the context? The other three are spans of the same
// length from other documents.
struct ClozeItem {
  std::string id, context;
  std::vector<std::string> choices;   // each begins with a space
  size_t gold = 0;
};
// At most `items` questions, drawn by the seed; chance level is 1 / choices.
std::vector<ClozeItem> make_cloze(const std::vector<Document>& documents, size_t items, uint64_t seed);
// acc: the choice of the highest log-likelihood is the gold one.
TaskResult cloze(Engine& engine, const std::vector<ClozeItem>& items);

// Counts the tokens of each expert in every MoE layer while the engine works, from construction to collect().
class ExpertLoadCounter {
 public:
  explicit ExpertLoadCounter(Engine& engine);
  ~ExpertLoadCounter();
  std::vector<ExpertLoad> collect() const { return loads_; }

 private:
  Engine& engine_;
  std::vector<ExpertLoad> loads_;
};

// The order-5 count-based byte model (text/ngram.h) fitted on `training`, as a baseline: bits per byte of `documents`.
TaskResult ngram_bits_per_byte(const std::vector<Document>& training, const std::vector<Document>& documents);

}  // namespace ds
