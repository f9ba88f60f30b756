// A classifier file of fastText, checked and taken apart; for .cpp files of this room only. All views point into the
// bytes that were given to read_fasttext, which must outlive them.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/flat_map.h"

namespace ds {

// Vectors of `dim` numbers cut into parts of `width` (the last may be shorter), each part one of 256 centroids.
struct ProductQuantizer {
  static constexpr int32_t centroids = 256;  // a code is a byte
  int32_t dim = 0, parts = 0, width = 0, last_width = 0;
  const char* values = nullptr;  // floats: part, centroid, component

  int32_t width_of(int32_t part) const { return part == parts - 1 ? last_width : width; }
  const char* centroid(int32_t part, unsigned char code) const {
    const size_t before = static_cast<size_t>(part) * centroids * static_cast<size_t>(width);
    return values + sizeof(float) * (before + code * static_cast<size_t>(width_of(part)));
  }
};

struct FastTextMatrix {
  int64_t rows = 0;
  int32_t columns = 0;
  const char* dense = nullptr;                // floats, row by row, not aligned; null where quantized
  const unsigned char* codes = nullptr;       // row by row
  const unsigned char* norm_codes = nullptr;  // one a row; null: all norms are 1
  ProductQuantizer quantizer, norms;

  void add_row(int64_t row, double* sum) const;
  double dot(int64_t row, const double* vector) const;
};

// FNV-1a over signed bytes.
constexpr uint32_t fasttext_hash_start = 2166136261;
constexpr uint32_t fasttext_hash(uint32_t hash, char byte) {
  return (hash ^ static_cast<uint32_t>(static_cast<int32_t>(static_cast<signed char>(byte)))) * 16777619;
}
constexpr uint32_t fasttext_hash(std::string_view word) {
  uint32_t hash = fasttext_hash_start;
  for (const char byte : word) hash = fasttext_hash(hash, byte);
  return hash;
}

// Words and labels, and from hashed n-grams to rows.
struct FastTextDictionary {
  std::vector<std::string_view> entries;  // words, then labels
  int32_t words = 0;
  std::vector<int64_t> label_counts;
  uint32_t bucket = 0;  // n-grams hash to [0, bucket)
  bool pruned = false;
  FlatMap<int32_t> row_of;     // where pruned: n-gram -> its row after the words; others have none
  std::vector<int32_t> table;  // entries by hash, open addressing; -1: free

  size_t home(uint32_t hash) const { return (hash * 0x9e3779b97f4a7c15u >> 32) & (table.size() - 1); }
  int32_t find(std::string_view word, uint32_t hash) const;  // -1: none
  // The row of a hashed n-gram; -1 where it was pruned away.
  int64_t ngram_row(uint64_t hash) const {
    const uint64_t ngram = hash % bucket;
    if (!pruned) return words + static_cast<int64_t>(ngram);
    const int32_t* row = row_of.find(ngram);
    return row ? int64_t{words} + *row : -1;
  }
};

struct FastTextFile {
  enum class Loss : int32_t { hierarchical = 1, negative_sampling, softmax, one_vs_all };
  Loss loss = Loss::softmax;
  int32_t dim = 0;
  int32_t word_ngrams = 0;                         // the longest; 0 and 1: none
  int32_t min_characters = 0, max_characters = 0;  // of the n-grams inside a word; none where max is 0
  FastTextDictionary dictionary;
  FastTextMatrix input;   // a row for each word, then for each n-gram
  FastTextMatrix output;  // a row for each label or, with hierarchical softmax, each inner node of the tree
  std::string_view note;  // what stands after the model
};

// Error, "NAME: what is wrong", for anything but a classifier whose every row that a text can ask for is there.
FastTextFile read_fasttext(std::string_view bytes, const std::string& name);

}  // namespace ds
