#include "clean/quality/repetition.h"

#include <vector>

#include "text/shingles.h"

namespace ds {

double repetition_ratio(std::span<const uint64_t> words) {
  if (words.size() <= repetition_words) return 0;
  thread_local std::vector<uint64_t> grams;
  thread_local ShingleTable table;
  word_shingle_sequence(words, repetition_words, grams);
  table.assign(grams);
  return 1 - static_cast<double>(table.size()) / static_cast<double>(grams.size());
}

}  // namespace ds
