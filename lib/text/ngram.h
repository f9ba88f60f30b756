// A count-based model of bytes: the probability of each byte given the ones before it, by interpolated modified
// Kneser-Ney smoothing (Chen and Goodman, "An Empirical Study of Smoothing Techniques for Language Modeling", 1998).
// It is the baseline for models that learn, and a measure of how predictable a text is.
#pragma once
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "text/flat_map.h"

namespace ds {

struct NgramOptions {
  int order = 5;                           // bytes of context, 1 to 6 ("order-5" as in data compression)
  size_t max_ngrams = size_t{1} << 23;     // distinct sequences of order + 1 bytes; beyond, the rarest are dropped.
                                           // Fitting takes about 100 bytes each, the model 50
};

// Immutable; all threads may use it at once. The same texts give the same bits on every processor.
class NgramModel {
 public:
  // log2 of the probability of a text: a sum over its bytes, the first in the context of line ends; <= 0.
  double log2_probability(std::string_view text) const;
  // The probability of one byte after `context`, of which the last `order` bytes count.
  double probability(std::string_view context, uint8_t byte) const;
  size_t ngrams() const;                   // sequences known, of all lengths

 private:
  friend class NgramTrainer;
  struct Node {
    float probability = 0;                 // of the last byte after the others; 0 where only seen as a context
    float remainder = 1;                   // as a context: the weight of the shorter context
  };
  double probability(uint64_t history, uint8_t byte) const;
  int order_ = 0;
  double uniform_weight_ = 1;              // the remainder of the empty context
  std::vector<FlatMap<Node>> levels_;      // by length - 1; a key is the bytes, the last one lowest
};

// Counts texts, then fits. Threads share the work; the result does not depend on their number.
class NgramTrainer {
 public:
  explicit NgramTrainer(const NgramOptions& options = {});
  ~NgramTrainer();
  void add(std::string_view text);
  NgramModel train();                      // call once, after the last text

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ds
